"""An operator who does the same again and again, and goes on where it was killed.

    kit.programs.operating:main CONFIG NAME COUNT OTHER

With `halts` in its name it halts a symbol and lifts that halt. With `terms` it proposes an activation,
approves it as the person of the configuration OTHER, and revokes it; after an odd COUNT the term goes
on. What is done stands in a file beside the configuration; whoever was killed in the middle looks at
what is in force first, as a person does.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from golive_redis import config
from golive_redis.config import Config
from golive_redis.errors import GoliveError
from golive_redis.operator import grants, proposals, restrictions
from golive_redis.operator.activation import Activation
from golive_redis.operator.session import Operator, send_spool
from golive_redis.records.directive import GrantKind, RestrictionKind
from golive_redis.stop.revoke import Revoke

TRIES = 2_000


def main() -> None:
    """Do what is left to do."""
    path, name, count, other = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    mine, theirs = config.load(path, environ={}), config.load(other, environ={})
    done = path.parent / f"{name}.operated"
    next_one, problem = int(done.read_text()) if done.exists() else 0, ""
    for _ in range(TRIES):
        if next_one >= count:
            return
        try:
            if "halts" in name:
                finished = halted(mine, f"{name}-{next_one // 2}", halt=next_one % 2 == 0)
            else:
                finished = stopped(mine) if next_one % 2 else started(mine, theirs)
        except GoliveError as error:  # others came first, or the term is over meanwhile
            finished, problem = False, error.message
        if not finished:
            time.sleep(0.05)
            continue
        next_one += 1
        new = done.with_suffix(".new")
        new.write_text(str(next_one))
        new.replace(done)
    raise SystemExit(f"{name}: {next_one} of {count} done; {problem}")


def halted(mine: Config, symbol: str, *, halt: bool) -> bool:
    """Halt a symbol, or lift its halt; whether it is so."""
    with Operator(mine) as operator:
        send_spool(operator, print)
        state = operator.read().state
        if state is None:
            return False
        labels = {"symbol": symbol}
        is_halted = any(item.record.labels == labels for item in state.restrictions)
        if is_halted is not halt and halt:
            restrictions.restrict(operator, RestrictionKind.HALT, reason="many", labels=labels)
        elif is_halted is not halt:
            grants.loosen(operator, GrantKind.RESUME, reason="many", labels=labels)
        return True


def started(mine: Config, theirs: Config) -> bool:
    """Have an activation proposed by one and approved by the other; whether a term is in force."""
    with Operator(mine) as operator:
        send_spool(operator, print)
        if operator.read().state is not None:
            return True
        waiting = proposals.waiting(operator)
        if not waiting:
            activation = Activation(operator, reason="open", others=True)
            waiting = [proposals.propose_activation(operator, activation)]
    with Operator(theirs) as operator:
        proposals.approve(operator, proposals.named(operator, waiting[0].id))
    return False


def stopped(mine: Config) -> bool:
    """Revoke; whether it is confirmed."""
    return Revoke(mine, reason="many", wait_ms=10_000).run().outcome.settled
