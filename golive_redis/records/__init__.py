"""What is signed: bytes in, verified values out.

Here belong the envelope, the keyset and every record that golive signs, so that an auditor, or a
program in another language, can read them alone. What follows from a record is a rule and belongs to
`core`. Pure: no I/O, no clock, no randomness. Start with `record`, then `envelope`, then `directive`.
"""
