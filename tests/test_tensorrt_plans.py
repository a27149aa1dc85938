"""TensorRT plans in an artifact folder, and which of them are refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from mnistkit import backends
from mnistkit.artifact.folder import Artifact, file_entry, write_manifest
from mnistkit.backends.trt.backend import TensorRtBackend
from mnistkit.common.errors import ArtifactError, MissingError
from mnistkit.export.writer import export
from mnistkit.runs.source import Source
from mnistkit.tensorrt import builder as tensorrt
from mnistkit.tensorrt import probe
from mnistkit.tensorrt.builder import BuildOptions
from mnistkit.tensorrt.plan import PlanInfo, info_path
from tensorrt_common import NO_RTX, real

pytestmark = pytest.mark.usefixtures("no_gpu_here")


@pytest.fixture(scope="module")
def with_plans(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if NO_RTX:
        pytest.skip(NO_RTX)
    out = tmp_path_factory.mktemp("plans") / "out"
    options = BuildOptions("tensorrt_rtx", ("8.6", "8.9"), max_batch=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "_examine", lambda: "no driver (test)")
        export(source, out, (), ("fp16",), trt=options)
    return out


@pytest.fixture
def folder(with_plans: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(with_plans, tmp_path / "out"))


VERSION = "1.7.1.116"
RTX: TensorRtBackend = backends.get("tensorrt_rtx")  # type: ignore[assignment]


def find(folder: Path, wanted: str | None = None, arch: str = "8.9") -> tuple[Path, PlanInfo]:
    return RTX.find(Artifact.open(folder), "fp16", wanted or installed_version(), arch)


def installed_version() -> str:
    return version("tensorrt-rtx")


def test_export_writes_plan_description_onnx_and_manifest(folder: Path) -> None:
    artifact = Artifact.open(folder)
    names = {entry.name: entry.format for entry in artifact.files}
    assert names["model-fp16-sm89-rtx1.engine"] == "tensorrt_rtx"
    assert names["model-fp16-sm86-rtx1.json"] == "tensorrt_rtx-info"
    assert names["model-fp16.onnx"] == "onnx"
    assert artifact.precisions == ("fp32", "fp16")  # fp32: the weights
    for entry in artifact.files:
        artifact.check(entry)
    described = artifact.manifest["tensorrt"]["model-fp16-sm89-rtx1.engine"]
    assert described == {
        "flavor": "tensorrt_rtx",
        "version": installed_version(),
        "gpu_arch": "8.9",
    }
    path, info = find(folder)
    assert path.name == info.name == "model-fp16-sm89-rtx1.engine"
    assert info.check(path, "tensorrt_rtx", installed_version(), "8.9") == path.read_bytes()


def test_building_into_a_folder_adds_to_it(folder: Path) -> None:
    before = {entry.name for entry in Artifact.open(folder).files}
    tensorrt.build_into(folder, ["fp16"], BuildOptions("tensorrt_rtx", ("12.0",)))
    artifact = Artifact.open(folder)
    added = {entry.name for entry in artifact.files} - before
    assert added == {"model-fp16-sm120-rtx1.engine", "model-fp16-sm120-rtx1.json"}
    assert len(artifact.manifest["tensorrt"]) == 3
    # Building again replaces the plan and does not list it twice.
    tensorrt.build_into(folder, None, BuildOptions("tensorrt_rtx", ("12.0",)))
    names = [entry.name for entry in Artifact.open(folder).files]
    assert len(names) == len(set(names))


def test_building_from_a_folder_without_onnx_is_an_error(folder: Path) -> None:
    artifact = Artifact.open(folder)
    entries = [entry for entry in artifact.files if entry.format != "onnx"]
    write_manifest(folder, artifact.manifest, entries)
    with pytest.raises(MissingError, match="holds no ONNX"):
        tensorrt.build_into(folder, None, BuildOptions("tensorrt_rtx", ("8.9",)))


@pytest.mark.parametrize(
    ("wanted", "arch", "message"),
    [
        (None, "7.5", r"GPU architecture: the plan has 8\.9, this machine has 7\.5"),
        ("1.6.0.1", "8.9", r"TensorRT version: the plan has .*, this machine has 1\.6\.0\.1"),
    ],
)
def test_a_plan_for_elsewhere_is_refused(
    folder: Path, wanted: str | None, arch: str, message: str
) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        find(folder, wanted, arch)
    assert "mnistkit build-engine" in str(caught.value)
    assert "--precision fp16 --trt-flavor tensorrt_rtx" in str(caught.value)


def test_a_plan_of_another_flavour_is_refused(folder: Path) -> None:
    path, info = find(folder)
    with pytest.raises(ArtifactError, match="flavour: the plan has tensorrt_rtx, this machine has"):
        info.check(path, "tensorrt", installed_version(), "8.9")


def test_a_precision_that_was_not_built_names_the_command(folder: Path) -> None:
    with pytest.raises(MissingError, match=r"mnistkit build-engine .* --precision int8"):
        RTX.find(Artifact.open(folder), "int8", VERSION, "8.9")


def rewrite(folder: Path, path: Path, content: bytes) -> None:
    """Change a file, and the manifest with it, as somebody would who means it."""
    path.write_bytes(content)
    artifact = Artifact.open(folder)
    entries = [
        file_entry(path, entry.format, entry.precision) if entry.name == path.name else entry
        for entry in artifact.files
    ]
    write_manifest(folder, artifact.manifest, entries)


def test_a_description_that_was_edited_is_refused(folder: Path) -> None:
    path, _ = find(folder)
    description = info_path(path)
    edited = json.loads(description.read_text()) | {"version": "1.0.0.0"}
    description.write_text(json.dumps(edited))
    with pytest.raises(ArtifactError, match=r"model-fp16-sm89-rtx1\.json: .* bytes, the manifest"):
        find(folder)
    rewrite(folder, description, json.dumps(edited).encode())
    with pytest.raises(ArtifactError, match=r"the plan has 1\.0\.0\.0, this machine has"):
        find(folder)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_flipped_byte_and_a_truncated_plan_are_refused(folder: Path, hidden: bool) -> None:
    path, info = find(folder)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content, message in (
        (bytes(flipped), "sha256"),
        (whole[:-100], "truncated"),
        (b"", "0 by"),
    ):
        if hidden:  # the manifest was brought in line: the description still holds the hash
            rewrite(folder, path, content)
        else:
            path.write_bytes(content)
        with pytest.raises(ArtifactError, match=message):
            info.check(find(folder)[0], "tensorrt_rtx", installed_version(), "8.9")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"schema": 2}',
        b'{"schema": 1, "flavor": "tensorrt_rtx"}',
        b"\xff\xfe",
    ],
)
def test_a_description_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    path, _ = find(folder)
    rewrite(folder, info_path(path), content)
    with pytest.raises(ArtifactError, match="mnistkit build-engine"):
        find(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("flavor", "tensorflow"),
        ("version", 11),
        ("profile", {"min": 4, "opt": 2, "max": 1}),
        ("profile", {"min": 1, "opt": 1}),
        ("profile", {"min": 1, "opt": 1, "max": "many"}),
        ("layers", 3),
        ("surprise", 1),
    ],
)
def test_a_description_with_a_wrong_field_is_refused(folder: Path, key: str, value: Any) -> None:
    path, _ = find(folder)
    description = info_path(path)
    edited = json.loads(description.read_text()) | {key: value}
    rewrite(folder, description, json.dumps(edited).encode())
    with pytest.raises(ArtifactError, match="cannot be read as a plan's description"):
        find(folder)


@real
def test_building_needs_no_pytorch(folder: Path) -> None:
    """A Jetson builds with what TensorRT needs alone."""
    script = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from mnistkit.tensorrt.builder import BuildOptions, build_into\n"
        f"build_into(Path({str(folder)!r}), ['fp16'], BuildOptions('tensorrt_rtx', ('7.5',)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "model-fp16-sm75-rtx1.engine").is_file()
