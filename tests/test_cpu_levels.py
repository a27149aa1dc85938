"""Every int8 runtime gives the reference's digits on CPUs without an int8 dot product.

This machine is held to AVX2, or to SSE4.1, by the runtimes' own switches, and all of them run as
they choose on emulated CPUs (ONNX Runtime has no switch). That AVX2 takes effect is shown each
time by a net of the first edition, which saturates.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cpp_build import tool
from cpu_levels import LEVELS
from engine_nets import Array, digits
from first_edition import first_edition
from mnistkit import backends
from mnistkit.artifact.edition import EditionWarning
from mnistkit.backends.difference import difference_faults
from mnistkit.backends.engine import EngineApi
from mnistkit.export.writer import export
from mnistkit.quantization import reference, store
from mnistkit.quantization.graph import Int8Graph
from mnistkit.quantization.run import copy_run
from mnistkit.quantization.store import of_source
from mnistkit.runs.source import INT8, load_run, pretrained_names, resolve

PARITY = Path(__file__).parent / "targets" / "int8_parity.py"
FORMATS = ("torchscript", "onnx", "native")
FIRST = "nano-first-edition"
COUNT = 500

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="x86 CPUs are tested on x86 alone"
)


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Int8Graph]]:
    """The int8 artifacts of the package's nets, and one of the first edition."""
    folder = tmp_path_factory.mktemp("nets")
    made = {}
    for name in pretrained_names():
        source = resolve(name)
        path = export(source, folder / name, FORMATS, ["int8"])
        made[name] = path, of_source(source)[0]
    old, run = first_edition(made["nano"][1]), folder / "run"
    copy_run(resolve("nano"), run)
    store.write(run / INT8, old, {})
    with pytest.warns(EditionWarning):
        made[FIRST] = export(load_run(run), folder / FIRST, FORMATS, ["int8"]), old
    return made


@pytest.fixture(scope="module")
def wanted(nets: dict[str, tuple[Path, Int8Graph]]) -> dict[str, Array]:
    return {name: reference.logits(int8, digits(COUNT)) for name, (_, int8) in nets.items()}


Logits = dict[tuple[str, str], Array]


def parity(
    names: list[str], folders: list[Path], images: Array, room: Path, *, level: str, cpu: str = ""
) -> tuple[Logits, str]:
    """Run the backends in a process that is held down; return logits by (backend, net)."""
    np.save(room / "images.npy", images)
    qemu = [tool("qemu-x86_64"), "-cpu", cpu] if cpu else []
    command = [*qemu, sys.executable, PARITY, room / "images.npy", room / "out.npz"]
    # What a runtime was told to take of the CPU here may not be had on an emulated one.
    switches = {name for variables in LEVELS.values() for name in variables}
    told = {
        name: value
        for name, value in os.environ.items()
        if not (cpu and (name in switches or name.startswith("OPENBLAS_")))
    }
    done = subprocess.run(
        [str(word) for word in (*command, ",".join(names), *folders)],
        env={**told, **LEVELS.get(level, {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(room / "out.npz") as file:
        found = {tuple(key.split("/")): file[key] for key in file.files}
    return found, done.stdout  # type: ignore[return-value]


def available(*names: str) -> list[str]:
    """Of ``BACKEND[:ENGINE]``, those that are installed here."""
    have = [name for name in names if backends.get(name.split(":")[0]).available() is None]
    if not have:
        pytest.skip(f"none of {', '.join(names)} is installed")
    return have


def check(found: Logits, wanted: dict[str, Array]) -> None:
    """Hold everything but the net of the first edition against the reference."""
    for (backend, net), logits in found.items():
        if net == FIRST:
            continue
        assert logits.dtype == np.float32, f"{backend} {net}: {logits}"
        worst = np.abs(logits - wanted[net]).max()
        same = (logits.argmax(1) == wanted[net].argmax(1)).mean()
        print(f"{backend} {net}: {same:.2%} of {len(logits)} digits, a logit {worst:.3g} off")
        tolerance = backends.get(backend.split(":")[0]).tolerance("int8")
        assert worst <= tolerance.max_abs_diff, f"{backend} {net}"
        assert same >= tolerance.agreement, f"{backend} {net}"
        held = tolerance if len(logits) == COUNT else tolerance.of_few()
        assert not difference_faults(logits, wanted[net], held), f"{backend} {net}"


def saturates(found: Logits, wanted: dict[str, Array], backend: str) -> bool:
    """Whether the net of the first edition came out wrong."""
    logits = found[backend, FIRST]
    refused = logits.dtype.kind == "U" and "self-check" in str(logits)
    return refused or bool(np.abs(logits - wanted[FIRST]).max() > 1.0)


SATURATING = ("torchscript", "torchscript:x86", "torchscript:fbgemm", "libtorch", "openvino")


@pytest.mark.parametrize("level", LEVELS)
def test_as_a_lesser_cpu(
    level: str,
    nets: dict[str, tuple[Path, Int8Graph]],
    wanted: dict[str, Array],
    tmp_path: Path,
    api: EngineApi,
) -> None:
    if level not in [kernels.name for kernels in api.kernels() if kernels.supported]:
        pytest.skip(f"this CPU has no {level}")
    names = available("torchscript:x86", "libtorch", "openvino", "engine")
    if level == "avx2":  # FBGEMM needs AVX2 at least
        names += available("torchscript:fbgemm")
    folders = [path for path, _ in nets.values()]
    found, said = parity(names, folders, digits(COUNT), tmp_path, level=level)
    check(found, wanted)
    assert set(said.split()) == {level}  # the engine's kernels
    if level == "avx2":
        show_saturation(found, wanted, names)


@pytest.mark.parametrize(("cpu", "kernels"), [("Haswell", "avx2"), ("Nehalem", "sse4.1")])
def test_on_an_emulated_cpu(
    cpu: str,
    kernels: str,
    nets: dict[str, tuple[Path, Int8Graph]],
    wanted: dict[str, Array],
    tmp_path: Path,
) -> None:
    names = available("onnxruntime", "openvino", "torchscript", "libtorch", "engine")
    few = ("nano", "base", FIRST)
    folders = [nets[name][0] for name in few]
    found, said = parity(names, folders, digits(COUNT)[:40], tmp_path, level="", cpu=cpu)
    wanted = {name: wanted[name][:40] for name in few}
    check(found, wanted)
    assert set(said.split()) == {kernels}
    if kernels == "avx2":
        show_saturation(found, wanted, names)


def show_saturation(found: Logits, wanted: dict[str, Array], names: list[str]) -> None:
    """Fail where a runtime that adds pairs in 16 bits did not do so."""
    for name in names:
        if name in SATURATING:
            assert saturates(found, wanted, name), f"{name} was not held down"
