"""A sample worker: asks the guard before each order, and prints what it would have sent.

Run it after `golive init`, with a heartbeat beside it:

    python examples/worker.py pod-1
"""

import signal
import sys
import time

from golive_redis import Denial, Guard, Permit

ORDER = "BUY BTCUSDT qty=0.001"


def main(worker: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # leaves the roster with a goodbye
    with Guard.open(worker=worker, labels={"venue": "paper"}) as guard:
        while True:
            # The order counts as in flight until the block ends, and a stop waits for it.
            with guard.order(what=ORDER, symbol="BTCUSDT") as answer:
                match answer:
                    case Permit(fence=fence):
                        # Asked again just before the send: preparing an order takes time.
                        if answer.valid():
                            print(f"{worker} sends {ORDER} fence={fence}", flush=True)
                    case Denial(reason=reason):
                        print(f"{worker} skips {ORDER}: {reason}", flush=True)
            time.sleep(1)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "pod-1")
