"""The C export as a backend: compiled here, shared by threads, and nothing is left behind."""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from mnistkit import backends
from mnistkit.artifact.folder import Artifact
from mnistkit.backends import c
from mnistkit.common.errors import ArtifactError, MissingError


@pytest.fixture(autouse=True)
def _compiler() -> None:
    if reason := backends.get("c").available():
        pytest.skip(reason)


def test_its_int8_is_the_reference_to_the_bit(artifact: Artifact, images: np.ndarray) -> None:
    with backends.get("reference").load(artifact, "int8") as reference:
        wanted = reference.logits(images)
    for threads in (1, 2, 0):
        with backends.get("c").load(artifact, "int8", threads=threads) as predictor:
            np.testing.assert_array_equal(predictor.logits(images), wanted)
            np.testing.assert_array_equal(predictor.bind(images)(), wanted)


def test_threads_may_share_a_predictor(artifact: Artifact, images: np.ndarray) -> None:
    with backends.get("c").load(artifact, "int8", threads=1) as predictor:
        wanted = predictor.logits(images)
        with ThreadPoolExecutor(8) as pool:
            jobs = [
                (i, pool.submit(predictor.logits, images[i : i + 1]))
                for i in range(64)
                for _ in "ab"
            ]
        for index, job in jobs:
            np.testing.assert_array_equal(job.result()[0], wanted[index])


def test_its_folder_is_removed(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with backends.get("c").load(artifact, "int8") as predictor:
        assert list(tmp_path.iterdir()) == []
        assert predictor.logits(np.zeros((1, 1, 28, 28), np.uint8)).shape == (1, 10)


def test_cc_names_the_compiler(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = backends.get("c")
    found = c.compiler()
    assert found is not None
    monkeypatch.setenv("CC", f"{found[0]} -DNDEBUG")
    assert c.compiler() == [found[0], "-DNDEBUG"]
    backend.load(artifact, "int8").close()
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    assert "$CC names no-such-compiler -O2" in str(backend.available())
    with pytest.raises(MissingError, match="no-such-compiler"):
        backend.load(artifact, "int8")
    monkeypatch.delenv("CC")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "apt-get install gcc" in str(backend.available())


def test_a_compiler_that_does_not_end_is_stopped(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("CC", str(slow))
    monkeypatch.setattr(c, "_TIMEOUT_S", 0.2)
    with pytest.raises(ArtifactError, match=r"model-int8\.c: .*slow did not end in 0\.2 s"):
        backends.get("c").load(artifact, "int8")
