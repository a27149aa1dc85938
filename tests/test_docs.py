"""The documents: the site builds, paths and commands in them are real, and their code runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from cpp_build import ROOT, build, run
from mnistkit.cli.app import app

DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
TEXT = (".md", ".py", ".cpp", ".hpp", ".h", ".c", ".toml", ".cmake", ".txt", ".yml")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_DOC = re.compile(r"docs/[\w./-]+\.(?:md|json|ipynb)")


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in _FENCE.findall(page.read_text()) if kind == language]


def text_files() -> Iterator[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is no git checkout, so its files cannot be listed")
    for name in listed.stdout.splitlines():
        if (Path(name).suffix in TEXT or name == "Makefile") and (ROOT / name).is_file():
            yield ROOT / name


def test_the_site_builds_and_loads_nothing_from_the_network(tmp_path: Path) -> None:
    if find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed; install it with: pip install -e '.[docs]'")
    run(
        *(sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"),
        *("-f", ROOT / "mkdocs.yml", "-d", tmp_path / "site"),
        env={"NO_MKDOCS_2_WARNING": "1"},
    )
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 25
    loads = re.compile(r'<(?:script|img|iframe)[^>]+src="?https?:|<link[^>]+stylesheet[^>]+https?:')
    for page in pages:
        assert not loads.search(page.read_text()), page
    commands = (tmp_path / "site" / "reference" / "cli.html").read_text()
    assert all(f"mnistkit {name}" in commands for name in ("train", "export", "build-engine"))


def test_every_document_that_is_named_exists() -> None:
    missing = [
        f"{file.relative_to(ROOT)}: {found}"
        for file in text_files()
        if file != Path(__file__)
        for found in _DOC.findall(file.read_text(errors="replace"))
        if "NET" not in found and not (ROOT / found).exists()
    ]
    assert not missing


def test_links_of_the_pages_outside_the_site() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (ROOT / link).exists(), f"{page.name}: {link}"


def test_every_page_is_in_llms_txt() -> None:
    listed = set(re.findall(r"\]\(([^)]+)\)", (DOCS / "llms.txt").read_text()))
    assert listed == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}


def commands(page: Path) -> list[str]:
    lines = [line for body in blocks(page, "console") for line in body.splitlines()]
    told = [re.sub(r"\s#.*", "", line[2:]) for line in lines if line.startswith("$ mnistkit ")]
    return [re.split(r" && ", line)[0] for line in told]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_parse(page: Path) -> None:
    group = typer.main.get_command(app)
    for line in commands(page):
        name, *arguments = shlex.split(line)[1:]
        if name == "COMMAND":
            continue
        command = group.commands[name]  # type: ignore[attr-defined]
        command.make_context(name, [a for a in arguments if a != "--help"], resilient_parsing=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the start pages' export command writes, all formats of it."""
    folder = tmp_path_factory.mktemp("start")
    program = [sys.executable, "-m", "mnistkit", "export", "base", "--out", "out", "--quiet"]
    subprocess.run(program, cwd=folder, check=True)
    return folder


def test_python_of_the_start_page(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    names: dict[str, object] = {}
    found = blocks(DOCS / "start" / "python.md", "python")
    assert len(found) == 3
    for body in found:
        exec(compile(body, "start/python.md", "exec"), names)


@pytest.mark.parametrize("page", ["cpp", "c"])
def test_program_of_the_start_page(page: str, place: Path) -> None:
    text = DOCS / "start" / f"{page}.md"
    app = place / page
    app.mkdir()
    (program,), (project,) = blocks(text, page), blocks(text, "cmake")
    if (ROOT / "cpp" / "torch" / "runner.cpp").exists():  # until Runner is the core's
        project = project.replace("core", "runner")
    (app / f"main.{page}").write_text(program)
    (app / "CMakeLists.txt").write_text(project)
    cmake_dir = run(sys.executable, "-m", "mnistkit", "--cmake-dir").strip()
    options = [f"-Dmnistkit_DIR={cmake_dir}", "-DCMAKE_CXX_FLAGS=-O0", "-DCMAKE_UNITY_BUILD=ON"]
    tree = build(app, app / "build", options)
    done = subprocess.run([tree / "app"], cwd=app, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_notebook_runs_and_holds_no_outputs(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="install it with: pip install -e '.[docs]'")
    nbclient = pytest.importorskip("nbclient", reason="install it with: pip install -e '.[docs]'")
    notebook = nbformat.read(DOCS / "start" / "notebook.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    for cell in cells:  # a failing command must fail the notebook
        cell.source = re.sub(
            r"^!(.+)$",
            r"import subprocess as s; s.run('\1', shell=True, check=True)",
            cell.source,
            flags=re.MULTILINE,
        )
    # a process of its own: the suite's warnings are errors, and Jupyter's are not ours
    nbformat.write(notebook, tmp_path / "notebook.ipynb")
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    code = (
        "import nbformat, nbclient; n = nbformat.read('notebook.ipynb', as_version=4);"
        "nbclient.NotebookClient(n, timeout=300).execute()"
    )
    assert nbclient
    assert shutil.which("mnistkit", path=path)
    run_in = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    assert run_in.returncode == 0, run_in.stdout + run_in.stderr
