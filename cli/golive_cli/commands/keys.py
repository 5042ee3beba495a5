"""`golive keys`: make, list and show signing keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli.exits import UsageError
from golive_cli.options import AsJson, ConfigFile
from golive_cli.output import Output, Painted
from golive_cli.results import (
    KeyFile,
    KeysListResult,
    KeysNewResult,
    KeysShowResult,
    Principal,
    PrivateKey,
    PublicKey,
)
from golive_redis.errors import ConfigError, RefusedError
from golive_redis.records.keyset import Keyset, Role, encode_public, key_id, raw_of

if TYPE_CHECKING:
    from golive_redis.config import Config

SETTINGS = ("operator", "heartbeat", "revoker", "worker")
SHORT = 12

app = typer.Typer(rich_markup_mode=None, help="Make, list and show signing keys.")


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The principal whose key it is.")],
    *,
    roles: Annotated[
        list[Role], typer.Option("--role", help="What it may sign; may be given repeatedly.")
    ],
    out_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Else keys/NAME.pem beside the configuration."),
    ] = None,
    shared: Annotated[
        bool,
        typer.Option("--shared", help="For role worker: it answers for workers without a key."),
    ] = False,
    add: Annotated[
        bool, typer.Option("--add", help="Add the principal to the keyset file.")
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print the lines that the keyset needs.

    The key gets the passphrase in $GOLIVE_KEY_PASSPHRASE, if there is one.
    """
    from golive_cli import yamltext
    from golive_cli.commands.init import NAME
    from golive_redis.config import keyfile

    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name", hint="letters, digits, dot, dash and underscore; at most 64"
        )
    if shared and Role.WORKER not in roles:
        raise UsageError("--shared is for the role worker", hint="add --role worker")
    setup = _load(config, needed=add)
    path = out_file or _default_file(name, setup)
    private = keyfile.generate()
    public = encode_public(private.public_key())
    held = [str(role) for role in dict.fromkeys(roles)]
    keyset = setup.resolve(setup.policy.keys.keyset) if setup and add else None
    text = _with(keyset, setup, name, held, public, shared) if keyset and setup else ""
    keyfile.write(path, private, os.environ.get(keyfile.PASSPHRASE_VARIABLE))
    if keyset:
        try:
            _replace(keyset, text)
        except ConfigError:
            path.unlink()
            raise
    lines = yamltext.principal(name, held, public, shared=shared)
    described = KeyFile(name, held, str(path), key_id(raw_of(private.public_key())), public)
    out = Output(as_json=as_json)
    out.result(KeysNewResult(described, str(keyset) if keyset else None, lines))
    out.line(f"Wrote {path} (mode 0600), key {described.keyid[:SHORT]}")
    if keyset:
        out.line(
            f"Added {name} to {keyset}; copy that file to every host, then reload the "
            "heartbeats (SIGHUP) and restart the workers"
        )
    else:
        out.line("Add this under `principals:` in the keyset of every host:")
        for line in lines:
            out.line(line)


