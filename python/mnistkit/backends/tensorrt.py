"""TensorRT, for data-centre GPUs and Jetsons."""

from __future__ import annotations

from mnistkit.backends.trt.backend import TensorRtBackend


class FullTensorRtBackend(TensorRtBackend):
    """Runs plans that were built on the GPU that runs them."""

    name = "tensorrt"
    description = "TensorRT, a plan built on this GPU"
    format = "tensorrt"


BACKEND = FullTensorRtBackend()
