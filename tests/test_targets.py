"""Other processors under emulation: the C export on a Cortex-M4, the engine on aarch64 and on older
x86-64 processors, both on s390x, which is big-endian, and on riscv64, which has no vectors here.

Each test is skipped, with the package that it misses, where a tool is not installed.
"""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from engine_nets import (
    c_defines,
    graphs,
    parse_logits,
    pictures,
    shifted,
    tied,
    write_digits,
)
from mnistkit.data.sets import ImageSet
from mnistkit.export import c, native
from mnistkit.export.writer import reference_logits
from mnistkit.quantization import reference
from mnistkit.quantization.store import of_source
from mnistkit.runs.source import resolve
from target_programs import (
    AARCH64,
    TARGETS,
    cortex_m4_program,
    engine_program,
    execute,
    need,
    run_cortex_m4,
    system,
)


@pytest.mark.parametrize(
    ("name", "flash", "ram"), [("nano", 20_000, 12_000), ("small", 40_000, 12_000)]
)
def test_cortex_m4(tmp_path: Path, name: str, flash: int, ram: int) -> None:
    """The bits of the reference, within the budget of flash and RAM."""
    graph, images = graphs(name)[1], shifted(200)
    program, model = cortex_m4_program(graph, images, tmp_path, "-DCOUNT_INSTRUCTIONS")
    text = run_cortex_m4(program, "-icount", "shift=0")
    np.testing.assert_array_equal(parse_logits(text), reference.logits(graph, images))

    sizes = execute("arm-none-eabi-size", model).stdout.decode().split("\n")[1].split()
    used = [int(line.split("\t")[1]) for line in (tmp_path / "model.su").read_text().splitlines()]
    scratch = int(c_defines(graph, "int8")[1].split("=")[1])
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
    need((AARCH64, "g++-aarch64-linux-gnu"), ("qemu-aarch64", "qemu-user"), ("cmake", "cmake"))
    return engine_program(tmp_path_factory.mktemp("aarch64"), AARCH64, *system("aarch64"))


@pytest.mark.parametrize("kernels", ["neon-dot", "neon", "vector128", "portable"])
@pytest.mark.parametrize("name", ["base", "small", "nano", "ref-18738", "ref-10066"])
def test_aarch64(aarch64_program: Path, tmp_path: Path, name: str, kernels: str) -> None:
    graph, int8 = graphs(name)
    images = shifted(60 if kernels == "portable" else 200)
    (tmp_path / "int8.mnk").write_bytes(native.render(int8, "int8"))
    wanted = reference.logits(int8, images)
    for count in (1, len(images)):
        program = ["qemu-aarch64", "-cpu", "max", aarch64_program]
        done = execute(*program, tmp_path / "int8.mnk", kernels, input=images[:count].tobytes())
        got = np.frombuffer(done.stdout, np.float32).reshape(-1, 10)
        np.testing.assert_array_equal(got, wanted[:count])
    (tmp_path / "fp32.mnk").write_bytes(native.render(graph, "fp32"))
    done = execute(*program, tmp_path / "fp32.mnk", kernels, input=images[:3].tobytes())
    got = np.frombuffer(done.stdout, np.float32).reshape(-1, 10)
    np.testing.assert_allclose(got, reference_logits(graph, images[:3]), rtol=1e-5, atol=1e-5)


def test_aarch64_without_dot_product(aarch64_program: Path, tmp_path: Path) -> None:
    """A core that lacks the instructions runs plain NEON, and refuses them."""
    (tmp_path / "m.mnk").write_bytes(native.render(graphs("nano")[1], "int8"))
    program = ["qemu-aarch64", "-cpu", "cortex-a53", str(aarch64_program), str(tmp_path / "m.mnk")]
    images = pictures()[:2]
    done = execute(*program, "", input=images.tobytes())
    got = np.frombuffer(done.stdout, np.float32).reshape(-1, 10)
    np.testing.assert_array_equal(got, reference.logits(graphs("nano")[1], images))
    forced = subprocess.run([*program, "neon-dot"], input=b"", capture_output=True, check=False)
    assert forced.returncode == 1
    assert b"this CPU lacks" in forced.stderr


# ---- Machines of another byte order, and without vectors ---------------------------------------


@dataclass(frozen=True)
class Machine:
    processor: str
    cpu: str
    order: str  # of its bytes, as numpy writes it
    chosen: str  # the kernels that it runs by itself

    def tool(self, name: str) -> str:
        return f"{self.processor}-linux-gnu-{name}"

    def need(self, tool: str) -> None:
        package = f"g++-{self.processor}-linux-gnu"
        emulator = (f"qemu-{self.processor}", "qemu-user")
        need((self.tool(tool), package), emulator, ("cmake", "cmake"))


MACHINES = {
    # Without -march=z13 there are no vectors on s390x; with it, the compiler uses them.
    "s390x": Machine("s390x", "max", ">", "portable"),
    "s390x vectors": Machine("s390x", "max", ">", "vector128"),
    "riscv64": Machine("riscv64", "rv64", "<", "portable"),
}


