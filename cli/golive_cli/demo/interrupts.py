"""Requests to stop the command: raised where it is, and remembered where that would be lost.

What a signal handler raises inside a finaliser, or a callback of the import system, is swallowed by
the interpreter, which prints it and goes on. There the request is only remembered, and raised at the
next look.
"""

from __future__ import annotations

import signal
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SWALLOWING_FILES = ("<frozen importlib", "<frozen zipimport")
_CALLBACK_FILES = ("weakref.py", "_weakrefset.py")

_asked = False


def listen() -> None:
    """Let every request to stop do what Ctrl-C does, except one that is ignored, as under nohup."""
    global _asked  # noqa: PLW0603  (a process has one handler of a signal, and one answer to it)
    _asked = False
    for number in NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def check() -> None:
    """Raise a request to stop that was only remembered.

    Raises:
        KeyboardInterrupt: A signal has asked to stop.
    """
    if _asked:
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _asked  # noqa: PLW0603
    del number
    _asked = True
    if not _is_swallowed_in(frame):
        raise KeyboardInterrupt


def _is_swallowed_in(frame: FrameType | None) -> bool:
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(_SWALLOWING_FILES) or code.co_name == "__del__":
            return True
        if code.co_filename.endswith(_CALLBACK_FILES):
            return True
        frame = frame.f_back
    return False
