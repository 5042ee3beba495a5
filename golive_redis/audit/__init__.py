"""Reading the ledger: list it, judge it, hand it on to somebody who trusts neither us nor Redis.

Here belongs everything that only looks at what was written, and the archive that it is copied into. Who
writes to the ledger, and when, does not: that is `delivery`, `operator`, `stop` and `heartbeat`. Start
with `history`, which has the rules; `opening` asks of one entry who signed it, `reading` brings the
entries, from Redis or from a file; `beginning` says where they begin, `archive` has the folder.
"""
