"""The kill path: sign, publish, remove the key, collect the receipts, say what is known.

Here belongs only what a stop needs. It imports nothing of `checks`, `guard`, `operator` or `heartbeat`,
and an import contract says so: each import is time in which the fleet still trades. Start with `revoke`.
"""
