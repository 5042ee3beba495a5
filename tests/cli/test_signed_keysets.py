"""`golive keys draft`, `sign` and `take`: a host goes from keyset to keyset by its roots' word alone."""

from __future__ import annotations

import json
import signal
import stat

import pytest
import yaml

from golive_cli.exits import Exit

ROOTS = ("ruth", "omar")


def keyset_file(golive):
    return golive.folder / "config" / "keyset.yaml"


def settings(path):
    return yaml.safe_load(path.read_text())


def save(path, value):
    path.write_text(yaml.safe_dump(value))
    return path


@pytest.fixture
def rooted(made):
    """Version 1 with two roots, both of whom are needed."""
    for name in ROOTS:
        assert made("keys", "new", name, "--role", "root", "--add").returncode == 0
    value = settings(keyset_file(made)) | {"thresholds": {"root": 2}}
    save(keyset_file(made), value)
    return made


def next_file(golive, number=2, **changes):
    """A keyset to be drafted: as it is, but for its number and those principals; None takes one away."""
    value = settings(keyset_file(golive)) | {"version": number}
    for name, principal in changes.items():
        if principal is None:
            del value["principals"][name]
        else:
            value["principals"][name] = principal
    return save(golive.folder / f"new-{number}.yaml", value)


def key(golive, name):
    return str(golive.folder / "config" / "keys" / f"{name}.pem")


def signed(golive, draft, *names):
    for name in names:
        done = golive("keys", "sign", draft, "--key", key(golive, name), "--yes")
        assert done.returncode == 0, done.stderr


def drafted(golive, number=2, *names, **changes):
    done = golive("keys", "draft", next_file(golive, number, **changes), "--by", "ruth")
    assert done.returncode == 0, done.stderr
    signed(golive, f"keyset-{number}.json", *names)
    return f"keyset-{number}.json"


def test_a_host_takes_what_enough_roots_have_signed_and_uses_it(rooted):
    bob = rooted.json("keys", "new", "bob", "--role", "approver")["key"]["public"]
    keyset_file(rooted).chmod(0o640)
    file = next_file(rooted, bob={"roles": ["approver"], "keys": [bob]}, alice=None)
    draft = rooted.json("keys", "draft", file, "--by", "ruth")
    assert (draft["before"], draft["number"], draft["complete"]) == (1, 2, False)
    assert [line[:7] for line in draft["changes"]] == ["- alice", "+ bob: "]
    assert (draft["signed"], draft["able"]) == ([], ["omar", "ruth"])
    first = rooted.json("keys", "sign", "keyset-2.json", "--key", key(rooted, "ruth"), "--yes")
    assert (first["signed"], first["complete"]) == (["ruth"], False)
    second = rooted.json("keys", "sign", "keyset-2.json", "--key", key(rooted, "omar"), "--yes")
    assert (second["signed"], second["complete"]) == (["omar", "ruth"], True)
    old = keyset_file(rooted).read_bytes()
    keyset_file(rooted).with_name("keyset-1.yaml").write_text("another")
    assert "nothing was changed" in refused(rooted, "keyset-2.json", code=Exit.REFUSED)
    keyset_file(rooted).with_name("keyset-1.yaml").unlink()
    done = rooted("keys", "take", "keyset-2.json")
    assert done.returncode == 0, done.stderr
    kept = keyset_file(rooted).with_name("keyset-1.yaml")
    assert kept.read_bytes() == old and f"{kept} (golive audit verify --keyset)" in done.stdout
    assert "keyset 2 in place of 1" in done.stdout and "+ bob: approver" in done.stdout
    names = {p["name"] for p in rooted.json("keys", "list")["principals"]}
    assert {"bob", "ruth", "omar"} <= names and "alice" not in names
    assert rooted.json("keys", "list")["version"] == 2
    assert stat.S_IMODE(keyset_file(rooted).stat().st_mode) == 0o640


def refused(golive, *files, code=Exit.VERIFICATION):
    before = keyset_file(golive).read_bytes()
    done = golive("keys", "take", *files)
    assert done.returncode == code, done.stdout + done.stderr
    assert keyset_file(golive).read_bytes() == before, "nothing was written"
    return done.stderr


def test_too_few_roots_move_no_host(rooted):
    draft = drafted(rooted)
    said = refused(rooted, draft, code=Exit.REFUSED)  # no attack: nobody has signed yet
    assert "0 of 2 root signatures: nobody has signed keyset 2" in said
    signed(rooted, draft, "ruth", "ruth")
    assert "1 of 2 root signatures: ruth signed" in refused(rooted, draft)


def test_nothing_older_and_nothing_further_ahead_is_taken(rooted):
    first = drafted(rooted, 2, *ROOTS)
    kept = (rooted.folder / first).read_bytes()
    assert rooted("keys", "take", first).returncode == 0
    second = drafted(rooted, 3, *ROOTS)
    assert rooted("keys", "take", second).returncode == 0
    (rooted.folder / "old.json").write_bytes(kept)
    for again in ("old.json", second):
        assert "does not follow keyset 3: the next is 4" in refused(
            rooted, again, code=Exit.REFUSED
        )
    same = rooted("keys", "draft", next_file(rooted, 3), "--by", "ruth", "--out", "same.json")
    assert same.returncode == Exit.REFUSED and "the next is 4" in same.stderr
    assert rooted.json("keys", "list")["version"] == 3


