"""No value prints a secret: not by repr or str, not to rich, and not in the message of an error."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import traceback
from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.pretty import pretty_repr

import golive_cli
import golive_redis
from golive_redis import config as configuration
from golive_redis.checks import ask
from golive_redis.checks.parallel import Work
from golive_redis.checks.question import Question
from golive_redis.checks.source import Surroundings
from golive_redis.checks.sources.http import Reply
from golive_redis.config import Config
from golive_redis.config.auditing import WitnessSettings
from golive_redis.config.keyfile import to_pem
from golive_redis.config.policy import Policy, StoreSettings
from golive_redis.errors import GoliveError
from golive_redis.guard.guard import Guard
from golive_redis.heartbeat.daemon import Heartbeat
from golive_redis.heartbeat.triggers import _pinned
from golive_redis.masking import MASK, Masked, without_login, without_password
from golive_redis.operator.logins import Login
from golive_redis.operator.session import Operator
from golive_redis.records.logpolicy import TrustedLog, TrustedWitness
from golive_redis.records.signednote import KeyType, VerifierKey
from golive_redis.signers import program
from golive_redis.stop.revoke import Revoke
from golive_redis.store import locate
from golive_redis.store.acl import Role
from golive_redis.store.connect import Address
from golive_redis.store.place import read_place
from golive_redis.testing import Signers
from golive_redis.testing.server import EmbeddedServer

MARK = "Xyzzy0Plugh"
VERIFIER = VerifierKey("a.log", KeyType.ED25519, bytes(32))
SECRET = re.compile(
    r"password|passphrase|secret|token|credential|bearer|\bpem\b|environ\b|private|login|headers"
    r"|(^|_)key$|(^|_)url$|argv|arguments",
    re.IGNORECASE,
)
# What is called like a secret and is none. A field that is not here has to be masked.
HARMLESS = {
    "Address.key": "the path of a file",
    "DevResult.url": "of a server without a password",
    "HttpSource.bearer_env": "the name of a variable",
    "InitResult.url": "as the file has it, which is refused with a password",
    "KeysListResult.private": "the paths of files and what is wrong with them",
    "KeysNewResult.key": "the path of a file and a public key",
    "Made.private": "an object of cryptography, which shows nothing",
    "PrometheusSource.bearer_env": "the name of a variable",
    "RedisSource.key": "the name of a key in Redis",
    "SentinelSettings.password_env": "the name of a variable",
    "StoreSettings.password_env": "the name of a variable",
    "TlsSettings.key": "the path of a file",
}


def modules() -> Iterator[Any]:
    for package in (golive_redis, golive_cli):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not info.name.endswith("__main__"):
                yield importlib.import_module(info.name)


@pytest.fixture(scope="module")
def classes() -> dict[str, type]:
    """Every class of ours by its name; also the private ones, whose values reach tracebacks, too."""
    found = {}
    for module in modules():
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == module.__name__:
                found[f"{kind.__module__}.{name}"] = kind
    return found


def fields(kind: type) -> list[str]:
    """The fields that the repr of a struct, a dataclass or a named tuple shows."""
    for attribute in ("__struct_fields__", "__dataclass_fields__"):
        if hasattr(kind, attribute):
            return list(getattr(kind, attribute))
    return list(getattr(kind, "_fields", ())) if issubclass(kind, tuple) else []


def test_the_walk_sees_every_room(classes: dict[str, type]) -> None:
    assert len(classes) > 150
    assert {"Address", "Config", "Question", "Grant", "Permit", "KeyFile"} <= {
        kind.__name__ for kind in classes.values()
    }


def test_a_field_that_is_called_like_a_secret_is_masked(classes: dict[str, type]) -> None:
    bare, known = set(), set()
    for kind in classes.values():
        masked = kind.MASKED | kind.URLS if issubclass(kind, Masked) else frozenset()
        for name in fields(kind):
            if SECRET.search(name) and name not in masked:
                place = f"{kind.__name__}.{name}"
                (known if place in HARMLESS else bare).add(place)
    assert not bare, "derive from golive_redis.masking.Masked, or say in HARMLESS why not"
    assert known == set(HARMLESS)


def test_masks_name_fields_that_exist(classes: dict[str, type]) -> None:
    for kind in classes.values():
        if issubclass(kind, Masked):
            assert set(fields(kind)) >= kind.MASKED | kind.URLS, kind


def test_nothing_but_the_mask_and_an_expectation_writes_its_own_repr(
    classes: dict[str, type],
) -> None:
    own = {
        kind.__name__
        for kind in classes.values()
        for name in ("__repr__", "__str__", "__format__", "__rich__", "__rich_console__")
        if name in vars(kind)
        # What dataclasses and named tuples get is generated, and `fields` sees what it shows.
        and getattr(vars(kind)[name], "__module__", kind.__module__) == kind.__module__
        and not hasattr(kind, "__dataclass_fields__")
        and not issubclass(kind, tuple | Enum)
    }
    assert own <= {"Masked", "Expectation", "FindingLines"}


# -- values with a secret in them --------------------------------------------------------------------

URL = f"redis://alice:{MARK}@127.0.0.1:1/0"
SOURCES: dict[str, dict[str, Any]] = {
    "http": {"url": f"https://bob:{MARK}@host/a?sig={MARK}", "bearer_env": "TOKEN"},
    "redis": {"key": "x", "url": URL},
    "prometheus": {"url": f"https://bob:{MARK}@host", "query": "up"},
    "sql": {"url": f"postgresql://bob:{MARK}@host/db", "query": "SELECT 1"},
    "command": {"argv": ["check", f"--token={MARK}"]},
    "python": {"name": "own", "arguments": {"token": MARK}},
}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A configuration with secrets wherever it can have one; its key's PEM is the environment's."""
    signers = Signers()
    pem = to_pem(signers.signers["rita"]._private, MARK).decode()
    limits = {
        "currency": "USD",
        "max_order_notional": "25",
        "max_position_notional": "100",
        "max_daily_loss": "50",
        "max_orders_per_minute": 600,
    }
    file = {
        "environment": "test",
        "profiles": {"micro": limits},
        "store": {"password_env": "STORE", "sentinel": {"password_env": "SENTINEL"}},
        "keys": {"revoker": "rita.pem"},
        "checks": {"own": {"command": SOURCES["command"], "equals": 0}},
        "triggers": {"t": {"check": "own", "every": "5s", "then": "revoke"}},
    }
    (tmp_path / "go_live.yaml").write_text(json.dumps(file))  # JSON is YAML, too
    (tmp_path / "keyset.yaml").write_text(json.dumps(signers.keyset_file))
    (tmp_path / "rita.pem").write_text(pem)
    (tmp_path / "rita.pem").chmod(0o600)
    environ = {
        "GOLIVE_REDIS_URL": URL,
        "STORE": MARK,
        "SENTINEL": MARK,
        "TOKEN": MARK,
        "GOLIVE_KEY": pem,
        "GOLIVE_KEY_PASSPHRASE": MARK,
    }
    return configuration.load(tmp_path / "go_live.yaml", environ=environ)


