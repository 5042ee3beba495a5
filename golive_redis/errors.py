"""Every deliberate exception, each with a stable reason and a hint for the person who reads it.

Whose fault an error is decides its class; the command line maps classes to exit codes in one table
(`golive_cli.exits`). Anything else that escapes is a defect of ours (exit 70).
"""

from __future__ import annotations

from typing import ClassVar, Protocol


class Explains(Protocol):
    """A denial, as far as an error needs to know it (`golive_redis.core.permit.Denial`)."""

    @property
    def reason(self) -> str:
        """Stable word."""
        ...

    def explain(self) -> str:
        """Return the reason as a sentence."""
        ...


class GoliveError(Exception):
    """Base of all deliberate errors.

    Args:
        message: What happened, in one sentence.
        hint: What the reader can do about it; empty when there is nothing to do.
    """

    reason: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")  # for the reader of a traceback


class RecordError(GoliveError):
    """A record, envelope or signature is refused; nothing of it has any effect."""

    reason = "record-refused"


class ConfigError(GoliveError):
    """Configuration, keyset or key file cannot be used. Fails closed: nothing starts."""

    reason = "config"


class SignerError(ConfigError):
    """An agent, a device or a program that holds a key has not signed; nothing was signed."""

    reason = "signer"


class RefusedError(GoliveError):
    """The operation is understood and denied by a rule; nothing was changed."""

    reason = "refused"


class ConflictError(RefusedError):
    """Another directive came first; reading again and signing anew may succeed."""

    reason = "conflict"


class StoreError(GoliveError):
    """Redis did not do what was asked."""

    reason = "store"


class StoreUnavailableError(StoreError):
    """Redis cannot be reached or refuses the login; the command was certainly not applied."""

    reason = "store-unavailable"


class MaybeAppliedError(StoreError):
    """The command left and no answer came: it may or may not have been applied."""

    reason = "maybe-applied"

    @classmethod
    def despite(cls, error: GoliveError, *earlier: str) -> MaybeAppliedError:
        """Return what to say when an earlier try got no answer and what came next was `error`.

        Whatever `error` says of its own try, the earlier may have been applied; `earlier` says more.
        """
        return cls(
            f"an earlier try got no answer, and then: {error.message}",
            hint="; ".join([*earlier, "look at `golive status` before you run it again"]),
        )


class NotPermittedError(GoliveError):
    """Raised by `Guard.require` only: the order must not be sent.

    Attributes:
        denial: The guard's answer, with its stable reason.
    """

    reason = "not-permitted"

    def __init__(self, denial: Explains) -> None:
        super().__init__(f"not permitted: {denial.reason}", hint=denial.explain())
        self.denial = denial
