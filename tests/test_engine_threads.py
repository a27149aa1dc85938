"""The engine on several threads: the bits of one, whoever lends them, and clear refusals."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import mnistkit
import numpy as np
import pytest
from cpp_build import BUILD, ROOT, build, run, tool
from engine_nets import Array, mnk, pictures
from mnistkit import backends
from mnistkit.artifact.folder import Artifact
from mnistkit.backends.engine import EngineApi, EnginePredictor
from mnistkit.common.errors import MissingError, UsageError
from mnistkit.common.threads import MAX_THREADS, usable_cores
from mnistkit.measure import latency as bench
from mnistkit.measure.roofline import Roofline
from mnistkit.native.library import ENGINE

SIZES = (0, 1, 15, 17, 255, 257, 1000)
HEADER = ROOT / "cpp" / "include" / "mnistkit" / "engine.h"
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc and fork as Linux has them")


def _images(count: int) -> Array:
    return np.ascontiguousarray(np.resize(pictures(), (count, 1, 28, 28)))


def _threads_of_this_process() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("name", ["nano", "grouped"])
def test_same_bits(api: EngineApi, name: str, precision: str) -> None:
    data = mnk(name, precision)
    for kernels in (one.name for one in api.kernels() if one.supported):
        slow = kernels in ("portable", "reference")
        sizes = (0, 1, 15, 17, 33) if slow else SIZES
        with api.open_bytes(data, kernels) as alone:
            wanted = alone.logits(_images(max(sizes)))
            for threads in (2, 5):
                with api.open_bytes(data, kernels, threads) as predictor:
                    assert predictor.threads == threads
                    for count in sizes:
                        images = _images(count)
                        # What one thread gives for this size: fp32's last images go another way.
                        expected = wanted if count == len(wanted) else alone.logits(images)
                        got = predictor.logits(images)
                        assert got.tobytes() == expected.tobytes(), (kernels, threads, count)


def test_the_bound_call(api: EngineApi) -> None:
    """It uses the pool, again and again, and after other sizes."""
    with (
        api.open_bytes(mnk("nano", "int8")) as alone,
        api.open_bytes(mnk("nano", "int8"), threads=3) as predictor,
    ):
        wanted = alone.logits(_images(300))
        call = predictor.bind(_images(300))
        for count in (300, 40, 1, 300):
            for _ in range(30):
                np.testing.assert_array_equal(predictor.logits(_images(count)), wanted[:count])
                np.testing.assert_array_equal(call(), wanted)


@on_linux
def test_threads_are_there_and_end(api: EngineApi) -> None:
    before = _threads_of_this_process()
    predictor = api.open_bytes(mnk("nano", "int8"), threads=4)
    assert _threads_of_this_process() == before + 3
    predictor.logits(_images(100))
    predictor.close()
    predictor.close()
    assert _threads_of_this_process() == before
    with pytest.raises(UsageError, match="this predictor is closed; load it again"):
        predictor.logits(_images(100))
    forgotten = api.open_bytes(mnk("nano", "int8"), threads=4)
    assert _threads_of_this_process() == before + 3
    del forgotten
    assert _threads_of_this_process() == before
    with api.open_bytes(mnk("nano", "int8")), api.open_bytes(mnk("nano", "int8"), threads=1):
        assert _threads_of_this_process() == before  # none by default
    with api.open_bytes(mnk("nano", "int8"), threads=0) as every:
        assert every.threads == usable_cores()
        assert _threads_of_this_process() == before + usable_cores() - 1


@on_linux
def test_work_is_done_by_several_threads(api: EngineApi) -> None:
    """Each thread's own time on a core, as the system counts it."""

    def ticks() -> list[int]:
        found = []
        for task in Path("/proc/self/task").iterdir():
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            found.append(int(fields[11]) + int(fields[12]))  # 10 ms each, user and system
        return found

    with api.open_bytes(mnk("nano", "int8"), "portable", threads=3) as predictor:
        call = predictor.bind(_images(60))
        for _ in range(200):
            call()
            if sum(t > 2 for t in ticks()[-2:]) == 2:
                return
    pytest.fail("two of a pool's threads did no work in 200 runs")


