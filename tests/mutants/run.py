"""`make mutants`: break the product in known ways, and see that somebody notices.

Each `*.patch` in this folder takes one rule away. It is applied to a copy of the tree, and then the
simulation, or a named test, has to find it. A mutant counts as killed only

- when a checker says so, not when something crashes;
- and when the same seed, or the same test, finds nothing in the tree as it is.

    python tests/mutants/run.py [--only NAME] [--seconds S] [--learn]

`seeds.json` remembers seeds that have killed a mutant before. They are tried first, then others: any
change of the world makes another story of every seed; `--learn` then remembers the new ones.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SEEDS = HERE / "seeds.json"
COPIED = ("golive_redis", "cli", "config", "tests", "pyproject.toml")
KEPT_SEEDS = 3
TEST_S = 120.0
MINUTES = 5.0


@dataclass
class Mutant:
    """A patch, and who is expected to kill it."""

    path: Path
    why: str
    killer: str

    @property
    def name(self) -> str:
        """What it is called."""
        return self.path.stem

    @classmethod
    def read(cls, path: Path) -> Mutant:
        """Read the words above the patch."""
        words = path.read_text().split("\n--- ", 1)[0]
        found = re.search(r"^killed by: (.+)$", words, re.MULTILINE)
        if found is None:
            raise SystemExit(f"{path.name}: no line `killed by:`")
        return cls(path, words.split("\n\n", 1)[0], found[1])


@dataclass
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    killed: bool
    said: str
    seed: int | None = None
    took_s: float = 0.0


def copy_tree(to: Path) -> None:
    """Copy what the simulation and the tests need."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, to)


def apply(mutant: Mutant, tree: Path) -> str:
    """Apply the patch; return what went wrong, or nothing."""
    done = subprocess.run(
        ["git", "apply", "--whitespace=nowarn", str(mutant.path)],
        cwd=tree,
        # Outside of any repository, or git would look for the paths in that one.
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.strip()


# -- in a process of its own, in the copied tree -------------------------------------------------


def hunt(tree: Path, seeds: list[int], seconds: float) -> None:
    """Run seeds until a checker finds something; print it as JSON."""
    import logging  # noqa: PLC0415  (only here)

    sys.path[:0] = [str(tree / "tests" / "simulation"), str(tree)]
    logging.disable(logging.CRITICAL)
    import golive_redis  # noqa: PLC0415  (of that tree)

    assert Path(golive_redis.__file__).is_relative_to(tree), golive_redis.__file__
    from world import World  # noqa: PLC0415  (of that tree)

    until, found = time.monotonic() + seconds, {}
    ran = 0
    for seed in seeds:
        ran += 1
        try:
            checker = World(seed, minutes=MINUTES).run()
        except Exception as error:  # noqa: BLE001  (whatever it is, it is no checker)
            found = {"seed": seed, "crash": repr(error)}
            break
        if checker.violations:
            found = {"seed": seed, "violation": checker.violations[0]}
            break
        if time.monotonic() > until:
            break
    print(json.dumps({"ran": ran, **found}))


def _hunt(tree: Path, seeds: list[int], seconds: float) -> dict[str, object]:
    """Run `hunt` in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(HERE / "run.py"), "--hunt", str(tree), "--seconds", str(seconds)],
        input=json.dumps(seeds),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return {"crash": done.stderr.strip().splitlines()[-1] if done.stderr else "no output"}
    return dict(json.loads(done.stdout))


# -- killers -------------------------------------------------------------------------------------


def by_simulation(mutant: Mutant, tree: Path, seeds: list[int], seconds: float) -> Verdict:
    """Let the checkers of the simulation find it."""
    tried = [*seeds, *(seed for seed in range(10_000) if seed not in seeds)]
    # A seed that finds something in the tree as it is says nothing about the mutant.
    for _ in range(3):
        found = _hunt(tree, tried, seconds)
        if "crash" in found:
            return Verdict(mutant, False, f"crashed, which is not killed: {found['crash']}")
        if "violation" not in found:
            return Verdict(mutant, False, f"SURVIVED {found['ran']} seeds")
        seed = int(str(found["seed"]))
        control = _hunt(ROOT, [seed], seconds)
        if "violation" not in control and "crash" not in control:
            return Verdict(mutant, True, str(found["violation"]), seed)
        tried.remove(seed)
    return Verdict(mutant, False, "the seeds that find it find something without it, too")


def by_test(mutant: Mutant, tree: Path, arguments: list[str]) -> Verdict:
    """Let a named test find it."""
    try:
        outcomes = [_pytest(where, arguments) for where in (ROOT, tree)]
    except subprocess.TimeoutExpired:
        return Verdict(mutant, False, f"the test does not end within {TEST_S:.0f} s")
    (plain, _), (mutated, said) = outcomes
    if plain != 0:
        return Verdict(mutant, False, "the test fails without it, too")
    killed = mutated == 1 and "AssertionError" in said and " error" not in said.splitlines()[-1]
    return Verdict(mutant, killed, said.strip().splitlines()[-1])


def _pytest(where: Path, arguments: list[str]) -> tuple[int, str]:
    # With that tree first on the path, or the installed product would be tested instead.
    program = (
        "import sys, pytest; sys.path.insert(0, sys.argv[1]); sys.exit(pytest.main(sys.argv[2:]))"
    )
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(where), *options, *arguments],
        cwd=where,
        capture_output=True,
        text=True,
        timeout=TEST_S,
        check=False,
    )
    return done.returncode, done.stdout


def judge(mutant: Mutant, seeds: list[int], seconds: float) -> Verdict:
    """Make one mutant and let its killer at it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="golive-mutant-") as folder:
        tree = Path(folder).resolve()
        copy_tree(tree)
        wrong = apply(mutant, tree)
        kind, _, rest = mutant.killer.partition(" ")
        if wrong:
            verdict = Verdict(mutant, False, f"does not apply: {wrong}")
        elif kind == "simulation":
            verdict = by_simulation(mutant, tree, seeds, seconds)
        else:
            verdict = by_test(mutant, tree, rest.split())
    verdict.took_s = time.monotonic() - began
    return verdict


