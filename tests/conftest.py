"""What the tests share: a net trained here in seconds, its artifact, and MNIST where it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mnistkit.artifact.folder import Artifact
from mnistkit.backends import engine
from mnistkit.backends.engine import EngineApi
from mnistkit.common import cpu
from mnistkit.common.errors import MissingError
from mnistkit.data import sets as data
from mnistkit.export.writer import export
from mnistkit.native.library import ENGINE
from mnistkit.nets import zoo
from mnistkit.quantization.run import quantize_source, write_run
from mnistkit.runs.checkpoint import RunConfig
from mnistkit.runs.recipe import Recipe
from mnistkit.runs.source import Source, load_run
from mnistkit.tensorrt import probe
from mnistkit.training import loop

if named := os.environ.get("MNISTKIT_DATA"):
    os.environ["MNISTKIT_DATA"] = str(Path(named).resolve())  # tests change folders

QUICK = Recipe(epochs=4, batch_size=32, ema_decay=0.95)


def pytest_report_header() -> str:
    """Say what int8 runs on here: CI's machines differ."""
    here = cpu.this_cpu()
    return f"int8 on this CPU ({here.label}): {here.summary}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say as which other CPUs the int8 runtimes were checked, and how."""
    passed = (report.nodeid for report in terminalreporter.stats.get("passed", ()))
    for test in sorted(test for test in passed if "test_cpu_levels.py" in test):
        terminalreporter.write_line(f"int8 runtimes checked: {test.partition('::')[2]}")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tests run side by side: one thread each, and what a test sets is put back."""
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits_train() -> data.ImageSet:
    return data.load("digits", "train")


@pytest.fixture(scope="session")
def digits_test() -> data.ImageSet:
    return data.load("digits", "test")


@pytest.fixture(scope="session")
def run(
    tmp_path_factory: pytest.TempPathFactory,
    digits_train: data.ImageSet,
    digits_test: data.ImageSet,
) -> Path:
    """A small net, trained for a few seconds on scikit-learn's digits."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    config = RunConfig(zoo.get("small"), QUICK, "digits", seed=0)
    loop.train(config, digits_train, digits_test, folder)
    return folder


@pytest.fixture(scope="session")
def source(run: Path) -> Source:
    return load_run(run)


@pytest.fixture(scope="session")
def artifact(
    source: Source, digits_train: data.ImageSet, tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    """The artifact of ``run``, every format and precision; tests that damage it copy it first."""
    folder = tmp_path_factory.mktemp("artifact")
    write_run(source, quantize_source(source, digits_train), folder / "run")
    return Artifact.open(export(load_run(folder / "run"), folder / "out"))


@pytest.fixture
def no_gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What TensorRT builds is not to depend on whether the machine of the tests has a GPU."""
    monkeypatch.setattr(probe, "_examine", lambda: "there is no NVIDIA driver here (test)")


@pytest.fixture(scope="session")
def api() -> EngineApi:
    """The engine's C functions."""
    try:
        library = ENGINE.find() or ENGINE.build()
    except MissingError as error:
        pytest.skip(str(error))
    return engine.api(library)


@pytest.fixture(scope="session")
def images(digits_test: data.ImageSet) -> np.ndarray:
    """64 real digits, uint8 (64, 1, 28, 28)."""
    return digits_test.images[:64].numpy()


@pytest.fixture(scope="session")
def mnist_test() -> data.ImageSet:
    """MNIST's 10,000 test images; skips where they are not on disk."""
    try:
        return data.load("mnist", "test", download=False)
    except MissingError as error:
        pytest.skip(f"MNIST is not on this machine: {error}")


@pytest.fixture(scope="session")
def tensorrt_names() -> set[str]:
    """Every public name of the Python bindings of TensorRT 11.4, ``Class.member``."""
    return set(json.loads((Path(__file__).parent / "data/tensorrt-11.4-api.json").read_text()))
