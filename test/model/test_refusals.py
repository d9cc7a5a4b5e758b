"""Every checkpoint that would run wrong is refused: a good one, one mutation, one reason with a remedy."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import load_file, save_file

from smolvla_ros.model import CheckpointError, SmolVLAPolicy

NORMALISER = "policy_preprocessor_step_5_normalizer_processor.safetensors"
UNNORMALISER = "policy_postprocessor_step_0_unnormalizer_processor.safetensors"
WEIGHTS = "model.safetensors"
OUT_PROJ = "model.action_out_proj.weight"
Mutation = Callable[[Path], Any]


def edit_json(file: str, change: Callable[[dict], Any]) -> Mutation:
    def mutate(folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        change(content)
        (folder / file).write_text(json.dumps(content))

    return mutate


def edit_tensors(file: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> Mutation:
    def mutate(folder: Path) -> None:
        tensors = load_file(folder / file)
        change(tensors)
        save_file(tensors, folder / file)

    return mutate


def setting(**values: Any) -> Mutation:
    return edit_json("config.json", lambda config: config.update(values))


def put(file: str, name: str, value: torch.Tensor) -> Mutation:
    return edit_tensors(file, lambda tensors: tensors.update({name: value}))


def drop(file: str, *names: str) -> Mutation:
    return edit_tensors(file, lambda tensors: [tensors.pop(name) for name in names])


def write(file: str, content: bytes) -> Mutation:
    return lambda folder: (folder / file).write_bytes(content)


def remove(file: str) -> Mutation:
    return lambda folder: (folder / file).unlink()


def step(content: dict, name: str) -> dict:
    return next(step for step in content["steps"] if step["registry_name"] == name)


def one_value(value: float) -> torch.Tensor:
    tensor = torch.ones(6)
    tensor[2] = value
    return tensor


def surrounded(value: float) -> torch.Tensor:
    tensor = torch.zeros(32, 54)
    tensor[3, 5] = value
    return tensor


class Canary:
    """Says so in the file system if a pickle of it is ever opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


