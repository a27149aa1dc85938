"""The nets that mnistkit knows by name: five published reference nets and three of its own."""

from __future__ import annotations

from mnistkit.common.errors import UsageError
from mnistkit.nets.spec import (
    AvgPool,
    BatchNorm,
    Conv,
    Dropout,
    Layer,
    Linear,
    MaxPool,
    NetSpec,
    ReLU,
)

_DROP = 0.02  # the reference tables leave the rates free; small nets underfit with more


def _conv(channels: int) -> tuple[Layer, ...]:
    """Conv, batch norm, ReLU: the block of this project's own nets."""
    return Conv(channels), BatchNorm(), ReLU()


def _separable(width: int, channels: int, padding: int = 0) -> tuple[Layer, ...]:
    """Depthwise 3x3 and pointwise 1x1 (Sifre 2014), with nothing between the two."""
    return Conv(width, 3, padding, groups=width), Conv(channels, 1), BatchNorm(), ReLU()


def _head() -> tuple[Layer, ...]:
    return AvgPool(), Linear(10)


def _biased(channels: int, kernel: int = 3, padding: int = 0) -> Conv:
    return Conv(channels, kernel, padding, bias=True)


def _norm(rate: float | None = None, *, channelwise: bool = False) -> tuple[Layer, ...]:
    """Batch norm, ReLU and, with a rate, dropout."""
    if rate is None:
        return BatchNorm(), ReLU()
    return BatchNorm(), ReLU(), Dropout(rate, channelwise)


def _ref_18738() -> NetSpec:
    norm = _norm(_DROP, channelwise=True)
    layers: tuple[Layer, ...] = (
        *(_biased(128, 3, 1), *norm),
        *(_biased(8, 1, 1), _biased(16, 3, 1), *norm, MaxPool()),
        *(_biased(16, 3, 1), *norm, _biased(32, 3, 1), *norm, MaxPool()),
        *(_biased(16, 1, 1), _biased(16, 3, 1), *norm, _biased(32, 3, 1), *norm),
        *(_biased(10, 1, 1), AvgPool()),
    )
    return NetSpec("ref-18738", layers, "published net with no fully connected layer, 99.46 %")


def _ref_10066() -> NetSpec:
    norm = _norm(_DROP)
    layers: tuple[Layer, ...] = (
        *(_biased(8), *norm, _biased(16), *norm, _biased(16), *norm),
        *(MaxPool(), *norm),
        *(_biased(8, 1), *norm, _biased(16), *norm, _biased(32), *norm),
        *(AvgPool(), _biased(10, 1)),
    )
    return NetSpec("ref-10066", layers, "published net with no fully connected layer, 99.41 %")


def _ref_19712() -> NetSpec:
    def block(channels: int, padding: int = 0, *, drop: bool = True) -> tuple[Layer, ...]:
        norm: tuple[Layer, ...] = (BatchNorm(), Dropout(_DROP, True)) if drop else (BatchNorm(),)
        return Conv(channels, 3, padding), ReLU(), *norm

    layers: tuple[Layer, ...] = (
        *(*block(16), *block(16, drop=False), *block(32)),
        *(_biased(16, 1), ReLU(), MaxPool()),
        *(*block(16), *block(16, 1), *block(16), *block(32)),
        *(Conv(10, 1), AvgPool()),
    )
    return NetSpec("ref-19712", layers, "published net with ReLU before each batch norm, 99.4 %")


def _ref_16626() -> NetSpec:
    layers: tuple[Layer, ...] = (
        *(_biased(8, 3, 1), *_norm(), _biased(16, 3, 1), *_norm(_DROP), MaxPool()),
        *(_biased(32, 3, 1), *_norm(), _biased(24, 3, 1), *_norm(_DROP), MaxPool()),
        *(_biased(16), AvgPool(), Linear(10)),
    )
    return NetSpec("ref-16626", layers, "published net with a linear layer last, 99.4 %")


def _base() -> NetSpec:
    layers = (
        *(*_conv(16), *_conv(16), MaxPool()),
        *(*_conv(24), *_conv(24), MaxPool(), *_conv(32)),
        *_head(),
    )
    return NetSpec("base", layers, "the flagship: under 20,000 parameters")


def _small() -> NetSpec:
    layers = (
        *(*_conv(8), *_conv(12), MaxPool()),
        *(*_conv(16), *_conv(16), MaxPool(), *_conv(24)),
        *_head(),
    )
    return NetSpec("small", layers, "under 10,000 parameters and 1 M multiply-adds")


def _nano() -> NetSpec:
    # The first two blocks behind the pool are padded: nothing helps so small a net more than maps
    # that stay large, and they cost it no parameter.
    layers = (
        *(*_conv(8), *_separable(8, 12), MaxPool()),
        *(*_separable(12, 16, 1), *_separable(16, 16, 1)),
        *(*_separable(16, 16), *_separable(16, 16), *_separable(16, 14)),
        *_head(),
    )
    return NetSpec("nano", layers, "under 2,500 parameters, for microcontrollers")


_MAKERS = (_base, _small, _nano, _ref_18738, _ref_10066, _ref_19712, _ref_16626)
ZOO: dict[str, NetSpec] = {spec.name: spec for spec in (make() for make in _MAKERS)}


def names() -> tuple[str, ...]:
    """The nets that are known by name."""
    return tuple(ZOO)


def get(name: str) -> NetSpec:
    """Return the net of that name, or raise :class:`UsageError` listing the known ones."""
    if name not in ZOO:
        raise UsageError(f"unknown net {name!r}; known nets: {', '.join(ZOO)}")
    return ZOO[name]
