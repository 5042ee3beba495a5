"""`golive keys`: keys are made once, never overwritten, and added without losing a comment."""

from __future__ import annotations

import stat

import pytest
import yaml

from golive_cli.exits import Exit
from golive_cli.yamltext import add_principal, scalar
from golive_redis.config import keyfile
from golive_redis.errors import ConfigError
from golive_redis.records.keyset import encode_public

PUBLIC = encode_public(keyfile.generate().public_key())


def keyset_file(golive):
    return golive.folder / "config" / "keyset.yaml"


# -- new -------------------------------------------------------------------------------------------


def test_new_writes_a_private_file_and_prints_lines_that_the_keyset_accepts(made):
    done = made("keys", "new", "bob", "--role", "approver", "--role", "auditor")
    assert done.returncode == 0, done.stderr
    path = made.folder / "config" / "keys" / "bob.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = "\n".join(line for line in done.stdout.splitlines() if line.startswith("  "))
    keyset_file(made).write_text(keyset_file(made).read_text() + lines + "\n")
    shown = made.json("keys", "show", str(path))
    assert (shown["principal"], shown["roles"]) == ("bob", ["approver", "auditor"])


def test_new_with_add_changes_the_keyset_by_that_principal_only(made):
    before = keyset_file(made).read_text()
    keyset_file(made).chmod(0o640)
    result = made.json("keys", "new", "hb-2", "--role", "heartbeat", "--add")
    after = keyset_file(made).read_text()
    assert after == before + "\n".join(result["lines"]) + "\n"
    assert stat.S_IMODE(keyset_file(made).stat().st_mode) == 0o640
    assert made.json("keys", "show", result["key"]["file"])["principal"] == "hb-2"
    assert [p.name for p in keyset_file(made).parent.iterdir() if p.name.startswith(".")] == []


def test_a_heartbeat_that_was_added_is_found_by_its_name(made, beating):
    made("keys", "new", "hb-2", "--role", "heartbeat", "--add")
    assert beating("hb-2").poll() is None


def test_a_name_that_exists_is_refused_and_nothing_is_written(made):
    before = keyset_file(made).read_text()
    done = made("keys", "new", "hb-1", "--role", "heartbeat", "--add", "--out", "other.pem")
    assert done.returncode == 1
    assert keyset_file(made).read_text() == before
    assert not (made.folder / "other.pem").exists()


def test_a_key_file_is_never_overwritten(made):
    path = made.folder / "config" / "keys" / "alice.pem"
    before = (path.read_bytes(), keyset_file(made).read_text())
    done = made("keys", "new", "al", "--role", "approver", "--add", "--out", str(path))
    assert done.returncode == 1
    assert "a key is never overwritten" in done.stderr and "--out" in done.stderr
    assert (path.read_bytes(), keyset_file(made).read_text()) == before


def test_an_approver_makes_a_key_where_there_is_no_configuration(golive):
    done = golive("keys", "new", "bob", "--role", "approver")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in golive.folder.iterdir()] == ["bob.pem"]
    assert golive.json("keys", "show", "bob.pem")["principal"] is None
    assert golive("keys", "new", "eve", "--role", "approver", "--add").returncode == 6


def test_a_configuration_that_was_named_must_exist(golive):
    done = golive("keys", "new", "bob", "--role", "approver", "--config", "nowhere.yaml")
    assert (done.returncode, list(golive.folder.iterdir())) == (6, [])
    done = golive("keys", "new", "bob", "--role", "approver", GOLIVE_CONFIG="nowhere.yaml")
    assert (done.returncode, list(golive.folder.iterdir())) == (6, [])


@pytest.mark.parametrize("name", ["../bob", "", "a b", "-bob", "x" * 65, "bob\n"])
def test_new_refuses_what_is_no_name(golive, name):
    assert golive("keys", "new", "--role", "worker", "--", name).returncode == 2
    assert list(golive.folder.iterdir()) == []


# -- list and show ---------------------------------------------------------------------------------


def test_list_shows_principals_thresholds_and_which_private_keys_are_here(made):
    result = made.json("keys", "list")
    assert result["thresholds"]["approver"] == 1
    assert {p["name"]: p["roles"] for p in result["principals"]} == {
        "alice": ["approver"],
        "hb-1": ["heartbeat"],
        "workers": ["worker"],
    }
    assert [(k["setting"], k["principal"], k["problem"]) for k in result["private"]] == [
        ("operator", "alice", None),
        ("heartbeat", "hb-1", None),
        ("worker", "workers", None),
    ]
    text = made("keys", "list").stdout
    for principal in result["principals"]:
        assert principal["keys"][0]["keyid"][:12] in text


def test_list_works_on_a_host_that_has_none_of_the_private_keys(made):
    for path in (made.folder / "config" / "keys").glob("*.pem"):
        path.unlink()
    result = made.json("keys", "list")
    problems = {item["setting"]: item["problem"] for item in result["private"]}
    assert set(problems) == {"operator", "worker"}
    assert all("No such file" in problem for problem in problems.values())


def test_list_says_which_configured_key_the_keyset_lacks(made):
    path = made.folder / "config" / "keys" / "alice.pem"
    path.unlink()
    made("keys", "new", "alice", "--role", "approver")
    assert "the keyset does not list this key" in made("keys", "list").stdout


