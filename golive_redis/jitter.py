"""Randomness that keeps a fleet from doing the same thing at the same instant."""

from __future__ import annotations

import random

# Not the module's own generator: a bot that seeds it, to repeat a run, would get other numbers for each
# that a thread of ours takes. From the operating system, so that forked children differ, too.
JITTER = random.SystemRandom()
