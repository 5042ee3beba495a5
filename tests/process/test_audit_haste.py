"""What stands against haste, in the ledger of a real fleet; and what its receipts have seen of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from golive_redis import clock
from golive_redis.audit.memory import LedgerMemory
from golive_redis.audit.opening import Keysets
from golive_redis.audit.receipts import claimed_heads, kept_receipts, recent_directives
from golive_redis.audit.stream import Stream
from golive_redis.audit.verifying import Verdict
from golive_redis.delivery.append import append
from golive_redis.operator.activation import Activation, HasteError
from golive_redis.operator.session import Operator
from golive_redis.records.envelope import seal
from golive_redis.records.ledger import Note
from golive_redis.store.keyspace import RECEIPTS_MS
from golive_redis.testing.server import EmbeddedServer
from kit.fleet import Fleet
from kit.ledgers import chained, put

MakeFleet = Callable[..., Fleet]


def judged(live: Fleet, state: Path | None = None) -> Verdict:
    """What `golive audit verify` says, on a host that has the policy of the fleet."""
    config = live.config
    with Operator(config) as operator:
        trust = operator.trust
        keysets = Keysets.of([trust.keyset], trust.namespace, trust.environment)
        stream = Stream(
            operator.store,
            keysets,
            LedgerMemory(state, trust),
            policies={config.policy_digest: config.policy.haste},
        )
        return stream.whole_ledger()


def test_who_activates_counts_in_the_ledger_as_its_judge_does(
    fleet: MakeFleet, own_server: EmbeddedServer
) -> None:
    """So no entry of an honest client is one too many."""
    live = fleet(own_server, activations_per_day=1)
    live.go_live("pod-1")
    live.revoke("close")
    with pytest.raises(HasteError, match="1 activations in the last 24 h, and 1 are allowed"):
        live.activate()
    assert judged(live).broken is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Activation, "_refuse_haste", lambda *_: None)
        live.activate(wait_s=1)
    assert not live.workers["pod-1"].ask("status")["allowed"]  # no heartbeat adopts it
    found = judged(live).broken
    assert found is not None
    assert found.rule == "V11"
    assert "1 are allowed" in found.message


def test_the_receipts_of_a_stop_hold_the_ledger_to_what_heartbeats_had_seen(
    fleet: MakeFleet, own_server: EmbeddedServer
) -> None:
    live = fleet(own_server)
    spare = _noted(live)
    live.go_live("pod-1")
    live.halt()
    live.revoke("close")
    with Operator(live.config) as operator:
        store, trust = operator.store, operator.trust
        keysets = Keysets.of([trust.keyset], trust.namespace, trust.environment)
        names = recent_directives(store, clock.wall_ms())
        assert len(names) == 2
        assert recent_directives(store, clock.wall_ms() + 3 * RECEIPTS_MS) == []
        raws = [raw for name in names for raw in kept_receipts(store, name)]
        heads = claimed_heads(raws, keysets)
        entries = [entry for page in store.ledger() for entry in page]
    assert heads  # a heartbeat says in its receipt what it had seen
    assert heads.keys() <= {entry.head for entry in entries}
    assert judged(live).broken is None
    # An entry that nothing names is taken out, and every head computed anew: only receipts remember.
    put(live.raw, chained([entry for entry in entries if entry.envelope != spare]))
    found = judged(live).broken
    assert found is not None
    assert found.rule == "V12"
    assert "by the word of heartbeat hb-1, in its receipt for directive" in found.message


def _noted(live: Fleet) -> bytes:
    """Write a note that no other entry needs; returns its envelope."""
    live.write_keyset()
    with Operator(live.config) as operator:
        signer = live.config.signer("heartbeat", operator.trust.keyset, name="hb-1")
        heading = operator.trust.heading("hb-1", clock.wall_ms())
        raw = seal(Note(**heading, topic="goodbye", text="as told", facts={}), signer)
        append(operator.store, raw)
    return raw
