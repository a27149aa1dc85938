"""Other processors under emulation: the C export on a Cortex-M4, the engine on aarch64.

Each test is skipped, with the package that it misses, where a tool is not installed.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from engine_nets import Array, c_defines, graphs, parse_logits, pictures, write_digits
from mnistkit import sdk
from mnistkit.export import c, native, reference_logits
from mnistkit.quantization import reference

TARGETS = Path(__file__).parent / "targets"
CORTEX_M4 = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
AARCH64 = "aarch64-linux-gnu-g++"


def _need(*tools: tuple[str, str]) -> None:
    for tool, package in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (Debian: apt-get install {package})")


def _run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    words = [str(word) for word in command]
    return subprocess.run(words, check=True, capture_output=True, timeout=300, **options)  # type: ignore[call-overload,no-any-return]


def _turned(count: int) -> Array:
    """Images by the hundred, made from the few by shifting them."""
    images = pictures()
    shifted = [np.roll(images, (y, x), (2, 3)) for y in (0, 2, -2) for x in (0, 1, -1)]
    return np.ascontiguousarray(np.concatenate(shifted)[:count])


@pytest.mark.parametrize(
    ("name", "flash", "ram"), [("nano", 20_000, 12_000), ("small", 40_000, 12_000)]
)
def test_cortex_m4(tmp_path: Path, name: str, flash: int, ram: int) -> None:
    """The bits of the reference, within the budget of flash and RAM."""
    _need(
        ("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi"),
        ("qemu-system-arm", "qemu-system-arm"),
    )
    graph, images = graphs(name)[1], _turned(200)
    (tmp_path / "model.c").write_bytes(c.render(graph, "int8"))
    write_digits(tmp_path, images)
    model, program = tmp_path / "model.o", tmp_path / "digits.elf"
    compiler = ["arm-none-eabi-gcc", *CORTEX_M4, "-std=c99", "-O2", "-Wall", "-Wextra", "-Werror"]
    _run(*compiler, "-fstack-usage", "-c", tmp_path / "model.c", "-o", model)
    defines = c_defines(name, "int8")
    sources = [TARGETS / "cortex_m4_start.c", TARGETS / "c_digits.c", model]
    link = ["--specs=rdimon.specs", "-nostartfiles", f"-T{TARGETS / 'cortex_m4.ld'}"]
    count = "-DCOUNT_INSTRUCTIONS"
    _run(*compiler, "-I", tmp_path, count, *defines, *link, *sources, "-o", program)
    machine = ["-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none"]
    options = ["-icount", "shift=0", "-semihosting-config", "enable=on,target=native"]
    done = _run("qemu-system-arm", *machine, *options, "-kernel", program)
    text = done.stdout.decode()
    np.testing.assert_array_equal(parse_logits(text), reference.logits(graph, images))

    sizes = _run("arm-none-eabi-size", model).stdout.decode().split("\n")[1].split()
    used = [int(line.split("\t")[1]) for line in (tmp_path / "model.su").read_text().splitlines()]
    scratch = int(defines[1].split("=")[1])
    instructions = int(text.splitlines()[0].split()[1])
    print(
        f"{name}: flash {sizes[0]} bytes, scratch {scratch} + stack {sum(used)} bytes, "
        f"{instructions} instructions"
    )
    assert int(sizes[0]) < flash
    assert int(sizes[1]) == int(sizes[2]) == 0  # no static data
    assert scratch + sum(used) < ram
    assert 0 < instructions < 20_000_000


@pytest.fixture(scope="module")
def aarch64_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    _need((AARCH64, "g++-aarch64-linux-gnu"), ("qemu-aarch64", "qemu-user"), ("cmake", "cmake"))
    tree = tmp_path_factory.mktemp("aarch64")
    root = sdk.source_dir()
    off = [f"-DMNISTKIT_{part}=OFF" for part in ("BUILD_RUNNER", "BUILD_APPS", "INSTALL")]
    cross = [f"-DCMAKE_CXX_COMPILER={AARCH64}", "-DCMAKE_BUILD_TYPE=Release"]
    system = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"]
    _run("cmake", "-S", root, "-B", tree, *cross, *system, *off)
    _run("cmake", "--build", tree, "--target", "mnistkit_engine_static")
    library, program = next(tree.rglob("libmnistkit_engine.a")), tree / "engine_digits"
    include = ["-std=c++20", "-O2", "-static", "-I", root / "cpp" / "include"]
    _run(AARCH64, *include, TARGETS / "engine_digits.cpp", library, "-o", program)
    return program


@pytest.mark.parametrize("kernels", ["neon-dot", "neon", "portable"])
@pytest.mark.parametrize("name", ["base", "small", "nano", "ref-18738", "ref-10066"])
def test_aarch64(aarch64_program: Path, tmp_path: Path, name: str, kernels: str) -> None:
    graph, int8 = graphs(name)
    images = _turned(60 if kernels == "portable" else 200)
    (tmp_path / "int8.mnk").write_bytes(native.render(int8, "int8"))
    wanted = reference.logits(int8, images)
    for count in (1, len(images)):
        program = ["qemu-aarch64", "-cpu", "max", aarch64_program]
        done = _run(*program, tmp_path / "int8.mnk", kernels, input=images[:count].tobytes())
        got = np.frombuffer(done.stdout, np.float32).reshape(-1, 10)
        np.testing.assert_array_equal(got, wanted[:count])
    (tmp_path / "fp32.mnk").write_bytes(native.render(graph, "fp32"))
    done = _run(*program, tmp_path / "fp32.mnk", kernels, input=images[:3].tobytes())
    got = np.frombuffer(done.stdout, np.float32).reshape(-1, 10)
    np.testing.assert_allclose(got, reference_logits(graph, images[:3]), rtol=1e-5, atol=1e-5)


def test_aarch64_without_dot_product(aarch64_program: Path, tmp_path: Path) -> None:
    """A core that lacks the instructions runs plain NEON, and refuses them."""
    (tmp_path / "m.mnk").write_bytes(native.render(graphs("nano")[1], "int8"))
    program = ["qemu-aarch64", "-cpu", "cortex-a53", str(aarch64_program), str(tmp_path / "m.mnk")]
    images = pictures()[:2]
    done = _run(*program, "", input=images.tobytes())
    got = np.frombuffer(done.stdout, np.float32).reshape(-1, 10)
    np.testing.assert_array_equal(got, reference.logits(graphs("nano")[1], images))
    forced = subprocess.run([*program, "neon-dot"], input=b"", capture_output=True, check=False)
    assert forced.returncode == 1
    assert b"this CPU lacks" in forced.stderr
