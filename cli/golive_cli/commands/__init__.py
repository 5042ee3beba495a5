"""One module for each command, or for a few that share their options.

A command reads its options, calls the library and prints a result. Rules are in the library. Start
with `status`; `revoke` is the kill path and does not use Typer.
"""
