"""Patterns of `matches`, by RE2: the time to match is linear in the text, whatever the pattern.

Python's `re` backtracks: `(a+)+` on text that does not match takes for ever, and nobody can interrupt
it, so that not even the thread that beats would go on. To tell such patterns from others is a research
subject; an engine that cannot backtrack needs no telling. It is an extra, because it is compiled and has
no wheel for musl or an old macOS, and a worker must install there all the same.
"""

from __future__ import annotations

from typing import Any

# What a pattern compiles to. With 1 MiB a text of 4096 characters takes 0.2 s at worst; RE2's own
# default of 8 MiB takes twice that.
MAX_COMPILED_BYTES = 1024 * 1024
MAX_MATCHED = 4_096


def compiled(pattern: str) -> Any:
    """Return a pattern that is ready to match; RE2 keeps the last ones.

    Raises:
        ValueError: RE2 is not installed, or refuses the pattern: back references and look-around
            cannot be matched in linear time, and a large repetition compiles to too much. Fails
            closed: the section is not used.
    """
    try:
        import re2  # type: ignore[import-untyped]  # noqa: PLC0415  (an extra, and rarely needed)
    except ImportError as error:
        raise ValueError(
            "matches: RE2 is not installed: pip install 'golive-redis[patterns]'; "
            "starts_with, ends_with and contains do without"
        ) from error
    options = re2.Options()
    options.max_mem = MAX_COMPILED_BYTES
    options.never_capture = True
    options.log_errors = False  # on stderr, beside the sentence that we say ourselves
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0]
        text = why.decode(errors="replace") if isinstance(why, bytes) else str(why)
        raise ValueError(f"matches: {text}") from error
    except UnicodeEncodeError as error:
        raise ValueError("matches: not valid Unicode (a lone surrogate)") from error


def whole(pattern: str, text: str) -> bool | None:
    """Tell whether a pattern matches the whole text; None where the text cannot be matched.

    Args:
        pattern: As `compiled` took it when the settings were read.
        text: At most 4096 characters.
    """
    if len(text) > MAX_MATCHED:
        return None
    try:
        return compiled(pattern).fullmatch(text) is not None
    except UnicodeEncodeError:  # JSON can carry half a character, and UTF-8 cannot
        return None
