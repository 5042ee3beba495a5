"""What `golive demo` runs: a real server, a heartbeat, six workers and a paper venue.

Here belongs what only that command needs, and what it shares with `golive dev`: `children`, which are
started, watched and ended, and `interrupts`. The venue is in `golive_redis.testing`, for tests and
authors of bots use it, too. Start with `acts`.
"""
