"""A GPU and a TensorRT in plain Python, for the logic of the wrapper: neither is the real thing.

Work that is queued on a stream happens when the stream is waited for, so a result that is read too
early, or a buffer that is filled again too early, gives wrong numbers here too. Every step can be
made to fail, everything that was made is counted until it is given back, and everything wants the
device's context to be current.
"""

from __future__ import annotations

import enum
import itertools
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from mnistkit.backends.trt.memory import Memory
from mnistkit.common.errors import CheckError

VERSION = "11.4.0.1"


class World:
    """One GPU with its driver: what lives on it, and the log of what was done."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.live: set[str] = set()
        self._thread = threading.local()
        self.memory: dict[int, np.ndarray[Any, Any]] = {}
        self.streams: dict[int, FakeStream] = {}
        self.fail: dict[str, int] = {}  # a step and how many times it goes well before it fails
        self.refuse: set[str] = set()  # methods of TensorRT that answer False or None
        self.plans: dict[bytes, tuple[int, int]] = {}  # plan: its least and largest batch
        self._handles = itertools.count(0x10000, 0x10000)  # safe in threads

    @property
    def contexts(self) -> list[str]:
        """This thread's stack of contexts."""
        if not hasattr(self._thread, "contexts"):
            self._thread.contexts = []
        stack: list[str] = self._thread.contexts
        return stack

    def step(self, name: str) -> None:
        self.log.append(name)
        if name not in ("retain", "release", "push") and not self.contexts:
            raise AssertionError(f"{name}: no context is current")
        if name in self.fail:
            self.fail[name] -= 1
            if self.fail[name] < 0:
                raise CheckError(f"CUDA: {name}: pretended failure")

    def make(self, kind: str) -> int:
        handle = next(self._handles)
        self.live.add(f"{kind}@{handle}")
        return handle

    def drop(self, kind: str, handle: int) -> None:
        self.live.remove(f"{kind}@{handle}")  # KeyError: given back twice


class FakeStream:
    def __init__(self, world: World) -> None:
        world.step("stream")
        self.world, self.handle = world, world.make("stream")
        self.queue: list[Callable[[], None]] = []
        self.capturing = False
        world.streams[self.handle] = self

    def synchronize(self) -> None:
        assert not self.capturing, "synchronize while recording"
        self.world.step("synchronize")
        work, self.queue = self.queue, []
        for each in work:
            each()

    def close(self) -> None:
        assert not self.queue, "a stream is closed with work on it"
        self.world.step("close stream")
        self.world.drop("stream", self.handle)
        del self.world.streams[self.handle]


class FakeBuffer:
    def __init__(self, world: World, kind: str, nbytes: int) -> None:
        world.step(kind)
        self.world, self.kind, self.address = world, kind, world.make(kind)
        self.array = np.full(nbytes, 0xAB, np.uint8)  # memory comes with old contents
        world.memory[self.address] = self.array

    def close(self) -> None:
        self.world.step(f"close {self.kind}")
        self.world.drop(self.kind, self.address)
        del self.world.memory[self.address]


class FakeGraph:
    def __init__(self, world: World, work: list[Callable[[], None]]) -> None:
        self.world, self.work, self.handle = world, work, world.make("graph")

    def launch(self, stream: Any) -> None:
        self.world.step("launch")
        stream.queue.extend(self.work)

    def close(self) -> None:
        self.world.step("close graph")
        self.world.drop("graph", self.handle)


class FakeMemory(Memory):
    name = "fake"
    graphs = True

    def __init__(self, world: World, graphs: bool = True) -> None:
        world.step("retain")
        self.world = world
        self.graphs = graphs  # type: ignore[misc]
        self._handle = world.make("primary")

    def push(self) -> None:
        self.world.step("push")
        self.world.contexts.append("primary")

    def pop(self) -> None:
        assert self.world.contexts.pop() == "primary"

    def stream(self) -> FakeStream:
        return FakeStream(self.world)

    def buffer(self, nbytes: int) -> FakeBuffer:
        return FakeBuffer(self.world, "buffer", nbytes)

    def pinned(self, nbytes: int) -> FakeBuffer:
        return FakeBuffer(self.world, "pinned", nbytes)

    def upload(self, buffer: Any, pinned: Any, nbytes: int, stream: Any) -> None:
        self.world.step("upload")

        def copy() -> None:
            buffer.array[:nbytes] = pinned.array[:nbytes]

        stream.queue.append(copy)

    def download(self, pinned: Any, buffer: Any, nbytes: int, stream: Any) -> None:
        self.world.step("download")

        def copy() -> None:
            pinned.array[:nbytes] = buffer.array[:nbytes]

        stream.queue.append(copy)

    def begin_capture(self, stream: Any) -> None:
        self.world.step("begin capture")
        assert not stream.queue
        stream.capturing = True

    def end_capture(self, stream: Any) -> FakeGraph:
        stream.capturing = False
        work, stream.queue = stream.queue, []
        self.world.step("end capture")
        return FakeGraph(self.world, work)

    def close(self) -> None:
        assert not self.world.contexts, "the context is released while it is current"
        self.world.step("release")
        self.world.drop("primary", self._handle)


