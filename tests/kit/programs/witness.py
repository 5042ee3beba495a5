"""A witness that kills itself in the middle of a request: `FOLDER LISTEN WHERE`.

WHERE is `checked`, once it has checked a checkpoint and signed it, before anything is on disk, or
`recorded`, once that is on disk, before the answer leaves.
"""

from __future__ import annotations

import os
import signal
import sys

from golive_cli.main import main as golive
from golive_redis.witness import database


def main() -> None:
    folder, listen, where = sys.argv[1:]

    def die(*_: object, **__: object) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b""

    if where == "checked":
        database.origin_hash = die  # asked between the signature and the record
    else:
        cosign = database.Database.cosign

        def recorded(*args, **kwargs):
            cosign(*args, **kwargs)
            return die()

        database.Database.cosign = recorded
    sys.exit(golive(["audit", "witness", "serve", folder, "--listen", listen]))
