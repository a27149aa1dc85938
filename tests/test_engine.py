"""The engine: every net on every kernel set, its file format rule by rule, and the C export."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_nets import (
    KERNELS,
    NETS,
    Array,
    answers,
    c_defines,
    graphs,
    mnk,
    parse_logits,
    pictures,
    tied,
    write_digits,
)
from mnistkit.backends.engine import EngineApi, EnginePredictor
from mnistkit.common.errors import ArtifactError, CheckError, MissingError, UsageError
from mnistkit.export import c, native
from mnistkit.nets.deploy import DeployGraph, fold
from mnistkit.nets.deploy_module import DeployNet
from mnistkit.nets.module import DigitNet
from mnistkit.nets.spec import AvgPool, Conv, NetSpec, ReLU
from mnistkit.quantization import reference
from mnistkit.quantization.graph import Int8Graph, quantize

TARGETS = Path(__file__).parent / "targets"


def _sets(api: EngineApi) -> list[str]:
    return [kernels.name for kernels in api.kernels() if kernels.supported]


def _open(api: EngineApi, data: bytes, kernels: str) -> EnginePredictor:
    """The net on one kernel set; skips where this CPU lacks what the set needs."""
    if kernels not in _sets(api):
        pytest.skip(f"this CPU does not run {kernels}")
    return api.open_bytes(data, kernels)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("kernels", KERNELS)
def test_int8_bits(api: EngineApi, kernels: str, name: str) -> None:
    """Every kernel set gives the integer reference's logits, alone and in batches."""
    images, wanted = pictures(), answers(name)
    assert len(np.unique(wanted)) > 100  # a net that answers nothing would agree with itself
    with _open(api, mnk(name, "int8"), kernels) as predictor:
        assert predictor.kernels == kernels
        for count in (len(images), 16, 15, 3, 1):
            np.testing.assert_array_equal(predictor.logits(images[:count]), wanted[:count])


@pytest.mark.parametrize("name", ["base", "nano", "ref-18738", "grouped", "depthwise", "single"])
@pytest.mark.parametrize("kernels", KERNELS)
def test_ties_go_to_the_even_integer(api: EngineApi, kernels: str, name: str) -> None:
    images = pictures()
    wanted = reference.logits(tied(name), images)
    with _open(api, native.render(tied(name), "int8"), kernels) as predictor:
        for count in (len(images), 1):
            np.testing.assert_array_equal(predictor.logits(images[:count]), wanted[:count])


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("kernels", KERNELS)
def test_fp32(api: EngineApi, kernels: str, name: str) -> None:
    images = pictures()
    with torch.no_grad():
        wanted = DeployNet(graphs(name)[0])(torch.from_numpy(images.copy())).numpy()
    with _open(api, mnk(name, "fp32"), kernels) as predictor:
        for count in (len(images), 1):
            got = predictor.logits(images[:count])
            np.testing.assert_allclose(got, wanted[:count], rtol=1e-5, atol=1e-5)


def test_average_of_a_wide_map(api: EngineApi) -> None:
    """A row whose bytes add up to more than sixteen bits: 298 of about 240."""
    wide = NetSpec("wide", (*[Conv(4, 1, 15, bias=True)] * 9, AvgPool(), Conv(10, 1)))
    torch.manual_seed(3)
    net = DigitNet(wide)
    *_, bias = (value for name, value in net.state_dict().items() if name.endswith("bias"))
    bias.fill_(9.0)
    graph, images = fold(wide, net.state_dict()), pictures()[:2]
    int8 = quantize(graph, {op.name: 10.0 for op in graph.ops})
    wanted = reference.logits(int8, images)
    for kernels in _sets(api):
        with api.open_bytes(native.render(int8, "int8"), kernels) as predictor:
            np.testing.assert_array_equal(predictor.logits(images), wanted, kernels)


