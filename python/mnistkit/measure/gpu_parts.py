"""What is checked on a machine with a GPU, part by part; ``check`` runs them.

A part returns its figures. It raises :class:`MissingError` where a library or the GPU is not
there, and :class:`CheckError` where something is wrong.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mnistkit import backends
from mnistkit.artifact.folder import Artifact
from mnistkit.backends.base import Predictor
from mnistkit.backends.tolerances import CUDA
from mnistkit.backends.trt.memory import Memory, open_memory
from mnistkit.backends.trt.predictor import TensorRtPredictor
from mnistkit.common.errors import CheckError, MissingError, UsageError
from mnistkit.common.images import Logits
from mnistkit.data.sets import ImageSet
from mnistkit.measure.parity import run_all, verify
from mnistkit.measure.rows import VerifyRow
from mnistkit.tensorrt import flavor as flavors
from mnistkit.tensorrt import probe

Figures = dict[str, Any]
Part = Callable[["Setup"], Figures]
ON_CUDA = ("eager", "torchscript", "onnxruntime", "libtorch")


class Setup:
    """What the parts share: the artifact folder with its plans, and the test images."""

    def __init__(self, artifact: Path, digits: ImageSet, not_built: dict[str, str]) -> None:
        self.path, self.digits, self.not_built = artifact, digits, not_built
        self.images = digits.images.numpy()

    @property
    def artifact(self) -> Artifact:
        """The folder as it is now."""
        return Artifact.open(self.path)

    def precisions(self, flavor: str) -> list[str]:
        """The precisions that have a plan of that flavour; :class:`MissingError` without one."""
        backends.require(flavor)
        found = [e.precision for e in self.artifact.files if e.format == flavor]
        if not found:
            raise MissingError(self.not_built.get(flavor, f"no plan was built with {flavor}"))
        return sorted(set(found))

    def load(self, flavor: str, precision: str, **options: Any) -> TensorRtPredictor:
        """A predictor with options of its own."""
        from mnistkit.backends.trt.backend import TensorRtBackend

        backend = backends.require(flavor)
        assert isinstance(backend, TensorRtBackend)
        trt = flavors.get(flavor).load()
        plan, info = backend.find(self.artifact, precision, trt.__version__, probe.gpu().arch)
        return TensorRtPredictor(plan, info, flavors.get(flavor), **options)


def driver(setup: Setup) -> Figures:
    """The driver and its devices."""
    found = probe.driver()
    return {"version": found.version, "gpus": [vars(gpu) for gpu in found.gpus]}


def cuda_against_cpu(names: tuple[str, ...], setup: Setup) -> Figures:
    """Every test image on CUDA through each backend, compared with the references on the CPU."""
    probe.driver()
    rows: list[VerifyRow] = []
    missing: dict[str, str] = {}
    for name in names:
        try:
            # One at a time: a library without CUDA must not hide the others.
            report = verify(setup.artifact, setup.digits, names=[name], device="cuda")
        except MissingError as error:
            missing[name] = str(error)
            continue
        for row in report.rows:
            if row.status == "unavailable":
                missing[name] = str(row.reason)
            else:
                rows.append(row)
    if failed := [row for row in rows if row.status == "failed"]:
        raise CheckError("; ".join(f"{row.name}: {row.reason}" for row in failed))
    if not rows:
        raise MissingError("; ".join(missing.values()))
    figures = [{k: v for k, v in row.to_json().items() if k != "differing"} for row in rows]
    return {"dataset": setup.digits.name, "rows": figures, "missing": missing}


def memory_beside_torch(name: str, setup: Setup) -> Figures:
    """Contexts, pinned copies and streams beside PyTorch, without TensorRT."""
    probe.driver()
    opened = open_memory(0, name)
    try:
        torch = _torch()
        before = _torch_result(torch)
        with opened.current():
            _round_trips(opened, 16 << 20)
        _same(_torch_result(torch), before, "PyTorch's result after the memory's use")
        with opened.current():
            _same(_torch_result(torch), before, "PyTorch's result inside the pushed context")
    finally:
        opened.close()
    _same(_torch_result(torch), before, "PyTorch's result after the memory was closed")
    again = open_memory(0, name)
    try:
        with again.current():
            _round_trips(again, 1 << 20)
    finally:
        again.close()
    return {"graphs": opened.graphs, "bytes": 16 << 20}


def _round_trips(memory: Memory, nbytes: int) -> None:
    """Copy through the device on two streams at once and compare."""
    made: list[Any] = []

    def keep(it: Any) -> Any:
        made.append(it)
        return it

    lanes: list[Any] = []
    try:
        for seed in range(2):
            stream, buffer = keep(memory.stream()), keep(memory.buffer(nbytes))
            sent, back = keep(memory.pinned(nbytes)), keep(memory.pinned(nbytes))
            sent.array[:] = np.random.default_rng(seed).integers(0, 256, nbytes, np.uint8)
            back.array[:] = 0
            lanes.append((stream, buffer, sent, back))
        for stream, buffer, sent, back in lanes:
            memory.upload(buffer, sent, nbytes, stream)
            memory.download(back, buffer, nbytes, stream)
        for stream, _, sent, back in lanes:
            stream.synchronize()
            if not np.array_equal(sent.array, back.array):
                raise CheckError(f"{memory.name}: bytes changed on the way to the device and back")
    finally:
        for stream, *_ in lanes:
            stream.synchronize()  # nothing is freed while it is copied
        while made:
            made.pop().close()


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingError(f"PyTorch is not installed: {error}") from error
    if not torch.cuda.is_available():
        raise MissingError("this PyTorch has no CUDA device; install a build with CUDA")
    return torch


def _torch_result(torch: Any) -> Any:
    values = torch.arange(256 * 256, device="cuda", dtype=torch.float32).reshape(256, 256) / 65536
    return (values @ values.T).cpu().numpy()


def _same(got: Any, wanted: Any, what: str) -> None:
    if not np.array_equal(got, wanted):
        raise CheckError(f"{what} differs by {float(np.abs(got - wanted).max()):.3g}")


def _close(got: Logits, wanted: Logits, precision: str, what: str) -> float:
    """Compare logits of one engine with each other: a tenth of the precision's tolerance."""
    worst = float(np.abs(got - wanted).max(initial=0))
    if got.shape != wanted.shape or not worst <= CUDA[precision].max_abs_diff / 10:
        raise CheckError(f"{what}: logits differ by {worst:.3g}")
    return worst


