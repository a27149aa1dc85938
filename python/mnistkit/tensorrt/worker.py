"""The TensorRT builder, in a process of its own: an ONNX and options in, a plan out.

Not imported but run, as ``python -P worker.py``, so that a builder that crashes takes
nothing with it, and so that every build starts from the same memory: TensorRT orders some of what
it writes by address, and two builds in one process differ in a few names. Hence address space
randomization is switched off too, where the system allows it.

Standard input: three little-endian uint64 lengths and the parts, a JSON job, the ONNX and the
timing cache. Standard output: the same with a JSON answer, the plan and the timing cache. It needs
the standard library and one of the TensorRT modules.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import re
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any

FRAME = struct.Struct("<3Q")
_NO_RANDOMIZATION = 0x0040000  # ADDR_NO_RANDOMIZE of personality(2)
_PRECISIONS = {"FLOAT": "fp32", "HALF": "fp16"}
_ENGINE_TYPES = {"fp32": "Float", "fp16": "Half", "int8": "Int8"}


class RefusedError(Exception):
    """What was given cannot become the plan that was asked for."""

    def __init__(self, kind: str, faults: Sequence[str]) -> None:
        super().__init__(kind)
        self.kind, self.faults = kind, list(faults)


def pack(*parts: bytes) -> bytes:
    """Frame the three parts of a message."""
    return FRAME.pack(*map(len, parts)) + b"".join(parts)


def unpack(message: bytes) -> tuple[bytes, bytes, bytes]:
    """Split a message into its three parts, or raise :class:`ValueError`."""
    if len(message) < FRAME.size:
        raise ValueError(f"{len(message)} bytes are no message")
    sizes = FRAME.unpack_from(message)
    if len(message) != FRAME.size + sum(sizes):
        raise ValueError(f"{len(message)} bytes, {FRAME.size + sum(sizes)} were announced")
    ends = [FRAME.size + sum(sizes[: i + 1]) for i in range(3)]
    parts = [message[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    return parts[0], parts[1], parts[2]


def build(trt: Any, job: dict[str, Any], model: bytes, cache: bytes) -> tuple[Any, bytes, bytes]:
    """Parse, check and build; return the answer, the plan and the timing cache."""
    log = _log_of(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model) or parser.num_errors:
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        raise RefusedError("parse", [_error_text(error) for error in errors] or log.complaints)
    layers, faults = check_layers(trt, network, job["precision"])
    if faults:
        raise RefusedError("precision", faults)

    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.clear_flag(trt.BuilderFlag.TF32)  # fp32 means fp32
    profile = builder.create_optimization_profile()
    profile.set_shape(job["input"], *[(batch, *job["shape"]) for batch in job["profile"]])
    if not profile or config.add_optimization_profile(profile) < 0:
        raise RefusedError("profile", [f"profile {job['profile']} is refused", *log.complaints])
    if job["build_arch"]:  # TensorRT for RTX builds for a GPU that is not there
        config.num_compute_capabilities = 1
        wanted = getattr(trt.ComputeCapability, f"SM{job['build_arch'].replace('.', '')}", None)
        if wanted is None or not config.set_compute_capability(wanted, 0):
            raise RefusedError("arch", [f"GPU architecture {job['build_arch']} is refused"])
    timing = _timing_cache(config, cache) if job["timing_cache"] else None

    start = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - start
    if plan is None:
        raise RefusedError("build", log.complaints or ["the builder gives no reason"])
    built = engine_layers(log.messages)
    if faults := engine_faults(built, job["precision"]):
        raise RefusedError("engine", faults)
    answer = {
        "version": trt.__version__,
        "layers": layers,
        "engine_layers": built,
        "inputs": [_io(network.get_input(i)) for i in range(network.num_inputs)],
        "outputs": [_io(network.get_output(i)) for i in range(network.num_outputs)],
        "build_seconds": round(seconds, 3),
        "warnings": log.complaints,
    }
    return answer, bytes(plan), bytes(timing.serialize()) if timing is not None else b""


def check_layers(trt: Any, network: Any, precision: str) -> tuple[list[dict[str, str]], list[str]]:
    """Compare each convolution and matrix product with the precision that was asked for.

    Returns the layers with their precisions, and the faults. int8 is where both inputs come from
    a dequantize; the builder accepts everything else in silence and runs it in float.
    """
    products = (
        trt.LayerType.CONVOLUTION,
        trt.LayerType.DECONVOLUTION,
        trt.LayerType.MATRIX_MULTIPLY,
    )
    all_layers = [network.get_layer(index) for index in range(network.num_layers)]
    makers = {
        layer.get_output(index).name: layer.type
        for layer in all_layers
        for index in range(layer.num_outputs)
    }
    found: list[dict[str, str]] = []
    faults: list[str] = []
    for layer in all_layers:
        if layer.type not in products:
            continue
        tensors = [layer.get_input(index) for index in range(min(layer.num_inputs, 2))]
        # A constant weight is no input of the layer, but part of it.
        sources = [makers.get(tensor.name) if tensor else None for tensor in tensors]
        if len(sources) == 2 and all(kind == trt.LayerType.DEQUANTIZE for kind in sources):
            has = "int8"
        else:
            element = layer.get_output(0).dtype.name
            has = _PRECISIONS.get(element, element)
        found.append({"name": layer.name, "type": layer.type.name, "precision": has})
        if has != precision:
            from_ = ", ".join(kind.name if kind else "none" for kind in sources) or "none"
            faults.append(
                f"layer {layer.name}: is {has}, {precision} was asked for (inputs from: {from_})"
            )
    if not found:
        faults.append("the network has no convolution and no matrix product")
    return found, faults


def engine_layers(messages: Sequence[str]) -> list[dict[str, Any]] | None:
    """The convolutions of the built engine and the types that they read, from the builder's log.

    TensorRT for RTX lists them there; without a GPU there is no other way to see them. None where
    the log has no such list.
    """
    listing = next((text for text in messages if text.startswith("Layers:\nName:")), None)
    if listing is None:
        return None
    found = []
    for line in listing.splitlines():
        head = re.match(r"Name: (.+?), LayerType: correlation, Inputs: (.*)", line)
        if head is None:
            continue
        inputs, _, rest = head[2].partition("Constants: ")
        constants, _, outputs = rest.partition("Outputs: ")
        kinds = [re.findall(r"Datatype: (\w+)", part) for part in (inputs, constants, outputs)]
        layers = re.findall(r"\[ONNX Layer: ([^\]]+)\]", outputs)
        found.append(
            {
                "name": head[1],
                "onnx_layers": layers,
                "input": kinds[0][0] if kinds[0] else None,
                "weight": kinds[1][0] if kinds[1] else None,
                "output": kinds[2][0] if kinds[2] else None,
            }
        )
    return found


def engine_faults(built: Sequence[dict[str, Any]] | None, precision: str) -> list[str]:
    """Convolutions of the built engine that do not read the type of that precision.

    The network may be right and the engine still run in float: TensorRT for RTX has no int8
    convolution for Turing (7.5), and says nothing.
    """
    wanted = _ENGINE_TYPES[precision]
    return [
        f"convolution {layer['name']}: reads {layer['input']}, its weight is {layer['weight']}; "
        f"{precision} is {wanted}"
        for layer in built or ()
        if (layer["input"], layer["weight"]) != (wanted, wanted)
    ]


def _log_of(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: list[str] = []
            self.complaints: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            self.messages.append(message)
            if int(severity) <= int(trt.ILogger.Severity.WARNING):
                self.complaints.append(message)

    return Log()


def _error_text(error: Any) -> str:
    return f"node {error.node()} {error.node_name()} ({error.node_operator()}): {error.desc()}"


def _io(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype.name, "shape": list(tensor.shape)}


def _timing_cache(config: Any, stored: bytes) -> Any:
    """Attach the stored timing cache, or an empty one where that does not fit this machine."""
    for blob in (stored, b""):
        timing = config.create_timing_cache(blob)
        if timing is not None and config.set_timing_cache(timing, False):
            return timing
    return None


def _fixed_addresses() -> bool:
    """Switch off address space randomization for this process; it needs a restart to hold."""
    if sys.platform != "linux":
        return False
    personality = ctypes.CDLL(None).personality
    personality.argtypes, personality.restype = [ctypes.c_ulong], ctypes.c_int
    current = personality(0xFFFFFFFF)
    return bool(current >= 0 and personality(current | _NO_RANDOMIZATION) >= 0)


def main() -> None:
    """Restart with fixed addresses, then do the job of standard input."""
    if sys.argv[1:] == []:
        state = "fixed" if _fixed_addresses() else "free"
        os.execv(sys.executable, [sys.executable, "-P", __file__, state])
    # What a library prints must not get between the answer's bytes.
    answer_to = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    job, model, cache = unpack(sys.stdin.buffer.read())
    options = json.loads(job)
    plan = b""
    try:
        trt = importlib.import_module(options["module"])
        answer, plan, cache = build(trt, options, model, cache)
        answer["reproducible"] = sys.argv[1] == "fixed"
    except RefusedError as refusal:
        answer = {"refused": refusal.kind, "faults": refusal.faults}
    answer_to.write(pack(json.dumps(answer).encode(), plan, cache))
    answer_to.close()


if __name__ == "__main__":
    main()
