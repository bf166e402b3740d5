"""Requests whose tensor headers lie: about shape, datatype, byte counts, or where the JSON ends."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np

from tests.hostile.case import Case, Must
from tests.hostile.responses import Response
from tests.hostile.tensor_requests import DTYPES, LENGTH, PIPELINES, ROWS_MAX, Sent, wrong


def good(dice: Random) -> Sent:
    pipeline = dice.choice(list(PIPELINES))
    rows = dice.choice([1, 1, 2, 3, ROWS_MAX])
    sent = Sent(pipeline, [], [], is_raw=pipeline in ("double", "halves") and dice.random() < 0.1)
    sent.length = "0" if sent.is_raw else None
    for name, (datatype, own, has_rows) in PIPELINES[pipeline].items():
        shape = [rows if has_rows else 1, *own]
        raw = _values(datatype, math.prod(shape), dice)
        item: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
        item["parameters"] = {"binary_data_size": len(raw)}
        sent.inputs.append(item)
        sent.tail.append(raw)
    if dice.random() < 0.5 or pipeline == "halves":
        sent.others["parameters"] = {"binary_data_output": True}
    return sent


def _values(datatype: str, count: int, dice: Random) -> bytes:
    if datatype == "BYTES":
        texts = [b"a" * dice.choice([0, 1, 7]) for _ in range(count)]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    if datatype == "BOOL":
        return bytes(dice.randrange(2) for _ in range(count))
    return np.array([dice.randrange(100) for _ in range(count)], DTYPES[datatype]).tobytes()


SIZES: list[Any] = [
    -1, 0, 1, 2, 63, 64, 65, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**53, 2**63 - 1, 2**63,
    2**64, 2**64 + 1, 2**64 + 2, -(2**31), -(2**63), 10**300, 1.0, 1e30, "1", None, True, [1], {},
]  # fmt: skip
TYPES: list[Any] = [*DTYPES, "BYTES", "INT32", "BF16", "fp32", "FP8", "", "FP32 ", "O", None, 1, []]
LENGTHS = [
    "0", "1", "-1", "+1", "1.0", "0x10", "1e2", "9" * 40, "18446744073709551617", "4294967296", "",
    "\xb2", "1,1", "1 1", "null", "00000000000000000000000000000001",
]  # fmt: skip
SHAPES: list[Any] = [
    [], None, "1", 1, {}, [[1]], [2**32, 2**32], [2**63, 2], [2**32, 2**32, 2], [65536] * 4, [0, 0],
    [-1, -1], [1] * 9, [1] * 1_000, [2**16, 2**16, 2**16, 2**16, 1], [1, 1], [1, 1, 1],
]  # fmt: skip


def _item(sent: Sent, dice: Random) -> dict[str, Any]:
    item: dict[str, Any] = dice.choice(sent.inputs)
    return item


def lie_in_size(sent: Sent, dice: Random) -> None:
    shape = _item(sent, dice)["shape"]
    if isinstance(shape, list) and shape:
        shape[dice.randrange(len(shape))] = dice.choice(SIZES)


def lie_in_shape(sent: Sent, dice: Random) -> None:
    rare = dice.random() < 0.01
    _item(sent, dice)["shape"] = [1] * 10_000 if rare else dice.choice(SHAPES)


def lie_in_rank(sent: Sent, dice: Random) -> None:
    shape = _item(sent, dice)["shape"]
    if isinstance(shape, list):
        shape.insert(dice.randint(0, len(shape)), dice.choice([0, 1, 1, 2, -1]))


def lie_in_type(sent: Sent, dice: Random) -> None:
    _item(sent, dice)["datatype"] = dice.choice(TYPES)


def lie_in_bytes(sent: Sent, dice: Random) -> None:
    """The declared byte count is off; the bytes are there, or not."""
    parameters = _item(sent, dice)["parameters"]
    true = parameters.get("binary_data_size")
    near = [true - 1, true + 1, -true, true + 2**32, true + 2**64] if type(true) is int else []
    parameters["binary_data_size"] = dice.choice([*near, *SIZES])


def cut_or_add_bytes(sent: Sent, dice: Random) -> None:
    at = dice.randrange(len(sent.tail))
    raw = sent.tail[at]
    sent.tail[at] = dice.choice([raw[:-1], raw + b"\0", b"", raw * 2, raw[1:], raw + b"\0" * 8])


def lie_in_both(sent: Sent, dice: Random) -> None:
    """Header and bytes agree with each other, but not with the shape."""
    at = dice.randrange(len(sent.tail))
    step = dice.choice([1, 2, 4, 8])
    sent.tail[at] = dice.choice([sent.tail[at] + b"\0" * step, sent.tail[at][:-step]])
    sent.inputs[at]["parameters"] = {"binary_data_size": len(sent.tail[at])}


def spoil_values(sent: Sent, dice: Random) -> None:
    """NaN, a BOOL that is 255, a string of 4 GiB: whatever all bits set mean there."""
    at = dice.randrange(len(sent.tail))
    raw = bytearray(sent.tail[at])
    start = dice.randrange(0, len(raw), 8) if raw else 0
    raw[start : start + 8] = dice.choice([b"\xff", b"\x02", b"\x00\x7c"]) * len(raw[start:][:8])
    sent.tail[at] = bytes(raw[: len(sent.tail[at])])


def move_length(sent: Sent, dice: Random) -> None:
    head, tail = sent.parts()
    true = len(head)
    near = [true - 1, true + 1, true + len(tail), true + len(tail) + 1, true - len(tail)]
    sent.length = dice.choice([*map(str, near), *LENGTHS])
    if not sent.length:
        sent.more_headers = dice.choice(["", f"{LENGTH}: {true}\r\n"])


def swap_inputs(sent: Sent, dice: Random) -> None:
    """The order on the wire is no longer that of the list; often the byte counts still add up."""
    dice.shuffle(sent.inputs)


def repeat_inputs(sent: Sent, dice: Random) -> None:
    rare = dice.random() < 0.01
    sent.inputs += [_item(sent, dice)] * dice.choice([10_001] if rare else [1, 64])


def ask_outputs(sent: Sent, dice: Random) -> None:
    names = [f"{name}2" for name in PIPELINES[sent.pipeline]] + ["y", "", "no", "x" * 5_000]
    flags: list[Any] = [True, False, None, 1, "true", []]
    size = dice.choice([10_001] if dice.random() < 0.01 else [0, 1, 1, 2, 64, 65])
    parameters = {"binary_data": dice.choice(flags)}
    if dice.random() < 0.1:
        parameters[dice.choice(["classification", "shared_memory_region"])] = dice.choice(SIZES)
    sent.others["outputs"] = [
        {"name": dice.choice(names), "parameters": parameters} for _ in range(size)
    ]


def send_data_too(sent: Sent, dice: Random) -> None:
    _item(sent, dice)["data"] = dice.choice([[], [1], None, [[1]], "a", 1])


def lie_in_parameters(sent: Sent, dice: Random) -> None:
    names = ["timeout", "priority", "binary_data_output", "sequence_id", "sequence_start"]
    sent.others["parameters"] = {dice.choice(names): dice.choice(SIZES) for _ in range(2)}


LIES: list[Callable[[Sent, Random], None]] = [
    lie_in_size, lie_in_size, lie_in_shape, lie_in_rank, lie_in_type, lie_in_bytes, lie_in_bytes,
    cut_or_add_bytes, cut_or_add_bytes, lie_in_both, spoil_values, move_length, swap_inputs,
    repeat_inputs, ask_outputs, send_data_too, lie_in_parameters,
]  # fmt: skip


def cases(dice: Random, count: int) -> Iterator[Case]:
    """Requests of which one in ten is good, and the others lie once or twice."""
    for _ in range(count):
        sent = good(dice)
        lies = dice.sample(LIES, dice.choice([1, 1, 2])) if dice.random() < 0.9 else []
        for lie in lies:
            lie(sent, dice)
        kind = "+".join(lie.__name__ for lie in lies) or "good"
        must = Must.EITHER if lies else Must.ACCEPT
        yield Case(kind, sent.write(), must, _checker(sent))


def _checker(sent: Sent) -> Callable[[Response], str]:
    return lambda response: wrong(sent, response)
