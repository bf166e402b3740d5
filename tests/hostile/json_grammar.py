"""JSON requests that went wrong somewhere: built from good ones, broken at random places.

A request is a tree; `bytes` in it are written as they are, so that it can hold what no JSON writer
would write.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np

from tests.hostile.case import Case, Must
from tests.hostile.responses import Response


class Members(list[tuple[Any, Any]]):
    """A JSON object; its names may be there twice, and need not be strings."""


def write(node: Any) -> bytes:
    match node:
        case bytes():
            return node
        case Members():
            return b"{" + b",".join(write(k) + b":" + write(v) for k, v in node) + b"}"
        case list():
            return b"[" + b",".join(map(write, node)) + b"]"
    return json.dumps(node).encode()


def post(pipeline: str, body: bytes, *headers: bytes) -> bytes:
    """The whole request."""
    lines = [
        f"POST /v2/models/{pipeline}/infer HTTP/1.1".encode(),
        b"Host: hostile",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> Members:
    return Members([("name", name), ("datatype", datatype), ("shape", shape), ("data", data)])


def good(dice: Random) -> tuple[str, Members]:
    """A pipeline and a request that it takes."""
    rows = dice.randint(1, 4)
    pipeline = dice.choice(["double", "double", "numbers", "strings"])
    match pipeline:
        case "double":
            values = [dice.choice([0, 1, -1.5, 1e30, 2.5e-7]) for _ in range(rows)]
            inputs = [_tensor("x", "FP32", [rows], values)]
        case "numbers":
            pairs = [[dice.random(), -0.0] for _ in range(rows)]
            inputs = [
                _tensor("flag", "BOOL", [rows], [dice.random() < 0.5 for _ in range(rows)]),
                _tensor("key", "INT64", [rows], [dice.randint(-(2**63), 2**63 - 1)] * rows),
                _tensor("pair", "FP64", [rows, 2], pairs),
                _tensor("big", "UINT64", [1], [2**64 - 1]),
            ]
        case _:
            texts = [dice.choice(["", "a", "é", "\0", "😀" * 9]) for _ in range(rows)]
            inputs = [_tensor("t", "BYTES", [rows], texts), _tensor("u", "BYTES", [1], ["u"])]
    request = Members([("inputs", inputs)])
    if dice.random() < 0.3:
        request.append(("id", dice.choice(["", "7", "é" * 30])))
    if dice.random() < 0.3:
        parameters = [("timeout", 9_000_000), ("priority", 1), ("mine", "a"), ("too", True)]
        request.append(("parameters", Members(dice.sample(parameters, dice.randint(0, 4)))))
    return pipeline, request


STRINGS = [
    rb'""', rb'"\ud800"', rb'"\udc00\ud800"', rb'"\u0000"', rb'"\x"', rb'"\u12"', b'"\x00"',
    b'"\n"', b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xef\xbb\xbf"', b'"\xf4\x90\x80\x80"',
    b'"' + b"a" * 100_000 + b'"', b'"' + rb"\u00e9" * 10_000 + b'"', b'"', b"'a'", b'"x', b'"FP16"',
    b'"BYTES"', b'"../../etc/passwd"', b'"__class__"', b'"\xe2\x80\xae"',
]  # fmt: skip
NUMBERS = [
    b"NaN", b"Infinity", b"-Infinity", b"nan", b"1e999", b"-1e999", b"-0", b"-0.0", b"1e-999",
    b"1" * 5_000, b"-" + b"9" * 5_000, b"0." + b"3" * 5_000, b"1e" + b"9" * 5_000, b"0x10", b"01",
    b"+1", b".5", b"1.", b"1e", b"1_000", b"9223372036854775807", b"9223372036854775808",
    b"-9223372036854775809", b"18446744073709551615", b"18446744073709551616", b"4294967296",
    b"2147483648", b"3.4028236e38", b"1.7976931348623159e308", b"5e-324", b"0.1e1", b"1E5", b"--1",
]  # fmt: skip
OTHERS = [
    b"null", b"true", b"false", b"{}", b"[]", b"[[]]", b"[null]", b'{"":{}}', b"undefined", b"",
    b",", b":", b"]", b"}", b"/* */1", b"tru", b"nul", b"\xef\xbb\xbf1", b"1 1",
]  # fmt: skip
FRAGMENTS = [*STRINGS, *NUMBERS, *OTHERS]
DEPTHS = [1, 2, 15, 16, 17, 63, 500, 999, 1_000, 1_023, 1_024, 1_025, 5_000]
DEPTHS_RARE = [100_000, 1_000_000]
SIZES_RARE = [10_000, 100_000, 1_000_000]


def places(node: Any) -> Iterator[tuple[Any, int]]:
    """Every container and position in a tree."""
    if isinstance(node, list):
        for at, item in enumerate(node):
            yield node, at
            yield from places(item[1] if isinstance(node, Members) else item)


def _replace(container: Any, at: int, value: Any) -> None:
    container[at] = (container[at][0], value) if isinstance(container, Members) else value


def _value(container: Any, at: int) -> Any:
    return container[at][1] if isinstance(container, Members) else container[at]


def put_fragment(request: Members, dice: Random) -> None:
    container, at = dice.choice([*places(request)])
    _replace(container, at, dice.choice(FRAGMENTS))


def put_deep(request: Members, dice: Random) -> None:
    container, at = dice.choice([*places(request)])
    depth = dice.choice(DEPTHS_RARE if dice.random() < 0.005 else DEPTHS)
    opening, closing = dice.choice([(b"[", b"]"), (b'{"a":', b"}")])
    closed = dice.random() < 0.7
    _replace(container, at, opening * depth + b"1" + closing * (depth if closed else 0))


def put_huge(request: Members, dice: Random) -> None:
    container, at = dice.choice([*places(request)])
    size = dice.choice(SIZES_RARE if dice.random() < 0.005 else [65, 1_000])
    item = dice.choice([b"1", b"[]", b"{}", b'""', b"0.5", b"null", b'{"name":"y"}'])
    _replace(container, at, b"[" + b",".join([item] * size) + b"]")


def put_many_names(request: Members, dice: Random) -> None:
    size = dice.choice([100_000] if dice.random() < 0.005 else [100, 1_000])
    names = b",".join(b'"k%d":%d' % (number, number) for number in range(size))
    request.append((names + b',"k"', 1))


def drop(request: Members, dice: Random) -> None:
    container, at = dice.choice([*places(request)])
    del container[at]


def repeat(request: Members, dice: Random) -> None:
    """The same name or item twice; of a name the other value may be wrong."""
    container, at = dice.choice([*places(request)])
    again = container[at]
    if isinstance(container, Members) and dice.random() < 0.5:
        again = (again[0], dice.choice(FRAGMENTS))
    container.insert(dice.randint(0, len(container)), again)


def rename(request: Members, dice: Random) -> None:
    objects = [(c, at) for c, at in places(request) if isinstance(c, Members)]
    container, at = dice.choice(objects)
    container[at] = (dice.choice(FRAGMENTS), container[at][1])


def swap(request: Members, dice: Random) -> None:
    (one, i), (other, j) = (dice.choice([*places(request)]) for _ in range(2))
    first, second = write(_value(one, i)), write(_value(other, j))
    _replace(one, i, second)
    if j < len(other):
        _replace(other, j, first)


def add_member(request: Members, dice: Random) -> None:
    names = ["id", "outputs", "parameters", "inputs", "binary_data_size", "shared_memory_region"]
    objects = [c for c, _ in places(request) if isinstance(c, Members)]
    dice.choice(objects).append((dice.choice(names), dice.choice(FRAGMENTS)))


IN_TREE: list[Callable[[Members, Random], None]] = [
    put_fragment, put_fragment, put_fragment, put_fragment, put_deep, put_huge, put_many_names,
    drop, repeat, rename, swap, add_member,
]  # fmt: skip


def cut(body: bytes, dice: Random) -> bytes:
    return body[: dice.randrange(len(body))]


def flip(body: bytes, dice: Random) -> bytes:
    at = dice.randrange(len(body))
    return body[:at] + bytes([body[at] ^ 1 << dice.randrange(8)]) + body[at + 1 :]


def insert(body: bytes, dice: Random) -> bytes:
    at = dice.randrange(len(body) + 1)
    marks = [
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\x1b",
        b'"',
        b"{",
        b"]",
        b"\\",
        b"\t\r\n ",
        b" " * 9,
    ]
    return body[:at] + dice.choice(marks) + body[at:]


def wrap(body: bytes, dice: Random) -> bytes:
    return dice.choice(
        [b"\xef\xbb\xbf" + body, body + b"\0", body + body, body + b"]", b"[" + body + b"]",
         body.decode("latin-1").encode("utf-16"), b" " * 100_000 + body, b"", b"\0" * 100, b"null"]
    )  # fmt: skip


IN_TEXT: list[Callable[[bytes, Random], bytes]] = [cut, flip, insert, wrap]


def cases(dice: Random, count: int) -> Iterator[Case]:
    """Requests of which one in ten is good, and the others are broken once or twice."""
    for _ in range(count):
        pipeline, request = good(dice)
        if dice.random() < 0.1:
            body = write(request)
            yield Case("good", post(pipeline, body), Must.ACCEPT, _checker(pipeline, body))
            continue
        kinds = []
        for _ in range(dice.choice([1, 1, 1, 2])):
            if [*places(request)]:
                change = dice.choice(IN_TREE)
                change(request, dice)
                kinds.append(change.__name__)
        body = write(request)
        if dice.random() < 0.25:
            spoil = dice.choice(IN_TEXT)
            body = spoil(body, dice)
            kinds.append(spoil.__name__)
        case = Case("+".join(kinds), post(pipeline, body), Must.EITHER, _checker(pipeline, body))
        yield case


def _checker(pipeline: str, body: bytes) -> Callable[[Response], str]:
    """What is wrong with a 200 to this body, by a reader that is slow and knows no mercy."""
    return lambda response: wrong(pipeline, body, response)


def wrong(pipeline: str, body: bytes, response: Response) -> str:
    """Why a 200 is wrong: the request is no JSON, or the values are not those that were sent."""
    try:
        asked = json.loads(
            body.decode(), parse_constant=_refuse, parse_float=_finite, parse_int=_whole
        )
        told = json.loads(response.body, parse_constant=_refuse)
        sent = {item["name"]: item["data"] for item in asked["inputs"]}
        got = {item["name"]: item["data"] for item in told["outputs"]}
        if pipeline == "double":
            doubled = np.ravel(np.array(sent["x"], np.float32)) * np.float32(2)
            same = "y" not in got or np.array_equal(np.array(got["y"], np.float32), doubled)
        else:
            same = all(_same(_flat(sent[name[:-1]]), data) for name, data in got.items())
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        return repr(err)[:200]
    return "" if same else f"{sent} became {got}"[:300]


def _same(sent: list[Any], got: list[Any]) -> bool:
    """Whether values came back; an integer may have become the nearest FP64."""
    return len(sent) == len(got) and all(
        float(a) == b if isinstance(b, float) else a == b for a, b in zip(sent, got, strict=True)
    )


def _flat(data: Any) -> list[Any]:
    return [x for item in data for x in _flat(item)] if isinstance(data, list) else [data]


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else 1e308  # a name that nobody reads may be that large


def _whole(text: str) -> int:
    return int(text[:4_000])  # Python's own limit is near; a name that nobody reads may be longer
