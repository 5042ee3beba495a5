"""tests/vectors/*.json: what is kept is what is made, and our Python decides each as it is expected."""

from __future__ import annotations

import json
from collections import Counter

import msgspec
import pytest

from golive_redis.records.ledger import TOPICS
from golive_redis.records.record import Record
from kit.vectors import judge, samples
from kit.vectors.files import FILES, FOLDER
from kit.vectors.form import File


@pytest.fixture(scope="module", params=FILES)
def made(request) -> tuple[str, File]:
    return request.param, FILES[request.param]()


def test_what_is_kept_is_what_is_made(made):
    """`PYTHONPATH=tests python -m kit.vectors.files` writes them anew; look at the difference then."""
    name, file = made
    assert (FOLDER / f"{name}.json").read_bytes() == file.encode()


def test_our_python_decides_each_as_it_is_expected(made):
    _, file = made
    shared = json.loads(file.encode())
    decided = {vector["name"]: judge.decide(vector, shared) for vector in shared["vectors"]}
    assert decided == {vector["name"]: vector["expect"] for vector in shared["vectors"]}


def test_each_vector_has_a_name_of_its_own_and_says_why(made):
    _, file = made
    assert [
        name for name, count in Counter(v.name for v in file.vectors).items() if count > 1
    ] == []
    assert all(vector.why.endswith(".") for vector in file.vectors)


def test_every_kind_of_record_has_vectors_for_each_of_its_fields():
    assert set(samples.KINDS) == {kind.KIND for kind in Record.__subclasses__()}
    for kind in Record.__subclasses__():
        make, _, wrong = samples.KINDS[kind.KIND]
        own = [name for name in kind.__struct_fields__ if name not in Record.__struct_fields__]
        assert sorted(wrong) == sorted(own)
        asked = [field.name for field in msgspec.structs.fields(kind) if field.required]
        assert sorted(make()) == sorted(asked)
    assert set(samples.COMMON_WRONG) == set(Record.__struct_fields__)


def test_each_rule_has_a_vector_that_breaks_it_and_each_question_one_that_is_answered():
    vectors = [vector for make in FILES.values() for vector in make().vectors]
    refused = {vector.expect["refuse"] for vector in vectors if "refuse" in vector.expect}
    named = {rule for _, rule in (*judge.RULES, *judge.NOTE_RULES, *judge.TREE_RULES)}
    judged = {f"V{n}" for n in (1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 14)}  # V4 is named V3
    assert refused == named | judged | {"checkpoint", "policy", "proof", "note-5", "state"}
    assert {vector.op for vector in vectors if "accept" in vector.expect} == set(judge.OPS)
    assert len(vectors) >= 1_000


def test_every_topic_of_a_note_has_vectors():
    assert {topic: str(role) for topic, role in TOPICS.items()} == samples.TOPICS
