"""The public surface, pinned: a change here is a change for users."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path
from typing import Any

import mnistkit
import pytest
from mnistkit import backends
from mnistkit.common import errors
from mnistkit.export.writer import FORMATS

ERRORS = [
    "ArtifactError",
    "CheckError",
    "InputError",
    "MissingError",
    "MnistkitError",
    "SpecError",
    "UsageError",
]
CALLS = ["bench", "evaluate", "load", "predict", "quantize", "train", "verify"]
TYPES = ["Artifact", "ImageSet", "NetSpec", "Predictor", "Recipe"]
FOLDERS = ["export", "nets"]


def test_the_package() -> None:
    wanted = [*ERRORS, *CALLS, *TYPES, *FOLDERS, "__version__"]
    assert sorted(mnistkit.__all__) == sorted(wanted)
    for name in wanted:
        assert getattr(mnistkit, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = mnistkit.no_such_name


def documented(name: str) -> Any:
    from mnistkit.export.writer import export_source

    return export_source if name == "export" else getattr(mnistkit, name)


@pytest.mark.filterwarnings("ignore::mnistkit.data.sets.DatasetWarning")
@pytest.mark.parametrize("name", [*CALLS, *TYPES, *FOLDERS])
def test_the_example_of_each_name_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn", reason="the examples read scikit-learn's digits")
    monkeypatch.chdir(tmp_path)
    found = documented(name)
    tests = [
        test
        for test in doctest.DocTestFinder(recurse=False).find(found, name, globs={})
        if test.examples
    ]
    assert tests, f"{name} has no example"
    told: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    for test in tests:
        runner.run(test, out=told.append)
    assert not runner.failures, "".join(told)


def test_a_public_import_is_lazy() -> None:
    code = "import sys, mnistkit; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False", "False"]


def test_names_that_documents_and_scripts_use() -> None:
    assert backends.NAMES == (
        "eager",
        "torchscript",
        "onnxruntime",
        "openvino",
        "libtorch",
        "engine",
        "c",
        "tensorrt",
        "tensorrt_rtx",
        "reference",
    )
    assert FORMATS == ("torchscript", "onnx", "native", "c")


def test_exit_codes() -> None:
    codes = {
        name: cls.exit_code
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, errors.MnistkitError)
    }
    assert codes == {
        "MnistkitError": 1,
        "UsageError": 2,
        "SpecError": 2,
        "InputError": 2,
        "CheckError": 1,
        "ArtifactError": 1,
        "MissingError": 3,
    }
