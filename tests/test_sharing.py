"""One predictor in many threads: right answers from every backend, and closing harms no call."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest
from mnistkit import backends
from mnistkit.artifact.folder import Artifact
from mnistkit.backends.base import Predictor
from mnistkit.common.errors import UsageError

CASES = [
    (b.name, precision, threads)
    for b in backends.all_backends()
    for precision in b.precisions
    for threads in (1, 2)
    if not b.refuses(precision, "cpu") and (precision != "fp16")
]
THREADS = 16
# A heavy run: MNISTKIT_SHARING_CALLS=100000 pytest tests/test_sharing.py -k right_answers
CALLS = int(os.environ.get("MNISTKIT_SHARING_CALLS", "0")) or THREADS * 100


def load(artifact: Artifact, name: str, precision: str, threads: int) -> Predictor:
    backend = backends.get(name)
    if reason := backend.available():
        pytest.skip(f"{name}: {reason}")
    if (backend.format, precision) not in artifact.formats():
        pytest.skip(f"{name}: the test artifact holds no {precision} {backend.format}")
    return backend.load(artifact, precision, "cpu", threads)


def in_threads(body: object, count: int = THREADS) -> None:
    workers = [threading.Thread(target=body, args=(i,), daemon=True) for i in range(count)]  # type: ignore[arg-type]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(600 if CALLS > 10_000 else 120)
        assert not worker.is_alive(), "a thread hangs"


@pytest.mark.parametrize(("name", "precision", "threads"), CASES)
def test_right_answers(
    artifact: Artifact, images: np.ndarray, name: str, precision: str, threads: int
) -> None:
    """Batches of 1 to 8, now and then one of 40, each with an answer that is its own alone."""
    calls = CALLS // (20 if name == "reference" else 1)  # it is the specification, and slow
    wrong, failures = [0] * THREADS, []
    with load(artifact, name, precision, threads) as predictor:
        wanted = predictor.logits(images)
        # Those of a number of images may differ in the last bits, and in int8 by a step.
        apart = np.abs(wanted[:, None] - wanted[None]).max(2) + np.eye(len(wanted)) * 1e9
        close = min(float(apart.min()) / 3, 0.05)
        assert close > 1e-3

        def work(index: int) -> None:
            dice = np.random.default_rng(index)
            try:
                for i in range(index, calls, THREADS):
                    count = 40 if i % 97 == 0 and name != "reference" else 1 + i % 8
                    at = int(dice.integers(0, len(images) - count + 1))
                    got = predictor.logits(images[at : at + count])
                    same = got.shape == (count, 10) and (
                        np.abs(got - wanted[at : at + count]).max() < close
                    )
                    wrong[index] += not same
            except Exception as error:
                failures.append(repr(error))

        in_threads(work)
    assert not failures, failures[0]
    assert sum(wrong) == 0


@pytest.mark.parametrize(("name", "precision", "threads"), CASES)
def test_closing_while_threads_run(
    artifact: Artifact, images: np.ndarray, name: str, precision: str, threads: int
) -> None:
    """A running call ends with its answer, a later one is refused, and nothing crashes."""
    rounds = 3
    for _ in range(rounds):
        predictor = load(artifact, name, precision, threads)
        wanted = predictor.logits(images[:3])
        bound = predictor.bind(images[:3])
        answers, refusals, others = [0] * 4, [0] * 4, []
        started = threading.Barrier(5)

        def work(
            index: int,
            predictor: Predictor = predictor,
            wanted: np.ndarray = wanted,
            started: threading.Barrier = started,
            answers: list[int] = answers,
            refusals: list[int] = refusals,
            others: list[str] = others,
        ) -> None:
            started.wait()
            try:
                while True:
                    assert np.abs(predictor.logits(images[:3]) - wanted).max() < 0.05
                    answers[index] += 1
            except UsageError as error:
                refusals[index] += "this predictor is closed; load it again" in str(error)
            except Exception as error:
                others.append(repr(error))

        workers = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(4)]
        for worker in workers:
            worker.start()
        started.wait()
        time.sleep(0.02)
        predictor.close()
        predictor.close()
        for worker in workers:
            worker.join(60)
            assert not worker.is_alive()
        assert others == []
        assert refusals == [1] * 4
        for call in (
            bound,
            lambda p=predictor: p.bind(images[:3]),
            lambda p=predictor: p.logits(images[:0]),
        ):
            with pytest.raises(UsageError, match="closed; load it again"):
                call()


def test_work_spaces_are_used_again(artifact: Artifact, images: np.ndarray) -> None:
    """The engine's and OpenVINO's: as many as there were calls at once, however many threads."""
    for name in ("engine", "openvino"):
        with load(artifact, name, "fp32", 1) as predictor:
            for _ in range(30):
                in_threads(lambda _, p=predictor: p.logits(images[:2]), 1)
            assert len(predictor._idle) == 1  # type: ignore[attr-defined]
