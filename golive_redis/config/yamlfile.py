"""Strict YAML: one document, no duplicate keys, and the line of whatever is wrong."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from golive_redis.errors import ConfigError

MAX_FILE_BYTES = 1024 * 1024
MAX_NODES = 50_000

_T = TypeVar("_T")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path, *, missing: str, pinned: bool = False) -> tuple[Any, dict[str, int]]:
    """Read a YAML file strictly: one document, no duplicate keys.

    Args:
        path: Of the file.
        missing: The hint for when it is not there, or is empty.
        pinned: Refuse it when group or world may write it.

    Returns:
        The value, and the line of each node by its path (`$.store.url`).

    Raises:
        ConfigError: Unreadable, writable by others, empty, too large, not YAML, or a duplicate key.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        hint = missing if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(f"{in_full(path)}: {error.strerror}", hint=hint) from error
    if pinned and mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"{in_full(path)}: others may write it (mode {mode:04o})",
            hint=f"look at whose keys it lists; then chmod go-w {in_full(path)}",
        )
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: over {MAX_FILE_BYTES} bytes")
    loader = None
    try:
        loader = _Loader(raw)
        node = loader.get_single_node()
        if node is None:
            raise ConfigError(f"{path}: empty", hint=missing)
        lines: dict[str, int] = {}
        _index(node, "$", lines, path)
        return loader.construct_document(node), lines
    # PyYAML answers a wrongly tagged scalar (`!!int ""`, `!!bool x`) with whatever it ran into.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{path}{where}: not YAML: {problem}") from error
    finally:
        if loader is not None:
            loader.dispose()


def in_full(path: Path) -> Path:
    """Return an absolute path without `..`: where a relative one leads depends on where somebody is.

    Links are left to whoever opens the file. Kubernetes replaces the files of a mount by swapping a
    link (`..data`) and deletes the folder it pointed to: followed now, the path would end nowhere then,
    and what is mounted beside or below a linked file would be looked for in that folder.
    """
    try:
        parts = path.absolute().parts
    except OSError:  # the folder in which we are was deleted
        return path
    # Only `..` needs the real folder, for the system takes it as the parent of where a link leads.
    end = len(parts) - parts[::-1].index("..") if ".." in parts else 0
    return Path(os.path.realpath(Path(*parts[:end])), *parts[end:]) if end else Path(*parts)


def beside(folder: Path, name: str) -> Path:
    """Return a path as a file in `folder` writes it, in full; `~` is this user's home.

    Raises:
        ConfigError: There is none: a container may run as a number without a home.
    """
    try:
        return in_full(folder / Path(name).expanduser())
    except RuntimeError as error:
        raise ConfigError(
            f"{name}: ~ stands for a home folder, and there is none",
            hint="set $HOME, or write the path without ~",
        ) from error


def _index(node: yaml.Node, at: str, lines: dict[str, int], path: Path) -> None:
    if at in lines:
        raise ConfigError(f"{path}:{node.start_mark.line + 1}: {at[2:]} is given twice")
    if len(lines) >= MAX_NODES:  # a few lines of nested aliases unfold into billions of nodes
        raise ConfigError(f"{path}:{node.start_mark.line + 1}: over {MAX_NODES} values")
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _index(value, f"{at}.{key.value}", lines, path)
            lines[f"{at}.{key.value}"] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            _index(value, f"{at}[{number}]", lines, path)


def validate(
    value: Any, kind: type[_T], path: Path, lines: Mapping[str, int], *, at: str = "$"
) -> _T:
    """Turn a YAML value into `kind`.

    Args:
        value: As parsed.
        kind: What it must be.
        path: Of the file.
        lines: Line of each node by its path.
        at: Path of the value.

    Raises:
        ConfigError: With the line, and the nearest known name for an unknown key.
    """
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise _explain(error, kind, path, lines, at) from error


def _explain(
    error: Exception, kind: type, path: Path, lines: Mapping[str, int], base: str
) -> ConfigError:
    message, _, inner = str(error).partition(" - at `")
    # msgspec writes "`$.a.b`", or for a key of an object "`key` in `$.a`".
    at = base + inner.removeprefix("key` in `").rstrip("`").removeprefix("$")
    unknown = re.search(r"unknown field `(.*)`", message)
    if unknown is None:
        # A rule over several settings names the one to change first: `timing is one of ...`, or
        # `checks.NAME: ...`.
        word = re.match(r"[a-z_]+(\.[A-Za-z0-9._-]+)?", message)
        where = f"{path}:{line_of(f'{at}.{word[0]}' if word else at, lines)}"
        name = at[2:] if at != "$" else ""
        # YAML reads 08:00 as text, and 22:00 as a number of minutes.
        quotes = "Expected `str" in message and message.endswith(("got `int`", "got `float`"))
        hint = "write it in quotes" if quotes else ""
        return ConfigError(f"{where}: {name + ': ' if name else ''}{message}", hint=hint)
    name = unknown.group(1)
    line = line_of(f"{at}.{name}", lines)
    from difflib import get_close_matches  # noqa: PLC0415  (3 ms that only an error pays)

    close = get_close_matches(name, _field_names(kind), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else "remove it"
    return ConfigError(f"{path}:{line}: unknown key {name!r}", hint=hint)


def line_of(at: str, lines: Mapping[str, int]) -> int:
    """Return the line of a node, or of the nearest one around it that can be told.

    msgspec writes a key of a dict as `[...]`: where several keys fit, nobody can tell which.
    """
    while at != "$":
        pattern = re.escape(at).replace(re.escape("[...]"), r"\.[^.\[]+")
        fits = [line for node, line in lines.items() if re.fullmatch(pattern, node)]
        if len(fits) == 1:
            return fits[0]
        at = at[: max(at.rfind("."), at.rfind("["))] or "$"
    return lines.get("$", 1)


def _field_names(kind: Any) -> list[str]:
    """Return the names of all fields of a type, also of those inside its lists, dicts and unions."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = msgspec.structs.fields(kind)
        return [field.encode_name for field in fields] + [
            name for field in fields for name in _field_names(field.type)
        ]
    return [name for inner in getattr(kind, "__args__", ()) for name in _field_names(inner)]


def located(error: ConfigError, path: Path, lines: Mapping[str, int]) -> ConfigError:
    """Return the error with the file and the line that its message names."""
    at = error.message.rpartition(" - at `")[2].rstrip("`")
    where = f"{path}:{line_of(at, lines)}" if at.startswith("$") else str(path)
    return ConfigError(f"{where}: {error.message}", hint=error.hint)
