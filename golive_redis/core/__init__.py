"""The rules. No I/O, clock, randomness, logging or threads in here; an import contract checks it."""
