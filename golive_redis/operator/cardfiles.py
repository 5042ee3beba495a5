"""The files of a stop card: `card.txt` for people, `card.redis` for redis-cli or a bare connection.

They hold no password, and nothing that could start anything. They go where a card goes: onto a phone,
onto paper, into a safe.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from golive_redis.audit.words import utc
from golive_redis.errors import ConfigError, RefusedError
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import Verified
from golive_redis.statefile import write_durably
from golive_redis.store import cards
from golive_redis.store.acl import Role, user_name
from golive_redis.store.connect import Address
from golive_redis.store.place import CLUSTER, SENTINEL, UNIX

COMMANDS = "card.redis"
WORDS = "card.txt"


def write(folder: Path, address: Address, item: Verified[Revocation], holder: str) -> list[Path]:
    """Write a card into a new folder that only its owner can read.

    Raises:
        ConfigError: It cannot be written, or the folder has something in it.
    """
    files = {
        WORDS: words(address, item, holder),
        COMMANDS: cards.lines(address.keyspace, item),
    }
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in files.items():
            write_durably(folder / name, text.encode())
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror or error}") from error
    return [folder / name for name in files]


def require_new(folder: Path) -> None:
    """Refuse a folder that has something in it: another card, perhaps.

    Raises:
        RefusedError: It has.
        ConfigError: It cannot be looked into.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RefusedError(f"{folder} exists, and is not empty", hint="name another with --out")
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror or error}") from error


def words(address: Address, item: Verified[Revocation], holder: str) -> str:
    """Return `card.txt`."""
    record = item.record
    until = utc(int(record.before_ms))[:16]
    return f"""\
STOP CARD for {holder}
{record.environment} ({record.namespace}), card {item.identity[:8]}, signed by {record.by}

It stops all trading of this fleet. It covers terms up to {record.epoch} that began before {until} UTC.
It can only stop. It holds no password. {_login(address)}

1. With redis-cli, in the folder of this card:

   {with_redis_cli(address)}

   It ends with "errors: 0": trading is off. To see the answer play it again without --pipe:
   OK or SAME, the key is gone, and this stop or a later one is recorded.

2. Without redis-cli:

   {with_python(address)}

These errors mean:
  GONE    the key is gone, and Redis could not record the stop: call somebody with a key
  FLEET   nothing happened: this Redis belongs to another fleet
Any other error is no stop. READONLY: that is a replica, take the primary.
This stops, too, without a record:

   {_cli(address)} {_database(address)}DEL {address.keyspace.active}

Afterwards somebody with a key runs `golive revoke --reason ...`, which says who has stopped.
"""


def with_redis_cli(address: Address) -> str:
    """Return the command that plays the card in this folder."""
    # Without --pipe it first asks for the help of every command: 6 ms more until the first one is sent.
    return f"{_cli(address)} --pipe < {COMMANDS}"


def with_python(address: Address) -> str:
    """Return one line of Python that plays it, with what is in Python alone."""
    found, (host, port) = address.place(), _where(address)
    connect = f"c=s.create_connection(({host!r},{port}),5)"
    if found.scheme == UNIX:
        connect = f"c=s.socket(s.AF_UNIX);c.connect({found.path!r})"
    if found.tls:
        ca = f"cafile={address.ca!r}" if address.ca else ""
        connect += f";x=ssl.create_default_context({ca})"
        if address.cert:
            connect += f";x.load_cert_chain({address.cert!r},{address.key!r})"
        connect += f";c=x.wrap_socket(c,server_hostname={host!r})"
    user = _user(address)
    login = f'b"AUTH {user} "+os.environb[b"REDISCLI_AUTH"]+b"\\n"+' if user else ""
    code = (
        f"import os,ssl,time,socket as s;{connect};"
        f'c.sendall({login}open("{COMMANDS}","rb").read());time.sleep(1);print(c.recv(65536).decode())'
    )
    return f"python3 -c {shlex.quote(code)}"


def _user(address: Address) -> str:
    """Return who logs in to play it; "" where nobody has to."""
    found = address.place()
    if address.username or found.username:
        return user_name(Role.CARD)
    return "default" if address.password or found.password else ""


def _login(address: Address) -> str:
    user = _user(address)
    return f"Set REDISCLI_AUTH to the password of the Redis user {user}." if user else ""


def _where(address: Address) -> tuple[str, int]:
    """Return host and port of the server; of one that Sentinels find, words in their place."""
    found = address.place()
    if found.scheme == SENTINEL:
        return f"PRIMARY-OF-{found.service}", 6379
    return found.nodes[0] if found.nodes else ("", 0)


def _database(address: Address) -> str:
    return f"-n {address.keyspace.db} " if address.keyspace.db else ""


def _cli(address: Address) -> str:
    found, (host, port) = address.place(), _where(address)
    unix = found.scheme == UNIX
    parts = ["redis-cli", *(["-s", found.path] if unix else ["-h", host, "-p", str(port)])]
    parts += ["--user", user] if (user := _user(address)) else []
    parts += ["--tls"] if found.tls else []
    for option, file in (
        ("--cacert", address.ca),
        ("--cert", address.cert),
        ("--key", address.key),
    ):
        parts += [option, file] if found.tls and file else []
    parts += ["-c"] if found.scheme == CLUSTER else []
    return shlex.join(parts)
