"""What a user gets from the wheel, which is what everybody but us installs."""

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-P", "-m", "build", "--no-isolation", "--wheel", "--outdir", str(out)]
    done = subprocess.run(
        [*build, str(ROOT)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return zipfile.Path(path)


def names(wheel: zipfile.Path) -> set[str]:
    return {name for name in wheel.root.namelist() if not name.endswith("/")}


def metadata(wheel: zipfile.Path, name: str) -> str:
    (path,) = (n for n in names(wheel) if n.endswith(f".dist-info/{name}"))
    return wheel.root.read(path).decode()


def test_the_wheel_has_exactly_two_packages_and_its_metadata(wheel):
    top = {name.split("/")[0] for name in names(wheel)}
    assert {t for t in top if not t.endswith(".dist-info")} == {"golive_redis", "golive_cli"}
    assert len(top) == 3


def test_both_packages_are_typed(wheel):
    assert {"golive_redis/py.typed", "golive_cli/py.typed"} <= names(wheel)


def test_the_wheel_has_every_module_and_data_file_of_the_source_tree(wheel):
    source = {
        path.relative_to(base).as_posix()
        for base, package in ((ROOT, "golive_redis"), (ROOT / "cli", "golive_cli"))
        for path in (base / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    scripts = {name for name in source if name.endswith(".lua")}
    assert scripts, "the store's scripts are not where this test looks for them"
    assert source == {name for name in names(wheel) if ".dist-info/" not in name}


def test_the_folder_cli_is_never_a_package(wheel):
    assert not (ROOT / "cli" / "__init__.py").exists()
    assert not any(name.startswith("cli/") for name in names(wheel))


def test_the_command_is_called_golive(wheel):
    assert "golive = golive_cli.main:main" in metadata(wheel, "entry_points.txt")


def test_the_metadata_names_licence_versions_and_extras(wheel):
    fields = Parser().parsestr(metadata(wheel, "METADATA"))
    assert (fields["Name"], fields["Requires-Python"]) == ("golive-redis", ">=3.11")
    assert fields["License-Expression"] == "Apache-2.0"
    assert "TERMS AND CONDITIONS" in metadata(wheel, "licenses/LICENSE")
    assert set(fields.get_all("Provides-Extra")) == {
        "demo",
        "sql",
        "calendars",
        "patterns",
        "pkcs11",
        "openssh",
        "parquet",
        "all",
        "dev",
        "bench",
        "parties",
    }


def test_every_dependency_has_a_lower_bound_and_none_is_forbidden(wheel):
    fields = Parser().parsestr(metadata(wheel, "METADATA"))
    needed = [r for r in fields.get_all("Requires-Dist") if "extra ==" not in r]
    assert needed
    assert [r for r in needed if ">=" not in r] == []
    assert [r for r in needed if r.lower().startswith(("pydantic", "click"))] == []
