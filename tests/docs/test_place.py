"""Every command that acts on a switch says which one, to people and to programs."""

from __future__ import annotations

# These are about files, or run on a server of their own.
ELSEWHERE = {"golive keys new", "golive keys list", "golive keys show", "error"}
ELSEWHERE |= {"golive keys draft", "golive keys sign", "golive keys take"}
ELSEWHERE |= {"golive keys rotate", "golive keys remove"}


def test_every_object_names_environment_and_namespace(every_command):
    for command, said in every_command.said.items():
        # A witness signs for any log; it belongs to no fleet.
        if command not in ELSEWHERE and not command.startswith("golive audit witness "):
            named = {name: said[name] for name in ("environment", "namespace")}
            assert named == {"environment": "demo", "namespace": "golive"}, command
            assert list(said)[:2] == ["environment", "namespace"], command
