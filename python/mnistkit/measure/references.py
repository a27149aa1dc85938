"""What each precision is compared with, and whether that can be trusted itself."""

from __future__ import annotations

import numpy as np

from mnistkit import backends
from mnistkit.artifact.folder import Artifact
from mnistkit.backends.base import Backend, Predictor
from mnistkit.backends.difference import whole_images
from mnistkit.backends.self_check import golden_fault
from mnistkit.backends.tolerances import EXACT, HALF, SUMS
from mnistkit.common.images import Logits
from mnistkit.data.sets import ImageSet
from mnistkit.measure.compare import accuracy_fault
from mnistkit.measure.rows import ReferenceRow

# fp32 is the net that was trained; fp16 is that net with its weights rounded to fp16, computed in
# fp32; and the integer reference is the definition of the int8 net.
REFERENCES = {
    "fp32": ("eager", "fp32"),
    "fp16": ("eager", "fp16"),
    "int8": ("reference", "int8"),
}
_MANIFEST_DRIFT = 0.0005  # of the images: another machine's sums, where two logits all but tie


def is_reference(backend: Backend, precision: str, device: str) -> bool:
    """Whether this is what others are compared with, and so proves nothing."""
    return device == "cpu" and REFERENCES[precision] == (backend.name, precision)


def open_reference(
    artifact: Artifact, precision: str, threads: int = 0, *, check: bool = True
) -> Predictor:
    """Load what that precision is compared with, on the CPU.

    ``check`` compares its golden digits with the export's, and raises :class:`CheckError`.
    """
    name, kept = REFERENCES[precision]
    backend = backends.require(name)
    if precision != "fp16":
        return backend.load(artifact, kept, "cpu", threads, check=check)
    from mnistkit.backends.eager import deploy_graph
    from mnistkit.backends.torch_common import TorchPredictor, set_threads
    from mnistkit.nets.deploy_module import DeployNet

    set_threads(threads)
    return TorchPredictor(DeployNet(deploy_graph(artifact).rounded_to_fp16()), "cpu", threads)


def reference_fault(predictor: Predictor, artifact: Artifact, precision: str) -> str | None:
    """What is wrong with a reference's logits of the golden digits, or None."""
    tolerance = EXACT if precision == "int8" else SUMS
    fault = golden_fault(predictor, artifact, precision, tolerance.of_few())
    if fault is None:
        return None
    file = (
        artifact.find("int8", "int8") if precision == "int8" else artifact.find("weights", "fp32")
    )
    return f"{file.name if file else precision}: on the golden digits {fault}"


def reference_row(
    artifact: Artifact,
    precision: str,
    logits: Logits,
    fp32_correct: int,
    digits: ImageSet,
    fault: str | None = None,
) -> ReferenceRow:
    """The accuracy of a reference's logits, compared with what is known of the net.

    fp32 is compared with the manifest's accuracy where that is of these very images, by the
    dataset's name and size. int8 and fp16 may not fall further under fp32 than a row of theirs.
    ``fault`` is what :func:`reference_fault` says.
    """
    name, kept = REFERENCES[precision]
    labels = digits.labels.numpy()
    correct, total = int((logits.argmax(1) == labels).sum()), len(labels)
    reason: str | None
    if fault is not None:
        reason = fault
    elif not np.isfinite(logits).all():
        reason = "some of its logits are not finite"
    elif precision == "fp32":
        reason = _manifest_fault(artifact, correct, digits)
    else:
        drop = (HALF if precision == "fp16" else EXACT).accuracy_drop
        reason = accuracy_fault(correct, fp32_correct, total, drop)
    return ReferenceRow(name, kept, correct / total, correct, total, reason)


def _manifest_fault(artifact: Artifact, correct: int, digits: ImageSet) -> str | None:
    known = artifact.manifest.get("accuracy") or {}
    total = len(digits)
    if known.get("dataset") != digits.name or known.get("test_total") != total:
        return None
    off = abs(correct - known["test_correct"])
    if off <= whole_images(_MANIFEST_DRIFT, total):
        return None
    return (
        f"it reads {correct} of {digits.name}'s {total} test images rightly, manifest.json says "
        f"{known['test_correct']}: the weights, the manifest or the data are not those of the "
        f"export; export again"
    )
