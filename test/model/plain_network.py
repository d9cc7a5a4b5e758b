"""SmolVLA once more, plain and slow: loops and full masks, straight from the description, sharing no code with the
package but the configuration. It reads weights by their checkpoint names and knows no batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

VLM = "model.vlm_with_expert.vlm.model."
EXPERT = "model.vlm_with_expert.lm_expert."


class PlainNetwork:
    """One observation, float64 where torch allows, nothing cached."""

    def __init__(self, config, weights: dict[str, Tensor]) -> None:
        self.config = config
        self.weights = {name: tensor.double() for name, tensor in weights.items()}

    def linear(self, name: str, x: Tensor) -> Tensor:
        y = x @ self.weights[f"{name}.weight"].T
        bias = self.weights.get(f"{name}.bias")
        return y if bias is None else y + bias

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        variance = centred.pow(2).mean(-1, keepdim=True)
        scaled = centred / (variance + self.config.vision.layer_norm_eps).sqrt()
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def rms_norm(self, name: str, x: Tensor) -> Tensor:
        return (
            x
            / (x.pow(2).mean(-1, keepdim=True) + self.config.text.rms_norm_eps).sqrt()
            * self.weights[f"{name}.weight"]
        )

    def image_tokens(self, pixels: Tensor) -> Tensor:
        """pixels [3, h, w] -> [tokens, text width]."""
        vision, name = self.config.vision, f"{VLM}vision_model."
        size, heads = vision.patch_size, vision.num_heads
        rows, columns = pixels.shape[1] // size, pixels.shape[2] // size
        kernel = self.weights[f"{name}embeddings.patch_embedding.weight"].flatten(1)
        x = []
        for row in range(rows):
            for column in range(columns):
                patch = pixels[:, row * size : (row + 1) * size, column * size : (column + 1) * size].double().flatten()
                place = (row * vision.grid // rows) * vision.grid + column * vision.grid // columns
                x.append(
                    kernel @ patch
                    + self.weights[f"{name}embeddings.patch_embedding.bias"]
                    + self.weights[f"{name}embeddings.position_embedding.weight"][place]
                )
        x = torch.stack(x)
        for index in range(vision.num_layers):
            layer = f"{name}encoder.layers.{index}."
            y = self.layer_norm(f"{layer}layer_norm1", x)
            q, k, v = (self.linear(f"{layer}self_attn.{part}_proj", y) for part in "qkv")
            width = q.shape[1] // heads
            out = []
            for head in range(heads):
                part = slice(head * width, (head + 1) * width)
                out.append((q[:, part] @ k[:, part].T / math.sqrt(width)).softmax(-1) @ v[:, part])
            x = x + self.linear(f"{layer}self_attn.out_proj", torch.cat(out, -1))
            y = self.linear(f"{layer}mlp.fc1", self.layer_norm(f"{layer}layer_norm2", x))
            y = 0.5 * y * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))
            x = x + self.linear(f"{layer}mlp.fc2", y)
        return self.folded(self.layer_norm(f"{name}post_layernorm", x))

    def folded(self, patches: Tensor) -> Tensor:
        side, r = math.isqrt(len(patches)), self.config.scale_factor
        tokens = []
        for row in range(0, side, r):
            for column in range(0, side, r):
                block = [patches[(row + i) * side + column + j] for i in range(r) for j in range(r)]
                tokens.append(self.linear(f"{VLM}connector.modality_projection.proj", torch.cat(block)))
        return torch.stack(tokens)

    def rotated(self, x: Tensor, positions: Tensor) -> Tensor:
        """x [L, H, D]."""
        half = x.shape[-1] // 2
        out = torch.empty_like(x)
        for j in range(half):
            angle = (positions.double() / 10000 ** (2 * j / x.shape[-1]))[:, None]
            a, b = x[..., j], x[..., j + half]
            out[..., j] = a * angle.cos() - b * angle.sin()
            out[..., j + half] = b * angle.cos() + a * angle.sin()
        return out

    def attend(self, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
        """q [L, H, D], k and v [S, K, D], allowed [L, S] -> [L, H * D]."""
        groups = q.shape[1] // k.shape[1]
        out = []
        for head in range(q.shape[1]):
            scores = q[:, head] @ k[:, head // groups].T / math.sqrt(q.shape[-1])
            scores = scores.masked_fill(~allowed, torch.finfo(torch.float32).min)
            out.append(scores.softmax(-1) @ v[:, head // groups])
        return torch.cat(out, -1)

    def heads(self, name: str, x: Tensor) -> Tensor:
        return self.linear(name, x).view(len(x), -1, self.config.text.head_dim)

    def finished(self, layer: str, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.linear(f"{layer}self_attn.o_proj", attended)
        y = self.rms_norm(f"{layer}post_attention_layernorm", x)
        gate = self.linear(f"{layer}mlp.gate_proj", y)
        return x + self.linear(f"{layer}mlp.down_proj", gate * gate.sigmoid() * self.linear(f"{layer}mlp.up_proj", y))

    def prefix(self, images: list[Tensor], masked_images: int, tokens: Tensor, token_mask: Tensor, state: Tensor):
        """Everything is laid out with its padding, masked images too. -> caches of all layers, mask [P]."""
        config, scale = self.config, math.sqrt(self.config.text.hidden_size)
        embedding = self.weights[f"{VLM}text_model.embed_tokens.weight"]
        blank = -torch.ones_like(images[0])
        parts, valid = [], []
        for index, pixels in enumerate([*images, *[blank] * masked_images]):
            image = self.image_tokens(pixels) * scale
            start, end = embedding[list(config.image_start_ids)], embedding[list(config.image_end_ids)]
            parts += [start, image, end]
            valid += [True] * len(start) + [index < len(images)] * len(image) + [True] * len(end)
        parts += [embedding[tokens] * scale, self.linear("model.state_proj", state.double())[None]]
        mask = torch.tensor([*valid, *token_mask.tolist(), True])
        x = torch.cat(parts)
        block = torch.zeros(len(x), dtype=torch.int64)
        block[-1] = 1
        allowed = (block <= block[:, None]) & mask & mask[:, None]
        positions = mask.long().cumsum(0) - 1
        caches = []
        for index in range(config.kept_layers):
            layer = f"{VLM}text_model.layers.{index}."
            y = self.rms_norm(f"{layer}input_layernorm", x)
            q, k, v = (self.heads(f"{layer}self_attn.{part}_proj", y) for part in "qkv")
            q, k = self.rotated(q, positions), self.rotated(k, positions)
            caches.append((k, v))
            x = self.finished(layer, x, self.attend(q, k, v, allowed))
        return caches, mask

    def velocity(self, caches, mask: Tensor, x_t: Tensor, t: float) -> Tensor:
        config, steps = self.config, torch.arange(len(x_t))
        width = config.expert_width
        periods = [
            config.min_period * (config.max_period / config.min_period) ** (i / max(width // 2 - 1, 1))
            for i in range(width // 2)
        ]
        phase = torch.tensor([2 * math.pi * t / period for period in periods], dtype=torch.float64)
        time = torch.cat([phase.sin(), phase.cos()]).expand(len(x_t), -1)
        x = torch.cat([self.linear("model.action_in_proj", x_t.double()), time], -1)
        x = self.linear("model.action_time_mlp_in", x)
        x = self.linear("model.action_time_mlp_out", x * x.sigmoid())
        causal = steps <= steps[:, None]
        for index, at in enumerate(config.expert_at):
            layer, (k, v) = f"{EXPERT}layers.{index}.", caches[at]
            y = self.rms_norm(f"{layer}input_layernorm", x)
            q = self.heads(f"{layer}self_attn.q_proj", y)
            allowed = mask.expand(len(x_t), -1)
            if config.attention_of(at) == "self":
                positions = mask.sum() + steps
                q = self.rotated(q, positions)
                k = torch.cat([k, self.rotated(self.heads(f"{layer}self_attn.k_proj", y), positions)])
                v = torch.cat([v, self.heads(f"{layer}self_attn.v_proj", y)])
                allowed = torch.cat([allowed, causal], -1)
            else:
                q = self.rotated(q, steps)
                k = self.heads(f"{layer}self_attn.k_proj", k.flatten(1))
                v = self.heads(f"{layer}self_attn.v_proj", v.flatten(1))
            x = self.finished(layer, x, self.attend(q, k, v, allowed))
        return self.linear("model.action_out_proj", self.rms_norm(f"{EXPERT}norm", x))

    def sample(self, caches, mask: Tensor, noise: Tensor) -> Tensor:
        x = noise.double()
        for step in range(self.config.num_steps):
            x = x - self.velocity(caches, mask, x, 1 - step / self.config.num_steps) / self.config.num_steps
        return x.float()
