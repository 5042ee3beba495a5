"""docs/how-to/run-a-witness.md: its commands run as they stand, its tables say what the code does."""

from __future__ import annotations

import http.client
import re
import shlex
import signal
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest

from golive_redis.witness import judgement, server
from golive_redis.witness.database import MAX_EVIDENCE
from golive_redis.witness.protocol import ADD_PATH, MAX_BODY_BYTES, encode_submission
from kit import zygote
from kit.notary import ORIGIN, entries, log_key, signed
from kit.witnesses import GOLIVE, golive

PAGE = "docs/how-to/run-a-witness.md"
FOLDER = "/var/lib/golive-witness"
LEAVES = entries(40)


@pytest.fixture
def commands(docs, tmp_path) -> list[list[str]]:
    """The commands of the page as words, in a folder of this test, on a free port."""
    (path,) = (each for each in docs.all if str(each).endswith(PAGE))
    lines = [block.text.strip() for block in docs.blocks(path) if block.language == "sh"]
    found = []
    for line in lines:
        text = line.replace(FOLDER, str(tmp_path / "w")).replace("$VKEY", log_key().text)
        text = text.replace(" evidence.jsonl", f" {tmp_path / 'evidence.jsonl'}")
        words = shlex.split(text.replace("127.0.0.1:7380", "127.0.0.1:0"))
        assert words.pop(0) == "golive"
        found.append(words)
    return found


def test_the_commands_of_the_page_make_a_witness_that_signs(commands, tmp_path, wait_for):
    init, add_log, serve, status, evidence = commands
    code, out, err = golive(*init)
    assert code == 0, err
    name = init[-1]
    assert out.splitlines()[-1].strip().startswith(f"{name}+")
    assert {each.name for each in (tmp_path / "w").iterdir()} >= {"witness.pem", "witness.db"}
    assert golive(*add_log)[0] == 0
    log = tmp_path / "serve.log"
    with log.open("wb") as file:
        process = zygote.start(GOLIVE, *serve, stdout=file, stderr=file)
    try:
        wait_for(lambda: "its key:" in log.read_text(), what="it listens")
        (where,) = re.findall(rf"{name} listens on (\S+), 1 log\n", log.read_text())
        assert post(where, encode_submission(0, (), signed(LEAVES))) == 200
        fork = signed(entries(40, "another story"))
        assert post(where, encode_submission(40, (), fork)) == 422
        said = f"{ORIGIN}: cosigned 40 entries"
        wait_for(lambda: said in log.read_text(), what="it says so")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    code, out, err = golive(*status, COLUMNS="200")
    assert code == 5, err
    header, row = out.splitlines()[1:]
    assert header.split() == ["log", "entries", "cosigned", "keys", "finding"]
    assert "FORKED: 1 checkpoint(s) of another history" in row
    assert golive(*evidence)[0] == 5
    assert len((tmp_path / "evidence.jsonl").read_text().splitlines()) == 1


def post(where: str, body: bytes) -> int:
    connection = http.client.HTTPConnection(urlsplit(where).netloc, timeout=60)
    connection.request("POST", ADD_PATH, body)
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_statuses_of_the_page_are_those_of_the_code(docs):
    rows = {int(row[0]) for row in docs.table(PAGE, "What it answers")}
    assert judgement.__doc__
    decided = {int(word) for word in re.findall(r"^\| (\d{3}) \|", judgement.__doc__, re.MULTILINE)}
    assert rows == decided | {HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE}


def test_the_limits_of_the_page_are_those_of_the_code(docs):
    text = " ".join(docs.read(PAGE).split())
    assert f"It takes {server.MAX_CONNECTIONS} connections at once" in text
    assert f"{MAX_BODY_BYTES // 1024} KiB a request" in text
    assert f"a request has {server.REQUEST_S:.0f} seconds to come whole" in text
    assert f"more than {judgement.CLOCK_STEP_S} seconds behind" in text
    assert f"The first {MAX_EVIDENCE:,} of each kind" in text


def test_the_words_of_the_findings_are_those_that_are_printed(docs):
    shown = [row[0].strip("`") for row in docs.table(PAGE, "Look at it")]
    assert shown == [
        "FORKED: 1 checkpoint(s) of another history",
        "1 refused: no valid proof",
    ]
