"""Writes an archive, and kills itself before each step that touches the disk, one after the other.

    python killed_archive.py FOLDER

After each kill the archive has to be good and to reach as far as before or as far as wanted; and the
next run has to end with the same files as a run that was not killed. Prints how many steps there were.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from golive_redis.audit.archive import Archive
from golive_redis.audit.writing import Writer
from golive_redis.records.merkle import EMPTY, leaf
from kit.archives import checkpoint, long_book
from kit.ledgers import CLI

ENTRIES = long_book(CLI, 520).entries[:520]
FIRST = 250
CHECKPOINT = checkpoint(CLI, ENTRIES[:515])


def write(folder: Path, count: int) -> None:
    with Writer(folder, CLI.trust) as writer:
        writer.append(ENTRIES[writer.size : count])
        writer.settle()
        if count == len(ENTRIES):
            writer.keep_checkpoint(CHECKPOINT, 515)


def killed_at(step: int, folder: Path) -> bool:
    """Write in a child that is killed before its step of that number; tell whether it was."""
    pid = os.fork()
    if pid == 0:
        count = 0

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def at(*args: Any, **more: Any) -> Any:
                nonlocal count
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **more)

            return at

        for owner, name in ((os, "fsync"), (os, "replace"), (os, "mkdir"), (Path, "replace")):
            setattr(owner, name, counted(getattr(owner, name)))
        write(folder, len(ENTRIES))
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        return False
    assert os.WTERMSIG(status) == signal.SIGKILL
    return True


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def main() -> None:
    base, whole, tried = (Path(sys.argv[1], name) for name in ("base", "whole", "tried"))
    write(base, FIRST)
    shutil.copytree(base, whole)
    write(whole, len(ENTRIES))
    wanted, step = files(whole), 1
    while True:
        shutil.copytree(base, tried)
        killed = killed_at(step, tried)
        held = Archive(tried)
        held.check()
        assert held.reach.size in {FIRST, len(ENTRIES)}
        page = [entry for each in held.entries() for entry in each]
        assert page == ENTRIES[: held.reach.size]
        root = EMPTY.extend(leaf(entry.envelope) for entry in page).root()
        assert held.tree_at(held.reach.size).root() == root
        write(tried, len(ENTRIES))
        left = {name: raw for name, raw in files(tried).items() if not name.endswith(".tmp")}
        assert left == wanted, f"step {step}: {sorted(left.items() ^ wanted.items())[:3]}"
        shutil.rmtree(tried)
        if not killed:
            break
        step += 1
    sys.stdout.write(f"{step - 1}\n")


if __name__ == "__main__":
    main()
