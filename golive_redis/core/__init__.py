"""The rules: pure state machines over frozen values.

Here belongs whatever decides: what permits an order, when a heartbeat beats, when a stop is complete.
`now` is an argument. Nothing here opens a socket or a file, reads a clock, draws a random number or
starts a thread; an import contract checks it. Records are in `records`. Start with `permit` and
`decision` (one order), then `state` and `freshness` (what holds, and until when), `view` (a guard),
`pulse` (a heartbeat) and `barrier` (a stop).
"""
