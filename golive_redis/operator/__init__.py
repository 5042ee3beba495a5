"""What people do and see: activate, change, promote, preflight, status.

Here belong the use cases of an operator, without printing. Stopping is in `stop`, for it loads less.
Start with `session`, which every command opens, then `activation`.
"""
