"""The C++ SDK: its own tests, plain and under sanitizers, and its examples."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from cpp_build import BUILD, ROOT, build, run, tool
from mnistkit.artifact import Artifact
from PIL import Image

CASES = (
    "sha256",
    "json",
    "artifact",
    "golden",
    "batcher",
    "fork",
    "headers",
    "runner",
    "batcher_runner",
    "fork_runner",
    "out_of_memory",
    "c_api",
    "symbols",
    "images",
    "program",
)

# The engine has tests of its own.
OPTIONS = ("-DMNISTKIT_BUILD_TESTS=ON", "-DMNISTKIT_BUILD_ENGINE=OFF")


@pytest.fixture(scope="session")
def tree() -> Path:
    return build(
        ROOT,
        BUILD / "cpp-tests",
        [*OPTIONS, "-DMNISTKIT_BUILD_EXAMPLES=ON", "-DMNISTKIT_WARNINGS_AS_ERRORS=ON"],
    )


def ctest(tree: Path, artifact: Artifact, *arguments: str) -> str:
    return run(
        tool("ctest"),
        "--test-dir",
        tree,
        "--output-on-failure",
        "--no-tests=error",
        *arguments,
        env={"MNISTKIT_TEST_ARTIFACT": str(artifact.path)},
    )


@pytest.mark.parametrize("case", CASES)
def test_cpp(tree: Path, artifact: Artifact, case: str) -> None:
    ctest(tree, artifact, "-R", f"^{case}$")


def test_no_case_is_forgotten(tree: Path, artifact: Artifact) -> None:
    listed = re.findall(r"Test +#\d+: (\S+)", ctest(tree, artifact, "-N"))
    assert sorted(listed) == sorted(CASES)


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_sanitized(artifact: Artifact, sanitizer: str) -> None:
    """Our code is instrumented, libtorch is as it is."""
    options = [
        *OPTIONS,
        "-DMNISTKIT_BUILD_APPS=OFF",
        f"-DMNISTKIT_SANITIZE={sanitizer}",
        "-DCMAKE_BUILD_TYPE=None",
        "-DCMAKE_CXX_FLAGS=-O1 -g1",
        "-DCMAKE_C_FLAGS=-O1 -g1",
        "-DCMAKE_UNITY_BUILD=ON",  # libtorch's headers are read once
    ]
    tree = build(ROOT, BUILD / f"cpp-{sanitizer.partition(',')[0]}", options)
    ctest(tree, artifact)


@pytest.fixture(scope="session")
def digits(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """The golden images as a raw file, and the digits that the reference gives them."""
    images, _, logits = artifact.golden()
    file = tmp_path_factory.mktemp("digits") / "golden.raw"
    file.write_bytes(images.tobytes())
    return file, logits.argmax(1).tolist()


@pytest.mark.parametrize("example", ["classify", "classify-c", "server"])
def test_examples(
    tree: Path, artifact: Artifact, digits: tuple[Path, list[int]], example: str
) -> None:
    file, wanted = digits
    program = tree / "cpp" / "examples" / f"mnistkit-example-{example}"
    assert [int(line) for line in run(program, artifact.path, file).split()] == wanted


def test_the_camera_example(tree: Path, artifact: Artifact, tmp_path: Path) -> None:
    images, _, logits = artifact.golden()
    chances = np.exp(logits - logits.max(1, keepdims=True))
    sure = int((1 / chances.sum(1)).argmax())
    frames = [tmp_path / f"{i}.png" for i in range(4)]
    for frame in frames:
        Image.fromarray(images[sure, 0]).save(frame)
    program = tree / "cpp" / "examples" / "mnistkit-example-camera"
    told = run(program, artifact.path, *frames)
    assert told.startswith(f"{logits[sure].argmax()} (probability ")
    assert "2.png" in told
    assert "4 frames" in told