REFUSED: dict[str, tuple[Mutation, str]] = {
    # the weights
    "no weights": (remove(WEIGHTS), "model.safetensors is missing"),
    "empty file": (write(WEIGHTS, b""), "not a whole safetensors file.*copy or download"),
    "foreign file": (write(WEIGHTS, b"\x89PNG\r\n\x1a\n" + bytes(2000)), "not a whole safetensors file"),
    "huge header": (write(WEIGHTS, struct.pack("<Q", 2**63) + bytes(100)), "not a whole safetensors file"),
    "git lfs pointer": (write(WEIGHTS, b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "missing tensor": (drop(WEIGHTS, OUT_PROJ), "1 missing.*action_out_proj.weight.*same training run"),
    "missing unused tensor": (drop(WEIGHTS, "model.vlm_with_expert.vlm.model.text_model.norm.weight"), "1 missing"),
    "surplus tensor": (put(WEIGHTS, "model.extra.weight", torch.ones(2)), "1 unexpected .model.extra.weight"),
    "wrong shape": (put(WEIGHTS, OUT_PROJ, torch.zeros(32, 55)), r"shape \[32, 55\], config.json asks for \[32, 54\]"),
    "whole numbers": (put(WEIGHTS, OUT_PROJ, torch.zeros(32, 54, dtype=torch.int32)), "int32, expected float32"),
    "not a number": (put(WEIGHTS, OUT_PROJ, surrounded(float("nan"))), "1 of 1728 values that are not finite"),
    "infinite": (put(WEIGHTS, OUT_PROJ, surrounded(float("inf"))), "not finite.*earlier checkpoint"),
    # config.json
    "no config": (remove("config.json"), "config.json is missing"),
    "config is not JSON": (write("config.json", b"{"), "is not JSON"),
    "config is not text": (write("config.json", b"\xff\xfe\x00"), "is not JSON"),
    "config is a list": (write("config.json", b"[]"), "holds a list, expected a JSON object"),
    "another policy": (setting(type="act"), "'type' is 'act', expected 'smolvla'"),
    "no type": (edit_json("config.json", lambda c: c.pop("type")), "'type' is None"),
    "text for a number": (setting(chunk_size="10"), "'chunk_size' is '10', expected a whole number"),
    "no steps": (setting(num_steps=0), "'num_steps' is 0, expected a whole number from 1 to 1000"),
    "negative chunk": (setting(chunk_size=-1, n_action_steps=-1), "'chunk_size' is -1, expected a whole number from 1"),
    "n_action_steps": (setting(n_action_steps=11), "'n_action_steps' is 11, expected 1 to chunk_size, which is 10"),
    "unknown attention": (
        setting(attention_mode="both"),
        "'attention_mode' is 'both', expected 'cross_attn' or 'self_attn'",
    ),
    "odd expert": (setting(expert_width_multiplier=0.01), "an even width, not 0"),
    "delta joint actions": (setting(use_delta_joint_actions_aloha=True), "use_delta_joint_actions_aloha"),
    "expert layers": (setting(num_expert_layers=3), "a divisor of the 4 language layers"),
    "skipped self layers": (setting(num_expert_layers=2), "cannot run"),
    "no cameras": (setting(input_features={"observation.state": {"type": "STATE", "shape": [6]}}), "cameras"),
    "no state": (setting(input_features={"observation.images.top": {"type": "VISUAL"}}), "observation.state"),
    "no action": (setting(output_features={}), "feature 'action'"),
    "action too large": (setting(output_features={"action": {"type": "ACTION", "shape": [33]}}), "max_action_dim 32"),
    "state too large": (setting(max_state_dim=5), "6 values, more than max_state_dim 5"),
    "image size": (setting(resize_imgs_with_padding=[64]), "width, height"),
    "images do not fold": (setting(resize_imgs_with_padding=[64, 72]), "do not fold"),
    "aloha needs 14": (setting(adapt_to_pi_aloha=True), "an ALOHA pair has 14"),
    "other language sizes": (setting(num_vlm_layers=3), "unexpected|shape"),
    # the backbone
    "no backbone sizes": (
        remove("vlm/config.json"),
        "missing.*the backbone 'vlm' is not here: .*put its config.json into",
    ),
    "other backbone": (edit_json("vlm/config.json", lambda c: c.update(model_type="llava")), "expected 'smolvlm'"),
    "biased attention": (
        edit_json("vlm/config.json", lambda c: c["text_config"].update(attention_bias=True)),
        "'attention_bias' is True, expected false",
    ),
    "no heads": (
        edit_json("vlm/config.json", lambda c: c["text_config"].update(num_attention_heads=0)),
        "'num_attention_heads' is 0, expected a whole number from 1 to 256",
    ),
    # the tokenizer
    "no tokenizer": (remove("vlm/tokenizer.json"), "put tokenizer.json and tokenizer_config.json of it into"),
    "broken tokenizer": (write("vlm/tokenizer.json", b"{}"), "is not a tokenizer"),
    "larger tokenizer": (edit_json("vlm/config.json", lambda c: c["text_config"].update(vocab_size=9)), "vocabulary 9"),
    # the processors
    "no preprocessor": (remove("policy_preprocessor.json"), "policy_preprocessor.json is missing"),
    "no postprocessor": (remove("policy_postprocessor.json"), "policy_postprocessor.json is missing"),
    "no steps list": (write("policy_preprocessor.json", b"{}"), "'steps' is not a list"),
    "unknown step": (
        edit_json("policy_preprocessor.json", lambda c: c["steps"].append({"registry_name": "relative_actions"})),
        "relative_actions is not part of SmolVLA",
    ),
    "step twice": (edit_json("policy_preprocessor.json", lambda c: c["steps"].append(c["steps"][0])), "stands twice"),
    "no normaliser": (
        edit_json("policy_preprocessor.json", lambda c: c["steps"].pop()),
        "normalizer_processor is miss",
    ),
    "unknown mode": (
        edit_json(
            "policy_preprocessor.json",
            lambda c: step(c, "normalizer_processor")["config"]["norm_map"].update(STATE="LOG"),
        ),
        "normalisation 'LOG' of STATE",
    ),
    "state is not normalised": (
        edit_json(
            "policy_preprocessor.json",
            lambda c: step(c, "normalizer_processor")["config"]["features"].pop("observation.state"),
        ),
        "but not 'observation.state'",
    ),
    "state file outside": (
        edit_json(
            "policy_preprocessor.json",
            lambda c: step(c, "normalizer_processor").update(state_file="../other.safetensors"),
        ),
        "expected one inside",
    ),
    "state left out": (
        edit_json(
            "policy_preprocessor.json",
            lambda c: step(c, "normalizer_processor")["config"].update(normalize_observation_keys=[]),
        ),
        "normalises nothing, but not 'observation.state'",
    ),
    "image statistics": (
        edit_json(
            "policy_preprocessor.json",
            lambda c: step(c, "normalizer_processor")["config"]["norm_map"].update(VISUAL="MEAN_STD"),
        ),
        "no mean and std of 'observation.images.top'",
    ),
    "names of another arm": (write("smolvla_ros.json", b'{"state_names": ["a", "b"]}'), "expected 6 names"),
    "too many empty cameras": (setting(empty_cameras=10**6), "expected a whole number from 0 to 100"),
    "uncountable": (setting(chunk_size=10**9), "'chunk_size' is 1000000000, expected a whole number from 1 to 10000"),
    # the statistics
    "no statistics file": (remove(NORMALISER), "normalizer_processor.safetensors is missing"),
    "no state statistics": (drop(NORMALISER, "observation.state.mean"), "no mean and std of 'observation.state'"),
    "no action statistics": (drop(UNNORMALISER, "action.std"), "no mean and std of 'action'.*sets found"),
    "infinite statistics": (put(NORMALISER, "observation.state.mean", torch.full((6,), torch.inf)), "never set"),
    "undefined statistics": (put(UNNORMALISER, "action.std", one_value(torch.nan)), "std is .*nan"),
    "zero statistics": (put(UNNORMALISER, "action.std", one_value(0.0)), "spread of value 2 is not above 0"),
    "negative statistics": (put(NORMALISER, "observation.state.std", one_value(-1.0)), "spread of value 2"),
    "statistics of another arm": (
        lambda folder: [put(UNNORMALISER, f"action.{name}", torch.arange(7) + 1.0)(folder) for name in ("mean", "std")],
        "belong to another robot",
    ),
    "more state than the network reads": (
        lambda folder: [
            put(NORMALISER, f"observation.state.{name}", torch.ones(33) * 2)(folder) for name in ("mean", "std")
        ],
        "33 values, more than max_state_dim 32",
    ),
    "placeholders": (
        edit_tensors(
            NORMALISER,
            lambda t: t.update({"observation.state.mean": torch.zeros(6), "observation.state.std": torch.ones(6)}),
        ),
        "placeholders, which change nothing",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_checkpoint_with_one_fault_is_refused_with_the_reason(name: str, good: Path) -> None:
    mutate, reason = REFUSED[name]
    mutate(good)
    with pytest.raises(CheckpointError, match=f"(?s){reason}") as refusal:
        SmolVLAPolicy.from_checkpoint(good)
    assert len(str(refusal.value)) < 800


def test_a_checkpoint_cut_at_any_boundary_is_refused(good: Path) -> None:
    whole = (good / WEIGHTS).read_bytes()
    header = struct.unpack("<Q", whole[:8])[0]
    ends = {offset for entry in json.loads(whole[8 : 8 + header]).values() for offset in entry["data_offsets"]}
    boundaries = {8 + header + end for end in ends if 8 + header + end < len(whole)}
    cuts = {0, 7, 8, 9, 8 + header - 1, 8 + header, 8 + header + 1, len(whole) - 1} | boundaries
    assert len(cuts) > 100
    for cut in cuts:
        (good / WEIGHTS).write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match="not a whole safetensors file"):
            SmolVLAPolicy.from_checkpoint(good)
    (good / WEIGHTS).write_bytes(whole + b"\0")
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        SmolVLAPolicy.from_checkpoint(good)


def test_tensors_that_overlap_in_the_file_are_refused(good: Path) -> None:
    whole = (good / WEIGHTS).read_bytes()
    size = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + size])
    first, second = sorted(header, key=lambda name: header[name]["data_offsets"])[:2]
    header[second]["data_offsets"][0] = header[first]["data_offsets"][0]
    changed = json.dumps(header).encode().ljust(size)[:size]
    (good / WEIGHTS).write_bytes(whole[:8] + changed + whole[8 + size :])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        SmolVLAPolicy.from_checkpoint(good)


@pytest.mark.parametrize(
    "file", [WEIGHTS, NORMALISER, "config.json", "vlm/tokenizer.json", "policy_postprocessor.json"]
)
@pytest.mark.parametrize("form", ["plain", "torch"])
def test_a_pickle_under_any_name_is_refused_and_never_opened(file: str, form: str, good: Path, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    if form == "plain":
        (good / file).write_bytes(pickle.dumps(Canary(opened)))
    else:
        torch.save(Canary(opened), good / file)
    with pytest.raises(CheckpointError):
        SmolVLAPolicy.from_checkpoint(good)
    assert not opened.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "policy.pkl"])
