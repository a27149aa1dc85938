"""Eager PyTorch on the deploy graph: the reference, rebuilt from the artifact's own weights."""

from __future__ import annotations

from mnistkit.artifact import Artifact
from mnistkit.backends.base import Backend, Predictor
from mnistkit.backends.torch_common import (
    TorchPredictor,
    set_threads,
    torch_device,
    torch_missing,
)


class EagerBackend(Backend):
    """Runs the artifact's ``weights.safetensors`` without any exported graph."""

    name = "eager"
    description = "PyTorch, module by module: the fp32 reference"
    format = "weights"
    precisions = ("fp32",)
    devices = ("cpu", "cuda")

    def available(self) -> str | None:
        """None where PyTorch is installed."""
        return torch_missing()

    def _open(self, artifact: Artifact, precision: str, device: str, threads: int) -> Predictor:
        """Fold the artifact's weights again and run them."""
        from mnistkit.nets.deploy import fold
        from mnistkit.nets.deploy_module import DeployNet
        from mnistkit.nets.spec import NetSpec
        from mnistkit.training.checkpoint import load_weights

        set_threads(threads)
        spec = NetSpec.from_dict(artifact.manifest["net"])
        state = load_weights(artifact.file(self.format, precision), spec)
        module = DeployNet(fold(spec, state)).to(torch_device(device))
        return TorchPredictor(module, device, threads)


BACKEND = EagerBackend()
