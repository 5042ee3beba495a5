"""docs/reference/acl.txt is what the code says, for the namespace `golive` in database 0.

After a change of a line `GOLIVE_WRITE_DOCS=1 pytest tests/docs/test_acl.py` writes it.
"""

from __future__ import annotations

import os
from pathlib import Path

from golive_redis.operator.findings import FINDINGS
from golive_redis.operator.logins import PASSWORDS
from golive_redis.store import acl
from golive_redis.store.keyspace import Keyspace

DOCS = Path(__file__).resolve().parents[2] / "docs"
FILE = DOCS / "reference" / "acl.txt"


def test_the_file_has_the_lines_of_the_code():
    lines = acl.text(Keyspace("golive"))
    if os.environ.get("GOLIVE_WRITE_DOCS") == "1":
        FILE.write_text(lines)
    assert FILE.read_text() == lines


def test_the_page_names_every_user_and_every_variable():
    page = (DOCS / "how-to" / "acl.md").read_text()
    for role in acl.Role:
        assert f"| `{acl.user_name(role)}` |" in page
    assert all(f"`{name}`" in page for name in PASSWORDS.values())


def test_the_page_of_troubles_has_a_row_for_each_finding_of_the_doctor(docs):
    page = "docs/how-to/troubleshoot.md"
    assert [row[0].strip("`") for row in docs.table(page, "The doctor finds something")] == [
        *FINDINGS
    ]
