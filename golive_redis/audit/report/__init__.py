"""The report on a ledger for people who judge it: its figures, and one page that shows them.

Here belongs what counts and what draws. Nothing is judged here: the verdict comes from
`audit.verifying`, and only entries that it has found good are counted. Start with `figures`, the shape
of `report.json`; `tally` takes the entries, `page` shows the figures and knows nothing else.
"""
