"""A process that `freeze` has stopped stands still with all its threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from golive_redis.testing.freeze import freeze, frozen

# Eight threads fill one pipe as fast as it is emptied.
PROGRAM = """
import os, threading
def write():
    while True:
        os.write(1, b"x")
threads = [threading.Thread(target=write, daemon=True) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_nothing_comes_from_any_thread_of_a_frozen_process_until_it_goes_on() -> None:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE)
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    try:
        for _ in range(20):
            assert os.read(pipe, 1)
            assert not frozen(process.pid)
            freeze(process.pid)
            assert frozen(process.pid)
            os.set_blocking(pipe, False)
            empty(pipe)  # what was written before it stood still
            with pytest.raises(BlockingIOError):
                os.read(pipe, 1)
            os.set_blocking(pipe, True)
            process.send_signal(signal.SIGCONT)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def empty(pipe: int) -> None:
    with suppress(BlockingIOError):
        while os.read(pipe, 65_536):
            pass


def test_a_process_that_is_not_there_is_an_error() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(ProcessLookupError):
        freeze(process.pid)
