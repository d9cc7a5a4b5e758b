"""Messages with every field mutated in turn, from a seed: what anybody may send to a node."""

from __future__ import annotations

import array
import contextlib
import copy
import importlib
import math
import random
import re
from collections.abc import Iterator
from typing import Any

from rosidl_parser.definition import AbstractSequence, Array, BasicType, NamespacedType

_INTEGER = re.compile(r"(u?)int(\d+)$")
_FLOATS = (0.0, -0.0, 1.0, -1.0, 5e-324, 1e6, -1e300, 1.7e308, math.nan, math.inf, -math.inf)
_TEXTS = (
    "", " ", "a", "x" * 5000, "\n\r\t", "\x01\x7f", "‮abc", "é́", "🤖", "<image>" * 50, "../../etc", "$(reboot)",
    "%s%n", "a b", "shoulder",
)  # fmt: skip


def values_of(kind: Any) -> tuple[Any, ...]:
    """Hostile values of a basic type."""
    name = getattr(kind, "typename", "string")
    if name == "boolean":
        return (False, True)
    if name in ("float", "double"):
        return _FLOATS if name == "double" else tuple(x for x in _FLOATS if not math.isfinite(x) or abs(x) < 3e38)
    if name in ("octet", "byte"):
        return (b"\x00", b"\xff")
    integer = _INTEGER.match(name)
    if integer:
        bits, signed = int(integer[2]), not integer[1]
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return tuple(sorted({low, low + 1, 0, 1, 2, 5, high // 2, high - 1, high}))
    return _TEXTS


def mutations(good: Any) -> list[tuple[str, Any]]:
    """(path of the field, copy of the message with a hostile value there), for every field at any depth."""
    found: list[tuple[str, Any]] = []
    for path, kind in _leaves(good, ()):
        for value in _hostile(kind, _get(good, path)):
            twin = copy.deepcopy(good)
            _set(twin, path, value)
            found.append((".".join(map(str, path)), twin))
    return found


def endless(goods: list[Any], seed: int) -> Iterator[tuple[int, str, Any]]:
    """(place in `goods`, paths, message): first every mutation once, in any order; then two and more at a time."""
    chance = random.Random(seed)
    every = [(place, path, message) for place, good in enumerate(goods) for path, message in mutations(good)]
    chance.shuffle(every)
    yield from every
    leaves = [list(_leaves(good, ())) for good in goods]
    while True:
        place = chance.randrange(len(goods))
        message, paths = copy.deepcopy(goods[place]), []
        for path, kind in chance.sample(leaves[place], min(len(leaves[place]), chance.randint(2, 4))):
            with contextlib.suppress(IndexError):  # the list that it stood in was emptied before
                _set(message, path, chance.choice(_hostile(kind, _get(message, path))))
                paths.append(".".join(map(str, path)))
        yield place, "+".join(paths), message


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The bytes of a serialized message as nothing that serializes messages would send them."""
    place = chance.randrange(4, len(data))
    word = chance.choice((b"\xff" * 4, b"\xff\xff\xff\x7f", b"\x00" * 4, b"\x00\x00\x00\x40"))
    return chance.choice(
        (
            data[:place],
            data[:4],
            b"",
            data + data,
            bytes([0, chance.randrange(12)]) + data[2:],  # another representation, or byte order
            data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :],
            data[: place & ~3] + word + data[(place & ~3) + 4 :],  # a length, perhaps
            data[:4] + chance.randbytes(len(data) - 4),
        )
    )


def _leaves(message: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for name, kind in zip(message.get_fields_and_field_types(), message.SLOT_TYPES, strict=True):
        if isinstance(kind, NamespacedType):
            yield from _leaves(getattr(message, name), (*path, name))
            continue
        yield (*path, name), kind
        if isinstance(kind, AbstractSequence | Array) and isinstance(kind.value_type, NamespacedType):
            for place, _ in zip(range(1), getattr(message, name), strict=False):
                yield from _leaves(getattr(message, name)[place], (*path, name, place))


def _hostile(kind: Any, present: Any) -> tuple[Any, ...]:
    if not isinstance(kind, AbstractSequence | Array):
        return values_of(kind)
    items = list(present)
    if isinstance(kind.value_type, NamespacedType):
        empty = getattr(importlib.import_module(".".join(kind.value_type.namespaces)), kind.value_type.name)()
        return ([], [empty], items + items, items * 40)
    elements = values_of(kind.value_type)
    if isinstance(kind, Array):
        return tuple([element] * kind.size for element in elements)
    changed = [[element, *items[1:]] for element in elements] if items else []
    lengths = [[], items[:-1], items + items[:1], items + items, items[::-1], [elements[0]], list(elements) * 3]
    large = [elements[0]] * 20_000
    return tuple(_typed(kind, these) for these in (*changed, *lengths, large))


def _typed(kind: Any, items: list[Any]) -> Any:
    """As rclpy wants them: arrays of numbers, which spares a conversion of each element."""
    codes = {"double": "d", "float": "f", "uint8": "B", "octet": None}
    code = codes.get(kind.value_type.typename) if isinstance(kind.value_type, BasicType) else None
    return array.array(code, items) if code else items


def _get(message: Any, path: tuple[Any, ...]) -> Any:
    for name in path:
        message = message[name] if isinstance(name, int) else getattr(message, name)
    return message


def _set(message: Any, path: tuple[Any, ...], value: Any) -> None:
    owner = _get(message, path[:-1])
    setattr(owner, path[-1], value)
