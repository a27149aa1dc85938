"""The integer reference in numpy: slow, and the specification of the int8 net."""

from __future__ import annotations

from mnistkit.artifact.folder import Artifact
from mnistkit.backends.base import Backend, Predictor
from mnistkit.backends.tolerances import EXACT
from mnistkit.common.images import Images, Logits
from mnistkit.quantization import reference, store
from mnistkit.quantization.graph import Int8Graph


class _ReferencePredictor(Predictor):
    def __init__(self, graph: Int8Graph) -> None:
        self._graph = graph

    def _run(self, images: Images) -> Logits:
        return reference.logits(self._graph, images)  # numpy alone: it changes nothing


class ReferenceBackend(Backend):
    """Runs the artifact's int8 net as ``docs/explanations/int8.md`` defines it."""

    name = "reference"
    description = "integer arithmetic in numpy: the int8 reference"
    format = "int8"
    precisions = ("int8",)
    tolerances = {"int8": EXACT}  # noqa: RUF012
    is_timed = False
    int8_is_exact = True

    def available(self) -> str | None:
        """Always: it needs numpy alone."""
        return None

    def _open(self, artifact: Artifact, precision: str, device: str, threads: int) -> Predictor:
        """Read the integers."""
        return _ReferencePredictor(store.read(artifact.file(self.format, precision))[0])


BACKEND = ReferenceBackend()
