"""TensorRT for RTX, for GeForce and RTX cards; its plans are built without a GPU too."""

from __future__ import annotations

from mnistkit.backends.trt.backend import TensorRtBackend


class RtxTensorRtBackend(TensorRtBackend):
    """Runs plans that were built ahead of time and are finished on the GPU."""

    name = "tensorrt_rtx"
    description = "TensorRT for RTX, a plan for this GPU architecture"
    format = "tensorrt_rtx"


BACKEND = RtxTensorRtBackend()
