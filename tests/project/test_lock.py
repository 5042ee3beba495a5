"""The lock: exact versions with hashes for CI and the image, and what it must agree with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "requirements"
LOCKS = ("ci.txt", "image.txt", "build.txt", "parties.txt")
OF_THEIR_OWN = {"bench", "parties"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
PYTHONS = [
    word.rpartition(" ")[2]
    for word in PROJECT["project"]["classifiers"]
    if re.fullmatch(r"Programming Language :: Python :: 3\.[0-9]+", word)
]
AGAIN = "run `make lock` and commit requirements/"


def pins(name: str) -> list[tuple[Requirement, list[str]]]:
    """Each pinned release with its hashes."""
    text = (FOLDER / name).read_text().replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            head, *hashes = line.split("--hash=")
            found.append((Requirement(head), [item.strip() for item in hashes]))
    return found


def direct(name: str) -> list[Requirement]:
    """What pyproject.toml asks for directly in what a lock is made for."""
    core = PROJECT["project"]["dependencies"]
    texts = {
        "ci.txt": [
            *core,
            *(text for extra in EXTRAS if extra not in OF_THEIR_OWN for text in EXTRAS[extra]),
        ],
        "image.txt": [*core, *EXTRAS["patterns"]],
        "parties.txt": [*core, *EXTRAS["parties"]],
        "build.txt": PROJECT["build-system"]["requires"],
    }[name]
    wanted = [Requirement(text) for text in texts]
    return [item for item in wanted if canonicalize_name(item.name) != "golive-redis"]


def test_the_python_versions_are_read_from_the_classifiers():
    assert PYTHONS == ["3.11", "3.12", "3.13", "3.14"]


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize("python", PYTHONS)
def test_what_the_project_asks_for_is_pinned_within_its_ranges(name: str, python: str):
    here = {**default_environment(), "python_version": python, "python_full_version": f"{python}.4"}
    pinned = {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin, _ in pins(name)
        if pin.marker is None or pin.marker.evaluate(here)
    }
    wanted = direct(name)
    assert wanted
    for item in wanted:
        if item.marker is not None and not item.marker.evaluate(here):
            continue
        version = pinned.get(canonicalize_name(item.name))
        assert version is not None, f"{item.name} is not in {name}: {AGAIN}"
        assert item.specifier.contains(version), f"{item} is not {version}: {AGAIN}"


@pytest.mark.parametrize("name", LOCKS)
def test_every_release_is_exact_and_has_hashes_and_no_index_of_a_machine_is_named(name: str):
    found = pins(name)
    assert found
    for pin, hashes in found:
        assert re.fullmatch(r"==[0-9][^*,]*", str(pin.specifier)), pin
        assert hashes, pin
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", item) for item in hashes), pin
    text = (FOLDER / name).read_text()
    assert "make lock" in text
    assert not re.search(r"://|index-url|find-links|^-", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["image.txt", "build.txt"])
def test_the_image_has_the_versions_that_the_tests_ran_with(name: str):
    tested = {(pin.name, str(pin.specifier)) for pin, _ in pins("ci.txt")}
    assert {(pin.name, str(pin.specifier)) for pin, _ in pins(name)} <= tested


def test_ci_and_the_image_install_nothing_but_what_is_locked():
    image = (ROOT / "Dockerfile").read_text()
    installs = re.findall(r"^RUN pip .*", image, re.MULTILINE)
    assert installs
    for line in installs:
        assert "--require-hashes -r requirements/" in line or "--no-deps" in line
    script = (ROOT / ".ci" / "run").read_text()
    assert "export GOLIVE_LOCKED=1" in script
    assert "[all" not in script


def test_an_upper_bound_has_its_reason_beside_it():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    bounded = [at for at, line in enumerate(lines) if re.search(r'"[A-Za-z0-9_-]+>=[^"]*,<', line)]
    assert len(bounded) >= 2
    for at in bounded:
        assert "#" in lines[at] or lines[at - 1].lstrip().startswith("#"), lines[at]
