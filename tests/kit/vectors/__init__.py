"""Vectors for verifiers in other languages: how they are made, and how our Python decides them.

Records, keysets and heads are put together here by hand, from `docs/reference/records.md`, and not by the
product, so that a fault of the product does not become the expectation. `files` writes
`tests/vectors/*.json`; `judge` asks the product.
"""
