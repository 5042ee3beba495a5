"""No thread is ever the first to decode a kind of record: msgspec is not ready for two at once."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own: another test may have decoded a record already. What msgspec knows of a
# struct hangs on its class, where only the garbage collector sees it.
FIND = """
import gc, importlib, pkgutil
import golive_redis
from golive_redis.records.record import Strict

for module in pkgutil.walk_packages(golive_redis.__path__, "golive_redis."):
    if ".testing" not in module.name and ".python_child" not in module.name:
        importlib.import_module(module.name)

def below(kind):
    for sub in kind.__subclasses__():
        yield sub
        yield from below(sub)

kinds = set(below(Strict))
assert len(kinds) > 15, kinds
for kind in kinds:
    if not any(type(item).__name__ == "StructInfo" for item in gc.get_referents(kind)):
        print(kind.__name__)
"""


def test_every_struct_that_is_decoded_was_described_while_it_was_imported() -> None:
    """Two guards of one process met their first grant at the same moment: SIGSEGV in msgspec."""
    done = subprocess.run(
        [sys.executable, "-c", FIND], capture_output=True, text=True, check=True, timeout=120
    )
    assert set(done.stdout.split()) <= {"Record", "Health", "Expectation"}  # never decoded
