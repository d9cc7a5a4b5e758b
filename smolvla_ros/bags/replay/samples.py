"""Samples over time in bounded memory."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Samples(Generic[T]):
    """At most `capacity` samples, at least `spacing_ns` apart; a full store drops every other one and spaces wider.

    So a short bag is kept as it is, and one of any length is kept evenly.
    """

    def __init__(self, capacity: int, spacing_ns: int):
        self._capacity = capacity
        self._spacing_ns = spacing_ns
        self._times_ns: list[int] = []
        self._values: list[T] = []

    def __len__(self) -> int:
        return len(self._times_ns)

    def wants(self, time_ns: int) -> bool:
        """Whether a sample of this time would be kept; asked before something costly is made."""
        return not self._times_ns or time_ns - self._times_ns[-1] >= self._spacing_ns

    def add(self, time_ns: int, value: T) -> None:
        """Keeps a sample; `wants(time_ns)` must hold."""
        if len(self._times_ns) == self._capacity:
            del self._times_ns[1::2], self._values[1::2]
            self._spacing_ns *= 2
        self._times_ns.append(time_ns)
        self._values.append(value)

    @property
    def times_ns(self) -> NDArray[np.int64]:
        return np.array(self._times_ns, np.int64)

    @property
    def values(self) -> list[T]:
        return self._values

    def rows(self, columns: int) -> NDArray[np.float64]:
        """The values of numbers or vectors as [samples, columns]."""
        return np.array(self._values, np.float64).reshape(len(self), columns)
