"""`golive init`: a working setup in an empty folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from golive_cli.exits import UsageError
from golive_cli.options import AsJson
from golive_cli.output import Output, place
from golive_cli.results import InitResult, KeyFile
from golive_redis.config.yamlfile import in_full
from golive_redis.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from golive_redis.config import Config

NAME_OF_SCHEMA = "go_live.schema.json"
DEFAULT_URL = "redis://127.0.0.1:6379/0"
PRODUCTION = "production"
DATABASE = "check_database_redis"
# What an operator wants to know before real money moves.
CHECKS = (
    "check_health_endpoints",
    "check_risk_system",
    "check_exchange_connectivity",
    DATABASE,
    "check_observability",
    "check_stress_scenarios",
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def init(
    *,
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where to set up.")] = Path(),
    operator: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Who approves and revokes; else your login name."),
    ] = None,
    heartbeat: Annotated[str, typer.Option(metavar="NAME", help="The first heartbeat.")] = "hb-1",
    worker: Annotated[
        str, typer.Option(metavar="NAME", help="The principal that all workers share.")
    ] = "workers",
    environment: Annotated[
        str, typer.Option(metavar="NAME", help="Which environment the switch is for.")
    ] = "testnet",
    redis_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help=f"Where Redis is; else $GOLIVE_REDIS_URL, else {DEFAULT_URL}."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create configuration, keyset and keys. Overwrites nothing; activation stays disabled.

    Each private key gets the passphrase in $GOLIVE_KEY_PASSPHRASE_NAME, or
    the one in $GOLIVE_KEY_PASSPHRASE, if there is one.
    """
    names = Names(environment, operator or login_name(), heartbeat, worker)
    url, warning = _url(redis_url, os.environ.get("GOLIVE_REDIS_URL"))
    setup, made = create(folder, names, url, os.environ)
    out = Output(as_json=as_json)
    _tell(out, folder, setup, heartbeat, made)
    if warning:
        out.note(warning)


def _url(given: str | None, named: str | None) -> tuple[str, str]:
    """Return the URL for the file, and what to say where another one is used in this shell.

    Args:
        given: By the option.
        named: By $GOLIVE_REDIS_URL, which overrides the file wherever it is set.
    """
    url = given or without_password(named or DEFAULT_URL)
    if not named or url == named:
        return url, ""
    why = "" if given else "It holds a password, which the file must not. "
    return url, (
        f"warning: $GOLIVE_REDIS_URL is set and overrides store.url in this shell. {why}"
        f"The file says {url}"
    )


def without_password(url: str) -> str:
    """Return a URL without its login, if that has a password."""
    scheme, sign, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    login, _, nodes = authority.rpartition("@")
    return f"{scheme}{sign}{nodes}{slash}{path}" if ":" in login else url


class Names(NamedTuple):
    """What the parts of a setup are called."""

    environment: str
    operator: str
    heartbeat: str
    worker: str


class Made(NamedTuple):
    """A private key that was made."""

    private: Ed25519PrivateKey
    path: Path
    described: KeyFile


def create(
    folder: Path, names: Names, url: str, environ: Mapping[str, str] | None = None
) -> tuple[Config, list[Made]]:
    """Create configuration, keyset and keys, or nothing at all.

    Args:
        folder: Where to; made if it is not there.
        names: What its parts are called.
        url: Where Redis is.
        environ: May have passphrases for the private keys.

    Raises:
        UsageError: A name or the URL cannot be used.
        RefusedError: One of the files exists.
        ConfigError: A file cannot be written, or what was written cannot be used.
    """
    from golive_redis.config import keyfile, load, passphrase

    roles = {names.operator: "approver", names.heartbeat: "heartbeat", names.worker: "worker"}
    _check_names([*roles, names.environment])
    if len(roles) < 3:  # noqa: PLR2004  (the three lines above)
        raise UsageError("operator, heartbeat and worker need three different names")
    _check_url(url)
    config = folder / "config"
    made = [_make(name, role, config / "keys") for name, role in roles.items()]
    texts = {
        config / "keyset.yaml": keyset_text([item.described for item in made]),
        config / NAME_OF_SCHEMA: schema_text(),
        # Last: when the configuration is there, everything that it names is there.
        config / "go_live.yaml": config_text(names.environment, url, names.operator, names.worker),
    }
    _refuse_to_overwrite([*reversed(texts), *(item.path for item in made)])
    ignore = config / "keys" / ".gitignore"
    if not ignore.exists():
        texts = {ignore: "# Private keys never belong in a repository.\n*\n", **texts}
    with _all_or_nothing() as created:
        for item in made:
            _make_folder(item.path.parent, created)
            secret = passphrase.of_new(environ or {}, item.described.principal)
            keyfile.write(item.path, item.private, secret)
            created.append(item.path)
        for path, text in texts.items():
            with open(path, "x", encoding="utf-8", opener=_not_for_others) as file:
                created.append(path)
                file.write(text)
        # What is there can be used, or nothing stays there. A link connects only when used.
        setup = load(config / "go_live.yaml", environ={})
        setup.address().link(timeout_ms=1)
    return setup, made


def login_name() -> str:
    """Return the login name as a principal's name, or `operator` where there is none."""
    import getpass

    try:
        login = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user: usual in a container
        login = ""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", login).strip("._-")[:64] or "operator"


