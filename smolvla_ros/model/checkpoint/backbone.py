"""The vision-language backbone's sizes and tokenizer: beside the policy, known by name, or in the hub's cache."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled
from tokenizers import Tokenizer

from smolvla_ros.model.checkpoint.files import MAX_TOKENIZER_BYTES, JsonObject, is_file, read_json
from smolvla_ros.model.checkpoint.reader import JsonReader, shown
from smolvla_ros.model.errors import CheckpointError

_log = logging.getLogger(__name__)

DEFAULT_BACKBONE = "HuggingFaceTB/SmolVLM2-500M-Video-Instruct"
# What its config.json says and what it leaves to transformers' defaults; a test holds the two together.
DEFAULT_SIZES: JsonObject = {
    "model_type": "smolvlm",
    "scale_factor": 4,
    "text_config": {
        "model_type": "llama", "hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32,
        "num_attention_heads": 15, "num_key_value_heads": 5, "head_dim": 64, "rms_norm_eps": 1e-5, "vocab_size": 49280,
    },
    "vision_config": {
        "model_type": "smolvlm_vision", "hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072,
        "num_attention_heads": 12, "patch_size": 16, "image_size": 512,
    },
}  # fmt: skip
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


class Backbone:
    """Finds the files of the backbone that a policy names.

    A name is looked for as a folder inside the checkpoint, then as `vlm/` there, then as a folder of its own, then
    in the hub's cache. The hub itself is asked only if `download` is set.
    """

    def __init__(self, checkpoint: Path, name: str, download: bool = False) -> None:
        self.checkpoint = checkpoint
        self.name = name or DEFAULT_BACKBONE
        self.download = download

    def config(self) -> tuple[JsonObject, Path | None]:
        """The backbone's `config.json` and its path, None where the usual backbone's sizes had to be assumed."""
        path = self._find("config.json", self.name)
        if path is None:
            if self.name != DEFAULT_BACKBONE:
                _log.warning(
                    "the backbone %r is not here; its sizes are taken to be those of %s", self.name, DEFAULT_BACKBONE
                )
            return DEFAULT_SIZES, None
        found = read_json(path)
        if found.get("model_type") != "smolvlm":
            raise JsonReader(found, path).refuse("model_type", "'smolvlm'")
        return found, path

    def tokenizer(self, name: str) -> tuple[Tokenizer, JsonObject]:
        """The tokenizer named by the processing (or, without a name, the backbone's) and its settings."""
        name = name or self.name
        paths = [self._find(file, name) for file in TOKENIZER_FILES]
        if paths[0] is None or paths[1] is None:
            raise CheckpointError(
                f"the tokenizer {name!r} is not on this machine; put {' and '.join(TOKENIZER_FILES)} of it into "
                f"{self.checkpoint / 'tokenizer'}, or run once: hf download "
                f"{DEFAULT_BACKBONE} {' '.join(TOKENIZER_FILES)}"
            )
        settings = read_json(paths[1])
        read_json(paths[0], MAX_TOKENIZER_BYTES)
        try:
            return Tokenizer.from_file(str(paths[0])), settings
        except Exception as error:  # tokenizers raises nothing narrower
            raise CheckpointError(f"{paths[0]} is not a tokenizer ({shown(str(error))}); copy it again") from error

    def _find(self, file: str, name: str) -> Path | None:
        local = ("tokenizer", "vlm") if file in TOKENIZER_FILES else ("vlm",)
        folders = [self.checkpoint / name, *(self.checkpoint / folder for folder in local), Path(name)]
        for folder in folders:
            if is_file(folder / file):
                return folder / file
        try:
            return Path(hf_hub_download(name, file, local_files_only=not self.download))
        except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OfflineModeIsEnabled):
            return None


def special_token_ids(tokenizer: Tokenizer, settings: JsonObject) -> tuple[int, int]:
    """Ids of the tokens that may stand round an image: 'fake' and 'global'."""
    extra = settings.get("extra_special_tokens")
    named = settings | (extra if isinstance(extra, dict) else {})
    contents = [named.get(key) for key in ("fake_image_token", "global_image_token")]
    # A token is its text, or an object that holds it.
    texts = [content.get("content") if isinstance(content, dict) else content for content in contents]
    ids = [tokenizer.token_to_id(text) if isinstance(text, str) else None for text in texts]
    if ids[0] is None or ids[1] is None:
        raise CheckpointError(
            "the policy puts special tokens round images, but its tokenizer_config.json names no fake_image_token "
            "and global_image_token of the tokenizer; use the backbone's own tokenizer files"
        )
    return ids[0], ids[1]


def largest_id(tokenizer: Tokenizer) -> int:
    """The largest token id that a text can become, what the tokenizer adds to every text included."""
    return max(*tokenizer.get_vocab().values(), *tokenizer.encode("a").ids, 0, 0)


def cut_side(settings: JsonObject) -> Literal["left", "right"]:
    """The end at which the tokenizer cuts a text that is too long."""
    return "left" if settings.get("truncation_side") == "left" else "right"
