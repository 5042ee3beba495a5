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


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """Check the packages under `tree`, not the installed ones, against the contracts there."""
    return subprocess.run(
        [sys.executable, "-P", "-c", LINT, "--no-cache", "--no-logo"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'cli'}", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
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
    assert "4 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("contract", "module", "line"),
    [
        ("The core performs no I/O", "golive_redis/records/beat.py", "import time"),
        ("The core performs no I/O", "golive_redis/records/beat.py", "from datetime import UTC"),
        ("The core performs no I/O", "golive_redis/records/keyset.py", "def f(): import os"),
        ("The core performs no I/O", "golive_redis/errors.py", "import logging"),
        ("Data flows one way", "golive_redis/records/beat.py", "import golive_redis.store"),
        ("Data flows one way", "golive_redis/store/__init__.py", "import golive_redis.guard.guard"),
        ("Data flows one way", "golive_redis/errors.py", "import golive_redis.records.beat"),
        ("Data flows one way", "golive_redis/stop/revoke.py", "import golive_redis.checks.ask"),
        ("Data flows one way", "golive_redis/checks/ask.py", "import golive_redis.guard.guard"),
        (
            "Data flows one way",
            "golive_redis/config/config.py",
            "import golive_redis.delivery.spool",
        ),
        ("Execution workers never", "golive_redis/guard/guard.py", "def f(): import typer"),
        ("Execution workers never", "golive_redis/guard/guard.py", "import golive_cli.main"),
        ("Execution workers never", "golive_redis/guard/guard.py", "def f(): import httpx"),
        ("Execution workers never", "golive_redis/heartbeat/triggers.py", "import sqlalchemy"),
        ("Only the store,", "golive_redis/guard/guard.py", "from redis.client import Redis"),
    ],
)
def test_a_forbidden_import_is_found(copy, contract, module, line):
    assert (copy / module).exists()
    with (copy / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [out for out in done.stdout.splitlines() if " BROKEN" in out]
    assert [out for out in broken if out.startswith(contract)], done.stdout


def test_every_module_of_the_library_is_in_a_layer():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = config["tool"]["importlinter"]["contracts"][0]["layers"]
    named = {name.strip(" ()") for layer in layers for name in re.split("[:|]", layer)}
    modules = {
        f"golive_redis.{path.stem}"
        for path in (ROOT / "golive_redis").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert modules - named - {"golive_redis.__init__", "golive_redis.__main__"} == set()


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=30, check=True
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
