"""Checks: where facts come from. `golive_redis.core.finding` says what they amount to."""
