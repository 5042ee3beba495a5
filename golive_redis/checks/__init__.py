"""Checks: what must be true before trading, and while it goes on.

Here belong the settings of checks and triggers, how a question is asked of a source, and how an answer
is judged; trading windows, too. What follows from a finding does not: `operator` activates, and
`heartbeat` restricts or revokes. Start with `question`, then `ask`.
"""