@on_linux
def test_a_fork_is_refused_and_nothing_hangs(api: EngineApi, tmp_path: Path) -> None:
    (tmp_path / "model.mnk").write_bytes(mnk("nano", "int8"))
    code = f"""
import os, sys
import numpy as np
from pathlib import Path
from mnistkit.backends.engine import EngineApi
from mnistkit.common.errors import UsageError
api = EngineApi(Path({str(ENGINE.find())!r}))
predictor = api.open(Path({str(tmp_path / "model.mnk")!r}), threads=3)
images = np.zeros((200, 1, 28, 28), np.uint8)
wanted = predictor.logits(images)
bound = predictor.bind(images)
child = os.fork()
if child == 0:
    for call in (lambda: predictor.logits(images), lambda: predictor.logits(images[:1]), bound):
        try:
            call()
        except UsageError as error:
            print("refused:", error)
    import ctypes
    pool = ctypes.c_void_p(predictor._net.pool)
    try:
        api.check(api.run_parallel(predictor._handle, pool, *[images.ctypes.data] * 4, 1 << 20))
    except UsageError as error:
        print("refused:", error)
    predictor.close()
    again = api.open(Path({str(tmp_path / "model.mnk")!r}), threads=2)
    print("same:", (again.logits(images) == wanted).all())
    sys.stdout.flush()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert (predictor.logits(images) == wanted).all()
predictor.close()
print("parent goes on")
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("refused: this predictor was loaded by process") == 3, done.stdout
    assert done.stdout.count("refused: pool: it was made before a fork") == 1, done.stdout
    assert "same: True" in done.stdout
    assert "parent goes on" in done.stdout


@on_linux
def test_threads_that_the_system_does_not_give(api: EngineApi) -> None:
    """Address space for 1,000 stacks is not there: an error, and no thread is left."""
    code = f"""
import os, resource
from pathlib import Path
from mnistkit.backends.engine import EngineApi
from mnistkit.common.errors import MissingError
api = EngineApi(Path({str(ENGINE.find())!r}))
pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = pages + 20 * resource.getrlimit(resource.RLIMIT_STACK)[0]
before = len(os.listdir("/proc/self/task"))
resource.setrlimit(resource.RLIMIT_STACK, (1 << 23, resource.RLIM_INFINITY))
resource.setrlimit(resource.RLIMIT_AS, (pages + (20 << 23), resource.RLIM_INFINITY))
import ctypes
pool = ctypes.c_void_p()
try:
    api.check(api.pool_create(1000, pool))
except MissingError as error:
    print(error)
assert pool.value is None
assert len(os.listdir("/proc/self/task")) == before
api.check(api.pool_create(3, pool))
assert len(os.listdir("/proc/self/task")) == before + 2
api.pool_close(pool)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"threads: got 1000, and the system starts no more than \d+ ", done.stdout)


