"""TorchScript: the deploy graph traced and frozen.

``torch.jit.optimize_for_inference`` is left to the loader: its prepacked constants do not
survive saving. TorchScript is deprecated in torch but is what libtorch loads without a compiler.
"""

from __future__ import annotations

import io
import warnings

import torch
from mnistkit.nets.deploy import DeployGraph
from mnistkit.nets.deploy_module import DeployNet

FORMAT = "torchscript"
SUFFIX = ".torchscript"
PRECISIONS = ("fp32", "fp16")
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


def render(graph: DeployGraph, precision: str) -> bytes:
    """Return the saved module: uint8 ``(N, 1, 28, 28)`` in, float32 ``(N, 10)`` out.

    The fp16 module is for CUDA; a CPU runs it too, slowly.
    """
    example = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)
        traced = torch.jit.trace(DeployNet(graph, _DTYPES[precision]), example)  # type: ignore[no-untyped-call]
        module = torch.jit.freeze(traced)
        buffer = io.BytesIO()
        torch.jit.save(module, buffer)
    return buffer.getvalue()
