"""The predictor on a TensorRT plan: any number of images in, logits out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mnistkit.backends import process
from mnistkit.backends.base import Predictor
from mnistkit.backends.trt.engine import CLASSES, Context, Engine
from mnistkit.backends.trt.memory import Buffer, Graph, Memory, open_memory
from mnistkit.backends.trt.slot import IMAGE_BYTES, ROW_BYTES, Slot, capture
from mnistkit.common.errors import UsageError
from mnistkit.common.images import Images, Logits, check_images
from mnistkit.tensorrt import probe
from mnistkit.tensorrt.flavor import Flavor
from mnistkit.tensorrt.plan import PlanInfo

_SLOTS = 2  # one batch is copied while the other is computed

BoundPart = tuple[Context, Buffer, int]  # what runs, where its logits are, of how many images


class TensorRtPredictor(Predictor):
    """A plan on a GPU, for the thread that made it; give each thread a predictor of its own.

    Batches of any size: those above the plan's maximum are split, and the parts go through two
    sets of buffers in turn. It lives in one process with PyTorch, made before or after it: the
    device's primary context is retained, and pushed and popped in every call.

    ``graphs`` replays CUDA graphs where ``memory`` can (cuda-bindings; pycuda cannot).
    """

    def __init__(
        self,
        plan: Path,
        info: PlanInfo,
        flavor: Flavor,
        device: int = 0,
        *,
        memory: str | None = None,
        graphs: bool = True,
    ) -> None:
        self._thread = threading.get_ident()
        self._bound: list[ExitStack] = []
        arch = probe.gpu(device).arch
        with ExitStack() as owned:
            # Closing goes backwards: buffers, contexts, engine, runtime, and the device last.
            self._memory: Memory = open_memory(device, memory)
            owned.callback(self._memory.close)
            with self._memory.current(), ExitStack() as inside:
                self._engine = Engine(plan, info, flavor, arch)
                inside.callback(self._engine.close)
                self._slots: list[Slot] = []
                for _ in range(_SLOTS):
                    self._slots.append(Slot(self._memory, self._engine, graphs=graphs))
                    inside.callback(self._slots[-1].close)
                self._inside = inside.pop_all()
            self._owned = owned.pop_all()
        self._graphs = graphs and self._memory.graphs

    @property
    def max_batch(self) -> int:
        """The largest batch that goes to the GPU at once."""
        return self._engine.max_batch

    @property
    def memory_name(self) -> str:
        """What backs device memory: ``pycuda`` or ``cuda_bindings``."""
        return self._memory.name

    @property
    def graph_sizes(self) -> tuple[int, ...]:
        """The batch sizes that are replayed from a graph by now."""
        return tuple(sorted({size for slot in self._slots for size in slot.graph_sizes}))

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """The device's context is current inside.

        Refuses other threads, a forked process and a closed predictor.
        """
        if self._home is not process.here:
            self._refuse()
        if threading.get_ident() != self._thread:
            raise UsageError(
                "this TensorRT predictor belongs to the thread that loaded it; load one in each "
                "thread"
            )
        if self._closed:
            raise UsageError("this TensorRT predictor is closed; load it again")
        with self._memory.current():
            yield

    def _check_idle(self) -> None:
        if any(slot.busy for slot in self._slots):
            raise UsageError("a stream of batches is under way; take all of its results first")

    def _run(self, images: Images) -> Logits:
        most = self.max_batch
        if len(images) <= most:
            with self._entered():
                self._check_idle()
                slot = self._slots[0]
                self._submit(slot, images)
                return slot.collect()
        with self._entered():
            self._check_idle()
        parts = (images[start : start + most] for start in range(0, len(images), most))
        return np.concatenate(list(self._stream(parts)))

    def logits_stream(self, batches: Iterable[Any]) -> Iterator[Logits]:
        """Logits of each batch of uint8 images ``(N, 1, 28, 28)``, in order, one batch behind.

        While one batch is computed the next is copied. Take all of it, or close the predictor:
        other calls in between are refused.
        """
        return self._stream(self._split(batches))

    def _split(self, batches: Iterable[Any]) -> Iterator[Images]:
        for batch in batches:
            images = check_images(batch)
            if not 0 < len(images) <= self.max_batch:
                raise UsageError(
                    f"a batch of {len(images)} in a stream: wanted 1 to {self.max_batch}, the "
                    f"largest that the plan takes"
                )
            yield images

    def _stream(self, parts: Iterator[Images]) -> Iterator[Logits]:
        waiting: list[Slot] = []
        try:
            for index, part in enumerate(parts):
                slot = self._slots[index % _SLOTS]
                if len(waiting) == _SLOTS:
                    with self._entered():
                        logits = waiting.pop(0).collect()
                    yield logits
                with self._entered():
                    self._submit(slot, part)
                waiting.append(slot)
            while waiting:
                with self._entered():
                    logits = waiting.pop(0).collect()
                yield logits
        finally:
            if waiting and not self._closed:
                with self._entered():
                    for slot in waiting:
                        slot.drain()

    def _submit(self, slot: Slot, images: Images) -> None:
        try:
            slot.submit(images)
        except BaseException:
            slot.drain()
            raise

    def _bind(self, images: Images) -> Callable[[], Any]:
        """Copy a batch to the device once and return a call that runs the engine alone on it.

        The call waits for the GPU. Buffers live until the predictor is closed.
        """
        if not len(images):
            raise UsageError("bind: wanted at least one image")
        with self._entered(), ExitStack() as owned:
            self._check_idle()
            slot = self._slots[0]
            most = self.max_batch
            parts = [
                self._bind_part(owned, images[start : start + most])
                for start in range(0, len(images), most)
            ]

            def queue() -> None:
                for context, _, _ in parts:
                    context.enqueue(slot.stream)

            queue()
            slot.stream.synchronize()
            graph: Graph | None = None
            if self._graphs and parts[0][0].capturable(slot.stream):
                graph = capture(self._memory, slot.stream, queue)
                owned.callback(graph.close)
            self._bound.append(owned.pop_all())

        def run() -> list[BoundPart]:
            with self._entered():
                if graph is not None:
                    graph.launch(slot.stream)
                else:
                    queue()
                slot.stream.synchronize()
            return parts

        return run

    def bound_logits(self, result: Any) -> Logits:
        """Copy the logits from the device, where a bound call leaves them."""
        memory, stream = self._memory, self._slots[0].stream
        rows: list[Logits] = []
        with self._entered():
            for _, device_out, count in result:
                pinned = memory.pinned(count * ROW_BYTES)
                try:
                    memory.download(pinned, device_out, count * ROW_BYTES, stream)
                    stream.synchronize()
                    values = pinned.array[: count * ROW_BYTES].view(np.float32)
                    rows.append(values.reshape(count, CLASSES).copy())
                finally:
                    pinned.close()
        return np.concatenate(rows)

    def _bind_part(self, owned: ExitStack, images: Images) -> BoundPart:
        """Copy one part to buffers of its own; return a context that reads them."""
        memory, stream = self._memory, self._slots[0].stream
        batch = max(len(images), self._engine.min_batch)

        def buffer(nbytes: int) -> Buffer:
            made = memory.buffer(nbytes)
            owned.callback(made.close)
            return made

        context = self._engine.context()
        owned.callback(context.close)
        device_in, device_out = buffer(batch * IMAGE_BYTES), buffer(batch * ROW_BYTES)
        pinned = memory.pinned(batch * IMAGE_BYTES)
        try:
            pinned.array[:] = 0
            pinned.array[: images.size] = images.reshape(-1)
            memory.upload(device_in, pinned, batch * IMAGE_BYTES, stream)
            stream.synchronize()
        finally:
            pinned.close()
        context.bind(device_in.address, device_out.address)
        context.set_batch(batch)
        return context, device_out, len(images)

    def layer_information(self) -> str:
        """What TensorRT built, layer by layer, as JSON text."""
        with self._entered():
            return self._engine.layer_information()

    def close(self) -> None:
        """Give back buffers, contexts, engine, runtime and the device, in that order.

        A second call does nothing. Only the thread that loaded the predictor may close it. In a
        forked process, where CUDA does not work, nothing is given back.
        """
        if self._closed or self._home is not process.here:
            self._closed = True
            return
        with ExitStack() as owned, self._entered():
            self._closed = True
            owned.push(self._owned.pop_all())
            with self._inside.pop_all() as inside:
                for bound in self._bound:
                    inside.push(bound)
            self._bound.clear()
