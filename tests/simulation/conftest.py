"""The simulation's modules import each other by name: its folder has to be on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
