"""One side of `inference.py`: loads a checkpoint and makes a chunk for every line that it reads. Not for people.

Runs in the environment of whoever is measured, so it imports nothing but torch and numpy before it knows who that is.
Answers with one JSON object a line: first what loading cost, then for every number of a round its times in ms, the
memory of the process, and where it wrote the normalised actions.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

INSTRUCTION = "Put the red cube into the green box."
IMAGE_SHAPE = (480, 640, 3)


def round_inputs(number: int, cameras: int, rows: int, width: int) -> tuple[list[Any], Any, Any]:
    """Pictures uint8, state [6] and noise [rows, width] of a round; new pictures every time, as from a camera."""
    draw = np.random.default_rng(number)
    images = [draw.integers(0, 256, IMAGE_SHAPE, dtype=np.uint8) for _ in range(cameras)]
    return images, draw.standard_normal(6).astype(np.float32), draw.standard_normal((rows, width), np.float32)


class Ours:
    """smolvla_ros, as its nodes load it."""

    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        from smolvla_ros.model import SmolVLAPolicy

        self._policy = SmolVLAPolicy.from_checkpoint(folder, args.device, args.dtype)
        if args.steps:
            self._policy.engine.take_steps(args.steps)
        self.facts = {"cameras": len(self._policy.cameras), "steps": self._policy.engine.num_steps,
                      "detail": self._policy.engine.reason}  # fmt: skip

    def chunk(self, number: int) -> tuple[Any, dict[str, float]]:
        config = self._policy.config
        images, state, noise = round_inputs(
            number, len(self._policy.cameras), config.chunk_size, config.max_action_dim
        )
        named = dict(zip(self._policy.cameras, images, strict=True))
        started = time.perf_counter()
        made = self._policy.predict(named, state, INSTRUCTION, noise)
        stages = {"total_ms": time.perf_counter() - started, "vision_ms": made.stage_s["vision"],
                  "prefix_ms": made.stage_s["prefix"],
                  "step_ms": made.stage_s["denoise"] / self._policy.engine.num_steps}  # fmt: skip
        return made.normalised, {name: 1e3 * seconds for name, seconds in stages.items()}


class LeRobots:
    """LeRobot's own SmolVLA. 'shipped' is what it makes of a hub checkpoint: the language model and its expert in
    bfloat16; 'float32' is the same after `.float()`."""

    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        policy = _lerobot_policy(folder)
        self._policy = policy.float() if args.dtype == "float32" else policy
        self._policy.to(args.device).eval()
        if args.steps:
            self._policy.config.num_steps = self._policy.model.config.num_steps = args.steps
        self._device, self._times = args.device, {"vision_ms": 0.0, "prefix_ms": 0.0, "step_ms": 0.0}
        self._tokens = _tokens(folder).to(args.device)
        self._statistics = json.loads((folder / "spread.json").read_text())
        inner = self._policy.model
        inner.vlm_with_expert.embed_image = self._timed("vision_ms", inner.vlm_with_expert.embed_image)
        inner.denoise_step = self._timed("step_ms", inner.denoise_step)
        inner.embed_prefix = self._timed("prefix_ms", inner.embed_prefix)
        forward = inner.vlm_with_expert.forward
        timed = self._timed("prefix_ms", forward)
        inner.vlm_with_expert.forward = lambda *a, **k: (timed if k["fill_kv_cache"] else forward)(*a, **k)
        self.facts = {"cameras": len(self._policy.config.image_features), "steps": self._policy.config.num_steps,
                      "detail": f"lerobot {_version('lerobot')}, transformers {_version('transformers')}"}  # fmt: skip

    def chunk(self, number: int) -> tuple[Any, dict[str, float]]:
        config = self._policy.config
        images, state, noise = round_inputs(
            number, len(config.image_features), config.chunk_size, config.max_action_dim
        )
        self._times.update(dict.fromkeys(self._times, 0.0))
        mean, std = (np.array(self._statistics[name], np.float32) for name in ("mean", "std"))
        started = time.perf_counter()
        batch = {
            name: torch.from_numpy(image).to(self._device).permute(2, 0, 1)[None].float() / 255
            for name, image in zip(config.image_features, images, strict=True)
        }
        batch["observation.state"] = torch.from_numpy((state - mean) / (std + 1e-8)).to(self._device)[None]
        batch["observation.language.tokens"] = self._tokens
        batch["observation.language.attention_mask"] = torch.ones_like(self._tokens, dtype=torch.bool)
        actions = self._policy.predict_action_chunk(batch, noise=torch.from_numpy(noise).to(self._device)[None])
        actions = actions[0].float().cpu().numpy()
        times = {"total_ms": 1e3 * (time.perf_counter() - started), **self._times}
        times["prefix_ms"] -= times["vision_ms"]  # pictures are embedded within
        times["step_ms"] /= config.num_steps
        return actions, times

    def _timed(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            result = call(*args, **kwargs)
            if self._device.startswith("cuda"):
                torch.cuda.synchronize()
            self._times[stage] += 1e3 * (time.perf_counter() - started)
            return result

        return timed


def _lerobot_policy(folder: Path) -> Any:
    """The checkpoint loaded by LeRobot. Of the backbone, which is not on this machine, only the sizes are needed: its
    weights, all of them, come from the checkpoint."""
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.policies.smolvla import smolvlm_with_expert as backbone
    from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
    from transformers import AutoConfig, SmolVLMForConditionalGeneration

    def empty_backbone(name: str, torch_dtype: str = "bfloat16", **rest: Any) -> Any:
        config = AutoConfig.from_pretrained(folder / "vlm")
        config.text_config.torch_dtype = torch_dtype
        return SmolVLMForConditionalGeneration(config).to(getattr(torch, torch_dtype))

    backbone.AutoModelForImageTextToText.from_pretrained = empty_backbone
    tokenizer = SimpleNamespace(fake_image_token_id=0, global_image_token_id=0)  # asked for, not used
    backbone.AutoProcessor.from_pretrained = lambda name: SimpleNamespace(tokenizer=tokenizer)
    config = PreTrainedConfig.from_pretrained(folder)
    config.vlm_model_name, config.device = str(folder / "vlm"), "cpu"
    return SmolVLAPolicy.from_pretrained(folder, config=config)


def _tokens(folder: Path) -> torch.Tensor:
    from tokenizers import Tokenizer

    return torch.tensor([Tokenizer.from_file(str(folder / "vlm" / "tokenizer.json")).encode(INSTRUCTION + "\n").ids])


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("who", choices=("smolvla_ros", "lerobot"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--actions", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    answers = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is no answer
    started = time.perf_counter()
    side = (Ours if args.who == "smolvla_ros" else LeRobots)(args.folder, args)
    load_s = time.perf_counter() - started
    print(json.dumps({"load_s": load_s, **side.facts}), file=answers, flush=True)
    for line in sys.stdin:
        actions, times = side.chunk(int(line))
        np.save(args.actions, actions)
        rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(times | {"rss_mb": rss_mb}), file=answers, flush=True)


if __name__ == "__main__":
    main()