def test_a_host_that_missed_some_takes_them_one_after_the_other(rooted):
    start = keyset_file(rooted).read_bytes()
    drafts = []
    for number in (2, 3, 4):
        drafts.append(drafted(rooted, number, *ROOTS))
        assert rooted("keys", "take", drafts[-1]).returncode == 0
    keyset_file(rooted).write_bytes(start)  # another host, which was off all the time
    refused(rooted, drafts[1], code=Exit.REFUSED)
    refused(rooted, drafts[0], drafts[2], code=Exit.REFUSED)
    done = rooted("keys", "take", *drafts)
    assert done.returncode == 0, done.stderr
    assert rooted.json("keys", "list")["version"] == 4


def test_new_roots_have_to_sign_with_the_old_ones(rooted):
    ines = rooted.json("keys", "new", "ines", "--role", "root")["key"]["public"]
    root = {"roles": ["root"], "keys": [ines]}
    draft = drafted(rooted, 2, *ROOTS, omar=None, ines=root)
    assert "1 of 2 root signatures: ruth signed" in refused(rooted, draft)
    signed(rooted, draft, "ines")
    assert rooted("keys", "take", draft).returncode == 0
    draft = drafted(rooted, 3, "ruth", "ines")
    assert rooted("keys", "take", draft).returncode == 0


def test_a_draft_that_was_changed_after_it_was_signed_is_refused(rooted):
    draft = drafted(rooted, 2, *ROOTS)
    path = rooted.folder / draft
    value = json.loads(path.read_text())
    keyset = json.loads(value["keyset"])
    keyset["principals"]["mallory"] = keyset["principals"].pop("alice")
    value["keyset"] = json.dumps(keyset, sort_keys=True, separators=(",", ":"))
    path.write_text(json.dumps(value))
    assert "the record names another keyset 2 than this one" in refused(rooted, draft)
    done = rooted("keys", "sign", draft, "--key", key(rooted, "ruth"), "--yes")
    assert done.returncode == Exit.REFUSED and "does not follow keyset 1" in done.stderr


def test_only_roots_sign_and_a_person_says_which_number(rooted):
    draft = drafted(rooted)
    before = (rooted.folder / draft).read_bytes()
    done = rooted("keys", "sign", draft, "--yes")  # keys.operator is alice's
    assert done.returncode == Exit.REFUSED and "the key of alice is no root's" in done.stderr
    done = rooted("keys", "sign", draft, "--key", key(rooted, "ruth"))  # nobody types anything
    assert done.returncode != 0
    assert (rooted.folder / draft).read_bytes() == before


def test_a_keyset_without_roots_has_no_draft_and_works_as_before(made):
    done = made("keys", "draft", next_file(made))
    assert done.returncode == Exit.VERIFICATION
    assert "keyset 1 has no root, so nobody can sign what follows it" in done.stderr
    assert made("keys", "list").returncode == 0


def test_a_draft_is_never_overwritten_and_a_strange_file_is_none(rooted):
    draft = drafted(rooted, 2, "ruth")
    done = rooted("keys", "draft", next_file(rooted))
    assert done.returncode == Exit.REFUSED and "may have signatures" in done.stderr
    for text in ("", "{}", "[]", '{"keyset": "x", "record": "y", "signatures": []}'):
        (rooted.folder / "strange.json").write_text(text)
        said = refused(rooted, "strange.json", code=Exit.CONFIG)
        assert "is no draft of a keyset" in said, said
    assert "No such file" in refused(rooted, "absent.json", code=Exit.CONFIG)
    assert rooted("keys", "draft", next_file(rooted, 3), "--by", "eve").returncode == Exit.REFUSED
    assert (rooted.folder / draft).exists()


def test_a_heartbeat_goes_on_with_the_keyset_that_was_taken(rooted, beating):
    heartbeat = beating()
    draft = drafted(rooted, 2, *ROOTS)
    assert rooted("keys", "take", draft).returncode == 0
    heartbeat.send_signal(signal.SIGHUP)
    for line in heartbeat.stdout:
        if "reloaded: " in line:
            assert "2" in line
            break
    else:
        raise AssertionError(heartbeat.stderr.read())


# -- through Redis ---------------------------------------------------------------------------------


@pytest.fixture
def online(rooted, server):
    rooted.environ["GOLIVE_REDIS_URL"] = server.url
    return rooted


