"""Signed records, sent until they are in: receipts, ledger entries, spooled stops, the tombstone.

Here belongs what may be repeated until Redis has it. Who signs, and why, does not: that is the business
of `guard`, `heartbeat`, `stop` and `operator`. Start with `outbox`.
"""