def main() -> int:
    """Judge all mutants, two at a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=90.0, help="longest hunt for one mutant")
    parser.add_argument("--fresh", action="store_true", help="forget the seeds that killed before")
    parser.add_argument("--learn", action="store_true", help="remember the seeds that kill now")
    parser.add_argument("--hunt", type=Path)
    options = parser.parse_args()
    if options.hunt is not None:
        hunt(options.hunt.resolve(), json.load(sys.stdin), options.seconds)
        return 0
    mutants = [Mutant.read(path) for path in sorted(HERE.glob("*.patch"))]
    mutants = [mutant for mutant in mutants if options.only in mutant.name]
    known: dict[str, list[int]] = json.loads(SEEDS.read_text()) if SEEDS.exists() else {}
    killed = 0
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(
                judge, mutant, [] if options.fresh else known.get(mutant.name, []), options.seconds
            )
            for mutant in mutants
        ]
        for job in jobs:
            verdict = job.result()
            killed += verdict.killed
            word = "killed" if verdict.killed else "NOT KILLED"
            seed = "" if verdict.seed is None else f" (seed {verdict.seed})"
            print(
                f"{verdict.mutant.name}: {word} in {verdict.took_s:.0f} s{seed}: {verdict.said}",
                flush=True,
            )
            if verdict.killed and verdict.seed is not None:
                before = [
                    each for each in known.get(verdict.mutant.name, []) if each != verdict.seed
                ]
                known[verdict.mutant.name] = [verdict.seed, *before][:KEPT_SEEDS]
    print(f"mutants: {killed} of {len(mutants)} killed")
    if options.learn:
        SEEDS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    return 0 if killed == len(mutants) and mutants else 1


if __name__ == "__main__":
    sys.exit(main())
