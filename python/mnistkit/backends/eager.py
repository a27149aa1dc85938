"""Eager PyTorch on the deploy graph: the reference, rebuilt from the artifact's own weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnistkit.artifact.folder import Artifact
from mnistkit.backends.base import Backend, Predictor
from mnistkit.backends.tolerances import TORCH
from mnistkit.backends.torch_common import TorchPredictor, set_threads
from mnistkit.common.devices import torch_device, torch_missing

if TYPE_CHECKING:
    from mnistkit.nets.deploy import DeployGraph


class EagerBackend(Backend):
    """Runs the artifact's ``weights.safetensors`` without any exported graph."""

    name = "eager"
    description = "PyTorch, module by module: the fp32 reference"
    format = "weights"
    precisions = ("fp32",)
    tolerances = TORCH
    devices = ("cpu", "cuda")

    def available(self) -> str | None:
        """None where PyTorch is installed."""
        return torch_missing()

    def _open(self, artifact: Artifact, precision: str, device: str, threads: int) -> Predictor:
        """Fold the artifact's weights again and run them."""
        from mnistkit.nets.deploy_module import DeployNet

        set_threads(threads)
        module = DeployNet(deploy_graph(artifact)).to(torch_device(device))
        return TorchPredictor(module, device, threads)


def deploy_graph(artifact: Artifact) -> DeployGraph:
    """The fp32 net of the artifact's weights, folded again."""
    from mnistkit.nets.deploy import fold
    from mnistkit.nets.spec import NetSpec
    from mnistkit.runs.checkpoint import load_weights

    spec = NetSpec.from_dict(artifact.manifest["net"])
    return fold(spec, load_weights(artifact.file(EagerBackend.format, "fp32"), spec))


BACKEND = EagerBackend()
