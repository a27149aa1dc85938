"""Specs, the zoo against its published tables, and exact folding."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from mnistkit.common.errors import ArtifactError, SpecError, UsageError
from mnistkit.nets import zoo
from mnistkit.nets.deploy import AvgPoolOp, ConvOp, fold
from mnistkit.nets.deploy_module import DeployNet
from mnistkit.nets.module import DigitNet
from mnistkit.nets.spec import (
    AvgPool,
    BatchNorm,
    Conv,
    Dropout,
    Linear,
    MaxPool,
    NetSpec,
    ReLU,
)
from mnistkit.nets.table import layer_rows

# (row, output, parameters) as published; the total is the net's name.
TABLES = {
    "ref-18738": """
        conv k3 p1, bias | 128x28x28 | 1280
        batch norm, dropout2d | 128x28x28 | 256
        conv k1 p1, bias | 8x30x30 | 1032
        conv k3 p1, bias | 16x30x30 | 1168
        batch norm, dropout2d | 16x30x30 | 32
        max pool 2 | 16x15x15 | 0
        conv k3 p1, bias | 16x15x15 | 2320
        batch norm, dropout2d | 16x15x15 | 32
        conv k3 p1, bias | 32x15x15 | 4640
        batch norm, dropout2d | 32x15x15 | 64
        max pool 2 | 32x7x7 | 0
        conv k1 p1, bias | 16x9x9 | 528
        conv k3 p1, bias | 16x9x9 | 2320
        batch norm, dropout2d | 16x9x9 | 32
        conv k3 p1, bias | 32x9x9 | 4640
        batch norm, dropout2d | 32x9x9 | 64
        conv k1 p1, bias | 10x11x11 | 330
        average pool 11 | 10x1x1 | 0""",
    "ref-10066": """
        conv k3, bias | 8x26x26 | 80
        batch norm, dropout | 8x26x26 | 16
        conv k3, bias | 16x24x24 | 1168
        batch norm, dropout | 16x24x24 | 32
        conv k3, bias | 16x22x22 | 2320
        batch norm, dropout | 16x22x22 | 32
        max pool 2 | 16x11x11 | 0
        batch norm, dropout | 16x11x11 | 32
        conv k1, bias | 8x11x11 | 136
        batch norm, dropout | 8x11x11 | 16
        conv k3, bias | 16x9x9 | 1168
        batch norm, dropout | 16x9x9 | 32
        conv k3, bias | 32x7x7 | 4640
        batch norm, dropout | 32x7x7 | 64
        average pool 7 | 32x1x1 | 0
        conv k1, bias | 10x1x1 | 330""",
    "ref-19712": """
        conv k3, no bias; ReLU | 16x26x26 | 144
        batch norm, dropout2d | 16x26x26 | 32
        conv k3, no bias; ReLU | 16x24x24 | 2304
        batch norm | 16x24x24 | 32
        conv k3, no bias; ReLU | 32x22x22 | 4608
        batch norm, dropout2d | 32x22x22 | 64
        conv k1, bias; ReLU | 16x22x22 | 528
        max pool 2 | 16x11x11 | 0
        conv k3, no bias; ReLU | 16x9x9 | 2304
        batch norm, dropout2d | 16x9x9 | 32
        conv k3 p1, no bias; ReLU | 16x9x9 | 2304
        batch norm, dropout2d | 16x9x9 | 32
        conv k3, no bias; ReLU | 16x7x7 | 2304
        batch norm, dropout2d | 16x7x7 | 32
        conv k3, no bias; ReLU | 32x5x5 | 4608
        batch norm, dropout2d | 32x5x5 | 64
        conv k1, no bias | 10x5x5 | 320
        average pool 5 | 10x1x1 | 0""",
    "ref-16626": """
        conv k3 p1, bias | 8x28x28 | 80
        batch norm | 8x28x28 | 16
        conv k3 p1, bias | 16x28x28 | 1168
        batch norm, dropout | 16x28x28 | 32
        max pool 2 | 16x14x14 | 0
        conv k3 p1, bias | 32x14x14 | 4640
        batch norm | 32x14x14 | 64
        conv k3 p1, bias | 24x14x14 | 6936
        batch norm, dropout | 24x14x14 | 48
        max pool 2 | 24x7x7 | 0
        conv k3, bias | 16x5x5 | 3472
        average pool 5 | 16x1x1 | 0
        linear, bias | 10 | 170""",
}


def trained_like(spec: NetSpec, seed: int = 0) -> DigitNet:
    """The net with random weights and batch statistics, as if it had been trained."""
    torch.manual_seed(seed)
    net = DigitNet(spec)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
    return net.eval()


@pytest.mark.parametrize("name", TABLES)
def test_reference_nets_match_their_published_tables(name: str) -> None:
    wanted = [tuple(p.strip() for p in line.split("|")) for line in TABLES[name].split("\n")[1:]]
    rows = layer_rows(zoo.get(name))
    assert [(row.layer, row.output, str(row.params)) for row in rows] == wanted
    assert zoo.get(name).params == int(name.removeprefix("ref-"))


@pytest.mark.parametrize("spec", zoo.ZOO.values(), ids=lambda spec: spec.name)
def test_parameter_count_is_that_of_the_module(spec: NetSpec) -> None:
    assert sum(p.numel() for p in DigitNet(spec).parameters()) == spec.params


@pytest.mark.parametrize(
    ("name", "params", "multiply_adds"),
    [("base", 20_000, 3_500_000), ("small", 10_000, 1_000_000), ("nano", 2_500, 500_000)],
)
def test_own_nets_keep_their_limits(name: str, params: int, multiply_adds: int) -> None:
    spec = zoo.get(name)
    assert spec.params < params
    assert spec.multiply_adds < multiply_adds


@pytest.mark.parametrize("spec", zoo.ZOO.values(), ids=lambda spec: spec.name)
def test_spec_survives_json(spec: NetSpec) -> None:
    assert NetSpec.from_dict(json.loads(spec.to_json())) == spec


@pytest.mark.parametrize("spec", zoo.ZOO.values(), ids=lambda spec: spec.name)
def test_folding_changes_nothing(spec: NetSpec) -> None:
    net = trained_like(spec)
    images = torch.randint(0, 256, (8, 1, 28, 28), dtype=torch.uint8)
    with torch.inference_mode():
        whole, folded = net(images.float() / 255), DeployNet(fold(spec, net.state_dict()))(images)
    assert (whole - folded).abs().max() < 2e-5 * max(1, float(whole.abs().max()))


def test_a_norm_after_relu_folds_forward_but_stays_before_a_padded_conv() -> None:
    ops = fold(zoo.get("ref-19712"), trained_like(zoo.get("ref-19712")).state_dict()).ops
    depthwise = [op for op in ops if isinstance(op, ConvOp) and op.groups == 16]
    assert len(depthwise) == 1  # the one norm that stands before the padded conv
    assert isinstance(ops[-1], AvgPoolOp)


def test_folding_refuses_weights_that_are_not_finite() -> None:
    state = trained_like(zoo.get("nano")).state_dict()
    state["layers.0.weight"][0, 0, 0, 0] = np.nan
    with pytest.raises(ArtifactError, match=r"layers\.0\.weight"):
        fold(zoo.get("nano"), state)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((), "no layers"),
        ((Conv(8), AvgPool()), "wanted 10x1x1"),
        ((Conv(8, kernel=29), AvgPool(), Linear(10)), "larger than 28x28"),
        ((Conv(8, groups=3), AvgPool(), Linear(10)), "3 groups"),
        ((Conv(0), AvgPool(), Linear(10)), "positive integer"),
        ((Conv(8, padding=-1), AvgPool(), Linear(10)), "padding"),
        ((Linear(10),), "pool first"),
        ((Conv(8), MaxPool(), ReLU(), AvgPool(), Linear(10)), "must follow"),
        ((Conv(8), BatchNorm(), Dropout(1.0), AvgPool(), Linear(10)), "dropout rate"),
        ((Conv(8), MaxPool(27), AvgPool(), Linear(10)), "pool 27"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers: tuple, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        NetSpec("bad", layers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "convolution"}, "unknown kind"),
        ({"kernal": 3}, "unknown key kernal"),
        ({"kind": "dropout"}, "missing rate"),
    ],
)
def test_a_misspelt_spec_is_refused(change: dict, message: str) -> None:
    data = zoo.get("nano").to_dict()
    data["layers"][0] = {"kind": "conv", "channels": 8, **change}
    if change.get("kind") == "dropout":
        data["layers"][0] = change
    with pytest.raises(SpecError, match=message):
        NetSpec.from_dict(data)


def test_an_unknown_net_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="base, small, nano"):
        zoo.get("huge")
