"""A witness: remembers the newest checkpoint of other people's logs, and signs only what continues it.

Here belong the server that cosigns checkpoints, its database, and the client that submits to any witness
of the protocol C2SP tlog-witness. What a checkpoint is belongs to `records`, and who publishes ours to
`heartbeat`. A witness sees hashes, never a record. Start with `judgement`, then `database`, `server` and
`submit`.
"""
