"""The real pycuda and cuda-bindings on a pretended driver: calls, arguments, contexts, cleanup.

Logic, not proof: that memory works on a GPU is what ``tests/gpu`` shows, where there is one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "fake_driver"


@pytest.fixture(scope="module")
def fake_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fake libcuda.so.1."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler, or not Linux")
    folder = tmp_path_factory.mktemp("driver")
    flags = ["-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wl,-soname,libcuda.so.1"]
    out = folder / "libcuda.so.1"
    source = HERE / "libcuda.c"
    subprocess.run([compiler, *flags, str(source), "-o", str(out), "-ldl"], check=True)
    return folder


@pytest.mark.parametrize(("name", "module"), [("pycuda", "pycuda"), ("cuda_bindings", "cuda")])
def test_memory_on_the_fake_driver(fake_driver: Path, name: str, module: str) -> None:
    if find_spec(module) is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run(
        [sys.executable, str(HERE / "use_memory.py"), name],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LD_LIBRARY_PATH": str(fake_driver)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"ok {name}")
