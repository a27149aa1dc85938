"""ONNX Runtime, on its CPU or CUDA execution provider."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mnistkit.artifact.folder import Artifact
from mnistkit.backends.base import Backend, Predictor
from mnistkit.backends.tolerances import HALF, SUMS, ties
from mnistkit.common.devices import check_device
from mnistkit.common.errors import ArtifactError, MissingError
from mnistkit.common.images import Images, Logits


class _OrtPredictor(Predictor):
    def __init__(self, session: Any) -> None:
        self._session = session

    def _run(self, images: Images) -> Logits:
        if (session := self._session) is None:
            self._refuse()
        logits: Logits = session.run(["logits"], {"input": images})[0]
        return logits

    def _bind(self, images: Images) -> Callable[[], Any]:
        """Run with input and output bound to buffers that are there already."""
        if (session := self._session) is None:
            self._refuse()
        binding = session.io_binding()
        binding.bind_cpu_input("input", images)
        binding.bind_output("logits")

        def run() -> Any:
            session.run_with_iobinding(binding)
            return binding

        return run

    def bound_logits(self, result: Any) -> Logits:
        """Copy the output that is bound."""
        logits: Logits = result.copy_outputs_to_cpu()[0]
        return logits

    def _release(self) -> None:
        self._session = None


class OnnxRuntimeBackend(Backend):
    """Runs the artifact's ONNX file of each precision."""

    name = "onnxruntime"
    description = "ONNX Runtime"
    format = "onnx"
    precisions = ("fp32", "fp16", "int8")
    tolerances = {  # noqa: RUF012
        "fp32": SUMS,
        "fp16": HALF,
        "int8": ties(0.05, "0.44 at most, and on 1.4 % of the images"),
    }
    devices = ("cpu", "cuda")

    def available(self) -> str | None:
        """None where ONNX Runtime is installed."""
        if find_spec("onnxruntime"):
            return None
        return "ONNX Runtime is not installed; install it with: pip install onnxruntime"

    def _open(self, artifact: Artifact, precision: str, device: str, threads: int) -> Predictor:
        """Open a session on the file of that precision."""
        return _OrtPredictor(open_session(artifact.file(self.format, precision), device, threads))


def open_session(path: Path, device: str = "cpu", threads: int = 0) -> Any:
    """Open an inference session on an ONNX file."""
    import onnxruntime

    provider = "CPUExecutionProvider"
    provider_options: dict[str, str] = {}
    if check_device(device).startswith("cuda"):
        provider = "CUDAExecutionProvider"
        provider_options = {"device_id": device.partition(":")[2] or "0"}
        if provider not in onnxruntime.get_available_providers():
            raise MissingError(
                "this ONNX Runtime has no CUDA provider; install it with: "
                "pip install onnxruntime-gpu, or use --device cpu"
            )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=[(provider, provider_options)]
        )
    except Exception as error:  # its exceptions share no base class of their own
        raise ArtifactError(f"{path}: ONNX Runtime cannot load it: {error}") from error


BACKEND = OnnxRuntimeBackend()
