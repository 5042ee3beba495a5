"""`golive preflight` on the command line."""

from __future__ import annotations

from golive_redis.testing.server import EmbeddedServer


def test_a_report_that_cannot_be_written_is_told_as_such(made, shared_server: EmbeddedServer):
    done = made(
        "preflight", "--out", "no/such/folder/report.json", GOLIVE_REDIS_URL=shared_server.url
    )
    assert done.returncode == 6
    path = made.folder.resolve() / "no" / "such" / "folder" / "report.json"
    assert done.stderr.startswith(f"error: {path}: No such file or directory (configuration: ")


def test_only_runs_one_check_and_prints_one_verdict(made, shared_server: EmbeddedServer):
    done = made("preflight", "--only", "check_keys", GOLIVE_REDIS_URL=shared_server.url)
    assert done.returncode == 0
    assert (
        done.stdout.splitlines()[-1] == "PREFLIGHT RESULTS in testnet (golive): 1 passed, 0 failed"
    )
    assert done.stdout.startswith("PASS    check_keys ")