def test_kernel_choice(api: EngineApi, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = api.kernels()
    assert tuple(k.name for k in listed) == KERNELS
    assert all(k.supported for k in listed[-3:])
    data = mnk("nano", "int8")
    assert api.open_bytes(data).kernels == next(k.name for k in listed if k.supported)
    monkeypatch.setenv("MNISTKIT_KERNELS", "portable")
    assert api.open_bytes(data).kernels == "portable"
    assert api.open_bytes(data, "reference").kernels == "reference"
    monkeypatch.setenv("MNISTKIT_KERNELS", "fastest")
    with pytest.raises(UsageError, match="unknown kernels"):
        api.open_bytes(data)
    for kernels in listed:
        if not kernels.supported:
            with pytest.raises(UsageError, match="this CPU lacks"):
                api.open_bytes(data, kernels.name)


def test_file_and_misuse(api: EngineApi, tmp_path: Path) -> None:
    path = tmp_path / "model.mnk"
    path.write_bytes(mnk("nano", "int8"))
    with api.open(path) as predictor:
        wanted = reference.logits(graphs("nano")[1], pictures()[:2])
        np.testing.assert_array_equal(predictor.bind(pictures()[:2])(), wanted)
        small = np.empty(8, np.uint8)
        images, logits = pictures()[:1].copy(), np.empty(10, np.float32)
        arguments = (images.ctypes.data, 1, logits.ctypes.data, small.ctypes.data)
        with pytest.raises(UsageError, match="scratch: got 8 bytes, wanted"):
            api.check(api.run(predictor._handle, *arguments, small.size))
    with pytest.raises(MissingError, match="cannot be opened"):
        api.open(tmp_path / "none.mnk")


def test_scratch_has_room(api: EngineApi) -> None:
    """Nothing is written or needed outside the scratch, wherever it begins."""
    for name in ("base", "ref-18738", "grouped"):
        for kernels in _sets(api):
            predictor = api.open_bytes(mnk(name, "int8"), kernels)
            for count, shift in ((1, 0), (17, 5)):
                images = np.ascontiguousarray(pictures()[:count])
                size = api.scratch_size(predictor._handle, count)
                room = np.full(size + 256, 0xA5, np.uint8)
                logits = np.empty((count, 10), np.float32)
                at = room.ctypes.data + 128 + shift
                arguments = (images.ctypes.data, count, logits.ctypes.data, at, size)
                api.check(api.run(predictor._handle, *arguments))
                np.testing.assert_array_equal(
                    logits, reference.logits(graphs(name)[1], images), kernels
                )
                assert (room[: 128 + shift] == 0xA5).all()
                assert (room[128 + shift + size :] == 0xA5).all()


# ---- The format --------------------------------------------------------------------------------

Change = Callable[[bytearray], None]
OPS, DATA = 192, 192 + 64 * 8  # where the sections of `_model` begin


@cache
def _model() -> bytes:
    """A small file, with a known place for everything: conv, pool, conv, conv, average, conv."""
    data = mnk("small", "int8")
    ops = struct.unpack_from("<Q", data, 64 + 16)[0] // 64
    assert (ops, struct.unpack_from("<Q", data, 64 + 8)[0]) == (9, 192)
    return data


def _put(at: int, kind: str, value: float) -> Change:
    return lambda data: struct.pack_into(f"<{kind}", data, at, value)


def _op(index: int, field: int, value: int) -> Change:
    return _put(OPS + 64 * index + field, "I", value)


def _array(index: int, field: int, at: int, kind: str, value: float) -> Change:
    """Set an element of an array of op ``index``, whose offset stands at ``field``."""

    def change(data: bytearray) -> None:
        start = struct.unpack_from("<Q", data, 64 + 32 + 8)[0]
        start += struct.unpack_from("<Q", data, OPS + 64 * index + field)[0]
        struct.pack_into(f"<{kind}", data, start + at, value)

    return change


def _cut(size: int) -> Change:
    def change(data: bytearray) -> None:
        del data[size:]

    return change


def _append(data: bytearray) -> None:
    data.extend(bytes(64))
    struct.pack_into("<Q", data, 16, len(data))


def _no_ops(data: bytearray) -> None:
    data[:] = native.assemble("int8", b"", b"", b"none")


def _section_crc(data: bytearray) -> None:
    data[-1] ^= 1


def _last_array(data: bytearray) -> None:
    """Put the second op's weights at the last multiple of 64, where they have no room."""
    size = struct.unpack_from("<Q", data, 64 + 32 + 16)[0]
    struct.pack_into("<Q", data, OPS + 64 + 32, (size - 1) // 64 * 64)


def _name(data: bytearray) -> None:
    data[-1] = 0x20


def _reseal(data: bytearray) -> None:
    """Make the checksums right again, so that a later rule is the one that is broken."""
    for index in range(3):
        entry = 64 + 32 * index
        at, size = struct.unpack_from("<QQ", data, entry + 8)
        if at + size <= len(data):
            struct.pack_into("<I", data, entry + 4, zlib.crc32(data[at : at + size]))
    struct.pack_into("<I", data, 28, 0)
    struct.pack_into("<I", data, 28, zlib.crc32(data[:160]))


BROKEN: dict[str, tuple[int, Change, bool]] = {
    "empty": (1, _cut(0), False),
    "short": (1, _cut(159), False),
    "magic": (1, _put(0, "B", 0x88), True),
    "version": (2, _put(8, "I", 3), True),
    "version zero": (2, _put(8, "I", 0), True),
    "truncated": (3, _cut(2000), False),
    "file size": (3, _put(16, "Q", 2**63), True),
    "sections": (4, _put(24, "I", 4), True),
    "header damaged": (5, _put(40, "I", 1), False),
    "table damaged": (5, _put(64 + 8, "Q", 256), False),
    "precision": (6, _put(12, "I", 2), True),
    "reserved header": (6, _put(40, "I", 1), True),
    "section order": (7, _put(64, "I", 2), True),
    "reserved entry": (7, _put(64 + 24, "Q", 1), True),
    "section moved": (8, _put(64 + 8, "Q", 256), True),
    "section leaves": (8, _put(64 + 32 + 16, "Q", 2**64 - 64), True),
    "bytes after": (8, _append, True),
    "section damaged": (9, _section_crc, False),
    "name": (10, _name, True),
    "no ops": (11, _no_ops, False),
    "half an op": (11, _put(64 + 16, "Q", 64 * 9 - 32), True),
    "op kind": (12, _op(0, 0, 4), True),
    "flags": (13, _op(0, 4, 4), True),
    "reserved op": (13, _op(0, 60, 1), True),
    "relu on logits": (13, _op(8, 4, 3), True),
    "pool with padding": (13, _op(2, 20, 1), True),
    "channels before": (14, _op(1, 8, 9), True),
    "no output": (14, _op(0, 12, 0), True),
    "huge output": (14, _op(0, 12, 2**32 - 1), True),
    "no kernel": (14, _op(0, 16, 0), True),
    "huge padding": (14, _op(0, 20, 2**31), True),
    "no stride": (14, _op(0, 24, 0), True),
    "groups": (15, _op(1, 28, 5), True),
    "no groups": (15, _op(1, 28, 0), True),
    "kernel too large": (16, _op(0, 16, 29), True),
    "pool too large": (16, _op(2, 16, 25), True),
    "array leaves": (17, _put(OPS + 32, "Q", 2**64 - 64), True),
    "array leaves in part": (17, _last_array, True),
    "array unaligned": (17, _put(OPS + 32, "Q", 4), True),
    "bias leaves": (17, _put(OPS + 40, "Q", 2**32), True),
    "weight": (19, _array(0, 32, 0, "b", -128), True),
    "pair": (26, _array(1, 32, 0, "H", 65 << 8 | 64), True),
    "negative pair": (26, _array(1, 32, 0, "H", (256 - 65) << 8 | (256 - 64)), True),
    "reach": (20, _array(0, 40, 0, "i", -(2**31)), True),
    "reach of a bias": (20, _array(0, 40, 0, "i", 2**24), True),
    "multiplier": (21, _array(0, 48, 0, "f", float("nan")), True),
    "multiplier infinite": (21, _array(0, 48, 0, "f", float("inf")), True),
    "multiplier negative": (21, _array(0, 48, 0, "f", -1.0), True),
    "multiplier denormal": (21, _array(0, 48, 0, "f", 1e-40), True),
    "pool multiplier": (21, _put(OPS + 64 * 7 + 56, "f", 65.0), True),
    "missing tap": (22, _array(0, 32, 3, "b", 1), True),
    "missing channel": (22, _array(8, 40, 44, "i", 1), True),
    "ops after logits": (23, _op(0, 4, 2), True),
    "no logits": (25, _op(8, 4, 0), True),
}


def test_model_is_sound(api: EngineApi) -> None:
    data = bytearray(_model())
    _reseal(data)
    assert data == _model()
    api.open_bytes(bytes(data)).close()


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file(api: EngineApi, name: str) -> None:
    rule, change, reseal = BROKEN[name]
    data = bytearray(_model())
    change(data)
    if reseal:
        _reseal(data)
    with pytest.raises(ArtifactError, match=rf"^rule {rule} of the \.mnk format"):
        api.open_bytes(bytes(data))


def test_fp32_not_finite(api: EngineApi) -> None:
    data = bytearray(mnk("small", "fp32"))
    _array(0, 32, 8, "f", float("inf"))(data)
    _reseal(data)
    with pytest.raises(ArtifactError, match=r"^rule 18 "):
        api.open_bytes(bytes(data))


def test_map_too_large(api: EngineApi) -> None:
    """Rule 24, from the exporter's side: a net whose maps are beyond the engine's bound."""
    huge = (*(Conv(1024, 1, 15), ReLU()), *(Conv(4, 1, groups=4),), Conv(10, 1), AvgPool())
    graph = fold(NetSpec("huge", huge), DigitNet(NetSpec("huge", huge)).state_dict())
    with pytest.raises(ArtifactError, match=r"^rule 24 "):
        api.open_bytes(native.render(graph, "fp32"))


def _with_ops(change: Callable[[list[bytes]], None]) -> bytes:
    """A net that ends in a convolution and an average, with its op records changed."""
    data = mnk("ref-18738", "int8")
    sections = []
    for index in range(3):
        at, size = struct.unpack_from("<QQ", data, 64 + 32 * index + 8)
        sections.append(data[at : at + size])
    records = [sections[0][at : at + 64] for at in range(0, len(sections[0]), 64)]
    change(records)
    return native.assemble("int8", b"".join(records), *sections[1:])


@pytest.mark.parametrize(
    ("rule", "change"),
    [(23, lambda ops: ops.append(ops[-1])), (25, lambda ops: ops.pop())],
    ids=["two averages", "logits of many pixels"],
)
def test_an_end_that_is_no_net(
    api: EngineApi, rule: int, change: Callable[[list[bytes]], None]
) -> None:
    api.open_bytes(_with_ops(lambda ops: None)).close()
    with pytest.raises(ArtifactError, match=rf"^rule {rule} "):
        api.open_bytes(_with_ops(change))


def test_every_rule_is_tested() -> None:
    text = (TARGETS.parents[1] / "docs" / "reference" / "mnk.md").read_text()
    rules = {int(line.split(".")[0]) for line in text.splitlines() if line[:1].isdigit()}
    assert rules == {rule for rule, _, _ in BROKEN.values()} | {18, 24}


def test_mutations(api: EngineApi) -> None:
    """Files changed at random are refused, or run; the sanitized build does this at length."""
    rng, opened, logits = random.Random(1), 0, set()
    for _ in range(2000):
        data = bytearray(_model())
        for _ in range(rng.choice((1, 1, 2, 4))):
            inside = rng.random() < 0.6
            data[rng.randrange(OPS, DATA) if inside else rng.randrange(len(data))] = rng.randrange(
                256
            )
        if rng.random() < 0.95:
            _reseal(data)
        try:
            with api.open_bytes(bytes(data)) as predictor:
                logits.add(predictor.logits(pictures()[:1]).tobytes())
                opened += 1
        except ArtifactError:
            pass
    assert 20 < opened < 1900
    assert len(logits) > 20  # changed weights that were let through have changed the answer


def test_exporter_refuses() -> None:
    graph, int8 = graphs("nano")
    with pytest.raises(CheckError, match="got a DeployGraph for int8"):
        native.render(graph, "int8")
    with pytest.raises(CheckError, match="got a Int8Graph for fp32"):
        c.render(int8, "fp32")
    for scale in (1e-9, 1e38):  # a multiplier beyond int32, and one that is no normal float
        ops = [
            replace(op, out_scale=np.float32(scale)) if op is int8.ops[0] else op for op in int8.ops
        ]
        wide = Int8Graph(int8.spec, tuple(ops))
        for module in (native, c):
            with pytest.raises(CheckError, match=r"multiplier outside 2\^-126..64.*recalibrate"):
                module.render(wide, "int8")


# ---- The C export ------------------------------------------------------------------------------


def _c_logits(
    graph: DeployGraph | Int8Graph, precision: str, images: Array, tmp_path: Path
) -> Array:
    """What the C file of a net gives, compiled strictly and under sanitizers."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (Debian: apt-get install gcc)")
    (tmp_path / "model.c").write_bytes(c.render(graph, precision))
    write_digits(tmp_path, images)
    strict = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2"]
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = [str(tmp_path / "model.c"), str(TARGETS / "c_digits.c"), "-I", str(tmp_path)]
    program = str(tmp_path / "digits")
    defines = c_defines(graph, precision)
    subprocess.run([compiler, *strict, *sanitize, *defines, *sources, "-o", program], check=True)
    done = subprocess.run([program], check=True, capture_output=True, text=True)
    return parse_logits(done.stdout)


@pytest.mark.parametrize("name", ["base", "nano", "grouped"])
def test_c_export_at_ties_and_beyond_the_clamp(tmp_path: Path, name: str) -> None:
    graph, images = tied(name), pictures()[::3]
    got = _c_logits(graph, "int8", images, tmp_path)
    np.testing.assert_array_equal(got, reference.logits(graph, images))


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("name", NETS)
def test_c_export(tmp_path: Path, name: str, precision: str) -> None:
    graph, images = graphs(name)[precision == "int8"], pictures()[::3]
    got = _c_logits(graph, precision, images, tmp_path)
    if precision == "int8":
        np.testing.assert_array_equal(got, reference.logits(graphs(name)[1], images))
    else:
        with torch.no_grad():
            wanted = DeployNet(graph)(torch.from_numpy(images.copy())).numpy()  # type: ignore[arg-type]
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