@pytest.fixture
def guard(config: Config) -> Iterator[Guard]:
    signers, timing = Signers(), config.policy.timers
    trust, signer, address = signers.trust, signers.signers["pod-1"], config.address()
    with Guard(
        worker="pod-1", labels=None, trust=trust, timing=timing, signer=signer, address=address
    ) as guard:
        yield guard


def holders(config: Config, guard: Guard) -> list[Any]:
    """Values that hold a secret, or something that holds one."""
    signers, address = Signers(), config.address()
    signer, trust = signers.signers["hb-1"], signers.trust
    where = Surroundings.of(config)
    questions = [
        msgspec.convert({kind: source, "at_least": 0}, Question) for kind, source in SOURCES.items()
    ]
    seeds = read_place(f"redis+sentinel://a:{MARK}@one,two/service")
    timing = config.policy.timers
    return [
        config,
        config.policy,
        config.policy.store,
        _pinned(config, config.keyset()),
        address,
        address.link(timeout_ms=1),
        seeds,
        locate.Finder(seeds, "golive", {"password": MARK}, tls=False),
        config.signer("operator", config.keyset()),
        config._source("operator"),
        program.parse(f"alice:sign --token={MARK}"),
        where,
        *questions,
        *(question.source for question in questions),
        ask.check("own", questions, where),
        Work("own", partial(ask.finding, "own", questions, where), 1.0),
        Reply(200, {"Set-Cookie": MARK}, MARK.encode(), 1.0, 1.0),  # type: ignore[arg-type]
        Operator(config),
        Login(Role.WORKER, "golive-worker", MARK),
        Revoke(config, reason="test"),
        Heartbeat(
            name="hb-1", trust=trust, timing=timing, signer=signer, address=address, state_dir=None
        ),
        guard,
        EmbeddedServer(options={"requirepass": MARK}),
        signers,
        TrustedLog(VERIFIER, f"https://alice:{MARK}@host"),
        TrustedWitness("w1", VERIFIER, f"https://alice:{MARK}@host"),
        WitnessSettings(vkey=VERIFIER.text, url=f"https://alice:{MARK}@host"),
    ]