def test_what_is_published_every_command_takes_and_the_ledger_has_it(online):
    draft = drafted(online, 2, *ROOTS)
    done = online.json("keys", "publish", draft, "--yes")
    assert (done["before"], done["number"], done["ends"], done["again"]) == (1, 2, None, False)
    assert settings(keyset_file(online))["version"] == 1, "the file stays what it is"
    assert online.json("keys", "list")["version"] == 2
    assert online.json("status")["keyset"] == {"version": 2, "signed": True, "expires": None}
    (entry,) = online.json("audit", "list")["entries"]
    assert (entry["kind"], entry["by"]) == ("keyset", list(reversed(ROOTS)))
    assert entry["what"] == "keyset 2 follows keyset 1"
    assert online("audit", "verify").returncode == 0
    again = online.json("keys", "publish", draft, "--yes", code=Exit.REFUSED)
    assert "keyset 2 is no next one: keyset 2 stands in Redis" in again["error"]["message"]


def test_nothing_is_published_that_its_roots_have_not_signed(online):
    draft = drafted(online, 2, "ruth")
    done = online("keys", "publish", draft, "--yes")
    assert done.returncode == Exit.VERIFICATION
    assert "1 of 2 root signatures: ruth signed" in done.stderr
    assert online.json("audit", "list")["entries"] == []


def test_a_person_types_the_number_or_nothing_is_published(online):
    draft = drafted(online, 2, *ROOTS)
    assert online("keys", "publish", draft).returncode != 0
    assert online.json("keys", "list")["version"] == 1


def test_a_key_is_rotated_and_somebody_removed_by_drafts_for_the_roots(online):
    public = online.json("keys", "new", "alice2", "--role", "approver")["key"]["public"]
    draft = online.json("keys", "rotate", "alice", "--new", public, "--expires", "2999-01-31")
    assert draft["number"] == 2 and draft["changes"][0].startswith("~ alice: ")
    signed(online, "keyset-2.json", *ROOTS)
    assert online("keys", "publish", "keyset-2.json", "--yes").returncode == 0
    key_file = online.folder / "config" / "keys" / "alice.pem"
    (online.folder / "config" / "keys" / "alice2.pem").replace(key_file)
    (holder,) = [h for h in online.json("keys", "status")["holders"] if "approver" in h["roles"]]
    assert (holder["name"], holder["since"], holder["first"]) == ("alice", 2, False)
    assert holder["expires"] == "2999-01-31" and holder["last_used_ms"] is None
    draft = online.json("keys", "remove", "hb-1")
    assert draft["number"] == 3 and draft["changes"][0].startswith("- hb-1: ")
    gone = online("keys", "remove", "nobody")
    assert gone.returncode == Exit.CONFIG and "has no principal 'nobody'" in gone.stderr
    alone = online("keys", "remove", "ruth")
    assert alone.returncode == Exit.CONFIG and "root needs 2 principals" in alone.stderr
    private = online("keys", "rotate", "alice", "--new", key(online, "alice"))
    assert private.returncode == Exit.CONFIG and "is a private key" in private.stderr


def test_the_draft_is_by_another_root_than_the_one_whose_key_is_lost(online):
    public = online.json("keys", "new", "other", "--role", "root")["key"]["public"]
    assert online("keys", "rotate", "omar", "--new", public).returncode == 0
    record = json.loads(json.loads((online.folder / "keyset-2.json").read_text())["record"])
    assert record["by"] == "ruth"


def test_status_says_who_holds_what_and_what_to_look_into(online):
    first = drafted(online, 2, *ROOTS)
    online("keys", "publish", first, "--yes")
    done = online.json("keys", "status")
    assert (done["version"], done["signed"], done["whole"], done["looked"]) == (2, True, True, 1)
    used = {h["name"]: h["last_use"] for h in done["holders"]}
    assert (used["ruth"], used["omar"], used["alice"]) == ("keyset", "keyset", "")
    assert {h["since"] for h in done["holders"]} == {1}
    assert done["published_ms"] is not None
    review = online("keys", "status", "--review").stdout
    assert "one approver alone may activate" in review
    assert "has signed nothing in the ledger" in review
    assert "keyset 2 has no last day" in review


def test_status_answers_for_a_day(online):
    online("keys", "publish", drafted(online, 2, *ROOTS), "--yes")
    assert online.json("keys", "status", "--as-of", "2999-01-01")["version"] == 2
    assert online.json("keys", "status", "--as-of", "2020-01-01")["version"] == 1
    wrong = online("keys", "status", "--as-of", "yesterday")
    assert wrong.returncode == Exit.USAGE and "is no day" in wrong.stderr


def test_take_writes_what_was_taken_from_redis_into_the_file(online):
    nothing = online("keys", "take")
    assert (
        nothing.returncode == Exit.REFUSED
        and "is the newest that this host knows" in nothing.stderr
    )
    online("keys", "publish", drafted(online, 2, *ROOTS), "--yes")
    done = online.json("keys", "take")
    assert (done["before"], done["number"]) == (1, 2)
    assert settings(keyset_file(online))["version"] == 2


def test_an_unsigned_keyset_is_called_so(made, server):
    made.environ["GOLIVE_REDIS_URL"] = server.url
    assert "keyset 1, unsigned" in made("status").stdout
    assert "unsigned" in made("keys", "status").stdout
    assert "version 1, unsigned" in made("doctor").stdout