def test_a_folder_with_nothing_but_a_pickle_says_so(name: str, good: Path) -> None:
    (good / WEIGHTS).rename(good / name)
    with pytest.raises(CheckpointError, match=f"{name}, but pickles are never opened.*as safetensors"):
        SmolVLAPolicy.from_checkpoint(good)


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("", "is not a folder"),
        ("no-such-folder", "is not a folder"),
        ("/dev/null", "is not a folder"),
        (Path("org/name"), "is not a folder"),
    ],
)
def test_something_that_is_no_folder_is_refused(folder: str | Path, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        SmolVLAPolicy.from_checkpoint(folder)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"device": "cuda:63"}, "CUDA devices; use device 'cpu'"),
        ({"device": "abacus"}, "device 'abacus' is unknown"),
        ({"device": "meta"}, "is not supported"),
        ({"dtype": "float16"}, "expected one of auto, float32, bfloat16"),
        ({"revision": "main"}, "is not a hub id; leave it out"),
        ({"statistics": {"observation.velocity": "none"}}, "statistics were chosen for observation.velocity"),
    ],
)
def test_an_option_that_cannot_be_met_is_refused(options: dict, reason: str, good: Path) -> None:
    with pytest.raises(CheckpointError, match=reason):
        SmolVLAPolicy.from_checkpoint(good, **options)


