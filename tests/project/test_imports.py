"""Who may import what. Each contract is also broken on purpose, to see that it bites."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
HEAVY = {
    "typer",
    "click",
    "rich",
    "httpx",
    "sqlalchemy",
    "prometheus_client",
    "pydantic",
    "golive_cli",
}


def lint(tree: Path, *only: str) -> subprocess.CompletedProcess[str]:
    """Check the packages under `tree`, not the installed ones, against the contracts there."""
    chosen = [word for contract in only for word in ("--contract", contract)]
    return subprocess.run(
        [sys.executable, "-P", "-c", LINT, "--no-cache", "--no-logo", *chosen],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'cli'}", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def copy(tmp_path):
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "golive_redis", tmp_path / "golive_redis", ignore=ignore)
    shutil.copytree(ROOT / "cli", tmp_path / "cli", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_import_contracts_hold(copy):
    done = lint(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 kept, 0 broken" in done.stdout


# By contract: what must not be, as lines at the end of a module. One look finds all of a contract.
BREAKS = {
    "one-way": [
        ("golive_redis/records/beat.py", "import golive_redis.store"),
        ("golive_redis/store/__init__.py", "import golive_redis.guard.guard"),
        ("golive_redis/errors.py", "import golive_redis.records.beat"),
        ("golive_redis/stop/revoke.py", "import golive_redis.checks.ask"),
        ("golive_redis/checks/ask.py", "import golive_redis.guard.guard"),
        ("golive_redis/config/config.py", "import golive_redis.delivery.spool"),
        ("golive_redis/testing/venue.py", "import golive_cli.demo.prices"),
    ],
    "command-one-way": [
        ("cli/golive_cli/exits.py", "import golive_cli.output"),
        ("cli/golive_cli/output.py", "import golive_cli.findings"),
        ("cli/golive_cli/findings.py", "import golive_cli.options"),
        ("cli/golive_cli/demo/story.py", "import golive_cli.findings"),
        ("cli/golive_cli/writer.py", "import golive_cli.commands.status"),
        ("cli/golive_cli/commands/revoke.py", "def f(): import golive_cli.app"),
        ("cli/golive_cli/failure.py", "import golive_cli.app"),
    ],
    "pure-core": [
        ("golive_redis/core/view.py", "import threading"),
        ("golive_redis/records/beat.py", "import time"),
        ("golive_redis/records/trust.py", "from datetime import UTC"),
        ("golive_redis/records/keyset.py", "def f(): import os"),
        ("golive_redis/checks/question.py", "import random"),
        ("golive_redis/checks/expectation.py", "import socket"),
        ("golive_redis/checks/trigger.py", "from subprocess import run"),
        ("golive_redis/errors.py", "import logging"),
    ],
    "records-alone": [
        ("golive_redis/records/beat.py", "import golive_redis.clock"),
        ("golive_redis/records/trust.py", "def f(): import golive_redis.core.view"),
    ],
    "kill-path": [
        ("golive_redis/stop/journal.py", "def f(): import golive_redis.operator.session"),
        ("golive_redis/stop/revoke.py", "import tenacity"),
        ("golive_redis/stop/before.py", "def f(): import golive_redis.witness.submit"),
        ("golive_redis/stop/inbox.py", "import golive_redis.checks.ask"),
        ("cli/golive_cli/commands/revoke.py", "import golive_redis.heartbeat.daemon"),
        ("cli/golive_cli/commands/revoke.py", "def f(): import typer"),
    ],
    "quick-path": [
        ("cli/golive_cli/quick.py", "def f(): import golive_redis.heartbeat.daemon"),
        ("cli/golive_cli/commands/status.py", "import typer"),
        ("cli/golive_cli/output.py", "import pydantic"),
    ],
    "worker-weight": [
        ("golive_redis/guard/guard.py", "def f(): import golive_redis.checks.windows"),
        ("golive_redis/guard/guard.py", "import golive_redis.operator.session"),
        ("golive_redis/guard/attending.py", "import golive_redis.stop.inbox"),
        ("golive_redis/guard/stopping.py", "import tenacity"),
        ("golive_redis/guard/presence.py", "import golive_redis.witness.protocol"),
        ("golive_redis/guard/gate.py", "def f(): import httpx"),
    ],
    "library-weight": [
        ("golive_redis/guard/guard.py", "def f(): import typer"),
        ("golive_redis/operator/status.py", "def f(): import rich"),
        ("golive_redis/testing/harness.py", "import golive_cli.main"),
        ("golive_redis/heartbeat/triggers.py", "import sqlalchemy"),
    ],
    "witness-alone": [
        ("golive_redis/witness/server.py", "import golive_redis.core.view"),
        ("golive_redis/witness/submit.py", "def f(): import golive_redis.store.link"),
    ],
    "store-only-redis": [
        ("golive_redis/guard/guard.py", "from redis.client import Redis"),
        ("golive_redis/checks/ask.py", "import redis"),
        ("golive_redis/testing/signers.py", "def f(): import redis"),
    ],
}


def test_each_contract_is_broken_on_purpose():
    assert set(BREAKS) == {contract["id"] for contract in contracts()}


@pytest.mark.parametrize("contract", BREAKS)
def test_each_forbidden_import_is_found(copy, contract):
    wanted = set()
    for module, line in BREAKS[contract]:
        assert (copy / module).exists()
        with (copy / module).open("a") as file:
            file.write(f"\n{line}\n")
        importer = re.sub(r"(/__init__)?\.py$", "", module.removeprefix("cli/")).replace("/", ".")
        target = line.split("import ")[1] if "from" not in line else line.split()[1].split(".")[0]
        wanted.add(f"{importer} -> {target}")
    done = lint(copy, contract)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "0 kept, 1 broken" in done.stdout
    found = set(re.findall(r"([\w.]+ -> [\w.]+) \(l\.", done.stdout))
    assert wanted <= found, done.stdout


def contracts():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return config["tool"]["importlinter"]["contracts"]


@pytest.mark.parametrize(
    ("contract", "folder"),
    [("one-way", "golive_redis"), ("command-one-way", "cli/golive_cli")],
)
def test_every_module_is_in_a_layer(contract, folder):
    (layers,) = [each["layers"] for each in contracts() if each["id"] == contract]
    named = {name.strip(" ()") for layer in layers for name in re.split("[:|]", layer)}
    package = ROOT / folder
    modules = {
        f"{package.name}.{path.stem}"
        for path in package.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert modules - named - {f"{package.name}.__init__"} == set()


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code", ["import golive_redis", "from golive_redis import Denial, Guard, Permit"]
)
def test_a_worker_does_not_load_the_operators_toolkit(code):
    assert loaded_after(code) & HEAVY == set()


def test_a_worker_loads_no_check():
    assert [
        name for name in loaded_after("import golive_redis.guard.guard") if ".checks" in name
    ] == []


@pytest.mark.parametrize("module", ["heartbeat.daemon", "heartbeat.triggers", "operator.preflight"])
def test_who_runs_checks_loads_only_what_their_sources_need(module):
    loaded = loaded_after(f"import golive_redis.{module}")
    assert loaded & {"httpx", "sqlalchemy"} == set()
    assert "golive_redis.checks.sources.http" not in loaded


def test_a_stop_loads_what_writes_the_ledger_after_its_effect_only():
    loaded = loaded_after("import golive_cli.commands.revoke, golive_redis.stop.revoke")
    assert "golive_redis.stop.attestation" in loaded, "what it reads before"
    assert loaded & {"golive_redis.delivery.append", "golive_redis.stop.journal"} == set()


@pytest.mark.parametrize("module", ["guard.guard", "stop.revoke", "heartbeat.daemon"])
def test_what_makes_and_proves_users_is_loaded_by_nobody_who_runs(module):
    loaded = loaded_after(f"import golive_redis.{module}")
    assert "golive_redis.store.rights" in loaded
    unwanted = ("store.acl", "store.roles", "store.library", "operator.logins", "operator.findings")
    assert loaded & {f"golive_redis.{name}" for name in unwanted} == set()


def test_a_heartbeat_loads_its_endpoint_only_when_it_is_asked_for():
    loaded = loaded_after("import golive_cli.commands.heartbeat, golive_redis.heartbeat.daemon")
    assert "golive_redis.heartbeat.health" in loaded
    assert "golive_redis.heartbeat.probes" not in loaded
