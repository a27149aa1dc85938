"""The engine touches nothing but what it was given: guard pages, and a replay under sanitizers."""

from __future__ import annotations

import base64
import ctypes
import mmap
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from cpp_build import BUILD, ROOT, build, run
from engine_nets import graphs, mnk, pictures
from mnistkit.backends.engine import EngineApi
from mnistkit.quantization import reference

# What libFuzzer found worth keeping: one file a line, compressed, in base64.
CORPUS = Path(__file__).parent / "data" / "engine_corpus.txt"
GUARDED = ("base", "nano", "strided", "grouped", "pooled", "single")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mmap as Linux has it")


@contextmanager
def guarded(size: int, *, at_end: bool) -> Iterator[int]:
    """The address of ``size`` bytes that end, or begin, at a page that nobody may touch."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    page = mmap.PAGESIZE
    inner = -(-size // page) * page
    access = mmap.PROT_READ | mmap.PROT_WRITE
    start = libc.mmap(None, inner + 2 * page, access, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    assert start not in (None, ctypes.c_void_p(-1).value)
    for guard in (start, start + page + inner):
        assert libc.mprotect(guard, page, 0) == 0
    try:
        yield start + page + (inner - size if at_end else 0)
    finally:
        libc.munmap(start, inner + 2 * page)


@pytest.mark.parametrize("at_end", [True, False], ids=["end", "start"])
@pytest.mark.parametrize("name", GUARDED)
def test_no_step_past_the_callers_memory(api: EngineApi, name: str, at_end: bool) -> None:
    """A step past images, logits or scratch would end the process."""
    for kernels in (one.name for one in api.kernels() if one.supported):
        predictor = api.open_bytes(mnk(name, "int8"), kernels)
        for count in (1, 15, 17):
            images = np.ascontiguousarray(pictures()[:count])
            size = api.scratch_size(predictor._handle, count)
            with (
                guarded(images.nbytes, at_end=at_end) as image_at,
                guarded(count * 40, at_end=at_end) as logits_at,
                guarded(size, at_end=at_end) as scratch_at,
            ):
                ctypes.memmove(image_at, images.ctypes.data, images.nbytes)
                api.check(api.run(predictor._handle, image_at, count, logits_at, scratch_at, size))
                logits = np.frombuffer(ctypes.string_at(logits_at, count * 40), np.float32)
            expected = reference.logits(graphs(name)[1], images)
            np.testing.assert_array_equal(logits.reshape(count, 10), expected, kernels)
        predictor.close()


def test_the_corpus_under_sanitizers(tmp_path: Path) -> None:
    """Address and undefined-behaviour sanitizers watch the loader and the kernels."""
    options = [
        "-DMNISTKIT_BUILD_TESTS=ON",
        "-DMNISTKIT_BUILD_RUNNER=OFF",
        "-DMNISTKIT_BUILD_APPS=OFF",
        "-DMNISTKIT_SANITIZE=address,undefined",
        "-DCMAKE_BUILD_TYPE=None",
        "-DCMAKE_CXX_FLAGS=-O1 -g1",
    ]
    tree = build(ROOT, BUILD / "engine-address", options, ["engine_fuzz"])
    files = [zlib.decompress(base64.b64decode(line)) for line in CORPUS.read_text().split()]
    files += [mnk(name, kind) for name in GUARDED[2:] for kind in ("int8", "fp32")]
    paths = []
    for index, data in enumerate(files):
        paths.append(tmp_path / f"{index}.mnk")
        paths[-1].write_bytes(data)
    program = next(tree.rglob("engine_fuzz"))
    assert "mutations" in run(program, *paths)
