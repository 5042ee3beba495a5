"""What Kubernetes gives a process: linked files, a Secret of a group, no home, nothing to write to.

Run by root, the processes get a user that /etc/passwd does not know; run by anybody else, they are
that user's own, and the Secret is, too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from golive_redis.config import keyfile
from golive_redis.testing import Signers
from golive_redis.testing.server import EmbeddedServer

IS_ROOT = os.geteuid() == 0
USER = 54_321  # nobody has it
FS_GROUP = 54_322
# The interpreter may be in a folder that only root may enter: what is imported later, is imported now.
BECOME = f"""
import encodings.idna, os, pkgutil, sys
for package in ("golive_redis", "golive_cli"):
    for module in pkgutil.walk_packages(__import__(package).__path__, package + "."):
        __import__(module.name)
os.setgroups([{FS_GROUP}])
os.setgid({USER})
os.setuid({USER})
"""
GOLIVE = "import sys; from golive_cli.main import main; sys.exit(main())"
WORKER = """
import os, sys
from golive_redis import Guard
with Guard.open(worker="pod-1") as guard:
    try:
        open("scratch", "w")
    except OSError as error:
        print(error.strerror, flush=True)
    sys.stdin.read()
    print(guard.health().phase, guard.health().durable)
"""
SETTINGS = {
    "environment": "test",
    "activation_enabled": True,
    "required_preflight": [],
    "profiles": {
        "micro": {
            "currency": "USD",
            "max_order_notional": "25",
            "max_position_notional": "100",
            "max_daily_loss": "10",
            "max_orders_per_minute": 60,
        }
    },
    "keys": {
        "operator": "keys/alice.pem",
        "heartbeat": "keys/hb-1.pem",
        "worker": "keys/pod-1.pem",
    },
    "state_dir": "../../var/state",
}


def mount(folder: Path, files: Mapping[str, bytes], mode: int) -> None:
    """Mount a ConfigMap or a Secret, or update it: links to `..data`, which is swapped."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    data, swap = folder / "..data", folder / "..data_tmp"
    old = data.resolve() if data.is_symlink() else None
    new = Path(tempfile.mkdtemp(prefix="..2026_", dir=folder))
    for name, content in files.items():
        (new / name).write_bytes(content)
        (new / name).chmod(mode)
        if IS_ROOT and mode & 0o040:
            os.chown(new / name, 0, FS_GROUP)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    new.chmod(0o755)
    swap.symlink_to(new.name)
    swap.replace(data)
    if old is not None:
        shutil.rmtree(old)
    folder.chmod(0o555)


class Pod:
    """A root file system that is read-only but for `var/state`, and processes in it."""

    def __init__(self, root: Path, server: EmbeddedServer, signers: Signers) -> None:
        self.root = root
        self.signers = signers
        self.config = root / "etc" / "golive"
        self.state = root / "var" / "state"
        self.state.mkdir(parents=True)
        self.config.mkdir(parents=True)
        (self.config / "keys").mkdir()
        self.environ = {
            "PATH": os.environ["PATH"],
            "GOLIVE_CONFIG": str(self.config / "go_live.yaml"),
            "GOLIVE_REDIS_URL": server.url,
        }
        if IS_ROOT:
            os.chown(self.state, 0, FS_GROUP)
            self.state.chmod(0o2770)
        self.mount()
        for folder in (root / "var", root / "etc", root):
            folder.chmod(0o555)

    def mount(self, **settings: Any) -> None:
        """Mount what there is, or update it."""
        self.config.chmod(0o755)
        config = {
            "go_live.yaml": yaml.safe_dump({**SETTINGS, **settings}).encode(),
            "keyset.yaml": yaml.safe_dump(self.signers.keyset_file).encode(),
        }
        keys = {
            f"{name}.pem": keyfile.to_pem(signer._private)
            for name, signer in self.signers.signers.items()
        }
        mount(self.config / "keys", keys, 0o440 if IS_ROOT else 0o400)
        mount(self.config, config, 0o644)

    def start(self, program: str, *words: str, **how: Any) -> subprocess.Popen[str]:
        """Start a process of the pod, without a home."""
        return subprocess.Popen(
            [sys.executable, "-B", "-P", "-c", (BECOME if IS_ROOT else "") + program, *words],
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **how,
        )

    def golive(self, *words: str) -> Any:
        """Run a command to its end, and return what it printed as JSON."""
        with self.start(GOLIVE, *words, "--json") as process:
            out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        return json.loads(out)


@pytest.fixture
def pod(server: EmbeddedServer) -> Iterator[Pod]:
    # Not under pytest's folder, which another user may not enter.
    root = Path(tempfile.mkdtemp(prefix="golive-pod-")).resolve()
    try:
        yield Pod(root, server, Signers())
    finally:
        for folder, _, _ in os.walk(root):
            Path(folder).chmod(0o755)
        shutil.rmtree(root)


def test_a_fleet_runs_and_stops_on_what_kubernetes_mounts(pod: Pod, wait_for: Any) -> None:
    """Row 116."""
    heartbeat = pod.start(GOLIVE, "heartbeat", "--name", "hb-1")
    worker = pod.start(WORKER)
    try:
        assert worker.stdin is not None and worker.stdout is not None
        assert worker.stdout.readline() == ("Permission denied\n"), (
            worker.stderr and worker.stderr.read()
        )
        wait_for(lambda: pod.golive("status")["heartbeats"], what="the heartbeat on the roster")
        pod.golive("activate", "--reason", "first", "--yes")
        pod.mount(window_minutes=719)  # an update, under processes that run
        wait_for(lambda: pod.golive("status")["armed"] == 1, what="an armed worker")
        stopped = pod.golive("revoke", "--reason", "enough")
        assert stopped["result"] == "COMPLETE", stopped
        out, err = worker.communicate(timeout=120)
        assert (out, worker.returncode) == ("latched yes\n", 0), err
    finally:
        for process in (heartbeat, worker):
            process.kill()
            process.communicate()
    assert sorted(path.name for path in pod.root.iterdir()) == ["etc", "var"]
    assert {path.stem.partition("-")[0] for path in pod.state.glob("*.json")} >= {"worker"}


def test_a_process_takes_two_keys_from_descriptors(pod: Pod, server: EmbeddedServer) -> None:
    """A heartbeat with a trigger signs with its own key and a revoker's; no file has either."""
    pipes = []
    for name in ("hb-1", "rita"):
        out, into = os.pipe()
        os.write(into, keyfile.to_pem(pod.signers.signers[name]._private))
        os.close(into)
        if IS_ROOT:
            os.fchown(out, USER, USER)
        pipes.append(out)
    question = {"file": {"path": "keyset.yaml"}, "contains": "fleet"}
    never = {"never": {"question": question, "every": "5s", "for": "2 of 3", "then": "revoke"}}
    keys = {"heartbeat": f"/dev/fd/{pipes[0]}", "revoker": f"/dev/fd/{pipes[1]}"}
    pod.mount(keys=keys, triggers=never)
    try:
        process = pod.start(GOLIVE, "heartbeat", "--name", "hb-1", pass_fds=pipes)
    finally:
        for out in pipes:
            os.close(out)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "hb-1 started" in line, process.stderr and process.stderr.read()
    finally:
        process.kill()
        process.communicate()
