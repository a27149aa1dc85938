"""Artifact folders that are wrong in each way, given to every loader of both languages."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import mnistkit
import pytest
from cpp_build import BUILD, ROOT, build
from damage import with_file
from mnistkit.artifact.folder import Artifact
from mnistkit.artifact.golden import write_golden
from mnistkit.common.errors import MnistkitError
from mnistkit.export.writer import format_module
from mnistkit.native.library import RUNNER
from wrong_nets import FLOAT, INT8, float_with, int8_with

Damage = Callable[[Artifact, Path], Path]
Load = Callable[[Path, str], "str | None"]


def golden_removed(artifact: Artifact, folder: Path) -> Path:
    shutil.copytree(artifact.path, folder)
    (folder / "golden.npz").unlink()
    return folder


def golden_not_listed(artifact: Artifact, folder: Path) -> Path:
    shutil.copytree(artifact.path, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = [one for one in manifest["files"] if one["format"] != "golden"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def manifest_labels_permuted(artifact: Artifact, folder: Path) -> Path:
    shutil.copytree(artifact.path, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["labels"] = manifest["labels"][::-1]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def golden_labels_permuted(artifact: Artifact, folder: Path) -> Path:
    golden = artifact.golden()
    made = folder.parent / f"{folder.name}.npz"
    write_golden(made, golden._replace(labels=golden.labels[::-1].copy()))
    return with_file(artifact, folder, "golden", "all", made.read_bytes()).path


def other_golden(artifact: Artifact, folder: Path) -> Path:
    """A byte of a picture is another; its hash is not repaired."""
    shutil.copytree(artifact.path, folder)
    data = bytearray((folder / "golden.npz").read_bytes())
    data[3000] ^= 1
    (folder / "golden.npz").write_bytes(data)
    return folder


FOLDERS: dict[str, tuple[Damage, str]] = {
    "golden removed": (golden_removed, "golden.npz"),
    "golden not listed": (golden_not_listed, "manifest.json"),
    "golden altered": (other_golden, "golden.npz"),
    "golden labels permuted": (golden_labels_permuted, "golden.npz"),
    "manifest labels permuted": (manifest_labels_permuted, "golden.npz"),
}


def python(backend: str) -> Load:
    """``mnistkit.load``: the text of its error, or None."""

    def load(folder: Path, precision: str) -> str | None:
        try:
            mnistkit.load(folder, backend, precision, threads=1).close()
        except MnistkitError as error:
            return str(error) if error.exit_code in (1, 3) else None
        return None

    return load


def program(command: list[str], folder: Path, tail: list[str]) -> str | None:
    done = subprocess.run(
        [*command, str(folder), *tail], capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode == 0:
        return None
    assert done.returncode in (1, 3)
    assert done.stdout == ""
    return done.stderr


@pytest.fixture(scope="session")
def raw(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("raw") / "golden.raw"
    file.write_bytes(artifact.golden().images.tobytes())
    return file


@pytest.fixture(scope="session")
def core() -> Path:
    """A C++ program with ``mnistkit::open_engine``."""
    options = [f"-Dmnistkit_DIR={ROOT / 'cpp' / 'cmake'}", "-DCMAKE_BUILD_TYPE=Release"]
    source = ROOT / "tests" / "install" / "engine"
    return build(source, BUILD / "consumer-core", options, ["consumer_core"]) / "consumer_core"


@pytest.fixture(params=["python engine", "python torchscript", "C++ Runner", "C++ engine"])
def loader(request: pytest.FixtureRequest, raw: Path) -> tuple[str, Load]:
    """A loader, by the format that it reads."""
    name = str(request.param)
    if name.startswith("python"):
        backend = name.split()[1]
        return {"engine": "native"}.get(backend, backend), python(backend)
    if name == "C++ engine":
        built = request.getfixturevalue("core")
        return "native", lambda folder, precision: program(
            [str(built)], folder, [str(raw), precision]
        )
    runner = RUNNER.program("mnistkit-run")
    if runner is None:
        pytest.skip(str(RUNNER.missing()))
    tail = ["--format", "raw", "--precision"]
    return "torchscript", lambda folder, precision: program(
        [str(runner)], folder, [str(raw), *tail, precision]
    )


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_sound_folder_is_opened(
    artifact: Artifact, loader: tuple[str, Load], precision: str
) -> None:
    assert loader[1](artifact.path, precision) is None


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("kind", FOLDERS)
def test_a_damaged_folder_is_refused(
    artifact: Artifact, tmp_path: Path, loader: tuple[str, Load], kind: str, precision: str
) -> None:
    damage, file = FOLDERS[kind]
    said = loader[1](damage(artifact, tmp_path / "out"), precision)
    assert said is not None
    assert file in said


MODELS = [*(("int8", kind) for kind in INT8), *(("fp32", kind) for kind in FLOAT)]


@pytest.mark.parametrize(("precision", "kind"), MODELS)
def test_a_wrong_model_under_a_right_hash_is_refused(
    artifact: Artifact, tmp_path: Path, loader: tuple[str, Load], precision: str, kind: str
) -> None:
    format, load = loader
    net = int8_with(artifact, kind) if precision == "int8" else float_with(artifact, kind)
    data = format_module(format).render(net, precision)
    said = load(with_file(artifact, tmp_path / "out", format, precision, data).path, precision)
    assert said is not None
    assert "self-check" in said
    assert precision in said
