"""A plan loaded into TensorRT: checked before it is read, its inputs and outputs after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mnistkit.backends.trt.memory import Stream
from mnistkit.common.errors import ArtifactError, CheckError
from mnistkit.nets.spec import INPUT_SHAPE
from mnistkit.tensorrt import flavor as flavors
from mnistkit.tensorrt.flavor import Flavor
from mnistkit.tensorrt.plan import INPUT, OUTPUT, PlanInfo

CLASSES = 10


class Engine:
    """A deserialized plan. The device's context must be current for every method.

    Raises :class:`ArtifactError` for a plan that is not for this library and GPU, that was
    altered, or that TensorRT cannot read. Needs a driver: probe before.
    """

    def __init__(self, plan: Path, info: PlanInfo, flavor: Flavor, arch: str) -> None:
        self._trt = trt = flavor.load()
        self._rebuild = info.rebuild_command(plan.parent)
        data = info.check(plan, flavor.name, trt.__version__, arch)
        self._log = flavors.make_logger(trt)
        self._runtime: Any = trt.Runtime(self._log)
        if self._runtime is None:
            raise CheckError(f"{flavor.title} makes no runtime: {self._complaints()}")
        self._engine: Any = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            self._runtime = None
            raise ArtifactError(
                f"{plan}: {flavor.title} {trt.__version__} cannot read it: {self._complaints()}. "
                f"Build it here with: {self._rebuild}"
            )
        try:
            self.min_batch, self.max_batch = self._check_io(plan, info)
        except BaseException:
            self.close()
            raise

    def _complaints(self) -> str:
        return " / ".join(self._log.messages[-3:]) or "it gives no reason"

    def _check_io(self, plan: Path, info: PlanInfo) -> tuple[int, int]:
        """Hold inputs, outputs and profile to the contract; return the batch sizes it runs."""
        trt, engine = self._trt, self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        found = {
            name: (
                engine.get_tensor_mode(name),
                engine.get_tensor_dtype(name),
                tuple(engine.get_tensor_shape(name))[1:],
            )
            for name in names
        }
        wanted = {
            INPUT: (trt.TensorIOMode.INPUT, trt.DataType.UINT8, INPUT_SHAPE),
            OUTPUT: (trt.TensorIOMode.OUTPUT, trt.DataType.FLOAT, (CLASSES,)),
        }
        if found != wanted:
            raise ArtifactError(
                f"{plan}: has {found}, wanted uint8 {INPUT} (N, 1, 28, 28) and float32 {OUTPUT} "
                f"(N, {CLASSES}). Build it again with: {self._rebuild}"
            )
        least, _, most = engine.get_tensor_profile_shape(INPUT, 0)
        sizes = {"min": least[0], "max": most[0]}
        described = {key: info.profile[key] for key in sizes}
        if sizes != described:
            raise ArtifactError(
                f"{plan}: takes batches of {sizes['min']} to {sizes['max']}, its description says "
                f"{described['min']} to {described['max']}. Build it again with: {self._rebuild}"
            )
        return sizes["min"], sizes["max"]

    def context(self) -> Context:
        """Make an execution context: it has a batch size and addresses of its own."""
        context = self._engine.create_execution_context()
        if context is None:
            raise CheckError(f"TensorRT makes no execution context: {self._complaints()}")
        return Context(context, self._log)

    def layer_information(self) -> str:
        """What TensorRT built, layer by layer, as JSON text."""
        inspector = self._engine.create_engine_inspector()
        return str(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))

    def close(self) -> None:
        """Let go of the engine, then of the runtime; contexts must be closed before."""
        self._engine = None
        self._runtime = None


class Context:
    """An execution context; every answer of TensorRT's is checked."""

    def __init__(self, context: Any, log: Any) -> None:
        self._context, self._log = context, log
        self._batch = 0

    def bind(self, input_address: int, output_address: int) -> None:
        """Say where input and output lie on the device."""
        context = self._context
        for name, address in ((INPUT, input_address), (OUTPUT, output_address)):
            if not context.set_tensor_address(name, address):
                raise self._error(f"refuses the address of {name}")

    def set_batch(self, batch: int) -> None:
        """Fix the batch size."""
        if batch == self._batch:
            return
        context = self._context
        self._batch = 0
        if not context.set_input_shape(INPUT, (batch, *INPUT_SHAPE)):
            raise self._error(f"refuses a batch of {batch}")
        if unknown := context.infer_shapes():
            raise self._error(f"cannot tell the shape of {', '.join(unknown)}")
        if (shape := tuple(context.get_tensor_shape(OUTPUT))) != (batch, CLASSES):
            raise self._error(f"gives {OUTPUT} the shape {shape}, wanted {(batch, CLASSES)}")
        self._batch = batch

    def enqueue(self, stream: Stream) -> None:
        """Queue one run on the stream."""
        context = self._context
        if not context.execute_async_v3(stream.handle):
            raise self._error("cannot queue a run")

    def capturable(self, stream: Stream) -> bool:
        """Whether a run can be recorded; TensorRT for RTX cannot while it still compiles."""
        ask = getattr(self._context, "is_stream_capturable", None)
        return True if ask is None else bool(ask(stream.handle))

    def close(self) -> None:
        """Let go of the context."""
        self._context = None

    def _error(self, what: str) -> CheckError:
        said = " / ".join(self._log.messages[-3:]) or "it gives no reason"
        return CheckError(f"TensorRT {what}: {said}")
