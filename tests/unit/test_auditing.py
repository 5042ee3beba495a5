"""The section `audit`: what follows from nothing, and what is refused with its line."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from golive_redis import config as configuration
from golive_redis.config.auditing import LogSettings
from golive_redis.core.timing import TIMINGS
from golive_redis.errors import ConfigError
from golive_redis.records.logpolicy import NONE, parse_policy
from golive_redis.records.signednote import KeyType, VerifierKey
from golive_redis.testing import Signers

BASE = yaml.safe_load((Path(__file__).parents[2] / "config" / "go_live.yaml").read_text())


def key(name: str, seed: str = "", kind: KeyType = KeyType.COSIGNATURE) -> VerifierKey:
    digest = hashlib.sha256((seed or name).encode()).digest()
    return VerifierKey(
        name, kind, Ed25519PrivateKey.from_private_bytes(digest).public_key().public_bytes_raw()
    )


def witness(name: str, **changes: str) -> dict[str, str]:
    return {"vkey": key(name).text, "url": f"https://{name}.example", **changes}


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def of(audit: Any = None, **changes: Any) -> configuration.Config:
        path = tmp_path / "go_live.yaml"
        value = {**BASE, "environment": "production", "namespace": "{golive}", **changes}
        value |= {} if audit is None else {"audit": audit}
        path.write_text(yaml.safe_dump(value, sort_keys=False))
        return configuration.load(path, environ={})

    return of


def test_without_a_section_there_is_a_log_and_no_witness(load: Any) -> None:
    settings = LogSettings.of(load())
    assert settings.origin == "production.invalid/golive"
    assert (settings.lag_ms, settings.every_ms) == (30_000, 60_000)
    assert (settings.witnesses, settings.quorum) == ((), 0)
    keyset = Signers().keyset
    policy = settings.policy([keyset, keyset])
    assert policy.quorum == NONE and parse_policy(policy.encode()) == policy
    assert {log.verifier.name for log in policy.logs} == {settings.origin}
    assert len(policy.logs) == 2  # hb-1 and hb-2


def test_a_quorum_counts_witnesses_and_is_all_of_them_where_nothing_is_said(load: Any) -> None:
    two = [witness("compliance"), witness("backup")]
    keyset = Signers().keyset
    policy = LogSettings.of(load({"witnesses": two})).policy([keyset])
    assert not policy.met({"compliance"}) and policy.met({"compliance", "backup"})
    policy = LogSettings.of(load({"witnesses": two, "quorum": 1})).policy([keyset])
    assert policy.met({"backup"}) and not policy.met(set())
    assert parse_policy(policy.encode()) == policy


def test_the_lag_follows_the_longest_failover(load: Any) -> None:
    """What a failover may lose is in no checkpoint, whatever the timers are."""
    timing = msgspec.to_builtins(TIMINGS["standard"]) | {"failover_ms": 60_000, "ttl_ms": 120_000}
    assert LogSettings.of(load(timing=timing)).lag_ms == 180_000


def test_it_does_not_change_the_digest_by_which_hosts_are_compared(load: Any) -> None:
    assert load({"witnesses": [witness("w")]}).policy_digest == load().policy_digest


WRONG = [
    ({"orign": "x"}, "unknown key 'orign'"),
    ({"origin": "two words"}, "audit.origin: 'two words' is no name of a key"),
    ({"origin": "a+b"}, "audit.origin"),
    ({"checkpoint_lag": "10s"}, "audit.checkpoint_lag: 10s is not more than timing.failover_ms"),
    ({"checkpoint_every": "0s"}, "audit.checkpoint_every"),
    ({"witnesses": [{"vkey": "x", "url": "http://h"}]}, "audit.witnesses[0].vkey"),
    ({"witnesses": [witness("w"), witness("w")]}, "audit.witnesses[1].vkey: w is listed already"),
    ({"witnesses": [witness("w", vkey=key("v", "w").text), witness("w")]}, "listed already"),
    ({"witnesses": [witness("w", vkey=key("w", kind=KeyType.ED25519).text)]}, "not 0x04"),
    ({"witnesses": [witness("witnesses")]}, "cannot be called witnesses"),
    ({"witnesses": [witness("w")], "quorum": 2}, "audit.quorum: 2 of 1 witnesses can never be met"),
    ({"quorum": 1}, "audit.quorum: 1 of 0 witnesses"),
    ([], "audit: Expected `object`"),
]


@pytest.mark.parametrize(("audit", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_mistake_is_refused_with_its_line_and_a_stop_still_loads_the_file(
    load: Any, audit: Any, said: str
) -> None:
    config = load(audit)
    with pytest.raises(ConfigError) as refused:
        LogSettings.of(config)
    assert said in refused.value.message
    path, line, _ = refused.value.message.split(":", 2)
    begins = config.path.read_text().splitlines().index("audit:" if audit else "audit: []")
    assert path == str(config.path) and int(line) > begins
