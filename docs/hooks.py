"""The site's own part of the build: the sources to read docstrings from, and the commands' help."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "build" / "site-sources"


def on_config(config: Any) -> Any:
    """Lay the package out as it is installed: ``export/`` inside of ``mnistkit``."""
    package = SOURCES / "mnistkit"
    package.mkdir(parents=True, exist_ok=True)
    wanted = {path.name: path for path in (ROOT / "python" / "mnistkit").iterdir()}
    wanted["export"] = ROOT / "export"
    for link in package.iterdir():
        if link.name not in wanted or not link.exists():
            link.unlink()
    for name, path in wanted.items():
        with contextlib.suppress(FileExistsError):
            os.symlink(path, package / name)
    return config


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _command(name: str, command: Any) -> str:
    """One command as Markdown: its help, its arguments and options."""
    lines = [f"## mnistkit {name}", ""]
    example = False
    for line in (command.help or "").replace("\b", "").splitlines():
        text = line.strip()
        if text == "Examples:":
            example = True
            lines += ["Examples:", "", "```console"]
        elif not example or text:
            lines.append(f"$ {text}" if example else text)
    lines += ["```", ""] if example else [""]
    rows = []
    for given in command.params:
        names = ", ".join(f"`{option}`" for option in (*given.opts, *given.secondary_opts))
        if given.param_type_name == "argument":
            names = f"`{(given.metavar or given.name).strip(chr(91) + chr(93))}`"
        note = _cell(getattr(given, "help", None) or "")
        default = given.default
        if isinstance(default, str | int | float) and not isinstance(default, bool):
            note = f"{note} Default: `{default}`."
        rows.append(f"| {names} | {note} |")
    return "\n".join([*lines, "| | |", "|---|---|", *rows, ""])


def commands() -> str:
    """Every command of the command line, as Markdown."""
    import typer
    from mnistkit.cli.app import app

    group: Any = typer.main.get_command(app)
    return "\n".join(
        _command(name, command) for name, command in group.commands.items() if not command.hidden
    )


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Put the commands where the page of the command line wants them."""
    if "<!-- commands -->" not in markdown:
        return markdown
    return markdown.replace("<!-- commands -->", commands())
