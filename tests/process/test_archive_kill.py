"""An archive survives kill -9 before any of its steps on the disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[1] / "kit" / "programs" / "killed_archive.py"
FEWEST = 60  # steps on the disk, for 270 entries: files, names and folders


def test_killed_before_any_step_it_goes_on_and_ends_with_the_same_files(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])}
    done = subprocess.run(
        [sys.executable, "-P", PROGRAM, tmp_path],
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= FEWEST