def test_callers_take_turns(api: EngineApi) -> None:
    """Two engines, with memory of their own, on one pool from four threads of Python."""
    import ctypes

    images, pool = _images(70), ctypes.c_void_p()
    api.check(api.pool_create(3, pool))
    names, failures = ("nano", "grouped"), []
    engines = [api.open_bytes(mnk(name, "int8")) for name in names]
    wanted = [engine.logits(images) for engine in engines]

    def work(index: int) -> None:
        handle = engines[index]._handle
        logits = np.empty((70, 10), np.float32)
        scratch = np.empty(api.parallel_scratch_size(handle, 70, 3), np.uint8)
        for _ in range(50):
            logits[:] = np.nan
            arguments = images.ctypes.data, 70, logits.ctypes.data, scratch.ctypes.data
            status = api.run_parallel(handle, pool, *arguments, scratch.size)
            if status or (logits != wanted[index]).any():
                failures.append(index)

    workers = [threading.Thread(target=work, args=(i % 2,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    api.pool_close(pool)
    assert not failures
    for engine in engines:
        engine.close()


# ---- Numbers of threads ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threads", "message"),
    [
        (-1, r"threads: got -1, wanted 0 to 1024"),
        (10_000, r"threads: got 10000, wanted 0 to 1024"),
        (MAX_THREADS + 1, "wanted 0 to 1024"),
        (1.5, r"threads: got 1\.5, wanted a whole number"),
        (True, "threads: got True, wanted a whole number"),
        ("2", "threads: got '2', wanted a whole number"),
    ],
)
def test_numbers_that_are_refused(artifact: Artifact, threads: int, message: str) -> None:
    for backend in backends.all_backends():
        precision = backend.precisions[0]
        with pytest.raises(UsageError, match=message):
            backend.load(artifact, precision, "cpu", threads)
    with pytest.raises(UsageError, match=message):
        mnistkit.load(artifact.path, "onnxruntime", threads=threads)


@pytest.mark.parametrize("command", ["verify", "bench", "train"])
@pytest.mark.parametrize("threads", ["-1", "10000"])
def test_the_command_line_refuses_them(command: str, threads: str) -> None:
    from mnistkit.cli.app import app
    from typer.testing import CliRunner

    told = CliRunner().invoke(app, [command, "--threads", threads])
    assert told.exit_code == 2
    text = re.sub(r"[\s│]+", " ", told.output)
    assert f"threads: got {threads}, wanted 0 to {MAX_THREADS}" in text


def test_the_engine_refuses_them(api: EngineApi) -> None:
    import ctypes

    for threads in (0, 10_000):
        pool = ctypes.c_void_p(1)
        with pytest.raises(UsageError, match=rf"threads: got {threads}, wanted 1 to 1024"):
            api.check(api.pool_create(threads, pool))
        assert pool.value is None
    limit = re.search(r"MNISTKIT_ENGINE_MAX_THREADS (\d+)", HEADER.read_text())
    assert limit
    assert int(limit[1]) == MAX_THREADS


@pytest.mark.parametrize("threads", [0, 1, 2, 3 * usable_cores()])
def test_bench_uses_them(artifact: Artifact, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """The rows say so, and a share of the peak is one of the cores that they can use."""
    if reason := backends.get("engine").available():
        pytest.skip(reason)
    opened = []
    init = EnginePredictor.__init__

    def spy(self: EnginePredictor, *arguments: object, **named: object) -> None:
        init(self, *arguments, **named)  # type: ignore[arg-type]
        opened.append(self.threads)

    monkeypatch.setattr(EnginePredictor, "__init__", spy)
    monkeypatch.setattr(Roofline, "peak", lambda self, precision: 1e9)
    figures = bench.bench(
        artifact,
        names=["engine"],
        precisions=["int8"],
        batch_sizes=(64,),
        duration=0.02,
        warmup=0.01,
        threads=threads,
        roofline=True,
    )
    assert max(opened) == threads or (threads == 0 and max(opened) == usable_cores())
    cores = min(threads or usable_cores(), usable_cores())
    for row in figures.rows:
        assert row.threads == threads
        work = artifact.manifest["multiply_adds"] * row.images_per_second
        assert row.share_of_peak == pytest.approx(work / 1e9 / cores)


# ---- The library -------------------------------------------------------------------------------


@on_linux
def test_what_the_library_exports_and_needs(api: EngineApi) -> None:
    library = ENGINE.find()
    assert library
    told = run(tool("nm"), "-D", "--defined-only", library)
    declared = set(re.findall(r"\b(mnistkit_engine_\w+)\(", HEADER.read_text()))
    assert {line.split()[2].partition("@")[0] for line in told.splitlines()} == declared
    assert {f"mnistkit_engine_pool_{what}" for what in ("create", "threads", "close")} <= declared
    needed = re.findall(r"NEEDED.*\[(.*)\]", run(tool("readelf"), "-d", library))
    assert "libc.so.6" in needed or any("musl" in name for name in needed)
    assert not [n for n in needed if "stdc++" in n or "gcc" in n or "c++" in n], needed


@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_sanitized(tmp_path: Path, sanitizer: str) -> None:
    """Pools, lent threads, callers at once and the C++ class; no race, no step outside."""
    options = [
        "-DMNISTKIT_BUILD_TESTS=ON",
        "-DMNISTKIT_BUILD_RUNNER=OFF",
        "-DMNISTKIT_BUILD_APPS=OFF",
        f"-DMNISTKIT_SANITIZE={sanitizer}",
        "-DCMAKE_BUILD_TYPE=None",
        "-DCMAKE_CXX_FLAGS=-O1 -g1",
    ]
    tree = build(ROOT, BUILD / f"engine-{sanitizer.partition(',')[0]}", options, ["engine_threads"])
    paths = []
    for precision in ("int8", "fp32"):
        paths.append(tmp_path / f"{precision}.mnk")
        paths[-1].write_bytes(mnk("nano", precision))
    assert "2 files, 0 failures" in run(next(tree.rglob("engine_threads")), *paths)


def test_a_build_without_threads(tmp_path: Path) -> None:
    """It compiles, takes one thread and says that it has no more."""
    off = [f"-DMNISTKIT_{part}=OFF" for part in ("BUILD_RUNNER", "BUILD_APPS", "INSTALL")]
    options = [*off, "-DMNISTKIT_ENGINE_THREADS=OFF", "-DMNISTKIT_WARNINGS_AS_ERRORS=ON"]
    tree = build(ROOT, BUILD / "engine-no-threads", options, ["mnistkit_engine"])
    library = next(tree.rglob(ENGINE.file))
    assert "pthread" not in run(tool("nm"), "-D", library)
    api = EngineApi(library)
    with pytest.raises(MissingError, match="threads: got 2, and this build of the engine has none"):
        api.open_bytes(mnk("nano", "int8"), threads=2)
    import ctypes

    pool, images = ctypes.c_void_p(), _images(40)
    api.check(api.pool_create(1, pool))
    with api.open_bytes(mnk("nano", "int8")) as predictor:
        logits = np.empty((40, 10), np.float32)
        scratch = np.empty(api.parallel_scratch_size(predictor._handle, 40, 1), np.uint8)
        arguments = images.ctypes.data, 40, logits.ctypes.data, scratch.ctypes.data, scratch.size
        api.check(api.run_parallel(predictor._handle, pool, *arguments))
        np.testing.assert_array_equal(logits, predictor.logits(images))
    api.pool_close(pool)
