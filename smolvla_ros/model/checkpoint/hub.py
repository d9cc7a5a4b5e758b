"""Where a checkpoint lies: a folder, or a hub id that is looked up through huggingface_hub, cache and offline mode
included. Nothing is asked of the hub unless the user gave a hub id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from smolvla_ros.model.errors import CheckpointError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_NEEDED = (
    "config.json",
    "model.safetensors",
    "policy_preprocessor.json",
    "policy_postprocessor.json",
    "policy_*processor*.safetensors",
    "adapter_config.json",
    "adapter_model.safetensors",
    "tokenizer/tokenizer*.json",
    "vlm/config.json",
    "vlm/tokenizer*.json",
    "smolvla_ros.json",
    "golden.safetensors",
)


@dataclass(frozen=True)
class Location:
    """A folder on this machine; `from_hub` if the user asked for a hub id, so that its backbone may be fetched too."""

    folder: Path
    from_hub: bool


def is_hub_id(name: str) -> bool:
    """Whether a name means the hub: 'org/name', unless such a folder, or one called 'org', is here."""
    return bool(_HUB_ID.fullmatch(name)) and not Path(name).exists() and not Path(name.partition("/")[0]).is_dir()


def locate(checkpoint: str | Path, revision: str = "", download: bool = True) -> Location:
    """The folder of a checkpoint; a hub id is fetched first, with progress and only the files that are needed.

    Without `download` a hub id is looked up in the cache only.

    Raises:
        CheckpointError: no such folder, no such repository or revision, no access, or no network and not in the cache.
    """
    name = str(checkpoint)
    if isinstance(checkpoint, str) and is_hub_id(name):
        return Location(_fetched(name, revision, download), from_hub=True)
    folder = Path(checkpoint).expanduser()
    if revision:
        raise CheckpointError(f"revision {revision!r} was given, but {name!r} is not a hub id; leave it out")
    if not name or not folder.is_dir():
        raise CheckpointError(
            f"the checkpoint {name!r} is not a folder; expected one that LeRobot wrote, with config.json, or a hub id "
            "such as 'org/name'"
        )
    return Location(_with_config(folder), from_hub=False)


def _with_config(folder: Path) -> Path:
    """The folder of the policy where a folder of the training run was named: that run, its checkpoints, or one of them.

    Raises:
        CheckpointError: there are several and none of them is the last one, or the folder is a data set.
    """
    if (folder / "config.json").exists() or (folder / "adapter_config.json").exists():
        return folder
    for inner in ("pretrained_model", "last/pretrained_model", "checkpoints/last/pretrained_model"):
        if (folder / inner / "config.json").is_file():
            return folder / inner
    steps = sorted(path.parent for pattern in ("*/pretrained_model", "checkpoints/*/pretrained_model")
                   for path in folder.glob(f"{pattern}/config.json"))  # fmt: skip
    if steps:
        raise CheckpointError(
            f"{folder} is a training run of {len(steps)} checkpoints, none of which is called 'last'; the newest is "
            f"{steps[-1]}: give that folder"
        )
    if (folder / "meta" / "info.json").is_file():
        raise CheckpointError(f"{folder} is a data set, not a checkpoint; as statistics give {folder}/meta/stats.json")
    return folder


def _fetched(name: str, revision: str, download: bool) -> Path:
    where = f"{name}@{revision}" if revision else name
    try:
        return Path(
            snapshot_download(
                name, revision=revision or None, allow_patterns=list(_NEEDED), local_files_only=not download
            )
        )
    except GatedRepoError as error:
        raise CheckpointError(f"{where} is gated on the hub; ask for access there and run: hf auth login") from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"{name} has no revision {revision!r} on the hub; look it up there") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"the hub has no repository {name!r} that you may read; check the name, or run: hf auth login"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise CheckpointError(
            f"{where} is not in the hub's cache on this machine and the hub cannot be reached (or HF_HUB_OFFLINE is "
            f"set); with a network run once: hf download {name}, or give the folder of a copy"
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise CheckpointError(f"{where} could not be fetched from the hub: {error}") from error
