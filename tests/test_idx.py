"""IDX files: what is written is read back, and whatever is not whole is refused by name."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from mnistkit.common.errors import InputError
from mnistkit.data import idx
from mnistkit.data.idx import read_idx, write_idx


def _header(*shape: int, kind: int = 0x08) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape)


@pytest.mark.parametrize("name", ["a-idx-ubyte", "a-idx-ubyte.gz"])
@pytest.mark.parametrize("shape", [(7,), (3, 28, 28), (2, 3), (2, 1, 3, 4)])
def test_round_trip(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_idx(tmp_path / name, array)
    back = read_idx(tmp_path / name)
    assert back.dtype == np.uint8
    assert back.flags.writeable
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, array)
    assert [path.name for path in tmp_path.iterdir()] == [name], "a temporary file was left"


def test_bytes_are_the_format(tmp_path: Path) -> None:
    write_idx(tmp_path / "a", np.array([[1, 2, 3]], np.uint8))
    assert (tmp_path / "a").read_bytes() == bytes.fromhex("00000802 00000001 00000003 010203")


def test_non_contiguous_array_is_written_in_c_order(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4).T
    write_idx(tmp_path / "a", array)
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), array)


def test_gzip_is_recognised_by_content_and_written_without_a_time(tmp_path: Path) -> None:
    array = np.arange(10, dtype=np.uint8)
    write_idx(tmp_path / "a.gz", array)
    packed = (tmp_path / "a.gz").read_bytes()
    assert packed[:2] == b"\x1f\x8b"
    assert packed[4:8] == bytes(4)
    (tmp_path / "renamed").write_bytes(packed)
    np.testing.assert_array_equal(read_idx(tmp_path / "renamed"), array)


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "0 bytes in all"),
        (b"\x00\x00\x08", "3 bytes in all"),
        (b"\x89PNG\r\n\x1a\n", "starts with bytes 89 50 4e 47"),
        (_header(2, kind=0x0D) + bytes(8), r"0x0d \(float32\)"),
        (_header(2, kind=0x42) + bytes(8), r"0x42 \(unknown\)"),
        (b"\x00\x00\x08\x00", "0 dimensions"),
        (_header(1, 1, 1, 1, 1) + bytes(1), "5 dimensions"),
        (_header(5, 28, 28)[:-2], "truncated in the header: 10 bytes"),
        (_header(5, 0, 28), "holds nothing"),
        (_header(5, 2, 2) + bytes(19), "truncated: 19 bytes of data.*wants 20"),
        (_header(5, 2, 2) + bytes(21), "bytes follow the 20"),
        (_header(2**32 - 1, 2**32 - 1, 2**32 - 1), "wanted at most"),
        (_header(idx.MAX_BYTES + 1), "wanted at most"),
        (_header(idx.MAX_BYTES) + bytes(3), "truncated: 3 bytes of data"),
    ],
)
def test_faulty_file_is_refused(tmp_path: Path, content: bytes, fault: str, compress: bool) -> None:
    path = tmp_path / "faulty"
    path.write_bytes(gzip.compress(content) if compress else content)
    with pytest.raises(InputError, match=fault) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_gzip_that_is_cut_or_altered_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    write_idx(path, np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8))
    whole = path.read_bytes()
    altered = bytearray(whole)
    altered[-8] ^= 1  # the stored checksum
    for packed in (whole[: len(whole) // 2], whole[:-4], bytes(altered), whole[:5]):
        path.write_bytes(packed)
        with pytest.raises(InputError, match="damaged gzip data"):
            read_idx(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent: no such file"):
        read_idx(tmp_path / "absent")
    with pytest.raises(InputError, match="not a plain file"):
        read_idx(tmp_path)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2), np.float32),
        np.zeros((), np.uint8),
        np.zeros((0, 28, 28), np.uint8),
        np.zeros((1, 1, 1, 1, 1), np.uint8),
    ],
    ids=["float", "scalar", "empty", "5-d"],
)
def test_array_that_is_not_idx_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(InputError, match="wanted uint8 with 1 to 4 dimensions"):
        write_idx(tmp_path / "a", array)
    assert list(tmp_path.iterdir()) == []


def test_size_bound_holds_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.zeros(9, np.uint8)
    write_idx(tmp_path / "a", array)
    monkeypatch.setattr(idx, "MAX_BYTES", 8)
    with pytest.raises(InputError, match="9 bytes; wanted at most 8"):
        read_idx(tmp_path / "a")
    with pytest.raises(InputError, match="9 bytes is more than the 8"):
        write_idx(tmp_path / "b", array)
