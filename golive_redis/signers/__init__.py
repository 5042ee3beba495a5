"""Signers whose private key is elsewhere: in an agent, in a device, or behind another program.

Here belongs how each of them is asked, within which time, and the look at every signature before it
is used. Not here: which of them a setting means, and keys in files (`golive_redis.config.signing`).
Each module is imported only when its signer is used. Start with `foreign`.
"""
