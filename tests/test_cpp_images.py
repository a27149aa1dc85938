"""mnistkit/image.hpp reads the pictures that Python reads, as Python does, and refuses the rest."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from cpp_build import BUILD, ROOT, build, run
from made_pictures import LOSSLESS, LOSSY, Array, canvas, made, png, saved
from mnistkit.artifact.golden import golden_digits
from mnistkit.common.errors import InputError
from mnistkit.pictures.preprocess import read_images
from PIL import Image

ALONE = (
    "-DMNISTKIT_BUILD_TESTS=ON",
    "-DMNISTKIT_BUILD_RUNNER=OFF",
    "-DMNISTKIT_BUILD_ENGINE=OFF",
    "-DMNISTKIT_BUILD_APPS=OFF",
    "-DMNISTKIT_BUILD_IMAGE=ON",
)
"""mnistkit::image and its tests, without a runtime."""

HEADERS = {
    "PNG": ("PNG_PNG_INCLUDE_DIR", "libpng-dev"),
    "JPEG": ("JPEG_INCLUDE_DIR", "libjpeg-dev"),
    "gzip": ("ZLIB_INCLUDE_DIR", "zlib1g-dev"),
}

EACH = 12  # pictures of each kind


@pytest.fixture(scope="session")
def tree() -> Path:
    return build(
        ROOT, BUILD / "cpp-image", [*ALONE, "-DMNISTKIT_WARNINGS_AS_ERRORS=ON"], ["prepare"]
    )


def need(tree: Path, *formats: str) -> None:
    """Skip where the build found no library for a format."""
    cache = (tree / "CMakeCache.txt").read_text()
    for name in formats:
        variable, package = HEADERS[name]
        if f"{variable}:PATH=/" not in cache:
            pytest.skip(f"this build reads no {name}: apt-get install {package}")


def told(tree: Path, files: Sequence[Path], *options: str) -> list[Array | str]:
    """What C++ makes of each file: its images ``(N, 784)``, or the error's code and text."""
    program = next(path for path in tree.rglob("prepare") if path.is_file())
    lines = run(program, *options, *files).splitlines()
    assert len(lines) == len(files)
    return [
        line if ": " in line else np.frombuffer(bytes.fromhex(line), np.uint8).reshape(-1, 784)
        for line in lines
    ]


def in_python(file: Path) -> Array | str:
    try:
        return read_images(file).reshape(-1, 784)
    except InputError as fault:
        return str(fault)


def compare(tree: Path, folder: Path, pictures: Sequence[tuple[str, bytes]]) -> tuple[int, int]:
    """How many pictures gave the same bytes, and how many bytes that differ by one at most."""
    files = []
    for index, (_, data) in enumerate(pictures):
        files.append(folder / f"{index}")
        files[-1].write_bytes(data)
    same = close = 0
    for (name, _), file, found in zip(pictures, files, told(tree, files), strict=True):
        wanted = in_python(file)
        if isinstance(wanted, str) or isinstance(found, str):
            assert isinstance(wanted, str), f"{name}: C++ alone refuses it: {found}"
            assert isinstance(found, str), f"{name}: Python alone refuses it: {wanted}"
            assert ("blank" in wanted) == ("blank" in found), name
            continue
        difference = np.abs(found.astype(int) - wanted)
        assert difference.max() <= 1, name
        same += not difference.any()
        close += bool(difference.any())
    return same, close


def test_pictures_are_prepared_as_in_python(tree: Path, tmp_path: Path) -> None:
    need(tree, "PNG")
    pictures = list(made(LOSSLESS, EACH))
    same, close = compare(tree, tmp_path, pictures)
    assert same + close > 0.95 * len(pictures) > 300
    # Where least squares round otherwise, a pixel may come to lie on the other side of a half.
    assert close <= 0.02 * len(pictures)


def test_jpegs_are_prepared_as_in_python(tree: Path, tmp_path: Path) -> None:
    need(tree, "JPEG")
    same, close = compare(tree, tmp_path, list(made(LOSSY, EACH)))
    assert same + close > 0.95 * EACH * len(LOSSY)
    assert close <= 0.05 * EACH * len(LOSSY)


def idx(images: Array) -> bytes:
    """An IDX file's bytes: images ``(N, 28, 28)`` or labels ``(N,)``."""
    return struct.pack(f">HBB{images.ndim}I", 0, 8, images.ndim, *images.shape) + images.tobytes()


