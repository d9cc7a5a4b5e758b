"""The matrix products of a loaded network, through the library and in the type that were chosen for this machine.

`prepare` replaces linears one by one and frees what it replaces. Every replacement takes and returns float32, so that
residual stream, norms, rotations and softmax stay float32 whatever the products are computed in.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smolvla_ros.model.errors import ObservationError
from smolvla_ros.model.layers import Linear
from smolvla_ros.model.network import SmolVLANetwork
from smolvla_ros.model.vision import GELULinear, VisionAttention

# "plain": as loaded; "input_major": transposed in memory; "packed": in oneDNN's own order; "int8": quantised.
Library = Literal["plain", "input_major", "packed", "int8"]
_SPARE_COLUMNS = 16
_MANY_ROWS = 1024


class Product(nn.Module):
    """A linear for inference: x [..., in] -> [..., out] float32, computed in the type of its weight.

    Packed weights have no gradient of their own: where one is asked for (the paper's guidance), they are unpacked.
    """

    def __init__(self, linear: nn.Linear, packed: bool) -> None:
        super().__init__()
        self.dtype = linear.weight.dtype
        self.gelu = isinstance(linear, GELULinear)
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.weight = linear.weight.detach()
        self.packed = packed
        if packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight.contiguous(), _MANY_ROWS)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        if not self.packed or (torch.is_grad_enabled() and x.requires_grad):
            y = F.linear(x, self.weight.to_dense() if self.packed else self.weight, self.bias)
            return (F.gelu(y, approximate="tanh") if self.gelu else y).float()
        after = ("gelu", "tanh") if self.gelu else ("none", "")
        fused: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, after[0], [], after[1])
        return fused.float()


class Int8Product(nn.Module):
    """A linear with int8 weights, one scale for each output; inputs are quantised by their own range in each call."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.gelu = isinstance(linear, GELULinear)
        weight = linear.weight.detach().float()
        scales = weight.abs().amax(1).clamp_min(1e-12).double() / 127.0
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        with warnings.catch_warnings():  # torch plans to replace the quantised types; the products stay
            warnings.simplefilter("ignore", UserWarning)
            quantised = torch.quantize_per_channel(weight.contiguous(), scales, zeros, 0, torch.qint8)
        bias = None if linear.bias is None else linear.bias.detach().float()
        self.packed = torch.ops.quantized.linear_prepack(quantised, bias)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            raise ObservationError(
                "the paper's guidance needs gradients, which int8 products have not; use rtc 'lerobot'"
            )
        # The reduced range keeps sums of products inside 16 bits on processors without VNNI.
        y = torch.ops.quantized.linear_dynamic(x.float(), self.packed, reduce_range=True)
        return F.gelu(y, approximate="tanh") if self.gelu else y


class BFloat16Attention:
    """Full attention in bfloat16, [1, H, L, D] each: scores once in a buffer that is used again, softmax in place.

    torch's own is no faster in bfloat16 than in float32, and fresh temporaries of this size cost page faults.
    """

    def __init__(self) -> None:
        self._scores = torch.empty(0, dtype=torch.bfloat16)

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        images, heads, length, size = queries.shape
        if self._scores.shape != (heads, length, length):
            self._scores = torch.empty(heads, length, length, dtype=torch.bfloat16)
        out = torch.empty_like(queries, dtype=torch.bfloat16, memory_format=torch.contiguous_format)
        for image in range(images):
            q, k, v = (part[image].bfloat16() for part in (queries * size**-0.5, keys, values))
            torch.bmm(q, k.transpose(1, 2), out=self._scores)
            torch.softmax(self._scores, -1, out=self._scores)
            torch.bmm(self._scores, v, out=out[image])
        return out


def bfloat16_linears(network: SmolVLANetwork) -> None:
    """Holds the linears of the towers in bfloat16 and all else in float32, before the weights are read."""
    for tower in network.towers().values():
        for module in tower.modules():
            if isinstance(module, Linear):
                module.bfloat16()


def prepare(network: SmolVLANetwork, libraries: Mapping[str, Library]) -> None:
    """Replaces the linears of each tower of a loaded network; `libraries` by the names of `network.towers`."""
    for name, tower in network.towers().items():
        library = libraries.get(name, "plain")
        for parent in list(tower.modules()):
            if isinstance(parent, VisionAttention) and parent.qkv.weight.dtype == torch.bfloat16:
                parent.attend = _shared_attention(network)
            for child_name, child in list(parent.named_children()):
                if isinstance(child, Linear):
                    setattr(parent, child_name, _replaced(child, library))


def _replaced(linear: Linear, library: Library) -> nn.Module:
    if library == "int8":
        return Int8Product(linear)
    if library == "packed" or linear.weight.dtype == torch.bfloat16:
        return Product(linear, library == "packed")
    if library == "input_major":
        lay_out_for_few_rows(linear)
    return linear


def lay_out_for_few_rows(linear: nn.Linear) -> None:
    """Stores the weight input-major, for products with some fifty rows on a CPU.

    BLAS reads it up to 1.4 times as fast then. Shape, values and gradient stay; the few spare columns keep rows off the
    power-of-two distances that fight over the same cache lines.
    """
    outputs, inputs = linear.weight.shape
    buffer = linear.weight.new_empty(inputs, outputs + _SPARE_COLUMNS)
    weight = buffer[:, :outputs].t()
    weight.copy_(linear.weight.detach())
    linear.weight = nn.Parameter(weight, requires_grad=linear.weight.requires_grad)


def _shared_attention(network: SmolVLANetwork) -> BFloat16Attention:
    """One buffer for all layers, which run one after the other."""
    for module in network.vision.modules():
        if isinstance(module, VisionAttention) and isinstance(module.attend, BFloat16Attention):
            return module.attend
    return BFloat16Attention()
