"""TorchScript inside Python."""

from __future__ import annotations

import warnings

import torch

from mnistkit.artifact.folder import Artifact
from mnistkit.backends.base import Backend, Predictor
from mnistkit.backends.tolerances import TORCH
from mnistkit.backends.torch_common import TorchPredictor, set_threads
from mnistkit.common.devices import torch_device, torch_missing
from mnistkit.common.errors import ArtifactError


class TorchScriptBackend(Backend):
    """Loads a frozen module and, on a CPU, optimizes it for this machine."""

    name = "torchscript"
    description = "frozen TorchScript in Python"
    format = "torchscript"
    precisions = ("fp32", "fp16", "int8")
    tolerances = TORCH
    devices = ("cpu", "cuda")
    cuda_only = ("fp16",)  # a CPU has no kernels for it worth the name

    def available(self) -> str | None:
        """None where PyTorch is installed."""
        return torch_missing()

    def _open(self, artifact: Artifact, precision: str, device: str, threads: int) -> Predictor:
        """Load the module of that precision onto the device."""
        path = artifact.file(self.format, precision)
        target = torch_device(device)
        set_threads(threads)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            try:
                module = torch.jit.load(str(path), target)  # type: ignore[no-untyped-call]
                if target.type == "cpu" and precision == "fp32":
                    module = torch.jit.optimize_for_inference(module)
            except RuntimeError as error:
                raise ArtifactError(
                    f"{path}: PyTorch {torch.__version__} cannot load it: {error}"
                ) from error
        return TorchPredictor(module, device, threads)


BACKEND = TorchScriptBackend()
