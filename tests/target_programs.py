"""Programs for other machines, which run a net under an emulator and give its logits.

Each function skips the test, with the package that is missing, where a tool is not installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_nets import Array, c_defines, write_digits
from mnistkit.export import c
from mnistkit.native import source
from mnistkit.quantization.graph import Int8Graph

TARGETS = Path(__file__).parent / "targets"
AARCH64 = "aarch64-linux-gnu-g++"
_CORTEX_M4 = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
_NEEDS_A_CPU = ("avx2", "avx_vnni", "avx512_vnni", "sse41", "neon", "neon_dot")

# What the compiler of WebAssembly may use: its flags, and the kernels that then run, the chosen
# ones first.
WASM_LEVELS = {
    "scalar": ([], ["portable", "vector128"]),
    "simd": (["-msimd128"], ["wasm-simd", "vector128", "portable"]),
    "relaxed": (["-msimd128", "-mrelaxed-simd"], ["wasm-relaxed-simd", "wasm-simd"]),
}
WasmProgram = Callable[[bytes, str, Array], tuple[str, Array]]


def need(*tools: tuple[str, str]) -> None:
    for tool, package in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (Debian: apt-get install {package})")


def execute(*command: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    words = [str(word) for word in command]
    return subprocess.run(words, check=True, capture_output=True, timeout=300, **options)  # type: ignore[call-overload,no-any-return]


def engine_program(tree: Path, compiler: str, *options: str) -> Path:
    """tests/targets/engine_digits.cpp with the engine, linked statically, for another machine."""
    root = source.source_dir()
    off = [f"-DMNISTKIT_{part}=OFF" for part in ("BUILD_RUNNER", "BUILD_APPS", "INSTALL")]
    cross = [f"-DCMAKE_CXX_COMPILER={compiler}", "-DCMAKE_BUILD_TYPE=Release"]
    execute("cmake", "-S", root, "-B", tree, *cross, *options, *off)
    execute("cmake", "--build", tree, "--target", "mnistkit_engine_static")
    library, program = next(tree.rglob("libmnistkit_engine.a")), tree / "engine_digits"
    include = ["-std=c++20", "-O2", "-static", "-I", root / "cpp" / "include"]
    execute(compiler, *include, TARGETS / "engine_digits.cpp", library, "-o", program)
    return program


def system(processor: str) -> tuple[str, str]:
    return "-DCMAKE_SYSTEM_NAME=Linux", f"-DCMAKE_SYSTEM_PROCESSOR={processor}"


def cortex_m4_program(
    graph: Int8Graph, images: Array, folder: Path, *flags: str
) -> tuple[Path, Path]:
    """The C export of a net and the images that it runs, linked; and the net's object file."""
    need(
        ("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi"),
        ("qemu-system-arm", "qemu-system-arm"),
    )
    (folder / "model.c").write_bytes(c.render(graph, "int8"))
    write_digits(folder, images)
    model, program = folder / "model.o", folder / "digits.elf"
    compiler = ["arm-none-eabi-gcc", *_CORTEX_M4, "-std=c99", "-O2", "-Wall", "-Wextra", "-Werror"]
    execute(*compiler, "-fstack-usage", "-c", folder / "model.c", "-o", model)
    sources = [TARGETS / "cortex_m4_start.c", TARGETS / "c_digits.c", model]
    link = ["--specs=rdimon.specs", "-nostartfiles", f"-T{TARGETS / 'cortex_m4.ld'}"]
    defines = [*flags, *c_defines(graph, "int8")]
    execute(*compiler, "-I", folder, *defines, *link, *sources, "-o", program)
    return program, model


def run_cortex_m4(program: Path, *options: str) -> str:
    """What a program prints on an emulated Cortex-M4."""
    machine = ["-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none"]
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    done = execute("qemu-system-arm", *machine, *options, *semihosting, "-kernel", program)
    return done.stdout.decode()


def _zig(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "ziglang", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr


def wasm_module(level: str, folder: Path) -> Path:
    """tests/targets/engine_digits.cpp with the engine, as WebAssembly of that level."""
    pytest.importorskip("ziglang")
    root, flags = source.source_dir() / "cpp", WASM_LEVELS[level][0]
    sources = [TARGETS / "engine_digits.cpp", *(root / "engine").rglob("*.cpp")]
    common = ["-target", "wasm32-wasi", "-std=c++20", "-O2", "-ffp-contract=off"]
    common += ["-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra", "-Werror"]
    objects = []
    for file in (one for one in sources if one.stem not in _NEEDS_A_CPU):
        objects.append(folder / f"{file.stem}.o")
        include = ["-I", root / "include", "-c", file, "-o", objects[-1]]
        _zig("c++", *common, *flags, *include)
    module = folder / "digits.wasm"
    _zig("cc", "-target", "wasm32-wasi", "-s", *objects, "-o", module)
    return module


def wasm_program(module: Path, folder: Path, config: Any = None) -> WasmProgram:
    """A function (net, kernels, images) -> (the kernels that ran, the logits)."""
    wasmtime = pytest.importorskip("wasmtime")
    engine = wasmtime.Engine(config) if config else wasmtime.Engine()
    compiled = wasmtime.Module.from_file(engine, str(module))

    def run(net: bytes, kernels: str, images: Array) -> tuple[str, Array]:
        (folder / "net.mnk").write_bytes(net)
        (folder / "images").write_bytes(images.tobytes())
        wasi, store = wasmtime.WasiConfig(), wasmtime.Store(engine)
        linker = wasmtime.Linker(engine)
        wasi.argv = ["digits", "/net.mnk", kernels]
        wasi.preopen_dir(str(folder), "/")
        wasi.stdin_file = str(folder / "images")
        wasi.stdout_file, wasi.stderr_file = str(folder / "logits"), str(folder / "text")
        store.set_wasi(wasi)
        linker.define_wasi()
        instance = linker.instantiate(store, compiled)
        try:
            instance.exports(store)["_start"](store)
        except wasmtime.ExitTrap as end:
            if end.code:
                pytest.fail((folder / "text").read_text())
        logits = np.frombuffer((folder / "logits").read_bytes(), np.float32).reshape(-1, 10)
        return (folder / "text").read_text().removeprefix("kernels ").strip(), logits

    return run
