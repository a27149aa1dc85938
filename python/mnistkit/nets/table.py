"""The layer table of a net, in the rows that published tables use."""

from __future__ import annotations

from dataclasses import dataclass

from mnistkit.nets.spec import (
    AvgPool,
    BatchNorm,
    Conv,
    Dropout,
    LayerInfo,
    Linear,
    MaxPool,
    NetSpec,
    ReLU,
)


@dataclass(frozen=True)
class LayerRow:
    """One row: what it is, its output as ``CxHxW``, its parameters and multiply-adds."""

    layer: str
    output: str
    params: int
    multiply_adds: int


def layer_rows(spec: NetSpec) -> list[LayerRow]:
    """Return the table: a norm and its dropout share a row, and so do a conv and its ReLU.

    A ReLU that follows a batch norm is not listed, as in the published tables.
    """
    rows: list[LayerRow] = []
    before: LayerInfo | None = None
    for info in spec.trace():
        layer = info.layer
        if isinstance(layer, ReLU):
            if before is not None and isinstance(before.layer, Conv):
                rows[-1] = _joined(rows[-1], "; ReLU")
        elif isinstance(layer, Dropout) and rows:
            rows[-1] = _joined(rows[-1], ", dropout2d" if layer.channelwise else ", dropout")
        else:
            rows.append(_row(info))
        before = info
    return rows


def _joined(row: LayerRow, text: str) -> LayerRow:
    return LayerRow(row.layer + text, row.output, row.params, row.multiply_adds)


def _row(info: LayerInfo) -> LayerRow:
    channels, height, width = info.out_shape
    output = str(channels) if isinstance(info.layer, Linear) else f"{channels}x{height}x{width}"
    return LayerRow(_text(info), output, info.params, info.multiply_adds)


def _text(info: LayerInfo) -> str:
    match info.layer:
        case Conv() as conv:
            parts = [f"conv k{conv.kernel}"]
            parts += [f"p{conv.padding}"] if conv.padding else []
            parts += [f"s{conv.stride}"] if conv.stride > 1 else []
            parts += [f"groups {conv.groups}"] if conv.groups > 1 else []
            return " ".join(parts) + (", bias" if conv.bias else ", no bias")
        case BatchNorm():
            return "batch norm"
        case MaxPool(size=size):
            return f"max pool {size}"
        case AvgPool():
            return f"average pool {info.in_shape[1]}"
        case Linear(bias=bias):
            return "linear, bias" if bias else "linear, no bias"
        case _:  # pragma: no cover - the caller handles the rest
            return info.layer.kind
