"""TorchScript: the deploy graph, or the int8 net, traced and frozen.

``torch.jit.optimize_for_inference`` is left to the loader: its prepacked constants do not
survive saving. TorchScript is deprecated in torch but is what libtorch loads without a compiler.
"""

from __future__ import annotations

import io
import warnings

import torch
from mnistkit.export.torchscript_int8 import Int8Net
from mnistkit.nets.deploy import DeployGraph
from mnistkit.nets.deploy_module import DeployNet
from mnistkit.quantization.graph import Int8Graph
from torch import nn

FORMAT = "torchscript"
SUFFIX = ".torchscript"
PRECISIONS = ("fp32", "fp16", "int8")
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


def render(graph: DeployGraph | Int8Graph, precision: str) -> bytes:
    """Return the saved module: uint8 ``(N, 1, 28, 28)`` in, float32 ``(N, 10)`` out.

    The fp16 module is for CUDA; a CPU runs it too, slowly. The convolutions of the int8 module are
    ``quantized::conv2d_relu``.
    """
    if isinstance(graph, Int8Graph):
        return _save(Int8Net(graph))
    return _save(DeployNet(graph, _DTYPES[precision]))


def _save(module: nn.Module) -> bytes:
    example = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)
        traced = torch.jit.trace(module, example)  # type: ignore[no-untyped-call]
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.freeze(traced), buffer)
    return buffer.getvalue()
