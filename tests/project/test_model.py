"""The model's table is whole: TLC itself runs in `make model`."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = Path(__file__).resolve().parents[2] / "docs" / "model"
README = (MODEL / "README.md").read_text()


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("model_check", MODEL / "check.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def configurations(check):
    return check.configurations(deep=False)


def definitions(module: str) -> set[str]:
    text = (MODEL / f"{module}.tla").read_text()
    return set(re.findall(r"^(\w+)(?:\([^)]*\))? ==", text, re.MULTILINE))


def test_each_safety_rule_has_a_mutant(configurations):
    dropped = {rule.split()[0] for item in configurations for rule in item.drops}
    assert {f"S{number}" for number in range(1, 15)} <= dropped


def test_each_rule_in_a_specification_is_dropped_once_and_no_other_is(configurations):
    written = set()
    for path in MODEL.glob("*.tla"):
        written |= set(re.findall(r'Holds\("([^"]+)"\)', path.read_text()))
    assert {rule for item in configurations for rule in item.drops} == written


def test_each_mutant_and_its_invariant_are_in_the_readme(configurations):
    for item in configurations:
        if item.kind == "mutant":
            assert f"`{item.drops[0]}`" in README, item.name
        assert not set(item.expects) - definitions(item.module), item.name
        if item.kind == "specification":
            assert all(name in README for name in item.expects), item.name


def test_each_mutant_with_constants_of_its_own_is_run_with_its_rule_in_place_too(
    check, configurations
):
    holding = [item.constants for item in configurations if item.kind == "specification"]
    deep = {item.name: item for item in check.configurations(deep=True)}
    own = 0
    for mutant in (item for item in configurations if item.kind == "mutant"):
        undropped = {**mutant.constants, "Drop": "{}"}
        if undropped not in holding:
            kept = deep[f"{mutant.name}, kept"]
            assert (kept.constants, kept.expects) == (undropped, mutant.expects)
            own += 1
    assert own


def test_each_specification_has_a_witness_that_it_does_something(configurations):
    seen = {item.name.split(":")[0] for item in configurations if item.kind == "witness"}
    assert {item.name for item in configurations if item.kind == "specification"} == seen


def test_the_tests_that_the_readme_names_exist():
    root = MODEL.parents[1] / "tests"
    files = {path.name: path.read_text() for path in root.rglob("test_*.py")}
    named = re.findall(r"(test_\w+\.py)", README)
    assert named
    assert set(named) <= set(files)
    for name, test in re.findall(r"(test_\w+\.py)::(test_\w+)", README):
        assert f"def {test}(" in files[name]


@pytest.mark.parametrize(
    ("output", "good"),
    [
        ("Error: Invariant Bound is violated.\n7 distinct states found", True),
        ("Error: Invariant Other is violated.\n7 distinct states found", False),
        ("***Parse Error***\nError: Parsing or semantic analysis failed.", False),
        ("Error: Deadlock reached.\n7 distinct states found", False),
        ("Model checking completed. No error has been found.\n7 distinct states found", False),
        ("", False),
    ],
    ids=["its invariant", "another", "parse error", "deadlock", "holds", "nothing"],
)
def test_a_mutant_is_refuted_by_the_invariant_that_it_names_and_by_nothing_else(
    check, output, good
):
    mutant = check.Configuration("m", "mutant", "Lease", {}, ("Bound",))
    assert check._judged(mutant, output, 1.0).good is good


def test_a_specification_holds_only_when_tlc_says_so_of_more_than_one_state(check):
    spec = check.Configuration("s", "specification", "Lease", {}, ("Bound",))
    assert check._judged(spec, f"{check.HOLDS}\n7 distinct states found", 1.0).good
    assert not check._judged(spec, f"{check.HOLDS}\n1 distinct states found", 1.0).good
    assert not check._judged(spec, "7 distinct states found", 1.0).good


def test_without_java_it_says_what_to_install_and_exits_2(tmp_path):
    done = subprocess.run(
        [sys.executable, str(MODEL / "check.py")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "sudo apt-get install -y openjdk-17-jre-headless" in done.stderr


def test_each_file_and_function_that_the_model_says_it_models_exists():
    """`As built: folder/file.py (name, name), ...`: the way from a rule to its lines."""
    package = MODEL.parents[1] / "golive_redis"
    for path in MODEL.glob("*.tla"):
        (built,) = re.findall(
            r"As built: (.*?)(?:\n\n|\*\)|\n   [A-Z])", path.read_text(), re.DOTALL
        )
        folder = package
        for file, names in re.findall(r"([\w/]+\.(?:py|lua))(?: \(([\w,\s]+)\))?", built):
            # A file without a folder stands beside the one before it.
            whole = package / file if "/" in file or file == "statefile.py" else folder / file
            assert whole.is_file(), (path.name, file)
            folder = whole.parent
            for name in re.findall(r"\w+", names if "the" not in names.split() else ""):
                assert re.search(rf"\b{name}\b", whole.read_text()), (path.name, file, name)
