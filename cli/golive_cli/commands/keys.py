"""`golive keys`: make, list and show signing keys."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli.commands import keypublish
from golive_cli.commands import keyset as keyset_commands
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
    ShownKey,
)
from golive_redis.errors import ConfigError, RefusedError
from golive_redis.masking import printable
from golive_redis.records.keyset import (
    SSH_ALGORITHM,
    Keyset,
    Role,
    decode_public,
    encode_public,
    key_id,
    raw_of,
)

if TYPE_CHECKING:
    from golive_redis.config import Config

SETTINGS = ("operator", "heartbeat", "revoker", "worker")
SHORT = 12
MAX_PUBLIC_BYTES = 4096

app = typer.Typer(
    rich_markup_mode=None, help="Make, list and show signing keys; sign the next keyset."
)
app.command("draft")(keyset_commands.draft)
app.command("sign")(keyset_commands.sign)
app.command("take")(keyset_commands.take)
app.command("publish")(keypublish.publish)
app.command("status")(keypublish.status)
app.command("rotate")(keypublish.rotate)
app.command("remove")(keypublish.remove)


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The principal whose key it is.")],
    *,
    roles: Annotated[
        list[Role], typer.Option("--role", help="What it may sign; may be given repeatedly.")
    ],
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Else keys/NAME.pem beside the configuration, or NAME.pem without one.",
        ),
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

    The key gets the passphrase in $GOLIVE_KEY_PASSPHRASE_NAME, or the one
    in $GOLIVE_KEY_PASSPHRASE, if there is one.
    """
    from golive_cli import yamltext
    from golive_cli.commands.init import NAME
    from golive_redis.config import keyfile, passphrase

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
    keyfile.write(path, private, passphrase.of_new(os.environ, name))
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
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY", help="A key file, private or .pub; or agent:, or pkcs11: with its URI."
        ),
    ],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a public key as the keyset takes it, and whose it is.

    Asked for agent: it shows every Ed25519 key that ssh-agent holds.
    """
    setup = _load(config, needed=False)
    keyset = setup.keyset() if setup else None
    shown = [_shown(raw, label, keyset) for raw, label in _public_halves(key)]
    first, *more = shown
    out = Output(as_json=as_json)
    out.result(KeysShowResult(key, first.keyid, first.public, first.principal, first.roles, more))
    for item in shown:
        if item is not first:
            out.line()
        out.line(f"public     {item.public}")
        out.line(f"key id     {item.keyid}")
        if item.label:
            out.line(f"label      {printable(item.label)}")
        if item.principal is not None:
            out.line(f"principal  {item.principal} ({', '.join(item.roles)})")
        else:
            why = "no configuration here" if keyset is None else "not in the keyset"
            out.line("principal  none: ", why)


def _public_halves(key: str) -> list[tuple[bytes, str]]:
    """Return the public keys that a text means, each with the label that it has there."""
    from golive_redis.config import keyfile, signing

    scheme, rest = signing.scheme_of(key), key.partition(":")[2]
    if scheme == "agent":
        from golive_redis.signers import agent

        return agent.shown(rest, os.environ)
    if scheme == "pkcs11":
        from golive_redis.signers import hsm

        return hsm.shown(rest)
    if scheme == "exec":
        raise UsageError(
            "a program shows no public key",
            hint="its key store does; docs: golive keys show FILE.pub, or the page on keeping keys",
        )
    path = Path(key)
    if (public := _public_file(path)) is not None:
        return [(public, "")]
    private = keyfile.read(path, os.environ, ask=signing.on_terminal)
    return [(raw_of(private.public_key()), "")]


def _public_file(path: Path) -> bytes | None:
    """Return the key of a .pub file of OpenSSH; None where it is another file, or none."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_PUBLIC_BYTES).decode(errors="replace")
    except OSError:
        return None
    return decode_public(text.strip()) if text.startswith(SSH_ALGORITHM) else None


def _shown(raw: bytes, label: str, keyset: Keyset | None) -> ShownKey:
    trusted = keyset.keys.get(key_id(raw)) if keyset is not None else None
    return ShownKey(
        label=label,
        keyid=key_id(raw),
        public="ed25519:" + base64.b64encode(raw).decode(),
        principal=trusted.principal if trusted else None,
        roles=sorted(trusted.roles) if trusted else [],
    )


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
            hint="for a second key: leave out --add, add --out FILE, and paste its line under the first",
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
    """Look at the keys of one setting; a host has only its own, so a missing file is usual."""
    pattern: str | None = getattr(setup.policy.keys, setting)
    if pattern is None:
        return []
    if "{name}" not in pattern:
        return [_look(setup, keyset, setting, _in_full(setup, pattern))]
    role = Role.HEARTBEAT if setting == "heartbeat" else Role.WORKER
    keys = [_in_full(setup, pattern.replace("{name}", name)) for name in keyset.principals(role)]
    return [
        _look(setup, keyset, setting, key)
        for key in keys
        if not isinstance(key, Path) or os.path.lexists(key)
    ]


def _in_full(setup: Config, key: str) -> str | Path:
    """Return a key's file in full; what has a scheme stays as it is."""
    from golive_redis.config import signing

    try:
        return key if signing.scheme_of(key) else setup.resolve(key)
    except ConfigError:  # a scheme that there is not: said by whoever opens it
        return key


def _look(setup: Config, keyset: Keyset, setting: str, key: str | Path) -> PrivateKey:
    """Say whose key it is. Nobody is asked for a passphrase or a PIN: this is but a list."""
    try:
        signer = setup.signer_from(key, keyset, ask=None)
    except ConfigError as error:
        return PrivateKey(setting, str(key), None, None, error.message)
    return PrivateKey(setting, str(key), key_id(raw_of(signer.public)), signer.principal, None)
