"""The C++ SDK: its own tests, plain and under sanitizers, and its examples."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from cpp_build import BUILD, ROOT, build, run, tool
from mnistkit.api.predict import open_model, predict_files
from mnistkit.artifact.folder import Artifact
from mnistkit.artifact.golden import golden_digits
from mnistkit.data.idx import write_idx
from PIL import Image
from strokes import DRAWINGS, draw

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
    golden = artifact.golden()
    images, logits = golden.images, golden.logits["fp32"]
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


def test_the_program_reads_what_predict_reads(
    tree: Path, artifact: Artifact, tmp_path: Path
) -> None:
    """The same digits and probabilities: a photo's size and colours, IDX, and several files."""
    images, labels = golden_digits()
    write_idx(tmp_path / "images", images[:5, 0])
    files = [tmp_path / "images"]
    for index in range(0, 20, 5):
        ink = draw(DRAWINGS[index], scale=5)
        paper = np.pad(255 - ink // 2, ((40, 10), (20, 90)), constant_values=255)
        files += [tmp_path / f"{index}.pgm", tmp_path / f"{index}.bmp"]
        for file in files[-2:]:
            Image.fromarray(paper).save(file)
    told = json.loads(run(tree / "cpp/apps/mnistkit-run", artifact.path, *files, "--json"))
    with open_model(str(artifact.path), "torchscript", "fp32") as predictor:
        wanted = [row for rows in predict_files(predictor, files) for row in rows]
    assert [row["label"] for row in told["predictions"]] == [row.digit for row in wanted]
    for found, row in zip(told["predictions"], wanted, strict=True):
        assert found["probability"] == pytest.approx(row.confidence, abs=1e-4)
    assert [row.digit for row in wanted[:5]] == labels[:5].tolist()


def test_the_camera_example(tree: Path, artifact: Artifact, tmp_path: Path) -> None:
    golden = artifact.golden()
    images, logits = golden.images, golden.logits["fp32"]
    chances = np.exp(logits - logits.max(1, keepdims=True))
    sure = int((1 / chances.sum(1)).argmax())
    frames = [tmp_path / f"{i}.pgm" for i in range(4)]
    for frame in frames:
        Image.fromarray(images[sure, 0]).save(frame)
    program = tree / "cpp" / "examples" / "mnistkit-example-camera"
    told = run(program, artifact.path, *frames)
    assert told.startswith(f"{logits[sure].argmax()} (probability ")
    assert "2.pgm" in told
    assert "4 frames" in told
