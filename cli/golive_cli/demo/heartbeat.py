"""The demo's heartbeat process: what `golive heartbeat` runs, without a command line around it."""

from __future__ import annotations

import argparse
import logging
from functools import partial
from pathlib import Path

from golive_cli.demo.setup import HEARTBEAT
from golive_redis import config
from golive_redis.heartbeat.daemon import Heartbeat


def main() -> None:
    """Run `python -m golive_cli.demo.heartbeat --config F`, until somebody kills it."""
    parser = argparse.ArgumentParser(description="The heartbeat of the golive demo.")
    parser.add_argument("--config", type=Path, required=True)
    setup = config.load(parser.parse_args().config)
    logging.basicConfig(format="%(levelname)s %(message)s")
    Heartbeat.open(setup, name=HEARTBEAT, say=partial(print, flush=True)).run()


if __name__ == "__main__":
    main()