@app.command("list")
def list_(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show the trusted principals, and which private keys are here."""
    from golive_redis.config import config as configuration

    setup = configuration.load(config)
    keyset = setup.keyset()
    path = setup.resolve(setup.policy.keys.keyset)
    result = KeysListResult(
        keyset=str(path),
        version=keyset.version,
        fleet=keyset.fleet,
        thresholds={str(role): keyset.threshold(role) for role in Role},
        principals=_principals(keyset),
        private=[item for setting in SETTINGS for item in _private(setup, keyset, setting)],
    )
    out = Output(as_json=as_json)
    out.result(result)
    out.line(f"{path}, version {keyset.version}, fleet {keyset.fleet}")
    needed = keyset.threshold(Role.APPROVER)
    out.line(f"turning on takes {needed} approver{'s' if needed > 1 else ''}; stopping takes one")
    out.line()
    here = {item.keyid: item.setting for item in result.private if item.keyid}
    out.table(
        ["principal", "roles", "keyid", "private"],
        [
            [who.name, ", ".join(who.roles), key.keyid[:SHORT], here.get(key.keyid, "")]
            for who in result.principals
            for key in who.keys
        ],
    )
    for item in result.private:
        if item.problem:
            out.line(Painted(f"keys.{item.setting}: {item.problem}", "yellow"))


@app.command("show")
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A private key in PEM.")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the public half of a private key, and whose it is."""
    from golive_redis.config import keyfile

    public = keyfile.read(file, os.environ).public_key()
    setup = _load(config, needed=False)
    trusted = setup.keyset().keys.get(key_id(raw_of(public))) if setup else None
    result = KeysShowResult(
        file=str(file),
        keyid=key_id(raw_of(public)),
        public=encode_public(public),
        principal=trusted.principal if trusted else None,
        roles=sorted(trusted.roles) if trusted else [],
    )
    out = Output(as_json=as_json)
    out.result(result)
    out.line(f"public     {result.public}")
    out.line(f"key id     {result.keyid}")
    if trusted:
        out.line(f"principal  {trusted.principal} ({', '.join(result.roles)})")
    else:
        out.line("principal  none: ", "no configuration here" if not setup else "not in the keyset")


def _load(path: Path | None, *, needed: bool) -> Config | None:
    """Load the configuration; None where none was named and none is in the usual place.

    An approver makes a key on a machine of their own, which has no configuration.
    """
    from golive_redis.config import config as configuration

    asked = path is not None or "GOLIVE_CONFIG" in os.environ or needed
    if not asked and not os.path.lexists(configuration.DEFAULT_PATH):
        return None
    return configuration.load(path)


def _default_file(name: str, setup: Config | None) -> Path:
    return setup.path.parent / "keys" / f"{name}.pem" if setup else Path(f"{name}.pem")


def _with(path: Path, setup: Config, name: str, roles: list[str], public: str, shared: bool) -> str:
    """Return the keyset file's text with one more principal, checked as a keyset."""
    import yaml

    from golive_cli.yamltext import add_principal
    from golive_redis.records.keyset import parse_keyset

    if name in {key.principal for key in setup.keyset().keys.values()}:
        raise RefusedError(
            f"{path} has a principal {name} already; nothing was written",
            hint="leave out --add to make a second key, and paste its line under the first",
        )
    text = add_principal(path.read_text("utf-8"), name, roles, public, shared=shared)
    parse_keyset(yaml.safe_load(text))
    return text


def _replace(path: Path, text: str) -> None:
    """Replace a file whole or not at all, keeping its mode."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        mode = path.stat().st_mode & 0o777
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigError(f"{path}: {error.strerror}; nothing was written") from error


def _principals(keyset: Keyset) -> list[Principal]:
    found: dict[str, Principal] = {}
    for key in keyset.keys.values():
        who = found.setdefault(key.principal, Principal(key.principal, sorted(key.roles), []))
        who.keys.append(PublicKey(key.keyid, encode_public(key.public)))
    return [found[name] for name in sorted(found)]


def _private(setup: Config, keyset: Keyset, setting: str) -> list[PrivateKey]:
    """Look at the key files of one setting; a host has only its own, so a missing one is usual."""
    pattern: str | None = getattr(setup.policy.keys, setting)
    if pattern is None:
        return []
    if "{name}" not in pattern:
        return [_look(setup, keyset, setting, setup.resolve(pattern))]
    role = Role.HEARTBEAT if setting == "heartbeat" else Role.WORKER
    files = [setup.resolve(pattern.replace("{name}", name)) for name in keyset.principals(role)]
    return [_look(setup, keyset, setting, file) for file in files if os.path.lexists(file)]


def _look(setup: Config, keyset: Keyset, setting: str, path: Path) -> PrivateKey:
    try:
        signer = setup.signer_from(path, keyset)
    except ConfigError as error:
        return PrivateKey(setting, str(path), None, None, error.message)
    return PrivateKey(setting, str(path), key_id(raw_of(signer.public)), signer.principal, None)
