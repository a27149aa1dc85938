"""OpenVINO on the CPU, reading the same ONNX files as ONNX Runtime: a peer to measure against."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from mnistkit.artifact.folder import Artifact
from mnistkit.backends import process
from mnistkit.backends.base import Backend, Predictor
from mnistkit.backends.tolerances import SUMS, ties
from mnistkit.common.errors import ArtifactError, UsageError
from mnistkit.common.images import Images, Logits


class _OpenVinoPredictor(Predictor):
    def __init__(self, model: Any) -> None:
        self._model = model
        self._idle: list[Any] = []  # requests; append and pop are each one step

    def _run(self, images: Images) -> Logits:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._request()
        logits = self.bound_logits(_call(request, images)())
        self._idle.append(request)
        return logits

    def _request(self) -> Any:
        """A request: buffers for one call at a time."""
        if (model := self._model) is None:
            self._refuse()
        return model.create_infer_request()

    def _bind(self, images: Images) -> Callable[[], Any]:
        """Run a request of its own on the batch's memory; the result stays in OpenVINO's."""
        call = _call(self._request(), images)

        def run(_alive: Images = images) -> Any:  # a tensor on shared memory owns nothing
            return call()

        return run

    def bound_logits(self, result: Any) -> Logits:
        """Copy the result out of OpenVINO's memory."""
        return np.array(result.to_tuple()[0], np.float32)

    def _release(self) -> None:
        self._model, self._idle = None, []


def _call(request: Any, images: Images) -> Callable[[], Any]:
    """The request on the batch's own memory: its quickest form, found by measuring."""
    from openvino import Tensor

    request.set_input_tensor(0, Tensor(images, shared_memory=True))
    return functools.partial(request.infer, share_outputs=True)


class OpenVinoBackend(Backend):
    """Runs the artifact's ONNX file of each precision on OpenVINO's CPU plugin."""

    name = "openvino"
    description = "OpenVINO"
    format = "onnx"
    precisions = ("fp32", "int8")
    tolerances = {  # noqa: RUF012
        "fp32": SUMS,
        "int8": ties(0.15, "0.52 at most, and on 6 % of the images"),
    }
    is_peer = True

    def available(self) -> str | None:
        """None where OpenVINO is installed."""
        if find_spec("openvino"):
            return None
        return "OpenVINO is not installed; install it with: pip install openvino"

    def _open(self, artifact: Artifact, precision: str, device: str, threads: int) -> Predictor:
        """Compile the file of that precision for the CPU: one stream, tuned for latency."""
        import openvino

        if "openvino" in process.here.inherited:
            raise UsageError(
                f"this process {process.here.pid} was forked after OpenVINO had run, and its "
                f"threads did not come along: start processes by 'spawn' or 'forkserver', or fork "
                f"before the first OpenVINO model is loaded"
            )
        process.here.runtimes.add("openvino")
        path = artifact.file(self.format, precision)
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_PRECISION_HINT": "f32",  # else it takes bfloat16 where the CPU has it
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = str(threads)
        try:
            model = openvino.Core().compile_model(str(path), "CPU", settings)
        except RuntimeError as error:
            raise ArtifactError(f"{path}: OpenVINO cannot load it: {error}") from error
        return _OpenVinoPredictor(model)


BACKEND = OpenVinoBackend()
