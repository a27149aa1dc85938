"""Every registered backend keeps the contract: a new one is tested by being registered."""

from __future__ import annotations

import mnistkit
import numpy as np
import pytest
from mnistkit import backends
from mnistkit.artifact.folder import Artifact
from mnistkit.backends.base import Predictor
from mnistkit.common.errors import InputError, MissingError, UsageError

CASES = [
    (backend.name, precision)
    for backend in backends.all_backends()
    for precision in backend.precisions
]


def load(artifact: Artifact, name: str, precision: str) -> Predictor:
    backend = backends.get(name)
    if reason := backend.available():
        pytest.skip(f"{name}: {reason}")
    if (backend.format, precision) not in artifact.formats():
        pytest.skip(f"{name}: the test artifact holds no {precision} {backend.format}")
    if reason := backend.refuses(precision, "cpu"):
        pytest.skip(f"{name}: {reason}")
    return backend.load(artifact, precision, "cpu", threads=1)


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_logits_match_the_reference(artifact: Artifact, name: str, precision: str) -> None:
    golden = artifact.golden()
    images = golden.images
    with load(artifact, name, precision) as predictor:
        logits = predictor.logits(images)
    assert logits.shape == (20, 10)
    assert logits.dtype == np.float32
    expected = golden.logits[precision]
    assert np.abs(logits - expected).max() <= backends.get(name).tolerance(precision).max_abs_diff


@pytest.mark.parametrize(("name", "precision"), CASES)
@pytest.mark.parametrize("count", [0, 1, 3, 4097])
def test_any_batch_size(
    artifact: Artifact, images: np.ndarray, name: str, precision: str, count: int
) -> None:
    if precision == "fp16" and count > 64:
        pytest.skip("fp16 on a CPU is a check of the file, not a use: too slow for 4,097 images")
    batch = np.resize(images, (count, 1, 28, 28))
    with load(artifact, name, precision) as predictor:
        logits = predictor.logits(batch)
        assert logits.shape == (count, 10)
        if count:
            # Row by row the same as a small batch of its own.
            alone = predictor.logits(batch[-1:])
            close = backends.get(name).tolerance(precision).max_abs_diff
            close /= 1 if precision == "fp32" else 10
            assert np.abs(logits[-1:] - alone).max() <= close


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_a_view_is_read_as_the_array_that_it_shows(
    artifact: Artifact, images: np.ndarray, name: str, precision: str
) -> None:
    view = np.repeat(images[:8], 2, axis=0)[::2, :, ::-1, :]
    assert not view.flags.c_contiguous
    with load(artifact, name, precision) as predictor:
        assert np.array_equal(predictor.logits(view), predictor.logits(view.copy()))


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_the_bound_call_computes_the_same(
    artifact: Artifact, images: np.ndarray, name: str, precision: str
) -> None:
    with load(artifact, name, precision) as predictor:
        wanted = predictor.logits(images[:4])
        assert np.ptp(wanted, axis=0).max() > 1  # four pictures, four answers
        run = predictor.bind(images[:4].copy())
        for _ in range(2):  # it can be called again and again
            got = predictor.bound_logits(run())
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)
            predictor.logits(images[4:8])  # what runs in between changes nothing


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_an_answer_is_the_callers_own(
    artifact: Artifact, images: np.ndarray, name: str, precision: str
) -> None:
    with load(artifact, name, precision) as predictor:
        first = predictor.logits(images[:4])
        kept = first.copy()
        predictor.logits(images[4:8])
        assert np.array_equal(first, kept)


@pytest.mark.parametrize("name", backends.NAMES)
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((2, 1, 28, 28), np.float32), "got dtype float32, wanted uint8"),
        (np.zeros((2, 28, 28), np.uint8), r"got shape \(2, 28, 28\), wanted \(N, 1, 28, 28\)"),
        (np.zeros((2, 3, 28, 28), np.uint8), "got shape"),
        (np.zeros((2, 1, 27, 28), np.uint8), "got shape"),
        ([[0] * 28] * 28, "got list, wanted a numpy array"),
    ],
)
def test_other_input_is_refused(artifact: Artifact, name: str, bad: object, message: str) -> None:
    precision = backends.get(name).precisions[0]
    with load(artifact, name, precision) as predictor, pytest.raises(InputError, match=message):
        predictor.logits(bad)


@pytest.mark.parametrize("name", backends.NAMES)
def test_a_device_that_is_not_there_is_an_error(artifact: Artifact, name: str) -> None:
    backend = backends.get(name)
    if backend.available() or backend.refuses(backend.precisions[0], "cuda"):
        pytest.skip(f"{name}: not available, or does not run on CUDA")
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(MissingError, match=r"nvidia-smi|--device cpu"):
        backend.load(artifact, backend.precisions[0], "cuda")
    with pytest.raises(UsageError, match="wanted cpu, cuda or cuda:N"):
        backend.load(artifact, backend.precisions[0], "gpu0")


def test_unknown_backends_list_the_known_ones() -> None:
    with pytest.raises(UsageError, match="known: eager, torchscript"):
        backends.get("tflite")


def test_the_front_door(artifact: Artifact) -> None:
    golden = artifact.golden()
    images = golden.images
    with mnistkit.load(artifact.path, backend="onnxruntime", threads=1) as predictor:
        assert np.allclose(predictor.logits(images), golden.logits["fp32"], atol=1e-3)
