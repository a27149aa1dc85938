"""From a spec to the ``torch.nn.Module`` that training runs."""

from __future__ import annotations

from torch import Tensor, nn

from mnistkit.nets.spec import AvgPool, BatchNorm, Conv, Dropout, Linear, MaxPool, NetSpec, ReLU


class DigitNet(nn.Module):
    """The trainable net of a spec.

    Input: float ``(N, 1, 28, 28)`` in 0..1 (0 = background). Output: logits ``(N, 10)``.
    There is no mean subtraction, so zero padding is exactly background in every runtime.
    """

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.layers = nn.Sequential(*(_module(info.layer, info.in_shape) for info in spec.trace()))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, 10)`` for float images ``(N, 1, 28, 28)`` in 0..1."""
        logits: Tensor = self.layers(images)
        return logits.flatten(1)


def _module(layer: object, in_shape: tuple[int, int, int]) -> nn.Module:
    channels = in_shape[0]
    match layer:
        case Conv():
            return nn.Conv2d(
                channels,
                layer.channels,
                layer.kernel,
                layer.stride,
                layer.padding,
                groups=layer.groups,
                bias=layer.bias,
            )
        case BatchNorm():
            return nn.BatchNorm2d(channels)
        case ReLU():
            return nn.ReLU(inplace=True)
        case Dropout(channelwise=True):
            return nn.Dropout2d(layer.rate)
        case Dropout():
            return nn.Dropout(layer.rate)
        case MaxPool():
            return nn.MaxPool2d(layer.size)
        case AvgPool():
            return nn.AdaptiveAvgPool2d(1)
        case Linear():
            return nn.Sequential(nn.Flatten(1), nn.Linear(channels, layer.features, layer.bias))
        case _:  # pragma: no cover - the spec admits no other layer
            raise TypeError(f"no module for {layer!r}")
