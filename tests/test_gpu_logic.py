"""The logic of the TensorRT wrapper, on a pretended GPU. That it works on a real one is what
``tests/gpu`` shows, where there is one.
"""

from __future__ import annotations

import gc
import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_gpu import CLASSES, VERSION, FakeMemory, World, digits_of, fake_tensorrt
from mnistkit.backends import process
from mnistkit.backends.trt import memory, predictor
from mnistkit.backends.trt.predictor import TensorRtPredictor
from mnistkit.common.errors import ArtifactError, CheckError, InputError, MissingError, UsageError
from mnistkit.tensorrt import probe
from mnistkit.tensorrt.flavor import Flavor
from mnistkit.tensorrt.plan import PlanInfo

PLAN = b"a plan, as far as the fake goes"
INFO = PlanInfo(
    precision="int8",
    flavor="tensorrt",
    version=VERSION,
    gpu_arch="9.0",
    gpu="Fake",
    sha256=hashlib.sha256(PLAN).hexdigest(),
    size=len(PLAN),
    onnx={"name": "model-int8.onnx", "sha256": ""},
    profile={"min": 2, "opt": 4, "max": 8},
    inputs=(),
    outputs=(),
    layers=(),
    engine_layers=None,
    build_seconds=0.0,
    reproducible=False,
    mnistkit="0",
)


