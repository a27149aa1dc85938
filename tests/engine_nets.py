"""The nets and pictures that the tests of the engine and of the C export share."""

from __future__ import annotations

import platform
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mnistkit.artifact.golden import golden_digits
from mnistkit.common.errors import MissingError
from mnistkit.data import sets as data
from mnistkit.export import c, native
from mnistkit.nets import zoo
from mnistkit.nets.deploy import DeployGraph, fold
from mnistkit.nets.deploy_module import DeployNet
from mnistkit.nets.module import DigitNet
from mnistkit.nets.spec import AvgPool, BatchNorm, Conv, MaxPool, NetSpec, ReLU
from mnistkit.quantization import reference
from mnistkit.quantization.graph import Int8Conv, Int8Graph, Int8Op, quantize
from mnistkit.quantization.store import of_source
from mnistkit.runs.source import resolve
from numpy.typing import NDArray

Array = NDArray[Any]

# Shapes that the shipped nets do not have: strides, groups, pools of odd size, even kernels, a
# pool with nothing before it, and channels that fill no vector.
ODD = {
    spec.name: spec
    for spec in (
        NetSpec(
            "strided",
            (Conv(5, 5, 2, 2, bias=True), ReLU(), Conv(10, 3, 0, 2), AvgPool()),
        ),
        NetSpec(
            "grouped",
            (
                *(Conv(6, 4), BatchNorm(), ReLU(), Conv(9, 3, 1, 1, 3), MaxPool(3)),
                *(Conv(9, 5, 2, 1, 9), BatchNorm(), Conv(10, 2, bias=True), AvgPool()),
            ),
        ),
        NetSpec(
            "depthwise",  # with a norm and a ReLU of its own, where nano has neither
            (
                *(Conv(6), ReLU(), Conv(6, groups=6), BatchNorm(), ReLU(), Conv(18, 1), MaxPool()),
                *(Conv(18, groups=18), ReLU(), Conv(10, 1), AvgPool()),
            ),
        ),
        # Its last convolution is summed over a map that is narrower than its input.
        NetSpec("summed", (Conv(6, 3, 1), ReLU(), MaxPool(2), Conv(10, 3), AvgPool())),
        NetSpec("pooled", (MaxPool(2), Conv(7, 3), ReLU(), MaxPool(2), Conv(10, 6))),
        NetSpec("single", (Conv(1, 3), ReLU(), Conv(3, 6, 1), MaxPool(), AvgPool(), Conv(10, 1))),
    )
}
NETS = {**zoo.ZOO, **ODD}

# The engine's kernel sets on a machine of this kind, fastest first; a CPU may lack some.
_OWN = {"x86_64": ("avx512-vnni", "avx-vnni", "avx2", "sse4.1"), "aarch64": ("neon-dot", "neon")}
KERNELS = (*_OWN.get(platform.machine(), ()), "vector128", "portable", "reference")


@cache
def pictures() -> Array:
    """Sixty golden digits, some turned, and three pictures at the ends of the range."""
    images = golden_digits()[0]
    noise = np.random.default_rng(5).integers(0, 256, (1, 1, 28, 28), np.uint8)
    flat = [np.full((1, 1, 28, 28), value, np.uint8) for value in (0, 255)]
    return np.concatenate([images, images[..., ::-1], images.swapaxes(2, 3), noise, *flat])


def shifted(count: int) -> Array:
    """``pictures()`` by the hundred, made by shifting them."""
    images = pictures()
    made = [np.roll(images, (y, x), (2, 3)) for y in (0, 2, -2) for x in (0, 1, -1)]
    return np.ascontiguousarray(np.concatenate(made)[:count])


@cache
def digits(count: int) -> Array:
    """The first of MNIST's test images; at most 200 made here where they are not on disk."""
    try:
        return data.load("mnist", "test", download=False).images[:count].numpy()
    except MissingError:
        return shifted(min(count, 200))


@cache
def shipped(name: str, count: int) -> tuple[Int8Graph, Array]:
    """A net of the package in int8, and the reference's logits of ``digits(count)``."""
    int8 = of_source(resolve(name))[0]
    return int8, reference.logits(int8, digits(count))


@cache
def graphs(name: str) -> tuple[DeployGraph, Int8Graph]:
    """A net with random weights and settled norms, folded; and the same in int8."""
    torch.manual_seed(3)
    net = DigitNet(NETS[name])
    digits = torch.from_numpy(pictures()[:60].copy()).float() / 255
    with torch.no_grad():
        for _ in range(40):
            net.train()(digits)
        graph = fold(NETS[name], net.eval().state_dict())
        ranges, values = {}, digits
        for op, module in zip(graph.ops, DeployNet(graph).ops, strict=True):
            values = module(values)
            ranges[op.name] = float(values.abs().max())
    return graph, quantize(graph, ranges)


@cache
def answers(name: str) -> Array:
    """The integer reference's logits of ``pictures()``."""
    return reference.logits(graphs(name)[1], pictures())


@cache
def tied(name: str) -> Int8Graph:
    """The int8 net with powers of two as multipliers: many values lie between two integers."""

    def rounded(op: Int8Op) -> Int8Op:
        if not isinstance(op, Int8Conv) or op.out_scale is None:
            return op
        scale = np.exp2(np.round(np.log2(op.multiplier))).astype(np.float32)
        return replace(op, weight_scale=scale, in_scale=np.float32(1), out_scale=np.float32(1))

    int8 = graphs(name)[1]
    return Int8Graph(int8.spec, tuple(rounded(op) for op in int8.ops))


def mnk(name: str, precision: str) -> bytes:
    graph, int8 = graphs(name)
    return native.render(int8 if precision == "int8" else graph, precision)


def write_digits(folder: Path, images: Array) -> None:
    """Write ``digits.h``, the images that tests/targets/c_digits.c runs."""
    rows = ",\n".join("{" + ",".join(map(str, image.ravel())) + "}" for image in images)
    text = f"#define DIGITS {len(images)}\nstatic const uint8_t digits[{len(images)}][784] = {{\n"
    (folder / "digits.h").write_text(text + rows + "};\n")


def c_defines(graph: DeployGraph | Int8Graph, precision: str) -> list[str]:
    """The macros that tell tests/targets/c_digits.c which net it runs."""
    symbol = c.symbol(graph, precision)
    scratch = c.header(graph, precision).decode().split("_SCRATCH ")[1].split()[0]
    return [f"-DMODEL_RUN={symbol}_run", f"-DMODEL_SCRATCH={scratch}"]


def parse_logits(text: str) -> Array:
    """The logits that tests/targets/c_digits.c prints."""
    rows = [line.split() for line in text.splitlines() if not line.startswith("instr")]
    return np.array([[int(x, 16) for x in row] for row in rows], np.uint32).view(np.float32)
