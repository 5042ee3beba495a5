"""docs/reference/json.md has every shape that --json prints, and real output has these shapes."""

from __future__ import annotations

import inspect
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Union, get_args, get_origin

import msgspec
import pytest

from golive_cli import results
from golive_cli.demo import result
from golive_redis.audit.report import figures
from golive_redis.operator import fleet
from golive_redis.records.limits import Limits

PAGE = "docs/reference/json.md"
FAILURE = {"error": {"reason", "message", "hint"}}
# In this order: a bool is an int, too.
WORDS = {bool: "true or false", int: "integer", float: "number", str: "string", NoneType: "null"}
ANYTHING = "anything"
# They bring their own server, and have tests of their own.
NOT_RUN_HERE = {"golive demo", "golive dev"}


def structs(module: ModuleType) -> list[type[msgspec.Struct]]:
    """The types that a module defines."""
    return [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, msgspec.Struct)
        and kind.__module__ == module.__name__
        and not kind.__subclasses__()  # what several have in common is no shape
    ]


def shown(hint: object) -> str:
    """A type as the page writes it."""
    args = get_args(hint)
    if get_origin(hint) is Annotated:
        return shown(args[0])
    if get_origin(hint) is list:
        return f"list of {shown(args[0])}"
    if get_origin(hint) is dict:
        return f"object of {shown(args[1])}"
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(shown, args))
    assert isinstance(hint, type)
    if issubclass(hint, msgspec.Struct):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    if hint is object:
        return ANYTHING
    return next(word for kind, word in WORDS.items() if issubclass(hint, kind))


@pytest.fixture(scope="module")
def coded() -> dict[str, list[tuple[str, str]]]:
    """Field and type of every shape, from the code."""
    found = {}
    for kind in [*structs(results), *structs(fleet), *structs(result), *structs(figures), Limits]:
        fields = msgspec.structs.fields(kind)
        found[kind.__name__] = [(field.encode_name, shown(field.type)) for field in fields]
    return found


@pytest.fixture(scope="module")
def written(docs) -> dict[str, list[tuple[str, str]]]:
    """Field and type of every shape, from the page."""
    headings = [line[3:] for line in docs.read(PAGE).splitlines() if line.startswith("## ")]
    assert headings.pop(0) == "Failures"
    return {
        name: [(row[0].strip("`"), row[1]) for row in docs.table(PAGE, name)] for name in headings
    }


def test_the_page_has_the_shapes_of_the_code(written, coded):
    assert written == coded


@pytest.mark.session
def test_every_command_is_listed_with_its_shape(docs, written, every_command):
    rows = {row[0].strip("`"): row[1] for row in docs.table(PAGE, "`--json`")}
    assert set(rows) == {name for name in every_command.said if name != "error"} | NOT_RUN_HERE
    for shape in rows.values():
        assert shape.split("[")[1].split("]")[0] in written


@pytest.mark.session
def test_what_the_commands_print_has_the_shapes_of_the_page(docs, written, every_command):
    rows = {row[0].strip("`"): row[1] for row in docs.table(PAGE, "`--json`")}
    for command, value in every_command.said.items():
        if command != "error":
            fits(value, f"[{rows[command].split('[')[1]}", written, command)
    assert {"error": set(every_command.said["error"]["error"])} == FAILURE


def fits(value: object, kind: str, written: dict[str, list[tuple[str, str]]], at: str) -> None:
    """Compare a value with a type as the page writes it."""
    if kind.endswith(" or null"):
        if value is None:
            return
        kind = kind.removesuffix(" or null")
    if kind.startswith("list of "):
        assert isinstance(value, list), at
        for item in value:
            fits(item, kind.removeprefix("list of "), written, f"{at}[]")
    elif kind.startswith("object of "):
        assert isinstance(value, dict), at
        for item in value.values():
            fits(item, kind.removeprefix("object of "), written, f"{at}{{}}")
    elif kind.startswith("["):
        assert isinstance(value, dict), at
        fields = written[kind[1:].split("]")[0]]
        assert list(value) == [name for name, _ in fields], at
        for name, inner in fields:
            fits(value[name], inner, written, f"{at}.{name}")
    elif kind != ANYTHING:
        word = next(word for known, word in WORDS.items() if isinstance(value, known))
        assert word == kind or (word, kind) == ("integer", "number"), at