@pytest.fixture(scope="module", params=MACHINES)
def machine_program(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Machine, Path]:
    machine = MACHINES[request.param]
    machine.need("g++")
    vectors = ["-DCMAKE_CXX_FLAGS=-march=z14"] if "vectors" in request.param else []
    tree, options = tmp_path_factory.mktemp(machine.processor), system(machine.processor)
    return machine, engine_program(tree, machine.tool("g++"), *options, *vectors)


@pytest.mark.parametrize("name", ["base", "nano", "grouped", "depthwise", "strided"])
def test_engine_elsewhere(machine_program: tuple[Machine, Path], tmp_path: Path, name: str) -> None:
    """Big-endian or without vectors: the reference's bits, whichever kernels are asked for."""
    machine, program = machine_program
    graph, int8 = graphs(name)[0], tied(name)
    (tmp_path / "int8.mnk").write_bytes(native.render(int8, "int8"))
    (tmp_path / "fp32.mnk").write_bytes(native.render(graph, "fp32"))
    images = shifted(200)
    wanted, real = reference.logits(int8, images), reference_logits(graph, images[:3])
    for kernels, count in (("", 200), ("vector128", 200), ("portable", 200), ("reference", 20)):
        command = [f"qemu-{machine.processor}", "-cpu", machine.cpu, program]
        done = execute(*command, tmp_path / "int8.mnk", kernels, input=images[:count].tobytes())
        assert done.stderr.decode() == f"kernels {kernels or machine.chosen}\n"
        got = np.frombuffer(done.stdout, f"{machine.order}f4").reshape(-1, 10)
        np.testing.assert_array_equal(got, wanted[:count])
        done = execute(*command, tmp_path / "fp32.mnk", kernels, input=images[:3].tobytes())
        got = np.frombuffer(done.stdout, f"{machine.order}f4").reshape(-1, 10)
        np.testing.assert_allclose(got, real, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("machine", [MACHINES["s390x"], MACHINES["riscv64"]])
@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("name", ["base", "nano", "grouped"])
def test_c_export_elsewhere(tmp_path: Path, machine: Machine, name: str, precision: str) -> None:
    machine.need("gcc")
    graph, images = graphs(name)[precision == "int8"], shifted(60)
    (tmp_path / "model.c").write_bytes(c.render(graph, precision))
    write_digits(tmp_path, images)
    sources = [tmp_path / "model.c", TARGETS / "c_digits.c", "-I", tmp_path]
    options = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-static"]
    program, defines = tmp_path / "digits", c_defines(graph, precision)
    execute(machine.tool("gcc"), *options, *defines, *sources, "-o", program)
    got = parse_logits(execute(f"qemu-{machine.processor}", program).stdout.decode())
    if precision == "int8":
        np.testing.assert_array_equal(got, reference.logits(graphs(name)[1], images))
    else:
        wanted = reference_logits(graphs(name)[0], images)
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


# ---- Older processors of the build machine's own kind ------------------------------------------


@pytest.fixture(scope="module")
def x86_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if platform.machine() != "x86_64":
        pytest.skip("not an x86-64 machine")
    need(("g++", "g++"), ("qemu-x86_64", "qemu-user"), ("cmake", "cmake"))
    return engine_program(tmp_path_factory.mktemp("x86"), "g++")


@pytest.mark.parametrize(
    ("cpu", "chosen"),
    [
        ("Haswell", "avx2"),
        ("Nehalem", "sse4.1"),
        ("Penryn", "sse4.1"),
        ("core2duo", "vector128"),
        ("qemu64,-ssse3,-sse4a", "vector128"),
    ],
)
@pytest.mark.parametrize("name", ["base", "nano"])
def test_older_x86(
    x86_program: Path, tmp_path: Path, mnist_test: ImageSet, name: str, cpu: str, chosen: str
) -> None:
    """The shipped nets on real digits: the choice, its bits, and no instruction that it lacks."""
    deploy, int8 = resolve(name).graph(), of_source(resolve(name))[0]
    images = mnist_test.images[:250].numpy()
    (tmp_path / "int8.mnk").write_bytes(native.render(int8, "int8"))
    (tmp_path / "fp32.mnk").write_bytes(native.render(deploy, "fp32"))
    command = ["qemu-x86_64", "-cpu", cpu, x86_program]
    for kernels in ("", "portable"):
        done = execute(*command, tmp_path / "int8.mnk", kernels, input=images.tobytes())
        assert done.stderr.decode().splitlines()[-1] == f"kernels {kernels or chosen}"
        got = np.frombuffer(done.stdout, np.float32).reshape(-1, 10)
        np.testing.assert_array_equal(got, reference.logits(int8, images))
    done = execute(*command, tmp_path / "fp32.mnk", "", input=images[:20].tobytes())
    got = np.frombuffer(done.stdout, np.float32).reshape(-1, 10)
    np.testing.assert_allclose(got, reference_logits(deploy, images[:20]), rtol=1e-4, atol=1e-4)
    forced = subprocess.run(
        [*command, tmp_path / "int8.mnk", "avx512-vnni"],
        input=b"",
        capture_output=True,
        check=False,
    )
    assert forced.returncode == 1
    assert b"this CPU lacks" in forced.stderr