def test_image_tokens_that_the_tokenizer_does_not_name_are_refused(
    checkpoint_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint_of("special_tokens"), tmp_path / "special")
    names = ("fake_image_token", "extra_special_tokens")
    edit_json("vlm/tokenizer_config.json", lambda config: [config.pop(name) for name in names])(folder)
    with pytest.raises(CheckpointError, match="names no fake_image_token"):
        SmolVLAPolicy.from_checkpoint(folder)


def response(status: int) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "https://hub.invalid"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.GatedRepoError("gated", response=response(403)), "someone/policy is gated on the hub; ask for access"),
        (
            errors.RepositoryNotFoundError("none", response=response(404)),
            "no repository 'someone/policy' that you may read",
        ),
        (errors.RevisionNotFoundError("none", response=response(404)), "someone/policy has no revision ''"),
        (errors.LocalEntryNotFoundError("offline"), "run once: hf download someone/policy"),
        (errors.OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set"),
        (errors.HfHubHTTPError("broken", response=response(500)), "could not be fetched from the hub"),
        (OSError("disk full"), "could not be fetched from the hub: disk full"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_hub_answers_is_told_with_a_remedy(
    error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("smolvla_ros.model.checkpoint.hub.snapshot_download", refuse)
    with pytest.raises(CheckpointError, match=reason):
        SmolVLAPolicy.from_checkpoint("someone/policy")
