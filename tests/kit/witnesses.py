"""Witnesses as processes: the real `golive audit witness serve`, on a free port."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from golive_redis.config import keyfile
from golive_redis.records.merkle import consistency_path, prove
from golive_redis.records.signednote import VerifierKey
from golive_redis.witness.database import Database
from golive_redis.witness.protocol import ADD_PATH, encode_submission
from golive_redis.witness.submit import Submitter
from kit import zygote
from kit.notary import WITNESS, log_key, private, witness_key

GOLIVE = "golive_cli.main:main"
Wait = Callable[..., None]


def golive(*words: str, **environ: str) -> tuple[int, str, str]:
    """Run one command, and return its exit code and what it said on stdout and on stderr."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GOLIVE_")}
    with zygote.start(
        GOLIVE,
        *words,
        env={**kept, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        out, err = child.communicate(timeout=60)
    return child.returncode or 0, out, err


def make_witness(
    folder: Path, seed: str = "w1", name: str = WITNESS, logs: Sequence[VerifierKey] = ()
) -> VerifierKey:
    """Make a witness with a key that is derived from a word, and with one log, or those given."""
    key = witness_key(seed, name)
    folder.mkdir(exist_ok=True)
    keyfile.write(folder / "witness.pem", private(seed))
    database = Database.create(folder / "witness.db", key)
    for log in logs or [log_key()]:
        database.add_log(log.name, log)
    database.close()
    return key


class WitnessProcess:
    """A witness that runs; its lines are in a file.

    Args:
        folder: With its key and its memory.
        wait_for: Waits for a condition.
        dies: Where it kills itself, as kit/programs/witness.py has it; "" for the real program.
        wrapped: Words that go before the interpreter's, such as `faketime`; then it starts cold.
        port: To listen on, for one that begins anew where another was; 0 for a free one.
    """

    def __init__(
        self,
        folder: Path,
        wait_for: Wait,
        *,
        dies: str = "",
        wrapped: tuple[str, ...] = (),
        port: int = 0,
    ) -> None:
        self.folder = folder
        self.log = folder / "serve.log"
        words = ("audit", "witness", "serve", str(folder), "--listen", f"127.0.0.1:{port}")
        with self.log.open("wb") as file:
            files = {"stdout": file, "stderr": file}
            if wrapped:
                # A group of its own: faketime runs the program as a child, which outlives it.
                self.process = subprocess.Popen([*wrapped, *words], process_group=0, **files)  # type: ignore[call-overload]
            elif dies:
                target, words = "kit.programs.witness:main", (str(folder), "127.0.0.1:0", dies)
                self.process = zygote.start(target, *words, **files)  # type: ignore[arg-type]
            else:
                self.process = zygote.start(GOLIVE, *words, **files)  # type: ignore[arg-type]
        wait_for(
            lambda: "its key:" in self.said() or self.process.poll() is not None,
            what="the witness listens",
        )
        found = re.search(r"listens on (http://\S+),", self.said())
        assert found, self.said()
        self.url = found[1]

    def said(self) -> str:
        """What it has printed so far."""
        return self.log.read_text()

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, str, bytes]:
        """Send one request; return status, content type and body."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type", ""), answer.read()
        finally:
            connection.close()

    def add(self, old: int, proof: tuple[bytes, ...], note: bytes) -> tuple[int, str, bytes]:
        """Send a checkpoint."""
        return self.ask("POST", ADD_PATH, encode_submission(old, proof, note))

    def submitter(self, known: int = 0, seed: str = "w1", name: str = WITNESS) -> Submitter:
        """Our client for it."""
        return Submitter(self.url, witness_key(seed, name), known=known, timeout_s=30)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if isinstance(self.process, subprocess.Popen) and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait(60)

    def stop(self) -> int:
        """SIGTERM, and return the exit code."""
        self.process.terminate()
        return self.process.wait(60)


def proving(leaves: list[bytes]) -> Callable[[int, int], tuple[bytes, ...]]:
    """Proofs between any two sizes of a log with these leaves."""
    return lambda old, new: prove(consistency_path(old, new), leaves)
