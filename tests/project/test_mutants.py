"""Each rule of the protocol is taken away by a mutant, and each mutant has a test that is named."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATCHES = {
    path.stem: path.read_text().split("\n--- ", 1)[0]
    for path in (ROOT / "tests" / "mutants").glob("*.patch")
}
RULES = {f"S{number}" for number in range(1, 15)}


def test_every_rule_is_taken_away_by_a_mutant():
    taken = {
        rule
        for words in PATCHES.values()
        for rule in re.findall(r"S[0-9]+", words.partition(":")[0])
    }
    assert taken == RULES


def test_each_test_that_a_mutant_names_exists():
    named = [
        found
        for words in PATCHES.values()
        for found in re.findall(r"^killed by: test (\S+\.py)::(\w+)", words, re.MULTILINE)
    ]
    assert len(named) > 60
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(), (file, test)


def test_each_mutant_still_applies_to_the_code():
    patches = sorted((ROOT / "tests" / "mutants").glob("*.patch"))
    for path in patches:
        done = subprocess.run(
            ["git", "apply", "--check", str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
