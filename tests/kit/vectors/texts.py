"""Vectors of strict JSON, and of base64."""

from __future__ import annotations

from typing import Any

from .form import (
    File,
    Vector,
    given_bytes,
    refused,
)

GOOD_JSON: list[tuple[str, Any]] = [
    ("{}", {}),
    (" \t\r\n[1, 2]\n", [1, 2]),
    ('{"a":{"b":[true,false,null]}}', {"a": {"b": [True, False, None]}}),
    ("9007199254740991", 2**53 - 1),
    ("-9007199254740991", 1 - 2**53),
    ("-0", 0),
    ('"\\u00e9\\n\\/"', "\u00e9\n/"),
    ('"\\ud83d\\uded1"', "\N{OCTAGONAL SIGN}"),
    ('"\N{OCTAGONAL SIGN}"', "\N{OCTAGONAL SIGN}"),
    ('{"__proto__":1,"constructor":2}', {"__proto__": 1, "constructor": 2}),
    ("[[[[[[[1]]]]]]]", [[[[[[[1]]]]]]]),
    ("[[[[[[[[]]]]]]]]", [[[[[[[[]]]]]]]]),
    ('"\x7f\u2028"', "\x7f\u2028"),
    (" " * 8190 + "{}", {}),
]


BAD_JSON: list[tuple[str, bytes]] = [
    ("a key is there twice", b'{"a":1,"a":1}'),
    ("a key is there twice, once as an escape", b'{"a":1,"\\u0061":2}'),
    ("a key is there twice, deep inside", b'[{"x":{"a":1,"b":2,"a":3}}]'),
    ("1.0 is not an integer", b"1.0"),
    ("1e2 is not an integer", b"1e2"),
    ("-0.0 is not an integer", b"-0.0"),
    ("1E2 is not an integer", b"[1E2]"),
    ("2^53 is beyond 2^53-1", b"9007199254740992"),
    ("2^53+1 is beyond 2^53-1", b"9007199254740993"),
    ("-2^53 is beyond it, too", b"-9007199254740992"),
    ("2^64 is beyond 2^53-1", b"18446744073709551616"),
    ("four thousand digits", b"1" * 4000),
    ("a leading zero", b"01"),
    ("a plus", b"+1"),
    ("a minus alone", b"-"),
    ("a hexadecimal number", b"0x10"),
    ("NaN", b"NaN"),
    ("Infinity", b"[Infinity]"),
    ("-Infinity", b"[-Infinity]"),
    ("nothing", b""),
    ("blanks only", b"  "),
    ("something after the end", b"{} {}"),
    ("a comma at the end", b"[1,]"),
    ("a comma at the end of an object", b'{"a":1,}'),
    ("a comment", b"{}//x"),
    ("single quotes", b"{'a':1}"),
    ("a name without quotes", b"{a:1}"),
    ("an array that does not end", b"[1"),
    ("a string that does not end", b'"x'),
    ("a control character in a string", b'"\x01"'),
    ("a newline in a string", b'"a\nb"'),
    ("an unknown escape", b'"\\x41"'),
    ("an escape with three digits", b'"\\u123"'),
    ("an escape with a sign", b'"\\u+123"'),
    ("a lone high surrogate", b'"\\ud83d"'),
    ("a lone low surrogate", b'"\\uded1"'),
    ("surrogates in the wrong order", b'"\\uded1\\ud83d"'),
    ("a lone surrogate as a name", b'{"\\ud800":1}'),
    ("a surrogate as UTF-8", b'"\xed\xa0\x80"'),
    ("not UTF-8", b'"\xff"'),
    ("UTF-8 that is longer than it has to be", b'"\xc0\xaf"'),
    ("a byte order mark", b"\xef\xbb\xbf{}"),
    ("UTF-16", '{"a":1}'.encode("utf-16-le")),
    ("a blank that JSON does not know", b"\xc2\xa0{}"),
    ("a form feed", b"\x0c{}"),
    ("true with a capital", b"True"),
    ("nested eight deep with something inside", b"[" * 8 + b"1" + b"]" * 8),
    ("nested nine deep", b"[" * 9 + b"]" * 9),
    ("nested thousands deep", b"[" * 4000 + b"]" * 4000),
    ("one byte too many", b" " * 8191 + b"{}"),
]


def json_file() -> File:
    vectors = [
        Vector(
            f"good {number}: {text.strip()[:40]}",
            "json",
            {"json": given_bytes(text.encode())},
            {"accept": {"value": value}},
            "It is strict JSON.",
        )
        for number, (text, value) in enumerate(GOOD_JSON)
    ]
    vectors += [
        Vector(
            name,
            "json",
            {"json": given_bytes(raw)},
            refused("envelope-1"),
            "It is not strict JSON.",
        )
        for name, raw in BAD_JSON
    ]
    return File("Strict JSON of at most 8192 bytes: the value, or a refusal.", vectors)


GOOD_BASE64 = ["", "AA==", "AAA=", "AAAA", "+/+/", "AQIDBAU="]


BAD_BASE64 = [
    ("no padding", "AA"),
    ("half of the padding", "AA="),
    ("too much padding", "AAAA===="),
    ("padding in the middle", "AA==AAAA"),
    ("only padding", "===="),
    ("one character", "A"),
    ("the URL alphabet", "-_-_"),
    ("a newline at the end", "AAAA\n"),
    ("a blank inside", "AA AA"),
    ("bits behind the last byte", "AB=="),
    ("bits behind the last two bytes", "AAB="),
    ("a letter that is not ASCII", "AAA\u00e4"),
    ("a null", "AAA\x00"),
]


def base64_file() -> File:
    import base64  # noqa: PLC0415

    vectors = [
        Vector(
            f"good {number}",
            "base64",
            {"text": text},
            {"accept": {"hex": base64.b64decode(text).hex()}},
            "The standard alphabet with padding.",
        )
        for number, text in enumerate(GOOD_BASE64)
    ]
    vectors += [
        Vector(
            name,
            "base64",
            {"text": text},
            refused("envelope-3"),
            "It is another text than its bytes encode to.",
        )
        for name, text in BAD_BASE64
    ]
    return File("Base64 as payload and signatures have it: the bytes, or a refusal.", vectors)
