"""The group behind Ed25519, by the book (RFC 8032 section 5.1), to find its points of small order."""

from __future__ import annotations

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, PRIME) % PRIME
NEUTRAL = (0, 1)
COFACTOR = 8

Point = tuple[int, int]


def add(one: Point, other: Point) -> Point:
    """Add two points of -x^2 + y^2 = 1 + d x^2 y^2."""
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, PRIME)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, PRIME)
    return x % PRIME, y % PRIME


def times(number: int, point: Point) -> Point:
    """Add a point to itself so many times."""
    total = NEUTRAL
    while number:
        if number & 1:
            total = add(total, point)
        point, number = add(point, point), number >> 1
    return total


def with_y(y: int) -> Point | None:
    """Return a point with that y, or None when the curve has none."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    for root in (x, x * pow(2, (PRIME - 1) // 4, PRIME) % PRIME):
        if root * root % PRIME == square:
            return root, y
    return None


def small_order_points() -> set[Point]:
    """Return the eight points whose order divides the cofactor 8: any point, ORDER times."""
    found: set[Point] = set()
    y = 2
    while len(found) < COFACTOR:
        if (point := with_y(y)) is not None:
            found.add(times(ORDER, point))
        y += 1
    assert all(times(COFACTOR, point) == NEUTRAL for point in found)
    return found


def encoded(point: Point) -> bytes:
    """Return the 32 bytes of a point: y, and the sign of x in the highest bit."""
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")