def packed_to(data: bytes, multiple: int) -> bytes:
    """A gzip file whose length is a multiple, made so by an extra field in its header."""
    plain = gzip.compress(data, mtime=0)
    extra = -(len(plain) + 2) % multiple
    head = plain[:3] + b"\x04" + plain[4:10] + struct.pack("<H", extra) + bytes(extra)
    return head + plain[10:]


def golden() -> Array:
    return golden_digits()[0][:, 0]


def test_idx_files_are_read_whole(tree: Path, tmp_path: Path) -> None:
    """By their first bytes, whatever their length; all members of a gzip file."""
    need(tree, "gzip")
    data, wanted = idx(golden()), golden().reshape(-1, 784)
    padded = packed_to(data, 784)
    assert len(padded) % 784 == 0
    files = {
        "plain": data,
        "packed": gzip.compress(data),
        "of a raw file's length": padded,
        "members": gzip.compress(data[:5000]) + gzip.compress(data[5000:]),
        "members, one empty": gzip.compress(data) + gzip.compress(b""),
        "zeros after it": gzip.compress(data) + bytes(512),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for name, found in zip(files, told(tree, [tmp_path / name for name in files]), strict=True):
        assert not isinstance(found, str), f"{name}: {found}"
        np.testing.assert_array_equal(found, wanted, name)
        np.testing.assert_array_equal(in_python(tmp_path / name), wanted, name)


def test_raw_files_are_read_where_it_is_said(tree: Path, tmp_path: Path) -> None:
    need(tree, "gzip")
    raw = golden().tobytes()
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    plain.write_bytes(raw)
    packed.write_bytes(gzip.compress(raw[:784]) + gzip.compress(raw[784:]))
    for found in told(tree, [plain, packed], "--raw"):
        np.testing.assert_array_equal(found, golden().reshape(-1, 784))
    for found, what in zip(
        told(tree, [plain, packed]), ("no known format", "gzip of no known"), strict=True
    ):
        assert isinstance(found, str)
        assert what in found


def refusals() -> dict[str, tuple[str, bytes, str]]:
    """What is refused: the library that its format needs, its bytes, and what is said of it."""
    ink = canvas(np.random.default_rng(0), 3)
    jpeg = saved(Image.fromarray(255 - ink), "JPEG")
    labels = np.arange(784 * 2 - 8, dtype=np.uint8) % 10
    data = idx(golden())
    packed = bytearray(gzip.compress(data))
    packed[-5] ^= 1  # of the checksum
    grey = png(255 - ink)
    damaged = bytearray(grey)
    damaged[len(grey) // 2] ^= 0x10
    return {
        "labels of a raw file's length": ("", idx(labels), "a file of labels"),
        "packed labels": ("gzip", packed_to(idx(labels), 784), "a file of labels"),
        "IDX cut to a raw file's length": ("", data[: 784 * 5], "cut short"),
        "gzip cut short": ("gzip", gzip.compress(data)[:-9], "gzip: the file is cut short"),
        "gzip with a wrong checksum": ("gzip", bytes(packed), "gzip: damaged"),
        "something after gzip": ("gzip", gzip.compress(data) + b"more", "gzip: damaged"),
        "packed PNG": ("gzip", gzip.compress(grey), "gzip of the format PNG"),
        "PNG cut short": ("PNG", grey[: len(grey) // 2], "PNG: damaged or cut short"),
        "PNG with a wrong bit": ("PNG", bytes(damaged), "PNG: damaged or cut short"),
        "JPEG cut short": ("JPEG", jpeg[: len(jpeg) // 2], "JPEG: damaged or cut short"),
        "JPEG without a picture": ("JPEG", jpeg[:20] + jpeg[-2:], "JPEG: damaged or cut short"),
        "GIF": ("", saved(Image.fromarray(ink), "GIF"), "the format GIF"),
        "TIFF": ("", saved(Image.fromarray(ink), "TIFF"), "the format TIFF"),
        "HEIC of a raw file's length": (
            "",
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(784))[:784],
            "the format HEIC",
        ),
        "BMP cut short": ("", saved(Image.fromarray(ink), "BMP")[:900], "BMP: damaged"),
    }


@pytest.mark.parametrize("kind", refusals())
def test_refused_by_name(tree: Path, tmp_path: Path, kind: str) -> None:
    library, data, said = refusals()[kind]
    need(tree, *filter(None, [library]))
    (tmp_path / "file").write_bytes(data)
    (found,) = told(tree, [tmp_path / "file"])
    assert isinstance(found, str), "it was read"
    assert found.startswith("invalid_argument: ")
    assert said in found


def test_a_jpeg_of_a_raw_files_length_is_a_picture(tree: Path, tmp_path: Path) -> None:
    need(tree, "JPEG")
    picture = Image.fromarray(255 - canvas(np.random.default_rng(4), 7))
    plain = saved(picture, "JPEG", comment=b"?")
    file = tmp_path / "file"
    file.write_bytes(saved(picture, "JPEG", comment=b"?" * (1 + -len(plain) % 784)))
    assert file.stat().st_size % 784 == 0
    assert compare(tree, tmp_path, [("JPEG", file.read_bytes())]) == (1, 0)


def test_black_ink_on_nothing_is_read(tree: Path, tmp_path: Path) -> None:
    """28 by 28, transparent but for the ink."""
    need(tree, "PNG")
    pictures = [
        (f"{index}", png(np.dstack([np.zeros((28, 28, 3), np.uint8), image])))
        for index, image in enumerate(golden())
    ]
    assert compare(tree, tmp_path, pictures) == (len(pictures), 0)


def test_a_build_without_libraries_says_what_is_missing(tmp_path: Path) -> None:
    options = [f"-DCMAKE_DISABLE_FIND_PACKAGE_{name}=ON" for name in ("PNG", "JPEG", "ZLIB")]
    tree = build(
        ROOT,
        BUILD / "cpp-image-bare",
        [*ALONE, *options, "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O0"],
        ["prepare"],
    )
    picture = Image.fromarray(255 - canvas(np.random.default_rng(5), 2))
    contents = {
        "PNG": saved(picture, "PNG"),
        "JPEG": saved(picture, "JPEG"),
        "gzip": gzip.compress(idx(golden())),
        "PGM": saved(picture, "PPM"),
        "IDX": idx(golden()),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    found = dict(zip(contents, told(tree, [tmp_path / name for name in contents]), strict=True))
    for name, (_, package) in HEADERS.items():
        said = str(found[name])
        assert said.startswith(f"unavailable: this build cannot read {name}: "), said
        assert f"apt-get install {package}" in said
    for name in ("PGM", "IDX"):
        np.testing.assert_array_equal(found[name], in_python(tmp_path / name))


def test_malformed_files_under_sanitizers(tmp_path: Path) -> None:
    """Files of every kind, their beginnings and mutations of them: no step past a buffer."""
    options = [
        *ALONE,
        "-DMNISTKIT_SANITIZE=address,undefined",
        "-DCMAKE_BUILD_TYPE=None",
        "-DCMAKE_CXX_FLAGS=-O1 -g1",
    ]
    tree = build(ROOT, BUILD / "cpp-image-address", options, ["image_fuzz", "images_test"])
    small = {kind: make for kind, make in LOSSLESS.items() if "large" not in kind}
    contents = [data for kinds in (small, LOSSY) for _, data in made(kinds, 1)]
    contents += [data for _, data, _ in refusals().values()]
    # EXIF that promises more than it holds.
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff"
    picture = Image.fromarray(255 - canvas(np.random.default_rng(6), 1))
    contents += [saved(picture, form, exif=exif) for form in ("JPEG", "PNG")]
    contents += [idx(golden()[:2]), packed_to(idx(golden()[:2]), 784)]
    paths = []
    for index, data in enumerate(contents):
        paths.append(tmp_path / f"{index}")
        paths[-1].write_bytes(data)
    programs = {path.name: path for path in tree.rglob("image*") if path.is_file()}
    assert "FAILED" not in run(programs["images_test"])
    assert "mutations" in run(programs["image_fuzz"], *paths)


def test_a_broken_row_filter_is_no_picture(tree: Path, tmp_path: Path) -> None:
    """Right checksums around wrong content."""
    need(tree, "PNG")
    whole = png(np.zeros((40, 40), np.uint8))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    for name, rows in (("filter", b"\x09" * 40 * 41), ("too few", bytes(20 * 41))):
        body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        (tmp_path / name).write_bytes(whole[:33] + body)
        (found,) = told(tree, [tmp_path / name])
        assert "PNG: damaged or cut short" in str(found)
