"""Laws of tiles: whatever the size, the files are those of the book, and the tree that of RFC 6962."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive_redis.errors import RecordError
from golive_redis.records.merkle import EMPTY, MAX_SIZE
from golive_redis.records.tiles import (
    WIDTH,
    Tile,
    bundle,
    join,
    last_tiles,
    split,
    top,
    tree,
    unbundle,
)
from kit.notary import entries, naive_root

SIZES = st.integers(0, MAX_SIZE)
ENTRY = st.binary(max_size=300)


def naive_name(index: int) -> str:
    """The path of C2SP tlog-tiles, by its own example: 1234067 is x001/x234/067."""
    digits = str(index).zfill((len(str(index)) + 2) // 3 * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    return "/".join([f"x{group}" for group in groups[:-1]] + [groups[-1]])


def all_tiles(size: int) -> set[Tile]:
    """Every tile of a log of that size."""
    found, level = set(), 0
    while count := size >> 8 * level:
        found |= {Tile(level, index) for index in range(count // WIDTH)}
        found |= {Tile(level, count // WIDTH, count % WIDTH)} if count % WIDTH else set()
        level += 1
    return found


def naive_levels(leaves: list[bytes]) -> list[list[bytes]]:
    """The hashes that each level has: of each complete subtree of 256^level leaves, its root."""
    levels = [leaves]
    while len(levels[-1]) >= WIDTH:
        below = levels[-1]
        whole = len(below) // WIDTH * WIDTH
        levels.append([naive_root(below[at : at + WIDTH]) for at in range(0, whole, WIDTH)])
    return levels


def test_the_example_of_the_specification_has_its_name() -> None:
    assert Tile(0, 1234067).path == "tile/0/x001/x234/067"
    assert Tile(0, 1234067).entries_path == "tile/entries/x001/x234/067"
    assert Tile(1, 273, 6).path == "tile/1/273.p/6"


@given(st.integers(0, 2**55), st.integers(1, WIDTH), st.integers(0, 7))
def test_names_are_those_of_the_book(index: int, width: int, level: int) -> None:
    end = "" if width == WIDTH else f".p/{width}"
    assert Tile(level, index, width).path == f"tile/{level}/{naive_name(index)}{end}"


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 511, 512, 70_000, 256**2, 256**2 + 1])
def test_the_tiles_of_a_log_are_those_of_its_levels_and_its_tree_comes_from_the_last(
    size: int,
) -> None:
    leaves = entries(size)
    levels = naive_levels(leaves) if leaves else []
    made = {
        Tile(level, at // WIDTH, len(hashes[at : at + WIDTH])): hashes[at : at + WIDTH]
        for level, hashes in enumerate(levels)
        for at in range(0, len(hashes), WIDTH)
    }
    assert set(all_tiles(size)) == set(made)
    assert {tile for tile in made if tile.width < WIDTH} == set(last_tiles(size))
    assert tree(size, lambda tile: made[tile]) == EMPTY.extend(leaves)


@given(SIZES)
def test_the_last_tiles_have_as_many_hashes_as_the_size_has_in_base_256(size: int) -> None:
    assert sum(tile.width * WIDTH**tile.level for tile in last_tiles(size)) == size


@given(st.integers(1, WIDTH))
def test_a_partial_tile_is_a_prefix_of_the_full_one(width: int) -> None:
    hashes = entries(WIDTH)
    assert join(hashes).startswith(join(hashes[:width]))
    assert split(join(hashes[:width]), width) == tuple(hashes[:width])
    assert top(hashes[:width]) == naive_root(hashes[:width])


@given(st.lists(ENTRY, min_size=1, max_size=WIDTH))
def test_a_bundle_holds_its_entries_and_says_how_long_each_is(found: list[bytes]) -> None:
    raw = bundle(found)
    assert unbundle(raw, len(found)) == found
    assert len(raw) == sum(2 + len(each) for each in found)


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=8), st.data())
def test_a_bundle_that_was_cut_is_none(found: list[bytes], data: st.DataObject) -> None:
    raw = bundle(found)
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(RecordError):
        unbundle(raw[:cut], len(found))


@pytest.mark.parametrize(
    "broken",
    [
        lambda: last_tiles(-1),
        lambda: join([]),
        lambda: join([b"short"]),
        lambda: join([bytes(32)] * 257),
        lambda: split(bytes(31), 1),
        lambda: split(bytes(64), 1),
        lambda: bundle([]),
        lambda: bundle([bytes(2**16)]),
        lambda: bundle([b""] * 257),
        lambda: unbundle(b"\x00", 1),
        lambda: unbundle(b"\x00\x00", 2),
        lambda: tree(3, lambda _: (bytes(32),)),
    ],
)
def test_what_no_log_has_is_refused(broken) -> None:
    with pytest.raises(RecordError):
        broken()