def config_text(environment: str, url: str, operator: str, worker: str) -> str:
    """Return the text of go_live.yaml."""
    from golive_cli.yamltext import render, scalar

    everything = environment == PRODUCTION
    # Elsewhere a name is asked for once somebody has filled it in; that of what is built in is now.
    marks = {name: "" if everything or name == DATABASE else "# " for name in CHECKS}
    return render(
        "go_live.yaml",
        environment=scalar(environment),
        advice="One that is named here and is not under\n# `checks` below refuses it."
        if everything
        else "Take the # away from each that you\n# have filled in under `checks` below.",
        required="\n".join(f"  {mark}- {name}" for name, mark in marks.items()),
        # Only real money needs a pause: elsewhere people try things out.
        cool_down="60s" if everything else "0s",
        namespace=scalar("{golive}" if url.startswith("redis+cluster://") else "golive"),
        url=scalar(url),
        operator=scalar(f"keys/{operator}.pem"),
        worker=scalar(f"keys/{worker}.pem"),
    )


def schema_text() -> str:
    """Return the text of the JSON Schema that editors complete and check the configuration with."""
    import json

    from golive_cli.schema import schema

    return json.dumps(schema(), indent=1) + "\n"


def keyset_text(principals: list[KeyFile], approvers: int = 1) -> str:
    """Return the text of keyset.yaml, for a fleet of its own."""
    import secrets

    from golive_cli.yamltext import principal, render

    lines = [
        line
        for item in principals
        # One key for all workers is where one begins (A6).
        for line in principal(
            item.principal, item.roles, item.public, shared="worker" in item.roles
        )
    ]
    return render(
        "keyset.yaml",
        fleet=secrets.token_hex(16),
        approvers=str(approvers),
        principals="\n".join(lines),
    )


def _check_names(names: list[str]) -> None:
    for name in names:
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is not a name",
                hint="letters, digits, dot, dash and underscore; at most 64, the first is a letter "
                "or digit",
            )


def _check_url(url: str) -> None:
    from urllib.parse import urlsplit

    try:
        password = urlsplit(url).password
    except ValueError:  # no URL at all; what is written is loaded, and that says so
        return
    if password:
        raise UsageError(
            "the URL holds a password, and the configuration must not",
            hint="leave it out, and name a variable under store.password_env afterwards",
        )


def _make(name: str, role: str, folder: Path) -> Made:
    from golive_redis.config import keyfile
    from golive_redis.records.keyset import encode_public, key_id, raw_of

    private = keyfile.generate()
    public, path = private.public_key(), folder / f"{name}.pem"
    keyid = key_id(raw_of(public))
    return Made(private, path, KeyFile(name, [role], str(path), keyid, encode_public(public)))


def _refuse_to_overwrite(paths: list[Path]) -> None:
    there = [path for path in paths if os.path.lexists(path)]
    if there:
        raise RefusedError(
            f"{in_full(there[0])} exists; nothing was written",
            hint="choose another folder with --dir, or move the old setup away",
        )


@contextmanager
def _all_or_nothing() -> Iterator[list[Path]]:
    """Yield a list of what was created; all of it goes away again when the block fails."""
    created: list[Path] = []
    try:
        yield created
    except BaseException as error:
        for path in reversed(created):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            where = in_full(Path(error.filename)) if error.filename else "the disk"
            raise ConfigError(f"{where}: {error.strerror}; nothing was written") from error
        raise


def _not_for_others(path: str, flags: int) -> int:
    # Whatever the umask: a keyset that others may write is refused.
    return os.open(path, flags, 0o644)


def _make_folder(folder: Path, created: list[Path]) -> None:
    for path in reversed([folder, *folder.parents]):
        if not path.is_dir():
            # Only the folder with the keys is closed to other users.
            path.mkdir(mode=0o700 if path == folder else 0o777)
            created.append(path)


def _tell(out: Output, folder: Path, setup: Config, heartbeat: str, made: list[Made]) -> None:
    config, policy = folder / "config", setup.policy
    out.result(
        InitResult(
            environment=policy.environment,
            namespace=policy.namespace,
            config=str(config / "go_live.yaml"),
            keyset=str(config / "keyset.yaml"),
            url=setup.url,
            keys=[item.described for item in made],
        )
    )
    where = place(policy.environment, policy.namespace)
    out.line(f"Wrote {config / 'go_live.yaml'} and {config / 'keyset.yaml'} for {where}")
    out.line(f"on {setup.address().shown}, and keys:")
    for item in made:
        out.line(f"  {item.path}  {item.described.principal}, {item.described.roles[0]}")
    out.line()
    out.line("Next:")
    if folder.resolve() != Path.cwd():
        out.line(f"  cd {folder}")
    out.line(f"  golive heartbeat --name {heartbeat}")
    if policy.environment == PRODUCTION:
        out.line("  edit config/go_live.yaml: fill in `checks`; all six are required")
        out.line("  golive acl --role operator, and so on: a Redis user for each role")
    out.line("  edit config/go_live.yaml: activation_enabled: true")
    out.line('  golive activate --reason "first start"')
    out.line('  golive revoke --reason "enough"')