def test_what_holds_a_secret_does_not_print_it(
    config: Config, guard: Guard, classes: dict[str, type]
) -> None:
    pem = config.environ["GOLIVE_KEY"].split()
    secrets = [MARK, *(line for line in pem if len(line) > 20)]
    assert len(secrets) > 1
    found = holders(config, guard)
    for value in found:
        ways = [repr(value), str(value), f"{value}", pretty_repr(value), repr([value])]
        shown = [secret for secret in secrets for text in ways if secret in text]
        assert not shown, type(value)
    lacking = {
        kind.__name__
        for kind in classes.values()
        if issubclass(kind, Masked)
        and kind is not Masked
        and not any(type(v) is kind for v in found)
    }
    assert not lacking, "give `holders` one of these"


def test_a_mask_hides_the_secret_and_nothing_else(config: Config) -> None:
    assert repr(Address(f"redis://alice:{MARK}@host", "bob", MARK)) == (
        "Address(url='redis://host', username='bob', password='***', ca=None, cert=None, "
        "key=None, namespace='golive', sentinel_username=None, sentinel_password=None, "
        "sentinel_tls=False, addresses=None, said_in='store.url', functions=False, default_user=True)"
    )
    assert "password=None" in repr(Address("redis://host"))
    assert f"environ={MASK!r}" in repr(config)
    assert "namespace='golive'" in repr(config)
    assert "url='redis://127.0.0.1:6379/0'" in repr(StoreSettings())
    assert "checks={}" in repr(msgspec.structs.replace(config.policy, checks={}))


