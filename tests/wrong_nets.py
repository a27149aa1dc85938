"""Nets that are wrong in each way: legal, of the right shape, and with other answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from mnistkit.artifact.folder import Artifact
from mnistkit.backends.eager import deploy_graph
from mnistkit.nets.deploy import ConvOp, DeployGraph
from mnistkit.quantization import store
from mnistkit.quantization.graph import Int8Conv, Int8Graph


def one_weight(op: Int8Conv) -> Int8Conv:
    """The largest weight of the layer, one step smaller."""
    weight = op.weight.copy()
    place = np.unravel_index(np.abs(weight.astype(int)).argmax(), weight.shape)
    weight[place] -= np.sign(weight[place])
    return dataclasses.replace(op, weight=weight)


def all_weights(op: Int8Conv) -> Int8Conv:
    """Every weight up to two steps nearer to nought, at random: no pair exceeds 16 bits."""
    steps = np.random.default_rng(0).integers(0, 3, op.weight.shape)
    weight = op.weight - np.sign(op.weight) * np.minimum(steps, np.abs(op.weight.astype(int)))
    return dataclasses.replace(op, weight=weight.astype(np.int8))


def larger_int8(op: Int8Conv) -> Int8Conv:
    """Its sums are worth a thousandth more."""
    return dataclasses.replace(op, weight_scale=op.weight_scale * np.float32(1.001))


def permuted_int8(op: Int8Conv) -> Int8Conv:
    """Its channels in another order."""
    weight, bias = np.roll(op.weight, 1, 0), np.roll(op.bias, 1)
    return dataclasses.replace(
        op, weight=weight, bias=bias, weight_scale=np.roll(op.weight_scale, 1)
    )


def larger(op: ConvOp) -> ConvOp:
    """Its values a thousandth larger."""
    factor = np.float32(1.001)
    return dataclasses.replace(op, weight=op.weight * factor, bias=op.bias * factor)


def permuted(op: ConvOp) -> ConvOp:
    """Its channels in another order."""
    return dataclasses.replace(op, weight=np.roll(op.weight, 1, 0), bias=np.roll(op.bias, 1))


INT8: dict[str, tuple[int, Callable[[Int8Conv], Int8Conv]]] = {
    "one weight of the first layer": (0, one_weight),
    "one weight of the last layer": (-1, one_weight),
    "all weights of a layer": (1, all_weights),
    "logits a thousandth larger": (-1, larger_int8),
    "outputs permuted": (-1, permuted_int8),
}
FLOAT: dict[str, Callable[[ConvOp], ConvOp]] = {
    "logits a thousandth larger": larger,
    "outputs permuted": permuted,
}


def int8_with(artifact: Artifact, damage: str) -> Int8Graph:
    """The artifact's int8 net, wrong in that way of ``INT8``."""
    graph, _ = store.read(artifact.file("int8", "int8"))
    layer, change = INT8[damage]
    places = [index for index, op in enumerate(graph.ops) if isinstance(op, Int8Conv)]
    ops = list(graph.ops)
    op = ops[places[layer]]
    assert isinstance(op, Int8Conv)
    ops[places[layer]] = change(op)
    return dataclasses.replace(graph, ops=tuple(ops))


def float_with(artifact: Artifact, damage: str) -> DeployGraph:
    """The artifact's fp32 net, wrong in that way of ``FLOAT``."""
    graph = deploy_graph(artifact)
    last = max(index for index, op in enumerate(graph.ops) if isinstance(op, ConvOp))
    ops = list(graph.ops)
    op = ops[last]
    assert isinstance(op, ConvOp)
    ops[last] = FLOAT[damage](op)
    return dataclasses.replace(graph, ops=tuple(ops))
