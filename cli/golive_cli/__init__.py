"""The `golive` command.

Here belongs what reads options, asks people and prints. What a command does belongs to the library:
`golive_redis.operator` and `golive_redis.stop`. Importing this package imports nothing. Start with
`main`, then `commands.status`.
"""
