"""The heartbeat: keeps a term alive while it may, and restricts or revokes when a trigger fires.

Here belong the daemon, its memory, its triggers and the `recorder`, which enters into the ledger what
nobody else does. When it beats, and when it must not, is decided by `core.pulse`. Start with `daemon`.
"""
