"""`golive watch` follows for as long as somebody reads it."""

from __future__ import annotations

import json

from golive_redis.testing.server import EmbeddedServer


def test_it_ends_when_its_reader_goes_away(made, shared_server: EmbeddedServer):
    watching = made.start("watch", "--json", "--every", "0.2", GOLIVE_REDIS_URL=shared_server.url)
    assert watching.stdout
    assert json.loads(watching.stdout.readline())["state"] == "off"
    watching.stdout.close()
    assert watching.wait(120) == 0
    assert watching.stderr
    assert watching.stderr.read() == ""
    watching.stderr.close()
