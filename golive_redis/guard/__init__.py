"""What a worker imports: the guard that is asked before each order, and the threads behind it.

Here belongs the order path and what keeps its memory up to date. The rules are in `core.view`; what an
operator does is not here, and neither are checks. Start with `gate` (the order path), then `attending`.
"""
