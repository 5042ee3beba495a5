"""Fixtures of the signers' tests: a real agent and a real SoftHSM."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.keystores import RealAgent, SoftHsm


@pytest.fixture
def agent(need_program: Callable[..., str], wait_for: Callable[..., None]) -> Iterator[RealAgent]:
    """An agent without keys."""
    need_program("ssh-agent")
    with tempfile.TemporaryDirectory(prefix="a") as folder:
        running = RealAgent(Path(folder))
        try:
            wait_for(running.is_up, what="ssh-agent")
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="session")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftHsm]:
    """Tokens `golive`, `empty` and `half`, all made here: a driver reads them once in a process."""
    made = SoftHsm(tmp_path_factory.mktemp("hsm"), "softhsm2-util")
    for label in ("golive", "empty", "half"):
        made.new_token(label)
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ.update(made.environ)
    yield made
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before
