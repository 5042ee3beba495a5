"""The sample deployment is well-formed and says what the documents say. No engine is needed."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def services(compose):
    return compose["services"]


def test_it_has_one_server_two_heartbeats_and_three_workers(services):
    assert list(services) == ["redis", "hb-1", "hb-2", "worker-1", "worker-2", "worker-3"]


def test_the_server_keeps_what_it_is_told_and_is_reached_from_this_machine_only(services):
    words = shlex.split(services["redis"]["command"])
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert all(port.startswith("127.0.0.1:") for port in services["redis"]["ports"])


def test_each_heartbeat_has_the_name_of_its_service(services):
    for name in ("hb-1", "hb-2"):
        assert services[name]["command"] == f"golive heartbeat --name {name}"


def test_each_daemon_has_a_state_volume_of_its_own_and_configuration_that_it_cannot_write(
    compose, services
):
    for name in set(services) - {"redis"}:
        assert services[name]["volumes"] == [
            "./local/config:/golive/config:ro",
            f"{name}:/golive/state",
        ]
    assert set(compose["volumes"]) == set(services)


def test_the_workers_run_the_example_that_is_in_the_image(services):
    assert (ROOT / "examples" / "worker.py").exists()
    assert "COPY examples" in (ROOT / "Dockerfile").read_text()
    for name in ("worker-1", "worker-2", "worker-3"):
        assert services[name]["command"] == f"python examples/worker.py {name}"


def test_all_that_the_image_copies_exists_and_is_sent_to_the_builder():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    own = [line for line in lines if line.startswith("COPY") and "--from" not in line]
    copied = [src for line in own for src in line.split()[1:-1]]
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    assert copied
    for src in copied:
        assert (ROOT / src).exists()
        assert f"!{src}" in sent


def test_private_keys_are_never_sent_to_the_builder():
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in sent
    assert not any(line.startswith("!config") for line in sent)


def test_the_example_imports(tmp_path):
    code = f"import runpy; runpy.run_path({str(ROOT / 'examples' / 'worker.py')!r})"
    subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, check=True, timeout=120)
