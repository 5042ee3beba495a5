"""The `command` source: a program without a shell, bounded in time and output."""

from __future__ import annotations

from collections.abc import Sequence

from golive_redis import programs
from golive_redis.checks.parse import look, parse
from golive_redis.checks.question import CommandSource
from golive_redis.checks.source import MAX_BYTES, Fetched, Surroundings, UnansweredError


def fetch(source: CommandSource, where: Surroundings, deadline_ms: float) -> Fetched:
    """Run the program in the folder of the configuration."""
    ended = run(source.argv, where, deadline_ms)
    facts = {"command": source.argv[0], "exit": str(ended.code)}
    if ended.complaint:
        facts["stderr"] = ended.complaint
    if not source.stdout and source.json is None:
        return Fetched(ended.code, facts)
    if ended.code != 0:
        raise UnansweredError(
            f"{source.argv[0]} exited {ended.code}: {ended.complaint}".rstrip(": ")
        )
    try:
        text = ended.out.decode()
    except UnicodeDecodeError as error:
        raise UnansweredError(f"what {source.argv[0]} printed is not UTF-8") from error
    if source.json is None:
        return Fetched(text.removesuffix("\n"), facts)
    return Fetched(look(parse(text, of="what it printed"), source.json), facts)


def run(
    argv: Sequence[str], where: Surroundings, deadline_ms: float, *, given: bytes = b""
) -> programs.Ended:
    """Run a program as `programs.run` does, for a check.

    Raises:
        UnansweredError: It told nothing that can be judged.
    """
    try:
        return programs.run(
            argv,
            folder=where.folder,
            environ=where.environ,
            deadline_ms=deadline_ms,
            most=MAX_BYTES,
            given=given,
        )
    except programs.ProgramError as error:
        raise UnansweredError(f"{argv[0]} {error}") from error
