"""Terminals, pipes, disks and users that a program does not hope for: a message, no traceback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

import pytest
from mnistkit.artifact.golden import golden_digits
from mnistkit.cli import tables as report
from mnistkit.common import terminal
from mnistkit.common.errors import UsageError
from mnistkit.common.paths import cache_dir, write_text
from PIL import Image

MNISTKIT = [sys.executable, "-m", "mnistkit"]
# What a bare user id of a container has: no home, and no name.
HOMELESS = """
import os, pwd, sys
for name in ("HOME", "USER", "LOGNAME", "USERNAME", "XDG_CACHE_HOME", "MNISTKIT_CACHE"):
    os.environ.pop(name, None)
def unknown(*_): raise KeyError("getpwuid(): uid not found")
pwd.getpwuid = pwd.getpwnam = unknown
sys.argv[0] = "mnistkit"
from mnistkit.__main__ import main
main()
"""


def run(
    command: list[str], out: int | IO[Any] = subprocess.PIPE, **environment: str
) -> tuple[int, str, str]:
    done = subprocess.run(
        command,
        stdout=out,
        stderr=subprocess.PIPE,
        check=False,
        env={**os.environ, "COLUMNS": "160", **environment},
    )
    shown = done.stderr.decode(errors="surrogateescape")
    assert "Traceback" not in shown
    return done.returncode, (done.stdout or b"").decode(errors="surrogateescape"), shown


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_file_name_that_the_terminal_cannot_show(tmp_path: Path, encoding: str) -> None:
    names = [tmp_path / name for name in ("größe-数.png", "fehlt-数.png")]
    Image.fromarray(golden_digits()[0][0, 0]).save(names[0])
    command = [*MNISTKIT, "predict", *map(str, names), "--pretrained", "nano"]
    code, out, shown = run(command, PYTHONIOENCODING=encoding)
    assert code == 1
    assert r"\u6570.png[0]  0" in out
    assert r"fehlt-\u6570.png: cannot be read" in shown


def test_tables_stay_straight_in_plain_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run([*MNISTKIT, "nets"], PYTHONIOENCODING="ascii")
    assert code == 0
    assert out.isascii()
    from io import BytesIO, TextIOWrapper

    monkeypatch.setattr(sys, "stdout", TextIOWrapper(BytesIO(), encoding="ascii"))
    cells = report.table("± µ", ("max |Δlogit|", "b"), [("99 % ± 1", "ö…")])
    shown = [list(column.cells) for column in cells.columns]
    monkeypatch.undo()
    assert cells.title == "+/- u"
    assert shown == [["99 % +/- 1"], [r"\xf6..."]]


def test_a_byte_that_is_no_text_is_shown_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.printable("a\udcff.png") == r"a\xff.png"


@pytest.mark.parametrize("arguments", [["nets"], ["--help"], ["nets", "--json", "-"]])
def test_a_closed_pipe_is_no_error(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        assert run([*MNISTKIT, *arguments], write) == (0, "", "")
        assert run([*MNISTKIT, "nets", "huge"], write)[0] == 2  # and hides none
    finally:
        os.close(write)


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    "arguments", [["nets"], ["--help"], ["nets", "--json", "-"], ["--cmake-dir"]]
)
def test_standard_output_that_is_full(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        code, _, shown = run([*MNISTKIT, *arguments], full)
    assert code == 2
    assert "cannot write to standard output: No space left on device" in shown
    assert len(shown.splitlines()) == 1


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no /dev/full here")
def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    # By a link: what would replace the device replaces the link alone.
    link = tmp_path / "full"
    link.symlink_to("/dev/full")
    code, _, shown = run([*MNISTKIT, "nets", "--json", str(link)])
    assert code == 2
    assert f"cannot write {link}: No space left on device" in shown
    assert link.is_symlink()
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_named_pipe_gets_the_figures(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_text(pipe, "x" * 300_000)
    reader.join(10)
    assert [len(each) for each in got] == [300_000]
    assert pipe.is_fifo()


def test_standard_output_by_its_name(tmp_path: Path) -> None:
    with (tmp_path / "o").open("wb") as out:
        assert run([*MNISTKIT, "nets", "nano", "--json", "/dev/stdout"], out)[0] == 0
    text = (tmp_path / "o").read_text()
    assert json.loads(text[text.index("{\n") :])["name"] == "nano"


@pytest.mark.parametrize("command", [["nets"], ["predict", "PICTURE", "--pretrained", "nano"]])
def test_a_user_without_a_home(tmp_path: Path, command: list[str]) -> None:
    Image.fromarray(golden_digits()[0][0, 0]).save(tmp_path / "0.png")
    command = [str(tmp_path / "0.png") if part == "PICTURE" else part for part in command]
    code, out, shown = run([sys.executable, "-c", HOMELESS, *command], TMPDIR=str(tmp_path))
    assert code == 0, shown
    assert "nano" in out or "[0]  0" in out


def test_the_cache_of_a_user_without_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MNISTKIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = cache_dir()
    assert made.parent == tmp_path
    assert made.stat().st_mode & 0o777 == 0o700
    assert cache_dir() == made
    made.chmod(0o777)
    with pytest.raises(UsageError, match=r"others can write .* MNISTKIT_CACHE"):
        cache_dir()
    made.rmdir()
    made.symlink_to(tmp_path / "theirs")
    with pytest.raises(UsageError, match="MNISTKIT_CACHE"):
        cache_dir()


@pytest.mark.parametrize(
    ("module", "arguments", "code", "message"),
    [
        ("mnistkit", ["predict", "nowhere.png", "--pretrained", "nano"], 2, "cannot be read"),
        ("mnistkit.native", ["engine"], 2, "cannot write"),
        (
            "mnistkit.measure.study",
            ["nano", "--seeds", "1", "--data-dir", "x"],
            3,
            "does not exist",
        ),
    ],
)
def test_entries_by_module_say_what_is_wrong(
    tmp_path: Path, module: str, arguments: list[str], code: int, message: str
) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", module, *arguments]
    got, _, shown = run(command, MNISTKIT_CACHE=str(tmp_path / "file"))
    assert got == code
    assert re.search(rf"^error: .*{message}", shown, re.DOTALL)


def test_every_entry_by_module_is_run_by_the_same_function() -> None:
    package = Path(terminal.__file__).parents[1]
    entries = [
        path for path in package.rglob("*.py") if 'if __name__ == "__main__":' in path.read_text()
    ]
    assert len(entries) >= 4
    for path in entries:
        if path.name not in ("__main__.py", "worker.py"):  # the worker is started by the builder
            assert re.search(r"__main__\":\n    program\(", path.read_text()), path


def test_ctrl_c_gives_130() -> None:
    script = "import time\nfrom mnistkit.common.terminal import program\n"
    script += "def main():\n    print('here', flush=True)\n    time.sleep(60)\nprogram(main)"
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n"
    time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, shown = child.communicate(timeout=20)
    assert (child.returncode, shown) == (130, "")
