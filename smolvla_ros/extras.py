"""What is installed only where somebody asked for it, and one sentence for where it is missing."""

from __future__ import annotations

import importlib
from collections.abc import Callable

# The modules of packaging/extras/<extra>.txt, and of packaging/ray.txt.
MODULES = {
    "sim": ("matplotlib", "mujoco", "PIL"),
    "bags": ("av", "jinja2", "lz4", "mcap", "pandas", "plotly", "pyarrow", "rosbags", "zstandard"),
    "view": ("viser", "yourdfpy"),
    "so101": ("scservo_sdk",),
    "ray": ("ray",),
}


def missing_extra(error: ModuleNotFoundError, what: str) -> str:
    """The sentence for a module that could not be imported; '' if it belongs to no extra.

    Args:
        error: of the import.
        what: needs it, such as 'smolvla-ros export'.
    """
    module = (error.name or "").partition(".")[0]
    for extra, modules in MODULES.items():
        if module in modules:
            return (f"{what} needs what the extra [{extra}] installs, and {module} is missing; in the source folder: "
                    f"pip install -c constraints.txt '.[{extra}]'")  # fmt: skip
    return ""


def load_main(module: str) -> Callable[[], int]:
    """The `main` of a node's module; ends the process with the sentence where an extra is missing."""
    try:
        main: Callable[[], int] = importlib.import_module(module).main
    except ModuleNotFoundError as error:
        sentence = missing_extra(error, module.rpartition(".")[2])
        if not sentence:
            raise
        raise SystemExit(sentence) from error
    return main
