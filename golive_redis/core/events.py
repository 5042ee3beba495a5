"""What a state machine asks of the shell around it: one word each, and what it is about."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from golive_redis.core.incidents import Refused
from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.envelope import Verified


class Happened(StrEnum):
    """What the shell around a view has to act on."""

    STOPPED = "stopped"  # a verified revocation: persist, receipt, hooks, drain, receipt
    REPEATED = "repeated"  # the same one again: repeat the receipts
    RESTRICTED = "restricted"  # a restriction took effect: receipt
    RESTARTED = "restarted"  # a new term may begin: the stop is behind us
    SECURITY = "security"  # somebody offered what we refuse: log it
    RECONNECT = "reconnect"  # the connection cannot be trusted any more


class Event(msgspec.Struct, frozen=True):
    """One thing that happened, with the directive it is about or a sentence for the log.

    Attributes:
        word: Of a security event: its kind.
    """

    kind: Happened
    revocation: Verified[Revocation] | None = None
    restriction: Verified[Restriction] | None = None
    text: str = ""
    word: str = Refused.RECORD


class Change(StrEnum):
    """What the daemon around a pulse has to act on."""

    LATCHED = "latched"  # persist, then receipt
    SPARED = "spared"  # a revocation does not cover the term: persist, and no receipt (A2)
    REPEATED = "repeated"  # the same revocation again: repeat the receipt
    GONE = "gone"  # the key went away without a revocation: persist, note it in the ledger
    SILENCED = "silenced"  # ttl_ms without a successful beat: persist
    CLOSED = "closed"  # every trading window is closed: persist, note it in the ledger
    DISOWNED = "disowned"  # refused under the keyset that the roots have appointed: persist
    ADOPTED = "adopted"  # it now beats for this term: persist before the first beat
    JOINED = "joined"  # likewise, for a term that runs: note it in the ledger before that, too
    RESTRICTED = "restricted"  # it beats on another set of directives now: persist
    LOST_REVOCATION = "lost-revocation"  # the store lost the tombstone: re-assert it
    LOST_RESTRICTION = "lost-restriction"  # the store lost a restriction: re-assert it
    SECURITY = "security"  # something was refused: say so


class Happening(msgspec.Struct, frozen=True):
    """One change, with the directive it is about or a sentence for the log.

    Attributes:
        word: Of a security event: its kind.
    """

    change: Change
    revocation: Verified[Revocation] | None = None
    restriction: Verified[Restriction] | None = None
    text: str = ""
    word: str = Refused.RECORD
