"""The checks that ship: config/go_live.yaml itself, its hosts moved to what a test can break.

Prometheus, PostgreSQL and Redis are the real ones. What an order gateway, a market data feed, a risk
system and a venue answer is ours to say; Grafana's is a stand-in for its health endpoint, as documented:
https://grafana.com/docs/grafana/latest/developers/http_api/other/#health-api
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from golive_redis import config as configuration
from golive_redis.checks import ask
from golive_redis.checks.conditions import Conditions
from golive_redis.checks.source import Surroundings
from golive_redis.store.connect import Address
from golive_redis.testing.server import EmbeddedServer

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "go_live.yaml"
TRADES = """
drop table if exists trades;
create table trades (network text, profile text, traded_at timestamptz);
insert into trades select 'testnet', 'micro', now() from generate_series(1, 3);
insert into trades select 'testnet', 'micro', now() - interval '40 days' from generate_series(1, 9);
"""


class Firm:
    """Everything that the shipped checks look at, in good order."""

    def __init__(self, folder: Path, site: Any, server: EmbeddedServer, postgres: Any) -> None:
        self.site, self.server, self.postgres = site, server, postgres
        self.report = folder / "reports" / "stress.json"
        self.report.parent.mkdir()
        self.report.write_text('{"passed": true}')
        for host in ("orders", "marketdata"):
            site.page(f"/{host}/health", '{"status": "ok"}')
        site.page("/risk/state", '{"state": "OK"}')
        site.page("/venue/ping")
        self.venue_clock(0)
        site.page("/grafana/api/health", '{"commit": "abc", "database": "ok", "version": "12.0.0"}')
        with server.client() as client:
            client.set("ess:state", "inactive")
        with postgres.connect() as connection:
            connection.execute(TRADES)
        (folder / "config").mkdir()
        self.path = folder / "config" / "go_live.yaml"

    def venue_clock(self, off_ms: int) -> None:
        def answer(to: Any) -> None:
            body = json.dumps({"serverTime": int(time.time() * 1000) + off_ms}).encode()
            to.send_response(200)
            to.send_header("Content-Length", str(len(body)))
            to.end_headers()
            to.wfile.write(body)

        self.site.serve("/venue/time", answer)

    def outcome(self, name: str) -> tuple[str, str]:
        setup = configuration.load(
            self.path, environ={"RISK_TOKEN": "t0ken-of-risk", "TRADES_DSN": self.postgres.url}
        )
        where = Surroundings(self.path.parent, setup.environ, Address(self.server.url))
        found = ask.finding(name, Conditions.of(setup).questions(name, setup.policy), where)
        return str(found.outcome), found.explain


@pytest.fixture
def firm(
    tmp_path: Path, site: Any, shared_server: EmbeddedServer, postgres: Any, prometheus: str
) -> Firm:
    made = Firm(tmp_path, site, shared_server, postgres)
    text = SHIPPED.read_text()
    for host, at in {
        "https://orders.internal": f"{site.url}/orders",
        "https://marketdata.internal": f"{site.url}/marketdata",
        "https://risk.internal": f"{site.url}/risk",
        "https://api.exchange.example": f"{site.url}/venue",
        "http://prometheus.internal:9090": prometheus,
        "http://grafana.internal:3000": f"{site.url}/grafana",
        'job="trading-workers"': 'job="one"',
    }.items():
        assert host in text
        text = text.replace(host, at)
    assert not re.findall(r"https?://\S+\.(?:internal|example)", text)
    made.path.write_text(text)
    return made


NAMES = sorted(Conditions.of(configuration.load(SHIPPED, environ={})).checks)


@pytest.mark.parametrize("name", NAMES)
def test_each_passes_where_all_is_well(firm: Firm, name: str) -> None:
    assert firm.outcome(name)[0] == "pass", firm.outcome(name)


def _set(key: str, value: str) -> Callable[[Firm], object]:
    def change(firm: Firm) -> None:
        with firm.server.client() as client:
            client.set(key, value)

    return change


def _sql(query: str) -> Callable[[Firm], object]:
    def change(firm: Firm) -> None:
        with firm.postgres.connect() as connection:
            connection.execute(query)

    return change


def _page(path: str, body: str = "", status: int = 200) -> Callable[[Firm], object]:
    return lambda firm: firm.site.page(path, body, status)


@pytest.mark.parametrize(
    ("name", "change", "outcome"),
    [
        ("check_health_endpoints", _page("/orders/health", status=503), "fail"),
        ("check_health_endpoints", _page("/marketdata/health", '{"status": "degraded"}'), "fail"),
        ("check_risk_system", _page("/risk/state", '{"state": "BREACH"}'), "fail"),
        ("check_risk_system", _page("/risk/state", '{"state": "OK"', 200), "unknown"),
        ("check_exchange_connectivity", lambda firm: firm.venue_clock(-3_000), "fail"),
        ("check_exchange_connectivity", _page("/venue/ping", status=500), "fail"),
        ("check_observability", _page("/grafana/api/health", '{"database": "failing"}'), "fail"),
        ("check_observability", _page("/grafana/api/health", status=502), "unknown"),
        (
            "check_stress_scenarios",
            lambda firm: firm.report.write_text('{"passed": false}'),
            "fail",
        ),
        ("check_stress_scenarios", lambda firm: firm.report.unlink(), "unknown"),
        ("check_ess", _set("ess:state", "active"), "fail"),
        (
            "check_testnet_history",
            _sql("update trades set traded_at = now() - interval '31 days'"),
            "fail",
        ),
        ("check_testnet_history", _sql("drop table trades"), "unknown"),
    ],
)
def test_each_notices_what_it_is_there_for(
    firm: Firm, name: str, change: Callable[[Firm], object], outcome: str
) -> None:
    change(firm)
    found, explain = firm.outcome(name)
    assert found == outcome, explain
    assert "t0ken" not in explain
    assert firm.postgres.password not in explain
