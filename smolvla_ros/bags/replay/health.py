"""How the messages of a topic came: counted while they pass, told at the end."""

from __future__ import annotations

from array import array

import numpy as np

from .result import StreamHealth


class StreamRecord:
    """One topic; 16 bytes a message, so that an hour of everything fits into memory easily.

    Args:
        name: what the topic is to the policy.
        topic, type: as in the bag.
    """

    def __init__(self, name: str, topic: str, type_name: str):
        self.name = name
        self._topic = topic
        self._type = type_name
        self._log_ns = array("q")
        self._lag_ns = array("q")
        self._zero_stamps = 0
        self._refused = 0
        self._refusal = ""

    def add(self, log_ns: int, stamp_ns: int | None, refusal: str = "") -> None:
        """A message; `stamp_ns` None: it has none, or cannot be read."""
        self._log_ns.append(log_ns)
        if stamp_ns:
            self._lag_ns.append(log_ns - stamp_ns)
        elif stamp_ns == 0:
            self._zero_stamps += 1
        if refusal:
            self._refused += 1
            self._refusal = self._refusal or refusal

    def health(self) -> StreamHealth:
        """The figures so far."""
        times_ns = np.sort(np.array(self._log_ns, np.int64))
        gaps_s = np.diff(times_ns) / 1e9
        span_s = float(times_ns[-1] - times_ns[0]) / 1e9 if len(times_ns) else 0.0
        return StreamHealth(
            name=self.name,
            topic=self._topic,
            type=self._type,
            messages=len(times_ns),
            refused=self._refused,
            refusal=self._refusal,
            rate_hz=len(gaps_s) / span_s if span_s > 0.0 else float("nan"),
            p95_gap_s=float(np.percentile(gaps_s, 95)) if len(gaps_s) else float("nan"),
            max_gap_s=float(gaps_s.max()) if len(gaps_s) else float("nan"),
            first_ns=int(times_ns[0]) if len(times_ns) else 0,
            last_ns=int(times_ns[-1]) if len(times_ns) else 0,
            stamp_lag_p50_s=float(np.median(np.array(self._lag_ns, np.int64))) / 1e9 if self._lag_ns else float("nan"),
            zero_stamps=self._zero_stamps,
        )
