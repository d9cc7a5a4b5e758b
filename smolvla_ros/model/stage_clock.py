"""How long the stages of an inference take."""

from __future__ import annotations

import time

import torch


class StageClock:
    """Seconds between calls of `stage`, with the device's queue drained first."""

    def __init__(self, device: torch.device) -> None:
        self.stage_s: dict[str, float] = {}
        self._device = device
        self._last = time.perf_counter()

    def stage(self, name: str) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self.stage_s[name], self._last = now - self._last, now
