"""C: the net as one file of plain C99 that compiles alone, for devices with no file system.

``cc -O2 model.c app.c``. Weights are constant arrays, so they stay in flash; all memory is the
caller's scratch. The arithmetic is that of the int8 definition, to the bit; on Cortex-M with the
DSP extension a dot product is two SMLAD for four products.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mnistkit.common.errors import CheckError
from mnistkit.export.native import Record, int8_steps, records
from mnistkit.nets.deploy import ConvOp, DeployGraph
from mnistkit.nets.spec import CLASSES, INPUT_SHAPE, Shape, conv_size
from mnistkit.quantization.graph import Int8Conv, Int8Graph
from numpy.typing import NDArray

FORMAT = "c"
SUFFIX = ".c"
PRECISIONS = ("fp32", "int8")
_RUNTIME = "c_runtime.c"
_KINDS = {1: "CONV", 2: "MAX_POOL", 3: "AVG_POOL"}
_TYPES = {"int8": ("int8_t", "int32_t"), "fp32": ("float", "float")}
_SLACK = 4  # bytes that a dot product may read past the last row of a one-channel map

Graph = DeployGraph | Int8Graph


def symbol(graph: Graph, precision: str) -> str:
    """The stem of the C names, as in ``mnistkit_base_int8``."""
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in graph.spec.name)
    return f"mnistkit_{name}_{precision}"


def _bytes(shape: Shape, precision: str) -> int:
    channels, height, width = shape
    if precision == "fp32":
        return channels * height * width * 4
    stride = 1 if channels == 1 else channels + -channels % 4
    return (stride * height * width + _SLACK + 3) // 4 * 4


def _array(kind: str, name: str, values: NDArray[Any]) -> str:
    if values.dtype == np.float32:
        items = [f"{float(v).hex()}f" for v in values.ravel()]
    else:
        items = [str(v) for v in values.ravel().tolist()]
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > 100:
            lines.append(line)
            line = "   "
        line += f" {item},"
    return f"static const {kind} {name}[] = {{\n" + "\n".join([*lines, line]) + "\n};\n"


class _Writer:
    """Collects arrays and op rows, and places the maps at the two ends of the scratch in turn."""

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self.arrays: list[str] = []
        self.rows: list[tuple[Record, Shape, Shape, Shape, int]] = []
        self.scale = np.ones(CLASSES, np.float32)

    def conv_arrays(self, index: int, op: ConvOp | Int8Conv) -> None:
        value, acc = _TYPES[self.precision]
        if isinstance(op, Int8Conv):
            self.arrays.append(_array(value, f"weights{index}", int8_steps(op.weight)))
            self.arrays.append(_array("float", f"multiplier{index}", op.multiplier))
        else:
            weight = op.weight.transpose(0, 2, 3, 1).astype(np.float32)
            self.arrays.append(_array(value, f"weights{index}", weight))
        self.arrays.append(_array(acc, f"bias{index}", op.bias))

    def table(self) -> tuple[str, int]:
        """The ops table and the bytes of scratch."""
        shapes = [(row[1], row[3]) for row in self.rows if not row[0].flags & 2]
        total = max(
            [_bytes(a, self.precision) + _bytes(b, self.precision) for a, b in shapes]
            + [_bytes(row[1], self.precision) for row in self.rows]
        )
        lines = []
        for index, (record, shape, out, stored, number) in enumerate(self.rows):
            places = [
                (total - _bytes(s, self.precision)) if (index + turn) % 2 else 0
                for turn, s in ((0, shape), (1, stored))
            ]
            if record.flags & 2:
                places[1] = 0  # sums alone are kept
            conv = record.kind == 1
            multiplier = f"multiplier{number}" if conv and self.precision == "int8" else "0"
            if record.kind == 3:
                multiplier = f"multiplier{number}"
            pointers = f"weights{number}, bias{number}" if conv else "0, 0"
            pool = 2 if stored != out else 1
            fields = [record.flags & 1, record.flags >> 1, pool, *shape, *out]
            fields += [record.kernel, record.padding, record.stride, max(record.groups, 1)]
            numbers = ", ".join(map(str, fields))
            lines.append(
                f"    {{{_KINDS[record.kind]}, {numbers}, {pointers}, {multiplier}, "
                f"{places[0]}, {places[1]}}},"
            )
        return "static const op_t ops[] = {\n" + "\n".join(lines) + "\n};\n", total


def _out_shape(record: Record, shape: Shape) -> Shape:
    if record.kind == 3:
        return shape[0], 1, 1
    if record.kind == 2:
        return shape[0], shape[1] // record.kernel, shape[2] // record.kernel
    height, width = conv_size(shape, record.kernel, record.padding, record.stride)
    return record.channels[1], height, width


def _write(graph: Graph, precision: str) -> tuple[_Writer, str, int]:
    if (precision == "int8") != isinstance(graph, Int8Graph):
        raise CheckError(f"c: got a {type(graph).__name__} for {precision}")
    writer = _Writer(precision)
    made = records(graph)
    shape, index, last = INPUT_SHAPE, 0, False
    while index < len(made):
        record, op = made[index], graph.ops[index]
        out = stored = _out_shape(record, shape)
        if last:  # an average of the logits' sums goes into their scale
            writer.scale = (writer.scale * np.float32(record.multiplier)).astype(np.float32)
        elif isinstance(op, ConvOp | Int8Conv):
            last = bool(record.flags & 2)
            writer.conv_arrays(index, op)
            follows = made[index + 1] if index + 1 < len(made) else None
            if last and isinstance(op, Int8Conv):
                writer.scale = op.multiplier
            if not last and follows is not None and (follows.kind, follows.kernel) == (2, 2):
                stored = _out_shape(follows, out)
            writer.rows.append((record, shape, out, stored, index))
            index += stored != out
        else:
            if record.kind == 3:
                multiplier = np.array([record.multiplier], np.float32)
                writer.arrays.append(_array("float", f"multiplier{index}", multiplier))
            writer.rows.append((record, shape, out, stored, index))
        shape, index = stored, index + 1
    table, total = writer.table()
    return writer, table, total


def _declarations(graph: Graph, precision: str, scratch: int) -> str:
    name = symbol(graph, precision)
    guard = name.upper()
    return (
        f"#ifndef {guard}_H\n#define {guard}_H\n\n#include <stdint.h>\n\n"
        '#ifdef __cplusplus\nextern "C" {\n#endif\n\n'
        f"#define {guard}_SCRATCH {scratch} /* bytes */\n\n"
        "/* Logits, 10 floats, of an image of 28x28 bytes, 0 = background, 255 = ink.\n"
        f" * `scratch` is {guard}_SCRATCH bytes, aligned to 4, of any contents. */\n"
        f"void {name}_run(const uint8_t *image, float *logits, void *scratch);\n\n"
        f"#ifdef __cplusplus\n}}\n#endif\n\n#endif /* {guard}_H */\n"
    )


def header(graph: Graph, precision: str) -> bytes:
    """The header that goes with :func:`render`'s file; write it beside it with suffix ``.h``."""
    return _declarations(graph, precision, _write(graph, precision)[2]).encode()


def render(graph: Graph, precision: str) -> bytes:
    """The C file of a deploy graph (fp32) or an int8 graph (int8); it needs no other file."""
    writer, table, scratch = _write(graph, precision)
    model = "".join([*writer.arrays, _array("float", "logit_scale", writer.scale), table])
    runtime = Path(__file__).with_name(_RUNTIME).read_text(encoding="utf-8")
    banner = f"/* The net {graph.spec.name}, {precision}, exported by mnistkit. */\n"
    defines = (
        f"\n#define MNISTKIT_INT8 {int(precision == 'int8')}\n"
        f"#define MNISTKIT_RUN {symbol(graph, precision)}_run\n\n"
    )
    head = banner + _declarations(graph, precision, scratch) + defines
    return (head + runtime.replace("/* @model */\n", model)).encode()


COMPANIONS = {".h": header}