_BESIDE = """
import sys
from pathlib import Path
import numpy as np
from mnistkit import backends
from mnistkit.artifact.folder import Artifact
folder, flavor, precision, order = sys.argv[1:]
artifact = Artifact.open(Path(folder))
images = artifact.golden().images
def wrapper():
    with backends.require(flavor).load(artifact, precision, "cuda") as predictor:
        return predictor.logits(images)
def torch():
    with backends.require("eager").load(artifact, "fp32", "cuda") as predictor:
        return predictor.logits(images)
calls = {"torch": torch, "wrapper": wrapper}
results = {"torch": [], "wrapper": []}
for name in order.split(","):
    results[name].append(calls[name]())
for name, found in results.items():
    assert all(np.array_equal(found[0], each) for each in found), name
assert (results["torch"][0].argmax(1) == results["wrapper"][0].argmax(1)).all()
"""


def beside_torch(flavor: str, setup: Setup) -> Figures:
    """PyTorch before, between and after the wrapper, in one process, in either order."""
    _torch()
    precision = setup.precisions(flavor)[0]
    orders = ("torch,wrapper,torch,wrapper,torch", "wrapper,torch,wrapper,torch,wrapper")
    for order in orders:
        done = subprocess.run(
            [sys.executable, "-c", _BESIDE, str(setup.path), flavor, precision, order],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            tail = "\n".join(done.stderr.strip().splitlines()[-5:])
            raise CheckError(f"{order}: ended with {done.returncode}: {tail}")
    return {"orders": orders, "precision": precision}


def threads(flavor: str, setup: Setup) -> Figures:
    """Four threads with a predictor each; and a predictor used from another thread is refused."""
    precision, images = setup.precisions(flavor)[-1], setup.images[:1000]
    with setup.load(flavor, precision) as predictor:
        wanted = predictor.logits(images)
        found: dict[int, Logits] = {}
        refused: list[str] = []

        def work(index: int) -> None:
            with setup.load(flavor, precision) as own:
                for _ in range(5):
                    found[index] = own.logits(images)
            try:
                predictor.logits(images[:1])
            except UsageError as error:
                refused.append(str(error))

        workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    if len(found) != 4 or len(refused) != 4:
        raise CheckError(f"{len(found)} of 4 threads gave results, {len(refused)} were refused")
    worst = max(_close(each, wanted, precision, "a thread") for each in found.values())
    return {"threads": 4, "precision": precision, "max_abs_diff": worst}


def batches(flavor: str, setup: Setup) -> Figures:
    """Odd and oversized batches, and streams of them, against batches of 500."""
    rows = []
    for precision in setup.precisions(flavor):
        with setup.load(flavor, precision) as predictor:
            most = predictor.max_batch
            wanted = run_all(predictor, setup.images[: 2 * most + 5], None)
            sizes = (0, 1, 2, 3, 7, 31, most - 1, most, most + 1, 2 * most + 5)
            for size in [min(size, len(wanted)) for size in sizes]:
                got = predictor.logits(setup.images[:size])
                rows.append(_close(got, wanted[:size], precision, f"a batch of {size}"))
            parts = [setup.images[:size] for size in (1, most, 3, most // 2, most, 5)]
            for part, got in zip(parts, predictor.logits_stream(parts), strict=True):
                rows.append(_close(got, wanted[: len(part)], precision, "a batch of a stream"))
    return {"batches": len(rows), "max_abs_diff": max(rows)}


def graphs(flavor: str, setup: Setup) -> Figures:
    """Replayed graphs against plain runs: equal to the bit, and really replayed."""
    setup.precisions(flavor)
    open_memory(0, "cuda_bindings").close()
    figures: Figures = {}
    for precision in setup.precisions(flavor):
        with (
            setup.load(flavor, precision, memory="cuda_bindings", graphs=False) as plain,
            setup.load(flavor, precision, memory="cuda_bindings", graphs=True) as replayed,
        ):
            for size in (1, 8, 64):
                images = setup.images[:size]
                wanted = plain.logits(images)
                for _ in range(5):
                    _same(replayed.logits(images), wanted, f"a replayed batch of {size}")
            figures[precision] = {"plain": plain.graph_sizes, "replayed": replayed.graph_sizes}
            if plain.graph_sizes or not replayed.graph_sizes:
                raise CheckError(f"{precision}: recorded sizes are {figures[precision]}")
    return figures


def layers(flavor: str, setup: Setup) -> Figures:
    """TensorRT's own list of the engine: the convolutions of an int8 plan read int8."""
    precisions = setup.precisions(flavor)
    if "int8" not in precisions:
        raise MissingError("no int8 plan was built; quantize the net first: mnistkit quantize")
    with setup.load(flavor, "int8") as predictor:
        listing = json.loads(predictor.layer_information())["Layers"]
    found: list[Figures] = []
    for layer in listing:
        kind, name = str(layer.get("LayerType", "")), str(layer.get("Name", ""))
        if "conv" in kind.lower() or kind == "correlation":
            found.append({"name": name, "type": kind, "int8": "int8" in _inputs(layer).lower()})
    in_float = [layer["name"] for layer in found if not layer["int8"]]
    if in_float or not found:
        raise CheckError(f"convolutions that do not read int8: {', '.join(in_float) or 'no list'}")
    return {"layers": len(listing), "convolutions": found}


def _inputs(layer: dict[str, Any]) -> str:
    return json.dumps(layer.get("Inputs", []))


def bench(flavor: str, setup: Setup) -> Figures:
    """Latency of the engine alone, and from an array to an array: the rest is transfers."""
    from mnistkit.measure.latency import bench as run_bench

    setup.precisions(flavor)
    measured = run_bench(setup.artifact, names=[flavor], device="cuda", duration=0.5).rows
    alone = {(row.precision, row.batch): row.p50_us for row in measured if not row.end_to_end}
    rows = []
    for row in measured:
        figures = {k: v for k, v in row.to_json().items() if k != "raw_us"}
        if row.end_to_end:
            figures["transfers_p50_us"] = row.p50_us - alone[row.precision, row.batch]
        rows.append(figures)
    return {"rows": rows}


def front_door(flavor: str, setup: Setup) -> Figures:
    """The backend as everybody loads it, on the golden digits."""
    images, labels, *_ = setup.artifact.golden()
    correct = {}
    for precision in setup.precisions(flavor):
        with backends.require(flavor).load(setup.artifact, precision, "cuda") as predictor:
            checked: Predictor = predictor
            correct[precision] = int((checked.logits(images).argmax(1) == labels).sum())
    return {"golden": len(labels), "correct": correct}


def _parts() -> dict[str, Part]:
    made: dict[str, Part] = {
        "driver": driver,
        "torch and onnxruntime": functools.partial(cuda_against_cpu, ON_CUDA),
    }
    for name in ("pycuda", "cuda_bindings"):
        made[f"memory {name}"] = functools.partial(memory_beside_torch, name)
    per_flavor = {
        "golden digits": front_door,
        "beside torch": beside_torch,
        "threads": threads,
        "batches": batches,
        "graphs": graphs,
        "layers": layers,
        "bench": bench,
    }
    for flavor in flavors.FLAVORS:
        made[f"{flavor} accuracy"] = functools.partial(cuda_against_cpu, (flavor,))
        for name, part in per_flavor.items():
            made[f"{flavor} {name}"] = functools.partial(part, flavor)
    return made


PARTS = _parts()
