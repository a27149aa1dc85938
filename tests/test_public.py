"""The public surface, pinned: a change here is a change for users."""

from __future__ import annotations

import mnistkit
from mnistkit import backends, export
from mnistkit.common import errors


def test_the_package() -> None:
    assert sorted(mnistkit.__all__) == [
        "ArtifactError",
        "CheckError",
        "InputError",
        "MissingError",
        "MnistkitError",
        "SpecError",
        "UsageError",
        "__version__",
        "load",
    ]


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
    assert export.FORMATS == ("torchscript", "onnx", "native", "c")


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
