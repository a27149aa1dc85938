"""``mnistkit predict`` and its files: other formats, pipes, one bad file among many."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mnistkit.artifact.golden import golden_digits
from mnistkit.common.errors import InputError
from mnistkit.data.idx import write_idx
from mnistkit.pictures import file as picture_file
from mnistkit.pictures import preprocess
from mnistkit.pictures.preprocess import read_images, to_mnist
from PIL import Image
from strokes import DRAWINGS, draw

INK = draw(DRAWINGS[5], scale=6)
PAPER = 255 - INK


def predict(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "mnistkit", "predict", *map(str, arguments), "--pretrained", "nano"],
        input=stdin,
        capture_output=True,
        check=False,
        env={**os.environ, "COLUMNS": "160"},
    )
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    for name, index in (("a.png", 0), ("d.png", 5)):
        Image.fromarray(golden_digits()[0][index, 0]).save(tmp_path / name)
    Image.new("L", (90, 60), 255).save(tmp_path / "b.png")
    files = [tmp_path / f"{letter}.png" for letter in "abcd"]
    code, out, shown = predict(*files, "--json", tmp_path / "r.json")
    assert code == 1
    assert [Path(line.split("[")[0]).name for line in out.splitlines()] == ["a.png", "d.png"]
    lines = shown.splitlines()
    assert [
        f"{letter}.png: {why}" in line
        for letter, why, line in zip(
            "bc", ("the picture is blank", "cannot be read"), lines, strict=False
        )
    ] == [True, True]
    assert "2 of 4 files could not be read" in lines[2]
    rows = json.loads((tmp_path / "r.json").read_text())
    assert [Path(row["file"]).name for row in rows] == ["a.png", "b.png", "c.png", "d.png"]
    assert [row.get("digit") for row in rows] == [0, None, None, 2]
    assert set(rows[1]) == {"file", "error"}
    assert "blank" in rows[1]["error"]


def test_no_file_that_can_be_read_is_a_wrong_call(tmp_path: Path) -> None:
    code, out, shown = predict(tmp_path / "x.png", "--json", tmp_path / "r.json")
    assert (code, out, len(shown.splitlines())) == (2, "", 1)
    assert "error" in json.loads((tmp_path / "r.json").read_text())[0]
    assert predict(tmp_path / "x.png", tmp_path / "y.png")[0] == 2


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input(tmp_path: Path, name: str) -> None:
    Image.fromarray(PAPER).save(tmp_path / "5.png")
    write_idx(tmp_path / "idx.gz", golden_digits()[0][:3, 0])
    code, out, shown = predict(name, stdin=(tmp_path / "5.png").read_bytes())
    assert code == 0, shown
    assert out.startswith(f"{name}[0]  2")
    code, out, shown = predict(name, stdin=(tmp_path / "idx.gz").read_bytes())
    assert (code, len(out.splitlines())) == (0, 3), shown
    code, _, shown = predict(name, stdin=b"")
    assert code == 2
    assert "an empty file" in shown


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *[(f"d.{end}", mode) for end in ("gif", "tiff", "webp", "bmp") for mode in ("L", "RGB")],
        *[("d.pgm", "L"), ("d.ppm", "RGB"), ("d.pbm", "1")],
    ],
)
def test_formats(tmp_path: Path, name: str, mode: str) -> None:
    picture = Image.fromarray(PAPER).convert(mode)
    options = {"lossless": True} if name == "d.webp" else {}
    picture.save(tmp_path / name, **options)
    (tmp_path / name).rename(tmp_path / "noname")  # by its content, not by its name
    np.testing.assert_array_equal(read_images(tmp_path / "noname")[0], to_mnist(picture))


def test_the_first_frame_of_several(tmp_path: Path) -> None:
    frames = [Image.fromarray(255 - draw(DRAWINGS[index], scale=6)) for index in (5, 0)]
    for name in ("d.gif", "d.tiff"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        np.testing.assert_array_equal(read_images(tmp_path / name)[0], to_mnist(frames[0]))


def _container(brand: bytes, *more: bytes) -> bytes:
    body = b"ftyp" + brand + bytes(4) + b"".join(more)
    return (4 + len(body)).to_bytes(4, "big") + body + bytes(40)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (_container(b"heic", b"mif1"), "a HEIC picture"),
        (_container(b"mif1", b"avif"), "an AVIF picture"),
        (_container(b"avif"), "an AVIF picture"),
        (_container(b"isom", b"mp42"), "a film"),
        (b"\xff\x0a" + bytes(30), "a JPEG XL picture"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(30), "a JPEG XL picture"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(30), "a JPEG 2000 picture"),
        (b"\0\0\x01\0\x01\0" + bytes(30), "a Windows icon"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"<?xml version='1.0'?>\n<svg xmlns='x'></svg>", "an SVG drawing"),
        (b"<svg></svg>", "an SVG drawing"),
        (b"8BPS\0\x01", "a Photoshop document"),
        (b"PK\x03\x04" + bytes(30), "a ZIP archive"),
        (b"\x93NUMPY\x01\0", "a NumPy array"),
        (bytes(800), "not a picture in a known format"),
        (b"\0\0\x08\x09" + bytes(800), "not a picture in a known format"),
        (b"\0\0\x0d\x03" + bytes(30), r"element type 0x0d \(float32\)"),
        (b"\0\0\x08\x03" + bytes(3), "truncated in the header"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match=rf"x: {what}") as caught:
        read_images(tmp_path / "x")
    assert ("IDX file" in str(caught.value)) == ("wanted PNG" in str(caught.value))


@pytest.mark.parametrize(("white", "largest"), [(4095, 4095), (65535, 4096), (65535, 65535)])
def test_sixteen_bits(tmp_path: Path, white: int, largest: int) -> None:
    """Of 12 bits, 4095 is white; with one value above that, 65535 is."""
    levels = np.round(PAPER / 255 * largest).astype(np.uint16)
    assert levels.max() == largest
    eight = np.rint(levels * 255.0 / white).astype(np.uint8)
    for name in ("d.png", "d.tiff"):
        Image.fromarray(levels).save(tmp_path / name)
        with Image.open(tmp_path / name) as picture:
            np.testing.assert_array_equal(picture_file.eight_bits(picture), eight)
        if largest != 4096:
            np.testing.assert_array_equal(read_images(tmp_path / name)[0], to_mnist(eight))


def test_a_bound_on_what_a_pipe_gives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Image.fromarray(PAPER).save(tmp_path / "5.png")
    monkeypatch.setattr(picture_file, "MAX_BYTES", 1500)
    with (
        (tmp_path / "5.png").open("rb") as stream,
        pytest.raises(InputError, match="more than 1500"),
    ):
        picture_file._held(stream, Path("-"))


def test_gzip_of_several_members_is_read_whole(tmp_path: Path) -> None:
    images = golden_digits()[0]
    write_idx(tmp_path / "plain", images[:, 0])
    content = (tmp_path / "plain").read_bytes()
    (tmp_path / "two.gz").write_bytes(gzip.compress(content[:4000]) + gzip.compress(content[4000:]))
    np.testing.assert_array_equal(read_images(tmp_path / "two.gz"), images)


def test_a_damaged_file_of_every_format_is_a_message(tmp_path: Path) -> None:
    for form in picture_file.FORMATS:
        Image.fromarray(PAPER).save(tmp_path / "whole", form)
        content = (tmp_path / "whole").read_bytes()
        for seed in range(24):
            random = np.random.default_rng(seed)
            damaged = bytearray(content)
            for at in random.integers(6, min(len(content), 120), 4):  # its header
                damaged[at] = int(random.integers(256))
            if seed % 3 == 0:
                del damaged[int(random.integers(8, len(damaged))) :]
            (tmp_path / "x").write_bytes(damaged)
            try:
                assert preprocess.read_images(tmp_path / "x").shape == (1, 1, 28, 28)
            except InputError as error:
                assert str(tmp_path / "x") in str(error)  # noqa: PT017