def test_show_prints_the_public_half_and_never_the_private_one(made):
    path = made.folder / "config" / "keys" / "alice.pem"
    done = made("keys", "show", str(path))
    assert "principal  alice (approver)" in done.stdout
    public = yaml.safe_load(keyset_file(made).read_text())["principals"]["alice"]["keys"][0]
    assert public in done.stdout
    secret = path.read_text().splitlines()[1]
    assert secret not in done.stdout + made("keys", "list", "--json").stdout


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o604])
def test_a_key_file_that_others_can_read_is_refused_with_the_cure(made, mode):
    path = made.folder / "config" / "keys" / "alice.pem"
    path.chmod(mode)
    done = made("keys", "show", str(path))
    assert done.returncode == 6
    assert f"open to others (mode {mode:04o})" in done.stderr
    assert f"chmod 600 {path}" in done.stderr


def test_an_unknown_setting_is_named_with_its_line_and_the_nearest_name(made):
    path = made.folder / "config" / "go_live.yaml"
    text = path.read_text().replace("activation_enabled: false", "activation_enable: false")
    path.write_text(text)
    line = text.splitlines().index("activation_enable: false") + 1
    done = made("keys", "list")
    assert done.returncode == 6
    assert f"go_live.yaml:{line}: unknown key 'activation_enable'" in done.stderr
    assert "did you mean activation_enabled?" in done.stderr
    error = made.json("keys", "list", code=6)["error"]
    assert (error["reason"], error["hint"]) == ("config", "did you mean activation_enabled?")


def test_config_option_wins_over_the_variable_and_the_usual_place(made):
    moved = made.folder / "elsewhere"
    (made.folder / "config").rename(moved)
    assert made("keys", "list").returncode == 6
    file = str(moved / "go_live.yaml")
    assert made("keys", "list", GOLIVE_CONFIG=file).returncode == 0
    assert made("keys", "list", "--config", file, GOLIVE_CONFIG="nowhere").returncode == 0


# -- the text of a keyset --------------------------------------------------------------------------

ODD = """\
# first
version: 1   # one
principals:  # all of them
    "alice": {roles: [approver], keys: ["ed25519:A"]}  # flow

    # bob is new
    bob:
        roles:
        - approver
        keys:
        - ed25519:B   # his only key
        # so far
thresholds: {approver: 2}
# the end"""


def test_a_principal_is_added_after_the_last_one_and_every_comment_stays():
    new = add_principal(ODD, "eve", ["worker"], PUBLIC)
    last = "        - ed25519:B   # his only key\n"
    eve = f"    eve:\n        roles: [worker]\n        keys:\n            - {PUBLIC}\n"
    assert new == ODD.replace(last, last + eve)
    assert list(yaml.safe_load(new)["principals"]) == ["alice", "bob", "eve"]


@pytest.mark.parametrize(
    "keys",
    ["['ed25519:A']", "['ed25519:A']\n", "\n    - |\n      ed25519:A\n", "\n    - >-\n      k"],
)
def test_a_principal_is_added_however_the_file_ends(keys):
    text = f"version: 1\nprincipals:\n  a:\n    roles: [worker]\n    keys: {keyfile}"
    new = yaml.safe_load(add_principal(text, "b", ["worker"], PUBLIC))["principals"]
    assert list(new) == ["a", "b"]
    assert new["a"] == yaml.safe_load(text)["principals"]["a"]


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\nprincipals: {a: {roles: [worker], keys: [k]}}\n",
        "{version: 1, principals: {a: {roles: [worker], keys: [k]}}}",
        "version: 1\nprincipals: {}\n",
        "version: 1\n",
    ],
)
def test_a_file_of_another_layout_is_left_alone_with_advice_to_paste(text):
    with pytest.raises(ConfigError, match="was not changed") as caught:
        add_principal(text, "b", ["worker"], PUBLIC)
    assert "paste" in caught.value.hint


STRINGS = (
    *("alice", "no", "on", "1e3", "0x10", "1_000", "null", "~", "1.5", "12:30", "2024-01-01"),
    *("a b", "a: b", "a #b", "-", "'", '"', "{name}", "é", "=", "<<", "redis://h:1/0?a=b"),
)


@pytest.mark.parametrize("text", STRINGS)
def test_a_string_stays_that_string_in_yaml(text):
    assert yaml.safe_load(f"key: {scalar(text)}") == {"key": text}
    assert yaml.safe_load(f"{scalar(text)}: 1") == {text: 1}


def test_a_missing_role_is_asked_for_in_one_line(golive):
    done = golive("keys", "new", "hb-1")
    assert done.returncode == Exit.USAGE
    assert done.stderr.startswith("error: Missing option '--role'. Choose from: approver, ")
    assert "\\" not in done.stderr


def test_a_key_file_that_is_not_there_may_be_a_wrong_path(made):
    done = made("keys", "show", "nope.pem")
    assert done.returncode == Exit.CONFIG
    assert "nope.pem: No such file or directory" in done.stderr
    assert done.stderr.endswith(
        "hint: is the path right? `golive keys list` shows the configured ones\n"
    )


def test_a_file_that_is_no_key_is_called_that_whatever_its_mode(made):
    named = made.folder / "config" / "go_live.yaml"
    done = made("keys", "show", "config/go_live.yaml")
    assert done.returncode == Exit.CONFIG
    assert f"{named.resolve()} is no private key in PEM" in done.stderr
    assert "chmod" not in done.stderr
