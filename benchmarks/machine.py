"""The machine that absolute figures are of, in words."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

# What decides which arithmetic of the network is fast.
_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def machine() -> str:
    """Model of the processor, its features, cores and Python."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    model = re.search(r"^model name\s*: (.*)", text, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.*)", text, re.MULTILINE)
    features = [one for one in _FEATURES if flags and one in flags[1].split()]
    named = (model[1] if model else platform.machine()) + (f" ({', '.join(features)})" if features else "")
    return f"{named}, {os.cpu_count()} cores, Python {platform.python_version()}"
