"""A request to stop the demo is never lost, wherever the program is when it comes."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from golive_cli.demo import interrupts


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = [signal.getsignal(number) for number in interrupts.NUMBERS]
    interrupts.listen()
    yield
    for number, handler in zip(interrupts.NUMBERS, before, strict=True):
        signal.signal(number, handler)
    interrupts._asked = False


def ask_in_import(folder: Path, number: int) -> None:
    (folder / "asks_to_stop.py").write_text(f"import os\nos.kill(os.getpid(), {number})\n")
    try:
        importlib.import_module("asks_to_stop")
    finally:
        sys.modules.pop("asks_to_stop", None)


def ask_in_finaliser(folder: Path, number: int) -> None:
    del folder

    class Asks:
        def __del__(self) -> None:
            os.kill(os.getpid(), number)

    Asks()


@pytest.mark.parametrize("number", interrupts.NUMBERS)
def test_it_is_raised_where_the_program_is(number: int) -> None:
    interrupts.check()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("ask", [ask_in_import, ask_in_finaliser])
@pytest.mark.parametrize("number", interrupts.NUMBERS)
def test_it_is_remembered_where_the_interpreter_would_swallow_it(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[Path, int], None],
    number: int,
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    ask(tmp_path, number)
    with pytest.raises(KeyboardInterrupt):
        interrupts.check()
    assert capfd.readouterr() == ("", "")


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupts.listen()
    os.kill(os.getpid(), signal.SIGHUP)
    interrupts.check()
