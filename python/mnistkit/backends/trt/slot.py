"""One of the places where a batch is on its way: buffers, a stream, and what runs there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np

from mnistkit.backends.trt.engine import CLASSES, Context, Engine
from mnistkit.backends.trt.memory import Graph, Memory, Stream
from mnistkit.common.images import Images, Logits

IMAGE_BYTES = 28 * 28
ROW_BYTES = CLASSES * 4
GRAPH_SIZES = 8  # batch sizes that get a graph of their own; each costs an execution context


class Slot:
    """Pinned and device buffers for the largest batch, a stream and an execution context.

    ``submit`` queues a batch and returns at once, ``collect`` waits for it. A batch size that comes
    a second time is recorded as a CUDA graph, copies included, and replayed from then on. A graph
    keeps the shape and the addresses that its context had, so each has a context of its own.
    The device's context must be current for every method.
    """

    def __init__(self, memory: Memory, engine: Engine, *, graphs: bool) -> None:
        self._memory, self._engine = memory, engine
        self._graphs_wanted = graphs and memory.graphs
        self._graphs: dict[int, Graph] = {}
        self._seen: set[int] = set()
        self._pending = 0
        with ExitStack() as owned:
            self._context = self._new_context(owned)
            most = engine.max_batch
            self._device_in = memory.buffer(most * IMAGE_BYTES)
            owned.callback(self._device_in.close)
            self._device_out = memory.buffer(most * ROW_BYTES)
            owned.callback(self._device_out.close)
            self._host_in = memory.pinned(most * IMAGE_BYTES)
            owned.callback(self._host_in.close)
            self._host_out = memory.pinned(most * ROW_BYTES)
            owned.callback(self._host_out.close)
            self._host_in.array[:] = 0
            self.stream = memory.stream()
            owned.callback(self.stream.close)
            self._context.bind(self._device_in.address, self._device_out.address)
            self._owned = owned.pop_all()

    def _new_context(self, owned: ExitStack) -> Context:
        context = self._engine.context()
        owned.callback(context.close)
        return context

    @property
    def busy(self) -> bool:
        """A batch was submitted and not collected."""
        return self._pending > 0

    @property
    def graph_sizes(self) -> tuple[int, ...]:
        """The batch sizes that replay a graph."""
        return tuple(self._graphs)

    def submit(self, images: Images) -> None:
        """Queue a batch of at most the engine's maximum; one under its minimum is filled up."""
        count = len(images)
        batch = max(count, self._engine.min_batch)
        flat = self._host_in.array
        flat[: count * IMAGE_BYTES] = images.reshape(-1)
        flat[count * IMAGE_BYTES : batch * IMAGE_BYTES] = 0
        self._pending = count
        if graph := self._graphs.get(batch):
            graph.launch(self.stream)
            return
        self._queue(self._context, batch)
        wanted = self._graphs_wanted and len(self._graphs) < GRAPH_SIZES
        if wanted and batch in self._seen and self._context.capturable(self.stream):
            self._record(batch)
        self._seen.add(batch)

    def collect(self) -> Logits:
        """Wait for the batch and return a copy of its logits, ``(N, 10)``."""
        count, self._pending = self._pending, 0
        self.stream.synchronize()
        rows = self._host_out.array[: count * ROW_BYTES].view(np.float32)
        return rows.reshape(count, CLASSES).copy()

    def drain(self) -> None:
        """Wait for what is queued and forget it."""
        self._pending = 0
        self.stream.synchronize()

    def _queue(self, context: Context, batch: int) -> None:
        """Queue copy, run, copy."""
        memory, stream = self._memory, self.stream
        context.set_batch(batch)
        memory.upload(self._device_in, self._host_in, batch * IMAGE_BYTES, stream)
        context.enqueue(stream)
        memory.download(self._host_out, self._device_out, batch * ROW_BYTES, stream)

    def _record(self, batch: int) -> None:
        """Record a batch size. A context must have run once before it is recorded."""
        with ExitStack() as owned:
            context = self._new_context(owned)
            context.bind(self._device_in.address, self._device_out.address)
            self._queue(context, batch)
            self.stream.synchronize()
            graph = capture(self._memory, self.stream, lambda: self._queue(context, batch))
            owned.callback(graph.close)
            self._graphs[batch] = graph
            self._owned.push(owned.pop_all())

    def close(self) -> None:
        """Wait, then give back everything, last made first; a second call does nothing."""
        self._graphs.clear()
        owned, self._owned = self._owned, ExitStack()
        with owned:
            if self._pending:
                self.drain()


def capture(memory: Memory, stream: Stream, queue: Callable[[], None]) -> Graph:
    """Record what ``queue`` queues on the stream."""
    memory.begin_capture(stream)
    try:
        queue()
    except BaseException:
        # The stream stays in capture mode until that is ended; what was recorded is dropped.
        memory.end_capture(stream).close()
        raise
    return memory.end_capture(stream)