@pytest.mark.parametrize(
    ("url", "without", "named"),
    [
        ("redis://host:6379/0", "redis://host:6379/0", "redis://host:6379/0"),
        (f"redis://:{MARK}@host", "redis://host", "redis://:***@host"),
        (f"redis://al:{MARK}@host", "redis://host", "redis://al:***@host"),
        (f"redis://al:{MARK}@host/0?x={MARK}", "redis://host/0?...", "redis://al:***@host/0?..."),
        (f"redis://al:a@{MARK}@host", "redis://host", "redis://al:***@host"),
        (f"redis://al:a/{MARK}@host", "redis://***", "redis://***"),
        (f"redis://al:{MARK}/a@host", "redis://***", "redis://***"),
        (f"redis://al:{MARK}?a@host", "redis://***", "redis://***"),
        (f"redis://host?password={MARK}@a", "redis://***", "redis://***"),
        (f"redis://al:a#{MARK}@host", "redis://***", "redis://***"),
        (f"redis://:{MARK}:6379/0", "redis://***", "redis://***"),
        (f"redis://al:{MARK}", "redis://***", "redis://***"),
        (f"redis+cluster://a:1,al:{MARK}", "redis+cluster://***", "redis+cluster://***"),
        (f"https://al:a#{MARK}@host", "https://***", "https://***"),
        (f"https://host/#access_token={MARK}", "https://host/", "https://host/"),
        (f"https://al:{MARK}/a@host", "https://***", "https://***"),
        ("https://host:8443/@scope/a", "https://host:8443/@scope/a", "https://host:8443/@scope/a"),
        ("https://[::1]:80/@a", "https://[::1]:80/@a", "https://[::1]:80/@a"),
        (f"redis+cluster://al:{MARK}@a:1,b:2", "redis+cluster://a:1,b:2", None),
        ("unix:///run/redis.sock", "unix:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_a_url_loses_its_password_even_where_nobody_escaped_it(
    url: str, without: str, named: str | None
) -> None:
    assert without_login(url) == without
    if named is not None:
        assert without_password(url) == named
    assert MARK not in without_login(url) + without_password(url)


# -- errors ------------------------------------------------------------------------------------------


def fails(config: Config) -> dict[str, Callable[[], object]]:
    """What goes wrong beside a secret."""
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    pem = config.environ["GOLIVE_KEY"]
    ours = config.keyset()

    def changed(**environ: str) -> Config:
        return msgspec.structs.replace(config, environ={**config.environ, **environ})

    def question(**source: Any) -> object:
        asked = msgspec.convert({**source, "at_least": 0}, Question)
        return ask.ask(asked, Surroundings.of(config))

    return {
        "a port": lambda: Address(f"redis://al:{MARK}/b@host").link(timeout_ms=1),
        "a sentinel's": lambda: Address(f"redis+sentinel://a:{MARK}/b@h/s").link(timeout_ms=1),
        "a cluster's": lambda: Address(f"redis+cluster://a:{MARK}/b@h").link(timeout_ms=1),
        "a fragment": lambda: Address(f"redis://al:{MARK}#b@host").link(timeout_ms=1),
        "no host": lambda: Address(f"redis://:{MARK}:6379/0").link(timeout_ms=1),
        "a web port": lambda: question(http={"url": f"https://al:{MARK}#b@host/"}),
        "a scheme": lambda: Address(f"http://al:{MARK}@host").link(timeout_ms=1),
        "nobody there": lambda: config.address().link(timeout_ms=50).open(),
        "no PEM": lambda: changed(GOLIVE_KEY=MARK).signer("operator", ours),
        "cut short": lambda: changed(GOLIVE_KEY=pem[:90] + MARK).signer("operator", ours),
        "wrong passphrase": lambda: changed(GOLIVE_KEY_PASSPHRASE=f"{MARK}2").signer(
            "operator", ours
        ),
        "needless passphrase": lambda: changed(GOLIVE_KEY=to_pem(other).decode()).signer(
            "operator", ours
        ),
        "wrong passphrase of its own": lambda: changed(
            GOLIVE_KEY_PASSPHRASE_RITA=f"{MARK}2", GOLIVE_KEY_PASSPHRASE=f"{MARK}3"
        ).signer("operator", ours),
        "a program's argument": lambda: config.signer_from(
            f"exec:rita:/absent --token={MARK}", ours
        ).sign(b"m", 1.0),
        "a program that is none": lambda: config.signer_from(f"exec:rita:'{MARK}", ours),
        "a PIN in a setting": lambda: config.signer_from(
            f"pkcs11:token=a?pin-value={MARK}&module-path=/x", ours
        ),
        "a web page": lambda: question(http={"url": f"http://al:{MARK}/b@127.0.0.1"}),
        "a web page's path": lambda: question(http={"url": f"http://a:{MARK}@127.0.0.1:1/?{MARK}"}),
        "another Redis": lambda: question(redis={"key": "x", "url": f"redis://a:{MARK}@h:x"}),
        "Prometheus": lambda: question(
            prometheus={"url": f"http://a:{MARK}@127.0.0.1:1", "query": "up"}
        ),
    }


NAMES = [
    "a port",
    "a sentinel's",
    "a cluster's",
    "a fragment",
    "no host",
    "a web port",
    "a scheme",
    "nobody there",
    "no PEM",
    "cut short",
    "wrong passphrase",
    "needless passphrase",
    "wrong passphrase of its own",
    "a program's argument",
    "a program that is none",
    "a PIN in a setting",
    "a web page",
    "a web page's path",
    "another Redis",
    "Prometheus",
]


@pytest.mark.parametrize("name", NAMES)
def test_an_error_and_what_caused_it_name_no_secret(name: str, config: Config) -> None:
    failing = fails(config)
    assert set(failing) == set(NAMES)
    with pytest.raises(GoliveError) as caught:
        failing[name]()
    # The whole chain, with every cause and note, as a traceback prints it.
    text = "".join(traceback.format_exception(caught.value))
    assert MARK not in text
    assert not any(line in text for line in config.environ["GOLIVE_KEY"].split() if len(line) > 20)


def test_a_refused_login_names_no_password() -> None:
    with EmbeddedServer(options={"requirepass": f"not-{MARK}"}) as server:
        link = Address(server.url, password=MARK).link(timeout_ms=2_000)
        with pytest.raises(GoliveError) as caught:
            link.open()
        link.close()
        assert MARK not in "".join(traceback.format_exception(caught.value)) + repr(server)


def test_a_policy_is_masked_whatever_its_sections_hold(config: Config) -> None:
    assert isinstance(config.policy, Policy)
    assert MARK in str(msgspec.to_builtins(config.policy))  # it is there, and not shown
    assert MARK not in repr(config.policy)
