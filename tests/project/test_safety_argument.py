"""The safety argument names nothing that does not exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "explanation" / "safety-argument.md").read_text()
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| (?!claim|---)", line)]


def test_each_claim_says_what_fails_without_its_mechanism():
    assert len(ROWS) > 15
    for row in ROWS:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert len(cells) == 4, row
        assert re.search(r"\b(test|mutants?|model)\b `", cells[3]), row


def test_each_test_that_is_named_exists():
    files = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE)
    assert len(named) > 10
    for file, name in named:
        assert f"def {name}(" in files[file], (file, name)


def test_each_mutant_and_each_rule_of_the_model_is_named_and_exists():
    """All mutants: one that no claim needs would test nothing that anybody was promised."""
    patches = {path.stem for path in (ROOT / "tests" / "mutants").glob("*.patch")}
    words = set(re.findall(r"`([^`]+)`", PAGE))
    assert patches <= words, patches - words
    model = (ROOT / "docs" / "model" / "README.md").read_text()
    rules = {word for word in words if re.match(r"S[0-9]+ ", word)}
    assert rules
    assert not {rule for rule in rules if f"`{rule}`" not in model}