class Fixture:
    """A world, a plan on disk, and a way to load it."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.plan, self.graphs = World(), path, True
        self.world.plans[PLAN] = (2, 8)
        path.write_bytes(PLAN)
        gpu = probe.Gpu(0, "Fake", "9.0", 1)
        monkeypatch.setattr(probe, "_examine", lambda: probe.Driver("13.0", (gpu,)))
        monkeypatch.setattr(
            predictor, "open_memory", lambda device, name: FakeMemory(self.world, self.graphs)
        )
        self.trt = fake_tensorrt(self.world)
        monkeypatch.setattr(Flavor, "load", lambda flavor: self.trt)

    def load(self, info: PlanInfo = INFO, *, graphs: bool = True) -> TensorRtPredictor:
        flavor = Flavor("tensorrt", "TensorRT", "tensorrt-cu13", "trt")
        return TensorRtPredictor(self.plan, info, flavor, graphs=graphs)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fixture]:
    made = Fixture(tmp_path / "model-int8-sm90-trt11.engine", monkeypatch)
    yield made
    gc.collect()
    assert made.world.live == set(), "not everything was given back"
    assert made.world.contexts == []


def images(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 28, 28)).astype(np.uint8)


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 16, 17, 50])
def test_batches_of_any_size(fake: Fixture, count: int, graphs: bool) -> None:
    fake.graphs = graphs
    with fake.load() as predictor:
        for seed in range(4):  # plain, recorded, replayed, replayed
            batch = images(count, seed)
            got = predictor.logits(batch)
            assert got.dtype == np.float32
            assert np.array_equal(got, digits_of(batch))


def test_results_are_copies(fake: Fixture) -> None:
    with fake.load() as predictor:
        first = predictor.logits(images(4, 1))
        kept = first.copy()
        predictor.logits(images(4, 2))
        assert np.array_equal(first, kept)


def test_a_size_is_recorded_the_second_time_and_replayed_after(fake: Fixture) -> None:
    with fake.load() as predictor:
        batch = images(4)
        predictor.logits(batch)
        assert predictor.graph_sizes == ()
        predictor.logits(batch)
        assert predictor.graph_sizes == (4,)
        # The context of the graph ran once, and was waited for, before it was recorded.
        log = fake.world.log
        at = log.index("begin capture")
        assert log[at - 4 : at] == ["upload", "execute", "download", "synchronize"]
        before = len(log)
        assert np.array_equal(predictor.logits(images(4, 9)), digits_of(images(4, 9)))
        assert log[before:] == ["push", "launch", "synchronize"]


def test_only_so_many_sizes_are_recorded(fake: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnistkit.backends.trt.slot.GRAPH_SIZES", 2)
    with fake.load() as predictor:
        for count in (3, 4, 5, 6) * 3:
            assert np.array_equal(predictor.logits(images(count)), digits_of(images(count)))
        assert predictor.graph_sizes == (3, 4)


def test_without_graphs_nothing_is_recorded(fake: Fixture) -> None:
    with fake.load(graphs=False) as predictor:
        for _ in range(4):
            predictor.logits(images(4))
        predictor.bind(images(4))()
    assert "begin capture" not in fake.world.log


def test_a_context_that_cannot_be_recorded_runs_plain(fake: Fixture) -> None:
    original = fake.trt.Runtime.deserialize_cuda_engine

    def deserialize(runtime: Any, plan: bytes) -> Any:
        engine = original(runtime, plan)
        make = engine.create_execution_context

        def create() -> Any:
            context = make()
            context.is_stream_capturable = lambda handle: False
            return context

        engine.create_execution_context = create
        return engine

    fake.trt.Runtime.deserialize_cuda_engine = deserialize
    with fake.load() as predictor:
        for _ in range(3):
            assert np.array_equal(predictor.logits(images(4)), digits_of(images(4)))
        predictor.bind(images(4))()
        assert predictor.graph_sizes == ()
    del fake.trt.Runtime.deserialize_cuda_engine


@pytest.mark.parametrize("sizes", [[1], [8, 8, 8, 8, 8], [3, 8, 1, 5], []])
def test_a_stream_of_batches_keeps_order(fake: Fixture, sizes: list[int]) -> None:
    batches = [images(count, seed) for seed, count in enumerate(sizes)]
    with fake.load() as predictor:
        results = list(predictor.logits_stream(iter(batches)))
    assert len(results) == len(batches)
    for batch, result in zip(batches, results, strict=True):
        assert np.array_equal(result, digits_of(batch))


def test_a_stream_has_two_batches_under_way(fake: Fixture) -> None:
    with fake.load(graphs=False) as predictor:
        taken = []

        def source() -> Iterator[Any]:
            for seed in range(5):
                taken.append(seed)
                yield images(8, seed)

        stream = predictor.logits_stream(source())
        next(stream)
        assert taken == [0, 1, 2]  # two are queued while the first is given out
        assert len(list(stream)) == 4


def test_a_stream_left_alone_blocks_other_calls_until_it_is_closed(fake: Fixture) -> None:
    with fake.load() as predictor:
        stream = predictor.logits_stream(images(4, seed) for seed in range(9))
        next(stream)
        with pytest.raises(UsageError, match="stream of batches is under way"):
            predictor.logits(images(4))
        with pytest.raises(UsageError, match="stream of batches is under way"):
            predictor.bind(images(4))
        stream.close()
        assert np.array_equal(predictor.logits(images(4)), digits_of(images(4)))


def test_closing_with_a_batch_under_way_waits_for_it(fake: Fixture) -> None:
    predictor = fake.load()
    stream = predictor.logits_stream(images(4, seed) for seed in range(9))
    next(stream)
    predictor.close()
    stream.close()


@pytest.mark.parametrize("count", [0, 9])
def test_a_stream_refuses_batches_that_do_not_fit(fake: Fixture, count: int) -> None:
    with fake.load() as predictor, pytest.raises(UsageError, match="wanted 1 to 8"):
        list(predictor.logits_stream([images(count)]))


def test_other_input_is_refused(fake: Fixture) -> None:
    with fake.load() as predictor:
        with pytest.raises(InputError, match="float32"):
            predictor.logits(images(2).astype(np.float32))
        with pytest.raises(InputError, match="got shape"):
            list(predictor.logits_stream([images(2)[:, 0]]))
        with pytest.raises(UsageError, match="at least one image"):
            predictor.bind(images(0))


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("count", [1, 8, 20])
def test_a_bound_call_runs_the_engine_alone(fake: Fixture, count: int, graphs: bool) -> None:
    fake.graphs = graphs
    with fake.load() as predictor:
        run = predictor.bind(images(count))
        before = len(fake.world.log)
        left = run()
        done = fake.world.log[before:]
        assert "upload" not in done
        assert "download" not in done
        assert done.count("launch" if graphs else "execute") == (1 if graphs else -(-count // 8))
        assert np.array_equal(predictor.bound_logits(left), digits_of(images(count)))
        assert np.array_equal(predictor.logits(images(3)), digits_of(images(3)))


def test_another_thread_is_refused(fake: Fixture) -> None:
    with fake.load() as predictor:
        run = predictor.bind(images(2))
        caught: list[BaseException] = []

        def elsewhere() -> None:
            for call in (lambda: predictor.logits(images(2)), run, predictor.close):
                try:
                    call()
                except UsageError as error:
                    caught.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert len(caught) == 3
        assert all("load one in each thread" in " ".join(str(e).split()) for e in caught)
        assert np.array_equal(predictor.logits(images(2)), digits_of(images(2)))


def test_a_forked_process_is_refused(fake: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA does not work there: no call reaches it, and closing gives nothing back."""
    loaded = fake.load()
    run, stream = loaded.bind(images(2)), loaded.logits_stream([images(2)])
    before, live = len(fake.world.log), set(fake.world.live)
    with monkeypatch.context() as child:
        child.setattr(process, "here", process.Process(-1))
        for call in (lambda: loaded.logits(images(2)), run, lambda: list(stream)):
            with pytest.raises(UsageError, match="this predictor was loaded by process"):
                call()
        loaded.close()
        assert fake.world.log[before:] == []
        assert fake.world.live == live
    loaded._closed = False  # the parent knows nothing of the child's
    assert np.array_equal(loaded.logits(images(2)), digits_of(images(2)))
    del run, call
    loaded.close()
    assert fake.world.live == set()


