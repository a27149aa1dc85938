"""What both TensorRT backends share: whether they can be used, and which plan fits."""

from __future__ import annotations

from pathlib import Path

from mnistkit.artifact.folder import Artifact
from mnistkit.backends.base import Backend, Predictor
from mnistkit.backends.tolerances import CUDA
from mnistkit.backends.trt import memory
from mnistkit.common.devices import check_device
from mnistkit.common.errors import ArtifactError, MissingError, UsageError
from mnistkit.tensorrt import flavor as flavors
from mnistkit.tensorrt import probe
from mnistkit.tensorrt.plan import PlanInfo, info_path, rebuild_command


class TensorRtBackend(Backend):
    """Runs the plans of one TensorRT flavour; ``name`` is the flavour's."""

    precisions = ("fp32", "fp16", "int8")
    tolerances = CUDA
    devices = ("cuda",)

    def available(self) -> str | None:
        """None where driver, library and device memory are there. Imports none of them."""
        reasons = (flavors.get(self.name).missing(), probe.missing(), memory.missing())
        return "; ".join(reason for reason in reasons if reason) or None

    def _open(self, artifact: Artifact, precision: str, device: str, threads: int) -> Predictor:
        """Load the plan that was built for this GPU and this version.

        Raises :class:`MissingError` where the folder holds no plan of that precision,
        :class:`ArtifactError` naming found and expected where none of them fits.
        """
        if not check_device(device).startswith("cuda"):
            raise UsageError(f"{self.name} runs on CUDA alone: use --device cuda")
        # In this order: without a driver TensorRT takes the interpreter down.
        index = int(device.partition(":")[2] or 0)
        gpu = probe.gpu(index)
        if reason := self.available():
            raise MissingError(f"backend {self.name!r} is not available: {reason}")
        from mnistkit.backends.trt.predictor import TensorRtPredictor

        flavor = flavors.get(self.name)
        version = str(flavor.load().__version__)
        plan, info = self.find(artifact, precision, version, gpu.arch)
        return TensorRtPredictor(plan, info, flavor, index)

    def find(
        self, artifact: Artifact, precision: str, version: str, arch: str
    ) -> tuple[Path, PlanInfo]:
        """The plan that fits, its file and its description compared with the manifest."""
        entries = {entry.name: entry for entry in artifact.files}
        plans = [e for e in artifact.files if (e.format, e.precision) == (self.format, precision)]
        rebuild = rebuild_command(artifact.path, precision, self.name)
        if not plans:
            raise MissingError(
                f"{artifact.path} holds no {precision} plan for {self.name}; build it with: "
                f"{rebuild}"
            )
        refusals = []
        for entry in plans:
            path = artifact.path / entry.name
            description = entries.get(info_path(path).name)
            if description is not None:
                artifact.check(description)
            info = PlanInfo.read(path)
            if reason := info.refusal(self.name, version, arch):
                refusals.append(f"{entry.name}: {reason}")
                continue
            return artifact.check(entry), info
        raise ArtifactError(
            f"no {precision} plan in {artifact.path} is for this machine. "
            f"{'. '.join(refusals)}. Build one here with: {rebuild}"
        )
