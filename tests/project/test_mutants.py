"""Each rule of the protocol is taken away by a mutant, and each mutant has a test that is named."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATCHES = {
    path.stem: path.read_text().split("\n--- ", 1)[0]
    for path in (ROOT / "tests" / "mutants").glob("*.patch")
}
RULES = {f"S{number}" for number in range(1, 15)}
NEAR = 3


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


def removed(patch: str) -> Iterator[tuple[list[str], int]]:
    """Yield each line that a patch takes away: the lines of its file as it is, and the index."""
    for file in re.split(r"^--- a/", patch, flags=re.MULTILINE)[1:]:
        lines = (ROOT / file.split("\n", 1)[0]).read_text().splitlines()
        for hunk in re.split(r"^@@ .*\n", file, flags=re.MULTILINE)[1:]:
            old = [line for line in hunk.splitlines() if line.startswith((" ", "-"))]
            bare = [line[1:] for line in old]
            at = next(i for i in range(len(lines)) if lines[i : i + len(old)] == bare)
            yield from ((lines, at + n) for n, line in enumerate(old) if line[0] == "-")


def test_near_each_line_that_a_mutant_of_a_rule_takes_away_stands_its_number():
    unmarked = []
    for path in sorted((ROOT / "tests" / "mutants").glob("*.patch")):
        text = path.read_text()
        rules = re.findall(r"S[0-9]+", text.splitlines()[0].partition(":")[0])
        near = "\n".join(
            line
            for lines, index in removed(text)
            for line in lines[max(0, index - NEAR) : index + NEAR + 1]
        )
        marks = re.findall(r"S[0-9]+", " ".join(re.findall(r"(?:#|--) .*", near)))
        # A mutant that only adds lines takes none away beside which the number could stand.
        if rules and near and not set(rules) & set(marks):
            unmarked.append(path.stem)
    assert unmarked == []
