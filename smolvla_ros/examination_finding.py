"""One line of what `doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """How bad, about what, the facts, and what to do."""

    level: Literal["ok", "warn", "fail"]
    about: str
    text: str
    remedy: str = ""
