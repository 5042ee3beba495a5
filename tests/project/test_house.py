"""`make` on machines that lack something, and what the documents of the house must contain."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from kit.servers import server_kinds

ROOT = Path(__file__).resolve().parents[2]
APT = "sudo apt-get install -y python3-venv"


@pytest.fixture
def make(tmp_path):
    """Run `make` on a copy of the Makefile, where `python3` is the given script or nothing."""
    (tmp_path / "pyproject.toml").write_text("")
    shutil.copy(ROOT / "Makefile", tmp_path)
    path = tmp_path / "bin"
    path.mkdir()
    for tool in ("make", "sh", "touch", "rm", "mkdir"):
        found = shutil.which(tool)
        assert found
        (path / tool).symlink_to(found)
    (path / "uname").write_text("#!/bin/sh\necho Linux\n")
    (path / "uname").chmod(0o755)

    def run(*goals, python=None):
        if python is not None:
            (path / "python3").write_text("#!/bin/sh\n" + python)
            (path / "python3").chmod(0o755)
        return subprocess.run(
            ["make", *goals],
            cwd=tmp_path,
            env={"PATH": str(path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


# A stand-in for a Python that makes venvs: it notes each call in the file "calls", and puts
# itself into .venv/bin. `exit 9` there is what an interrupted or failing step looks like.
WHOLE = """
echo "$*" >> calls
case "$*" in
  *print*) echo True ;;
  "-m venv"*) rm -rf .venv; mkdir -p .venv/bin; [ ! -e break ] || exit 9
    { echo '#!/bin/sh'; echo 'exec python3 "$@"'; } > .venv/bin/python
    { echo '#!/bin/sh'; echo 'echo golive "$@"'; } > .venv/bin/golive
    /bin/chmod +x .venv/bin/python .venv/bin/golive ;;
esac
"""


def calls(tmp_path: Path, word: str) -> int:
    return (tmp_path / "calls").read_text().count(word)


@pytest.mark.parametrize("goal", ["demo", "test", "lint", "types"])
@pytest.mark.parametrize(
    "python",
    [
        None,
        "exit 1\n",  # too old
        'case "$2" in *ensurepip*) exit 1 ;; esac\n',  # Debian without python3-venv
    ],
    ids=["absent", "old", "without ensurepip"],
)
def test_make_names_the_one_line_to_type_and_exits_2(make, tmp_path, goal, python):
    done = make(goal, python=python)
    assert done.returncode == 2, done.stderr
    assert [line.strip() for line in done.stderr.splitlines()].count(APT) == 1
    assert not (tmp_path / ".venv").exists()


def test_a_python_that_make_was_told_to_use_is_not_replaced_by_another(make):
    done = make("demo", "PYTHON=python3.99", python=WHOLE)
    assert done.returncode == 2
    assert "python3.99" in done.stderr


def test_make_demo_installs_once_and_runs_the_demo_each_time(make, tmp_path):
    first, second = make("demo", python=WHOLE), make("demo")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "golive demo" in first.stdout
    assert second.stdout == "golive demo\n"
    assert calls(tmp_path, "-m venv") == calls(tmp_path, "--editable .[demo]") == 1


def test_a_changed_pyproject_installs_again_in_the_same_venv(make, tmp_path):
    make("demo", python=WHOLE)
    stamp = (tmp_path / ".venv" / ".golive-run").stat().st_mtime_ns
    (tmp_path / "pyproject.toml").write_text("changed")
    while (tmp_path / "pyproject.toml").stat().st_mtime_ns <= stamp:
        (tmp_path / "pyproject.toml").write_text("changed")
    make("demo")
    assert (calls(tmp_path, "-m venv"), calls(tmp_path, "--editable .[demo]")) == (1, 2)


def test_a_half_made_venv_is_made_again(make, tmp_path):
    (tmp_path / "break").touch()
    assert make("demo", python=WHOLE).returncode == 2
    assert (tmp_path / ".venv" / "bin").is_dir()
    (tmp_path / "break").unlink()
    assert make("demo").stdout.endswith("golive demo\n")
    assert calls(tmp_path, "-m venv --clear .venv") == 2


def test_a_venv_whose_python_is_gone_is_made_again(make, tmp_path):
    make("demo", python=WHOLE)
    (tmp_path / ".venv" / "bin" / "python").unlink()
    assert make("demo").stdout.endswith("golive demo\n")
    assert calls(tmp_path, "-m venv") == 2


def test_make_alone_changes_nothing_and_lists_its_targets(make, tmp_path):
    done = make()
    assert done.returncode == 0
    for target in ("demo", "test", "lint", "types", "bench", "faults", "clean"):
        assert f"make {target} " in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_the_suite_against_another_witness_fails_without_an_interpreter_for_it(tmp_path):
    """It does not leave itself out, and says what is missing."""
    for tool in ("bash", "dirname"):
        found = shutil.which(tool)
        assert found
        (tmp_path / tool).symlink_to(found)
    done = subprocess.run(
        [str(tmp_path / "bash"), str(ROOT / "tests" / "witness_party" / "run.sh")],
        env={"PATH": str(tmp_path), "PYENV_ROOT": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "no Python 3.12 or newer" in done.stderr


def test_the_licence_is_the_whole_apache_licence():
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert all(f"\n   {n}. " in text for n in range(1, 10))


def test_the_changelog_has_the_version_of_the_package():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_this_python_is_one_that_the_metadata_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    own = f"Programming Language :: Python :: {sys.version_info[0]}.{sys.version_info[1]}"
    assert own in project["classifiers"]


@pytest.mark.parametrize(
    ("file", "kinds"),
    [
        ("contract/test_private_corner.py", server_kinds()),
        ("process/test_cut_off.py", server_kinds()[-1:]),
    ],
)
def test_what_needs_a_server_runs_on_every_kind_but_for_fleets_of_processes(file, kinds):
    words = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n0", f"tests/{file}"]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert set(re.findall(r"\[(valkey|redis)\b", told.stdout)) == set(kinds)
