"""Vectors of what records make together."""

from __future__ import annotations

from typing import Any

from . import samples
from .envelopes import KEYSETS
from .form import (
    START_MS,
    WHERE,
    File,
    Vector,
    digest,
    envelope,
    given_bytes,
    identity,
    refused,
)


def _covers() -> list[Vector]:
    seen = {"issued_at_ms": START_MS, "epoch": 5, "blind": False}
    blind = {**seen, "blind": True}
    late = START_MS + 1_000_000
    soon = {**seen, "until_ms": START_MS + 10}
    cases: list[tuple[str, Any, int, int, int, bool]] = [
        ("a term under its epoch", seen, 4, START_MS + 5, late, True),
        ("a term at its epoch", seen, 5, START_MS + 5, late, True),
        ("a later term", seen, 6, START_MS - 5, late, False),
        ("a stop card: a term that began before its end", soon, 5, START_MS + 9, late, True),
        ("a stop card: a term that began at its end", soon, 5, START_MS + 10, late, False),
        ("a stop card: a term above its epoch", soon, 6, START_MS + 9, late, False),
        ("blind: a later term that was activated before it", blind, 6, START_MS - 1, late, True),
        ("blind: a term of the same ms", blind, 6, START_MS, late, True),
        ("blind: a term that was activated after it", blind, 6, START_MS + 1, late, False),
        (
            "blind, by a clock that is fast: activated 30 s after it came",
            {**blind, "issued_at_ms": START_MS + 86_400_000},
            6,
            START_MS + 30_000,
            START_MS,
            True,
        ),
        (
            "blind, by a clock that is fast: activated later than that",
            {**blind, "issued_at_ms": START_MS + 86_400_000},
            6,
            START_MS + 30_001,
            START_MS,
            False,
        ),
    ]
    card = {**seen, "until_ms": START_MS + 60_000}
    cases += [
        (
            "a card: a term under its epoch, begun before its end",
            card,
            4,
            START_MS + 59_999,
            late,
            True,
        ),
        ("a card: begun at its end", card, 4, START_MS + 60_000, late, False),
        ("a card: begun after its end", card, 4, START_MS + 60_001, late, False),
        ("a card: a term above its epoch", card, 6, START_MS - 1, late, False),
    ]
    return [
        Vector(
            f"covers: {name}",
            "covers",
            {"revocation": record, "term": term, "activated_at_ms": at, "arrived_ms": arrived},
            {"accept": {"covers": expected}},
            "The rule is in the table of `revocation`.",
        )
        for name, record, term, at, arrived, expected in cases
    ]


def _states() -> list[Vector]:
    halt, reduce, demote, other = (
        samples.restriction(2),
        samples.restriction(3, "reduce", labels={}),
        samples.restriction(4, "demote"),
        samples.restriction(5, "halt", labels={}, term=2),
    )
    every = [halt, reduce, demote, other]
    names = {id(each): identity("restriction", each) for each in every}

    def state(
        name: str, grant: Any, held: list[Any], given: list[Any], mode: str, profile: str
    ) -> Vector:
        ids = [names[id(each)] for each in held]
        joined = "\n".join(sorted([identity("grant", grant), *ids]))
        found = {
            "in_force": sorted(ids),
            "digest": digest(joined),
            "mode": mode,
            "profile": profile,
        }
        return Vector(
            name, "state", _given(grant, given), {"accept": found}, "From records to a state."
        )

    first = samples.grant(profile="large")
    drops = samples.grant(6, term=1, profile="large", drops=[names[id(reduce)]])
    up_to = samples.grant(6, term=1, profile="small", drops_up_to=4, keeps=[names[id(halt)]])
    return [
        state("a grant alone", first, [], [], "live", "large"),
        state("a halt with labels", first, [halt], [halt], "live", "large"),
        state("all that is of the term", first, every[:3], every, "reduce_only", "micro"),
        state("one is let go by name", drops, [halt, demote], every, "live", "micro"),
        state("all up to a number are let go but one", up_to, [halt], every, "live", "small"),
        Vector(
            "one that it keeps is missing",
            "state",
            _given(up_to, [reduce]),
            refused("state"),
            "Something was lost, so there is no state.",
        ),
    ]


def _given(grant: Any, restrictions: list[Any]) -> dict[str, Any]:
    return {
        "grant": given_bytes(envelope("grant", grant)),
        "restrictions": [given_bytes(envelope("restriction", each)) for each in restrictions],
        "keyset": "one",
        **WHERE,
    }


def states_file() -> File:
    return File("What records make together.", [*_covers(), *_states()], {"one": KEYSETS["one"]})
