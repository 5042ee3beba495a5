"""The fault table of the documents names what shows each row; `make faults` compares it with a run."""

from __future__ import annotations

from ..faults.page import cases, missing


def test_every_row_of_the_fault_table_names_tests_that_are_about_it() -> None:
    assert missing(cases().items()) == []
