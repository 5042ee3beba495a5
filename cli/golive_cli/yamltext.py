"""YAML written as text, so that the comments of a file survive; every result is parsed again."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from string import Template
from typing import Any

import yaml

from golive_redis.errors import ConfigError


def render(template: str, **values: str) -> str:
    """Return a template of this package with its `$names` replaced."""
    text = files("golive_cli").joinpath("templates", template).read_text("utf-8")
    return Template(text).substitute(values)


def scalar(text: str) -> str:
    """Return a string as a YAML scalar, quoted where a plain one would become something else."""
    # `no`, `1e3` and `null` are names that people have, and YAML would not read a name.
    if re.fullmatch(r"[A-Za-z0-9._/@:?=&+,{}-]+", text) and _reads_as(f"{text}: {text}", text):
        return text
    return json.dumps(text)


def _reads_as(line: str, text: str) -> bool:
    try:
        return bool(yaml.safe_load(line) == {text: text})
    except (yaml.YAMLError, ValueError):
        return False


def principal(
    name: str, roles: Sequence[str], public: str, indent: str = "  ", *, shared: bool = False
) -> list[str]:
    """Return the lines of a keyset file that describe one principal."""
    return [
        f"{indent}{scalar(name)}:",
        f"{indent * 2}roles: [{', '.join(roles)}]",
        f"{indent * 2}keys:",
        f"{indent * 3}- {public}",
        *([f"{indent * 2}shared: true"] if shared else []),
    ]


def add_principal(
    text: str, name: str, roles: Sequence[str], public: str, *, shared: bool = False
) -> str:
    """Return the text of a keyset file with one more principal; all else stays as it is.

    Raises:
        ConfigError: The principals are not written as an indented block, or what came out does not
            read as the old file and the new principal. Nothing was written in either case.
    """
    old = yaml.safe_load(text)
    block = _principals(yaml.compose(text, Loader=yaml.SafeLoader))
    if block is None:
        raise _unwritable("its principals are not an indented block")
    indent = " " * block.value[0][0].start_mark.column
    lines = text.splitlines(keepends=True)
    after = min(_last_line(block) + 1, len(lines))
    if not lines[after - 1].endswith("\n"):
        lines[after - 1] += "\n"
    added_lines = principal(name, roles, public, indent, shared=shared)
    lines[after:after] = [line + "\n" for line in added_lines]
    new = "".join(lines)
    fields = {"roles": list(roles), "keys": [public], **({"shared": True} if shared else {})}
    added = {name: fields}
    try:
        same = yaml.safe_load(new) == {**old, "principals": {**old["principals"], **added}}
    except yaml.YAMLError:
        same = False
    if not same:
        raise _unwritable("a line could not be added to it safely")
    return new


def _unwritable(why: str) -> ConfigError:
    return ConfigError(
        f"the keyset was not changed: {why}",
        hint="leave out --add and paste the printed lines",
    )


def _principals(root: yaml.Node | None) -> yaml.MappingNode | None:
    if isinstance(root, yaml.MappingNode):
        for key, value in root.value:
            if key.value == "principals" and isinstance(value, yaml.MappingNode):
                indented = not value.flow_style and value.start_mark.column > 0
                return value if indented and value.value else None
    return None


def _last_line(node: Any) -> int:
    """Return the line on which a node ends, counted from 0.

    A block's own end mark is where the next token begins, after the comments in between.
    """
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.line)
