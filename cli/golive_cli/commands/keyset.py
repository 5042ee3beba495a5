"""`golive keys draft`, `sign` and `take`: a keyset that its roots decide on, not who writes a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli.options import AsJson, ConfigFile
from golive_cli.output import Output, write
from golive_cli.results import KeysDraftResult, KeysTakeResult
from golive_redis.errors import RecordError, RefusedError

if TYPE_CHECKING:
    from golive_redis.operator import keysets
    from golive_redis.records.keyset import Keyset

DRAFT = Annotated[Path, typer.Argument(metavar="DRAFT", help="The file that `keys draft` wrote.")]


def draft(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The keyset as it shall be.")],
    out_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="DRAFT", help="Else keyset-NUMBER.json.", show_default=False),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="NAME", help="A root who will sign; else the first by name."),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make the draft of the next keyset, for its roots to sign."""
    from golive_redis import clock
    from golive_redis import config as configuration
    from golive_redis.config.yamlfile import in_full, located, read_yaml
    from golive_redis.errors import ConfigError
    from golive_redis.operator import keysets
    from golive_redis.records.keyset import parse_keyset

    trust = configuration.load(config).trust()
    value, lines = read_yaml(file, missing="copy the keyset in force, and change the copy")
    try:
        new = parse_keyset(value)
    except ConfigError as error:
        raise located(error, in_full(file), lines) from error
    item = keysets.new_draft(trust, new, by=by, now_ms=clock.wall_ms())
    save(item, out_file, trust.keyset, Output(as_json=as_json))


def save(item: keysets.Draft, out_file: Path | None, before: Keyset, out: Output) -> None:
    """Write a new draft, over nothing that may have signatures, and say what it changes."""
    from golive_redis.config.yamlfile import in_full
    from golive_redis.operator import keysets

    path = out_file or Path(f"keyset-{item.new.version}.json")
    if path.exists():
        raise RefusedError(
            f"{in_full(path)} exists, and may have signatures; nothing was written",
            hint="name another with --out, or remove it",
        )
    keysets.write(path, item)
    tell(out, in_full(path), item, before)


def sign(
    file: DRAFT,
    key: Annotated[
        str | None,
        typer.Option(
            "--key", metavar="KEY", help="A root's key; else keys.operator.", show_default=False
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask for the number of the keyset.")
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what a draft changes, and sign it as a root."""
    from golive_redis import config as configuration
    from golive_redis.config.yamlfile import in_full
    from golive_redis.operator import keysets

    setup = configuration.load(config)
    trust = setup.trust()
    item = keysets.read(file)
    # A root of the new keyset alone is not known to the one in force.
    known = _together(trust.keyset, item.new)
    signer = setup.signer_from(key, known) if key else setup.signer("operator", known)
    out = Output(as_json=as_json)
    for line in keysets.differences(trust.keyset, item.new):
        out.note(line)
    if not yes:
        _ask(item.new.version)
    item = keysets.signed(item, trust, signer)
    keysets.write(file, item)
    tell(out, in_full(file), item, trust.keyset)


def take(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DRAFTS",
            help="Signed drafts, one after the other; else what was taken from Redis.",
            show_default=False,
        ),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Write the next keyset into this host's file, if it is signed."""
    from golive_redis import config as configuration
    from golive_redis.operator import keysets
    from golive_redis.records.rotation import follow

    setup = configuration.load(config)
    before = setup.pinned()
    path = setup.resolve(setup.policy.keys.keyset)
    if files:
        items = [keysets.read(file) for file in files]
        for number, item in enumerate(items, before.version):
            keysets.require_next(number, item.new.version)
        taken = follow(
            before,
            [item.step() for item in items],
            namespace=setup.policy.namespace,
            environment=setup.policy.environment,
        )
    else:
        taken = [setup.keyset()]
        if taken[0].version == before.version:
            raise RefusedError(
                f"{path}: keyset {before.version} is the newest that this host knows",
                hint="name the drafts to take; golive keys status shows what stands in Redis",
            )
    kept = path.with_name(f"{path.stem}-{before.version}{path.suffix}")
    old = path.read_bytes()
    if not kept.exists():  # what was signed under it is judged by it
        keysets.replace(kept, old)
    elif kept.read_bytes() != old:
        raise RefusedError(
            f"{kept} exists and is another keyset {before.version}; nothing was changed",
            hint=f"move it away: the audit needs {path} as it is now, and it would be kept there",
        )
    keysets.replace(path, keysets.text_of(taken))
    new = setup.pinned()
    if new.version != taken[-1].version:
        raise RecordError(f"{path}: somebody else has written it meanwhile")
    lines = keysets.differences(before, new)
    out = Output(as_json=as_json)
    out.result(KeysTakeResult(str(path), before.version, new.version, lines))
    for line in lines:
        out.line(line)
    out.line(
        f"{path}: keyset {new.version} in place of {before.version}; reload the heartbeats "
        "(SIGHUP) and restart the workers"
    )
    out.line(f"Kept for the audit of what was signed before: {kept} (golive audit verify --keyset)")


def _together(before: Keyset, new: Keyset) -> Keyset:
    """Return a keyset with the keys of both, to find out whose key somebody has; it grants nothing."""
    import msgspec

    return msgspec.structs.replace(before, keys={**new.keys, **before.keys})


def _ask(version: int) -> None:
    try:
        typed = typer.prompt(f"Type {version} to sign keyset {version}", err=True)
    except typer.Abort as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        write(sys.stderr, "\n")  # end of input: what is said next has a line of its own
        raise
    if typed.strip() != str(version):
        raise RefusedError(f"{typed!r} is not {version}; nothing was signed")


def tell(out: Output, path: Path, item: keysets.Draft, before: Keyset) -> None:
    """Say what the draft changes, who has signed it, and who has to."""
    from golive_redis.operator import keysets

    lack = keysets.lacking(item, before)
    lines = keysets.differences(before, item.new)
    out.result(
        KeysDraftResult(
            str(path), before.version, item.new.version, lines, lack.signed, lack.able, lack.is_none
        )
    )
    for line in lines:
        out.line(line)
    out.line(
        f"{path}: keyset {item.new.version} after {before.version}, signed by ", _who(lack.signed)
    )
    if lack.is_none:
        out.line(f"Enough have signed. For every host at once: golive keys publish {path.name}")
        return
    more = [
        f"{count} of the roots of keyset {version}"
        for count, version in ((lack.before, before.version), (lack.after, item.new.version))
        if count
    ]
    out.line(
        f"Still needed: {' and '.join(more)}. {_who(lack.able)} can: golive keys sign {path.name}"
    )


def _who(names: list[str]) -> str:
    return ", ".join(names) or "nobody"
