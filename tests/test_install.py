"""The SDK as its users get it: from the wheel, installed and moved, and as a part of a project."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from cpp_build import BUILD, ROOT, build, need_compiler, run, tool
from mnistkit.artifact.folder import Artifact
from mnistkit.pictures.preprocess import to_mnist
from PIL import Image
from strokes import DRAWINGS, draw

CONSUMERS = Path(__file__).parent / "install"

# The consumers compile the runner anew; what they show needs no optimization.
QUICK = ("-DCMAKE_CXX_FLAGS=-O0", "-DCMAKE_UNITY_BUILD=ON")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel."""
    need_compiler()
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder)]
    if find_spec("scikit_build_core"):
        command.append("--no-build-isolation")
    options = [f"--config-settings=build-dir={folder / 'build'}", str(ROOT)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if "No matching distribution found for scikit-build-core" in done.stderr:
        pytest.skip("scikit-build-core is not installed, and no package index can be reached")
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = folder.glob("mnistkit-*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``cmake --install`` writes, in another folder than it was written to."""
    options = ["-DMNISTKIT_BUILD_TESTS=ON", "-DMNISTKIT_BUILD_ENGINE=OFF"]
    tree = build(ROOT, BUILD / "cpp-tests", options)
    folder = tmp_path_factory.mktemp("installed")
    run(tool("cmake"), "--install", tree, "--prefix", folder / "first")
    shutil.move(folder / "first", folder / "moved")
    return folder / "moved"


def check(tree: Path, artifact: Artifact, tmp_path: Path) -> None:
    golden = artifact.golden()
    images, logits = golden.images, golden.logits["fp32"]
    file = tmp_path / "golden.raw"
    file.write_bytes(images.tobytes())
    for program in ("consumer", "consumer_c"):
        told = run(tree / program, artifact.path, file)
        assert [int(line) for line in told.split()] == logits.argmax(1).tolist()


def sdk_paths(site: Path) -> list[Path]:
    """What the package itself says, with nothing but the wheel on its path."""
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import mnistkit;"
        f"from mnistkit.native import source;"
        f"print(source.cmake_dir()); print(source.include_dir())"
    )
    return [Path(line) for line in run(sys.executable, "-S", "-c", code).splitlines()]


def test_the_wheel_has_the_sdk(wheel: Path) -> None:
    cmake, include = sdk_paths(wheel)
    assert wheel in cmake.parents
    assert (cmake / "mnistkit-config.cmake").is_file()
    for header in ("image.hpp", "runner.hpp", "batcher.hpp", "mnistkit.h"):
        assert (include / "mnistkit" / header).is_file()


def test_from_the_wheel(wheel: Path, artifact: Artifact, tmp_path: Path) -> None:
    options = [f"-Dmnistkit_DIR={sdk_paths(wheel)[0]}", *QUICK]
    check(build(CONSUMERS / "consumer", tmp_path / "tree", options), artifact, tmp_path)


def test_installed_and_moved(installed: Path, artifact: Artifact, tmp_path: Path) -> None:
    options = [f"-DCMAKE_PREFIX_PATH={installed}"]
    check(build(CONSUMERS / "consumer", tmp_path / "tree", options), artifact, tmp_path)
    told = run(installed / "bin" / "mnistkit-run", artifact.path, "--self-check")
    assert told.endswith("passed\n")


def test_pkg_config(installed: Path, artifact: Artifact, tmp_path: Path) -> None:
    (found,) = installed.rglob("mnistkit-runner.pc")
    search = {"PKG_CONFIG_PATH": str(found.parent)}
    told = run(tool("pkg-config"), "--cflags", "--libs", "mnistkit-runner", env=search)
    compiler = tool("c++")
    for source, program in (("main.cpp", "consumer"), ("main.c", "consumer_c")):
        how = ["-std=c++20"] if source == "main.cpp" else ["-x", "c", "-std=c99"]
        file = [CONSUMERS / source, "-x", "none"]
        run(compiler, *how, *file, "-o", tmp_path / program, *told.split())
    check(tmp_path, artifact, tmp_path)


def test_as_a_subdirectory(artifact: Artifact, tmp_path: Path) -> None:
    options = [f"-DMNISTKIT_SOURCE={ROOT}", "-DMNISTKIT_BUILD_ENGINE=OFF", *QUICK]
    check(build(CONSUMERS / "subdirectory", tmp_path / "tree", options), artifact, tmp_path)


def check_image(tree: Path, tmp_path: Path) -> None:
    picture = Image.fromarray(255 - draw(DRAWINGS[6], scale=3))
    picture.save(tmp_path / "digit.pgm")
    told = run(tree / "consumer_image", tmp_path / "digit.pgm")
    assert bytes.fromhex(told) == to_mnist(picture).tobytes()


def test_pictures_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    options = [f"-Dmnistkit_DIR={sdk_paths(wheel)[0]}", *QUICK]
    check_image(build(CONSUMERS / "image", tmp_path / "tree", options), tmp_path)


def test_pictures_installed_and_moved(installed: Path, tmp_path: Path) -> None:
    options = [f"-DCMAKE_PREFIX_PATH={installed}"]
    check_image(build(CONSUMERS / "image", tmp_path / "tree", options), tmp_path)


def check_engine(tree: Path, artifact: Artifact, tmp_path: Path) -> None:
    golden = artifact.golden()
    images, logits = golden.images, golden.logits["fp32"]
    file = tmp_path / "golden.raw"
    file.write_bytes(images.tobytes())
    model = artifact.file("native", "fp32")
    for program in ("consumer_engine", "consumer_engine_static", "consumer_engine_cpp"):
        told = run(tree / program, model, file)
        assert [int(line) for line in told.split()] == logits.argmax(1).tolist()
    told = run(tree / "consumer_core", artifact.path, file, "int8")
    assert [int(line) for line in told.split()] == golden.logits["int8"].argmax(1).tolist()


def test_the_engine_from_the_wheel(wheel: Path, artifact: Artifact, tmp_path: Path) -> None:
    options = [f"-Dmnistkit_DIR={sdk_paths(wheel)[0]}"]
    tree = build(CONSUMERS / "engine", tmp_path / "tree", options)
    check_engine(tree, artifact, tmp_path)


def test_the_engine_installed_and_moved(artifact: Artifact, tmp_path: Path) -> None:
    options = ["-DMNISTKIT_BUILD_RUNNER=OFF", "-DMNISTKIT_BUILD_APPS=OFF"]
    made = build(ROOT, BUILD / "engine-install", options)
    run(tool("cmake"), "--install", made, "--prefix", tmp_path / "first")
    shutil.move(tmp_path / "first", tmp_path / "moved")
    options = [f"-DCMAKE_PREFIX_PATH={tmp_path / 'moved'}"]
    tree = build(CONSUMERS / "engine", tmp_path / "tree", options)
    check_engine(tree, artifact, tmp_path)
