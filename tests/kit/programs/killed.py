"""A command of an operator that is killed at a point of its choice, by SIGKILL: nothing follows it.

    kit.programs.killed:main CONFIG POINT EPOCH

`published`: a revoke between its push and its script. `executed`: between the script and what follows,
where the script could not enter it. `restricted`: a halt, likewise.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from golive_redis import config
from golive_redis.operator import restrictions
from golive_redis.operator.session import Operator
from golive_redis.records.directive import RestrictionKind
from golive_redis.stop.revoke import Revoke
from golive_redis.store.store import Store


def main() -> None:
    """Do it, and die there."""
    path, point, label = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    loaded = config.load(path, environ={})
    real: Any = Store.revoke
    if point == "published":
        Store.revoke = die  # type: ignore[assignment, method-assign]
    elif point == "executed":

        def executed(store: Store, *args: Any, **options: Any) -> NoReturn:
            real(store, *args, **options)
            die()

        Store.revoke = executed  # type: ignore[assignment, method-assign]
    else:
        restrictions._restricted = die
    if point == "restricted":
        with Operator(loaded) as operator:
            restrictions.restrict(
                operator, RestrictionKind.HALT, reason="killed", labels={"symbol": label}
            )
    else:
        Revoke(loaded, reason="killed").run()
    raise SystemExit(f"never came to the point {point!r}")


def die(*_: Any, **__: Any) -> NoReturn:
    """As by `kill -9`: no handler, no end of any block, nothing is written."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")
