"""``python -m mnistkit``: the command line, and where the C++ SDK lies."""

from __future__ import annotations

import sys

from mnistkit.common.terminal import program


def main() -> None:
    """Run :func:`command_line` and end the process."""
    program(command_line)


def command_line() -> None:
    """Print an SDK path for ``--cmake-dir`` and ``--include-dir``, else run the command line."""
    if sys.argv[1:] in (["--cmake-dir"], ["--include-dir"]):
        from mnistkit.native import source

        print(source.cmake_dir() if sys.argv[1] == "--cmake-dir" else source.include_dir())
        return
    from mnistkit.cli.app import app

    app()


if __name__ == "__main__":
    main()
