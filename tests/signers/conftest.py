"""Fixtures of the signers' tests: a real agent and a real SoftHSM."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from kit.keystores import RealAgent, SoftHsm, running_agent


@pytest.fixture
def agent(need_program: Callable[..., str], wait_for: Callable[..., None]) -> Iterator[RealAgent]:
    """An agent without keys."""
    need_program("ssh-agent")
    with running_agent(wait_for) as agent:
        yield agent


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