def digits_of(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the fake net computes: ``(N, 784)`` bytes to ``(N, 10)`` logits."""
    sums = images.reshape(len(images), 784).astype(np.float32).sum(axis=1)
    return np.float32(0.5) * sums[:, None] + np.arange(10, dtype=np.float32)


class DataType(enum.Enum):
    FLOAT, HALF, INT8, UINT8 = range(4)


class TensorIOMode(enum.Enum):
    NONE, INPUT, OUTPUT = range(3)


class LayerInformationFormat(enum.Enum):
    ONELINE, JSON = range(2)


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class IExecutionContext:
    def __init__(self, world: World, limits: tuple[int, int]) -> None:
        self._world, self._limits = world, limits
        self._handle = world.make("context")
        self._batch: int | None = None
        self._addresses: dict[str, int] = {}

    def __del__(self) -> None:
        self._world.drop("context", self._handle)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._world.step("set_input_shape")
        assert (name, tuple(shape[1:])) == ("input", (1, 28, 28))
        if "set_input_shape" in self._world.refuse:
            return False
        least, most = self._limits
        if not least <= shape[0] <= most:
            return False
        self._batch = shape[0]
        return True

    def infer_shapes(self) -> list[str]:
        return ["input"] if self._batch is None or "infer_shapes" in self._world.refuse else []

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, 10) if "get_tensor_shape" in self._world.refuse else (self._batch or -1, 10)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return "set_tensor_address" not in self._world.refuse

    def execute_async_v3(self, stream_handle: int) -> bool:
        self._world.step("execute")
        if "execute_async_v3" in self._world.refuse:
            return False
        stream = self._world.streams[stream_handle]
        batch, read, write = self._batch, self._addresses["input"], self._addresses["logits"]
        assert batch is not None

        def compute() -> None:
            images = self._world.memory[read][: batch * 784].reshape(batch, 784)
            self._world.memory[write][: batch * 40] = digits_of(images).reshape(-1).view(np.uint8)

        stream.queue.append(compute)
        return True


class EngineInspector:
    def get_engine_information(self, format: LayerInformationFormat) -> str:
        return '{"Layers": []}'


class ICudaEngine:
    def __init__(self, world: World, limits: tuple[int, int]) -> None:
        self._world, self._limits, self._handle = world, limits, world.make("engine")
        self.num_io_tensors = 2

    def __del__(self) -> None:
        self._world.drop("engine", self._handle)

    def get_tensor_name(self, index: int) -> str:
        return ("input", "logits")[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == "input" else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        if name == "input":
            return DataType.FLOAT if "dtype" in self._world.refuse else DataType.UINT8
        return DataType.FLOAT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, 1, 28, 28) if name == "input" else (-1, 10)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert (name, profile_index) == ("input", 0)
        least, most = self._limits
        return [(batch, 1, 28, 28) for batch in (least, most, most)]

    def create_execution_context(self) -> IExecutionContext | None:
        self._world.step("create_execution_context")
        if "create_execution_context" in self._world.refuse:
            return None
        return IExecutionContext(self._world, self._limits)

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector()


class Runtime:
    world: World

    def __init__(self, logger: Any) -> None:
        self.world.step("runtime")
        self._handle, self._logger = self.world.make("runtime"), logger

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self.world.drop("runtime", self._handle)

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        self.world.step("deserialize")
        limits = self.world.plans.get(serialized_engine)
        if limits is None:
            self._logger.log(ILogger.Severity.ERROR, "magic number does not match")
            return None
        return ICudaEngine(self.world, limits)


CLASSES = (Runtime, ICudaEngine, IExecutionContext, EngineInspector)


def fake_tensorrt(world: World) -> SimpleNamespace:
    """The module: with the names of the real one alone."""
    return SimpleNamespace(
        __version__=VERSION,
        ILogger=ILogger,
        Runtime=type("Runtime", (Runtime,), {"world": world}),
        DataType=DataType,
        TensorIOMode=TensorIOMode,
        LayerInformationFormat=LayerInformationFormat,
    )