def test_each_thread_has_a_predictor_of_its_own(fake: Fixture) -> None:
    results: dict[int, bool] = {}

    def work(seed: int) -> None:
        with fake.load() as predictor:
            batch = images(20, seed)
            results[seed] = np.array_equal(predictor.logits(batch), digits_of(batch))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(4), True)


def test_closing_goes_from_buffers_to_the_device(fake: Fixture) -> None:
    predictor = fake.load()
    for _ in range(2):
        predictor.logits(images(4))
    predictor.bind(images(4))
    before = len(fake.world.log)
    predictor.close()
    done = fake.world.log[before:]
    assert done[0] == "push"
    assert done[-1] == "release"
    assert {"close graph", "close stream", "close buffer", "close pinned"} <= set(done)
    assert fake.world.live == set()
    predictor.close()
    with pytest.raises(UsageError, match="is closed"):
        predictor.logits(images(1))


def test_the_engine_goes_after_its_contexts_and_before_its_runtime(
    fake: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    drop = World.drop

    def noted(world: World, kind: str, handle: int) -> None:
        order.append(kind)
        drop(world, kind, handle)

    monkeypatch.setattr(World, "drop", noted)
    fake.load().close()
    assert order[-3:] == ["engine", "runtime", "primary"]
    assert order.index("engine") > max(i for i, kind in enumerate(order) if kind == "context")
    assert order.index("context") > order.index("pinned")


STEPS = (
    "retain",
    "push",
    "runtime",
    "deserialize",
    "create_execution_context",
    "buffer",
    "pinned",
    "stream",
)


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("step", STEPS)
def test_a_failure_while_loading_gives_everything_back(
    fake: Fixture, step: str, after: int
) -> None:
    if after and step in ("retain", "push", "runtime", "deserialize"):
        after = 0  # these happen once
    fake.world.fail[step] = after
    with pytest.raises(CheckError, match="pretended failure"):
        fake.load()
    gc.collect()
    assert fake.world.live == set()


RUN_STEPS = ("upload", "execute", "download", "synchronize", "begin capture", "end capture")


@pytest.mark.parametrize("step", RUN_STEPS)
def test_a_failure_while_running_is_raised_and_leaves_it_usable(fake: Fixture, step: str) -> None:
    with fake.load() as predictor:
        fake.world.fail[step] = 0
        with pytest.raises(CheckError, match="pretended failure"):
            list(map(predictor.logits, [images(4)] * 3))
        fake.world.fail.clear()
        for seed in range(3):
            batch = images(4, seed)
            assert np.array_equal(predictor.logits(batch), digits_of(batch))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("set_tensor_address", "refuses the address of input"),
        ("create_execution_context", "makes no execution context"),
        ("dtype", "wanted uint8 input"),
    ],
)
def test_what_tensorrt_refuses_while_loading_is_an_error(
    fake: Fixture, method: str, message: str
) -> None:
    fake.world.refuse.add(method)
    with pytest.raises((CheckError, ArtifactError), match=message):
        fake.load()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("set_input_shape", "refuses a batch of 4"),
        ("infer_shapes", "cannot tell the shape of input"),
        ("get_tensor_shape", "gives logits the shape"),
        ("execute_async_v3", "cannot queue a run"),
    ],
)
def test_what_tensorrt_refuses_while_running_is_an_error(
    fake: Fixture, method: str, message: str
) -> None:
    with fake.load() as predictor:
        fake.world.refuse.add(method)
        with pytest.raises(CheckError, match=message):
            predictor.logits(images(4))
        fake.world.refuse.clear()
        assert np.array_equal(predictor.logits(images(4)), digits_of(images(4)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "10.9.0.34"}, r"TensorRT version: the plan has 10\.9\.0\.34, this machine"),
        ({"gpu_arch": "8.9"}, r"GPU architecture: the plan has 8\.9, this machine has 9\.0"),
        ({"flavor": "tensorrt_rtx"}, "flavour: the plan has tensorrt_rtx"),
        ({"sha256": "0" * 64}, "altered after the build"),
        ({"size": 3}, "truncated or altered"),
        ({"profile": {"min": 2, "opt": 4, "max": 16}}, "takes batches of 2 to 8"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(
    fake: Fixture, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        fake.load(replace(INFO, **change))
    assert "mnistkit build-engine" in str(caught.value)
    if "profile" not in change:
        assert "runtime" not in fake.world.log  # TensorRT has not seen it


def test_a_plan_that_tensorrt_cannot_read_is_refused_with_its_words(fake: Fixture) -> None:
    fake.world.plans.clear()
    with pytest.raises(ArtifactError, match=r"magic number does not match.*build-engine"):
        fake.load()


def test_the_fake_has_real_names_alone(tensorrt_names: set[str]) -> None:
    for cls in CLASSES:
        for name in vars(cls):
            if not name.startswith("_") and name != "world":
                assert f"{cls.__name__}.{name}" in tensorrt_names, name


# The choice of the memory's library.


def test_the_memory_that_was_named_is_used_or_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="wanted one of pycuda, cuda_bindings"):
        memory.open_memory(0, "cupy")
    monkeypatch.setattr(memory, "find_spec", lambda name: None)
    assert "pip install pycuda" in str(memory.missing())
    with pytest.raises(MissingError, match="pip install pycuda"):
        memory.open_memory(0)
    with pytest.raises(MissingError, match="pycuda is not installed"):
        memory.open_memory(0, "pycuda")
    monkeypatch.setenv(memory.VARIABLE, "cuda_bindings")
    with pytest.raises(MissingError, match="cuda-bindings is not installed"):
        memory.open_memory(0)


# A machine without a driver.

WITHOUT_DRIVER = """
import sys
from mnistkit import backends
from mnistkit.common.errors import MissingError
from mnistkit.backends.trt import memory, predictor
from mnistkit.tensorrt import plan, probe
for name in ("tensorrt", "tensorrt_rtx"):
    backend = backends.get(name)
    assert "driver" in backend.available(), backend.available()
    for call in (lambda: backends.require(name), lambda: backend.load(None, "int8", "cuda")):
        try:
            call()
        except MissingError as error:
            assert "driver" in str(error), error
        else:
            raise SystemExit("no error")
assert not {"tensorrt", "tensorrt_rtx", "pycuda.driver", "torch"} & set(sys.modules)
"""


@pytest.mark.skipif(probe.missing() is None, reason="there is a GPU here")
def test_without_a_driver_everything_ends_cleanly() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DRIVER], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(probe.missing() is None, reason="there is a GPU here")
def test_real_cuda_bindings_without_a_driver_is_a_clean_error() -> None:
    pytest.importorskip("cuda.bindings", reason="cuda-bindings is not installed")
    script = (
        "from mnistkit.common.errors import MnistkitError\n"
        "from mnistkit.backends.trt import memory\n"
        "try: memory.open_memory(0, 'cuda_bindings')\n"
        "except MnistkitError as error: print('CLEAN', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("CLEAN"), done.stdout
