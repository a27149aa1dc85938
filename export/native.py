"""Native: the `.mnk` file of the dependency-free C++ engine; docs/reference/mnk.md has the rules.

A header, a table of three sections, and the sections: op records, arrays, the net's name. Arrays
are laid out as the engine's kernels read them, so the file is used in place.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from mnistkit.common.errors import CheckError
from mnistkit.nets.deploy import AvgPoolOp, ConvOp, DeployGraph
from mnistkit.nets.spec import INPUT_SHAPE, Shape, conv_size
from mnistkit.quantization.graph import Int8AvgPool, Int8Conv, Int8Graph
from numpy.typing import NDArray

FORMAT = "native"
SUFFIX = ".mnk"
PRECISIONS = ("fp32", "int8")

MAGIC = b"\x89MNK\r\n\x1a\n"
VERSION = 2
ALIGN = 64
HEADER = struct.Struct("<8sIIQII32x")  # magic, version, precision, file size, sections, CRC-32
SECTION = struct.Struct("<IIQQQ")  # kind, CRC-32, offset, size, 0
RECORD = struct.Struct("<8I3QfI")  # see docs/reference/mnk.md
_PRECISION = {"fp32": 0, "int8": 1}
_CONV, _MAX_POOL, _AVG_POOL = 1, 2, 3
_RELU, _LAST = 1, 2
_MULTIPLIERS = (2.0**-126, 64.0)

Array = NDArray[Any]


@dataclass(frozen=True)
class Record:
    """One op as the engine reads it; ``arrays`` are weights, bias and, for int8, multipliers."""

    kind: int
    flags: int
    channels: tuple[int, int]
    kernel: int = 0
    padding: int = 0
    stride: int = 0
    groups: int = 0
    arrays: tuple[Array, ...] = ()
    multiplier: float = 0.0


def pad_channels(values: Array) -> Array:
    """Pad the first axis with zeros to a multiple of four."""
    return np.pad(values, ((0, -len(values) % 4), *((0, 0),) * (values.ndim - 1)))


def int8_steps(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """Lay int8 weights ``(out, in, k, k)`` out as ``(out, steps, 4)``, as dot products read them.

    A step is four input channels of one tap; or, where there is one input channel alone, four
    taps of one row. What is missing to four is zero.
    """
    out, channels, kernel, _ = weight.shape
    if channels == 1:
        steps = np.pad(weight[:, 0], ((0, 0), (0, 0), (0, -kernel % 4)))
    else:
        steps = np.pad(weight, ((0, 0), (0, -channels % 4), (0, 0), (0, 0))).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(steps.reshape(out, -1, 4))


def records(graph: DeployGraph | Int8Graph) -> list[Record]:
    """The ops of either graph as records.

    Raises :class:`CheckError` for what the format does not hold: a ReLU after the last
    convolution, or a multiplier that is not in 2^-126..64.
    """
    convs = [index for index, op in enumerate(graph.ops) if isinstance(op, ConvOp | Int8Conv)]
    shape: Shape = INPUT_SHAPE
    made: list[Record] = []
    for index, op in enumerate(graph.ops):
        if isinstance(op, ConvOp | Int8Conv):
            last = index == convs[-1]
            if last and op.relu:
                raise CheckError(f"{op.name}: a ReLU after the last convolution has no logits")
            out, _, kernel, _ = op.weight.shape
            flags = (_RELU if op.relu else 0) | (_LAST if last else 0)
            channels = (shape[0], out)
            fields = (kernel, op.padding, op.stride, op.groups)
            made.append(Record(_CONV, flags, channels, *fields, arrays=_arrays(op)))
            shape = (out, *conv_size(shape, kernel, op.padding, op.stride))
        elif isinstance(op, AvgPoolOp | Int8AvgPool):
            count = shape[1] * shape[2]
            multiplier = op.multiplier if isinstance(op, Int8AvgPool) else np.float32(1 / count)
            _check_multiplier(op.name, np.array([multiplier]))
            pool = Record(_AVG_POOL, 0, (shape[0], shape[0]), multiplier=float(multiplier))
            made.append(pool)
            shape = (shape[0], 1, 1)
        else:
            made.append(Record(_MAX_POOL, 0, (shape[0], shape[0]), op.size))
            shape = (shape[0], shape[1] // op.size, shape[2] // op.size)
    return made


def _arrays(op: ConvOp | Int8Conv) -> tuple[Array, ...]:
    if isinstance(op, Int8Conv):
        _check_multiplier(op.name, op.multiplier)
        arrays: tuple[Array, ...] = (
            int8_steps(op.weight),
            op.bias.astype("<i4"),
            op.multiplier.astype("<f4"),
        )
    else:
        weight = np.ascontiguousarray(op.weight.transpose(0, 2, 3, 1))
        arrays = (weight.astype("<f4"), op.bias.astype("<f4"))
    return tuple(pad_channels(array) for array in arrays)


def _check_multiplier(name: str, multiplier: Array) -> None:
    least, most = _MULTIPLIERS
    if not ((multiplier >= least) & (multiplier <= most)).all():
        raise CheckError(f"{name}: a multiplier outside 2^-126..64 cannot be exported; recalibrate")


def _align(data: bytearray) -> int:
    data.extend(bytes(-len(data) % ALIGN))
    return len(data)


def _pack(record: Record, data: bytearray) -> bytes:
    """Append the op's arrays to the data section and return its record."""
    offsets = [0, 0, 0]
    for index, array in enumerate(record.arrays):
        offsets[index] = _align(data)
        data.extend(array.tobytes())
    head = (record.kind, record.flags, *record.channels)
    fields = (record.kernel, record.padding, record.stride, record.groups)
    return RECORD.pack(*head, *fields, *offsets, record.multiplier, 0)


def render(graph: DeployGraph | Int8Graph, precision: str) -> bytes:
    """Return the `.mnk` file of a deploy graph (fp32) or an int8 graph (int8)."""
    if (precision == "int8") != isinstance(graph, Int8Graph):
        raise CheckError(f"native: got a {type(graph).__name__} for {precision}")
    data = bytearray()
    ops = b"".join([_pack(record, data) for record in records(graph)])
    name = graph.spec.name.encode("ascii", "replace").replace(b" ", b"-")[:63]
    version = graph.edition if isinstance(graph, Int8Graph) else VERSION
    return assemble(precision, ops, bytes(data), name, version=version)


def assemble(precision: str, *sections: bytes, version: int = VERSION) -> bytes:
    """Put sections behind a header and a table, with sizes and checksums."""
    body = bytearray(HEADER.size + SECTION.size * len(sections))
    table = b""
    for kind, section in enumerate(sections, start=1):
        offset = _align(body)
        body.extend(section)
        table += SECTION.pack(kind, zlib.crc32(section), offset, len(section), 0)
    fields = (MAGIC, version, _PRECISION[precision], len(body), len(sections))
    crc = zlib.crc32(HEADER.pack(*fields, 0) + table)
    body[: HEADER.size + len(table)] = HEADER.pack(*fields, crc) + table
    return bytes(body)
