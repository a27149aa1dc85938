"""Try every mutant, print a line for each, name the survivors; exit 1 where there is one."""

from __future__ import annotations

import argparse
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutants.catalogue import ROOT, CatalogueError, Mutant, chosen, fault, load, table
from mutants.judge import BROKEN, KILLED, NOT_JUDGED, SURVIVED, Verdict, baseline, try_out
from mutants.workspace import BuildError, Outcome, Workspace

_TIMEOUT = 900.0  # seconds that a mutant's tests may take; the slowest take one


def _each(spaces: Sequence[Workspace], work: Sequence[Callable[[Workspace], None]]) -> None:
    """Do every piece of work in whichever copy is free."""
    waiting: queue.SimpleQueue[Callable[[Workspace], None]] = queue.SimpleQueue()
    for piece in work:
        waiting.put(piece)
    faults: list[BaseException] = []

    def run(space: Workspace) -> None:
        while not faults:
            try:
                waiting.get_nowait()(space)
            except queue.Empty:
                return
            except BaseException as error:
                faults.append(error)

    # Daemons, so that Ctrl-C ends all; what it leaves in a copy is put right by the next run.
    threads = [threading.Thread(target=run, args=(space,), daemon=True) for space in spaces]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


def _run_unchanged(spaces: Sequence[Workspace], tests: Sequence[str]) -> dict[str, Outcome]:
    """What each test says of the unchanged copy."""
    found: dict[str, Outcome] = {}
    files = dict.fromkeys(test.partition("::")[0] for test in tests)

    def run_file(file: str) -> Callable[[Workspace], None]:
        mine = [test for test in tests if test.partition("::")[0] == file]

        def run(space: Workspace) -> None:
            whole = space.pytest(mine, _TIMEOUT * 4, first=False)
            if whole.code in (0, 1):
                found.update({test: whole.of(test) for test in mine})
            else:  # one name that pytest does not find stops it: ask for each alone
                found.update({test: space.pytest([test], _TIMEOUT, first=False) for test in mine})

        return run

    _each(spaces, [run_file(file) for file in files])
    return found


def _try_all(
    spaces: Sequence[Workspace], mutants: Sequence[Mutant], outcomes: dict[str, Outcome]
) -> list[Verdict]:
    verdicts: list[Verdict] = []
    lock = threading.Lock()

    def piece(mutant: Mutant) -> Callable[[Workspace], None]:
        def run(space: Workspace) -> None:
            start = time.monotonic()
            verdict = baseline(mutant, outcomes)
            if verdict is None:
                word, why = try_out(space, mutant, _TIMEOUT)
                verdict = Verdict(mutant, word, why, time.monotonic() - start)
            with lock:
                verdicts.append(verdict)
                place = f"[{len(verdicts)}/{len(mutants)}]"
                name = f"{mutant.area}/{mutant.name}"
                print(f"{place} {verdict.word}: {name} ({verdict.seconds:.0f} s)", flush=True)
                if verdict.word != KILLED:
                    print(f"    {verdict.why}", flush=True)

        return run

    _each(spaces, [piece(mutant) for mutant in mutants])
    return verdicts


def _report(verdicts: Sequence[Verdict], seconds: float, jobs: int) -> int:
    def of(word: str) -> list[Verdict]:
        return [one for one in verdicts if one.word == word]

    for word in (NOT_JUDGED, BROKEN, SURVIVED):
        for one in of(word):
            print(f"{word}: {one.mutant.area}/{one.mutant.name}: {one.why.splitlines()[0]}")
    counts = ", ".join(f"{len(of(w))} {w}" for w in (KILLED, SURVIVED, BROKEN, NOT_JUDGED))
    print(f"{len(verdicts)} mutants: {counts}; {seconds / 60:.1f} minutes, {jobs} at a time")
    return 1 if of(SURVIVED) or of(BROKEN) else 0


def main() -> int:
    """Parse and run."""
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument("--only", default="", help="names or areas, with commas between them")
    parser.add_argument("--jobs", type=int, default=min(4, len(os.sched_getaffinity(0))))
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "mutants")
    parser.add_argument("--list", action="store_true", help="print the mutants as Markdown, stop")
    options = parser.parse_args()
    try:
        mutants = chosen(load(), [part for part in options.only.split(",") if part])
    except CatalogueError as error:
        parser.error(str(error))
    if options.list:
        print(table(mutants))
        return 0
    if faults := [why for why in map(fault, mutants) if why]:
        print("\n".join(faults))
        return 1
    start = time.monotonic()
    jobs = max(1, min(options.jobs, len(mutants)))
    compilers = max(1, len(os.sched_getaffinity(0)) // jobs)
    spaces = [Workspace(ROOT, options.folder / str(n), compilers) for n in range(jobs)]
    tests = list(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    print(f"{len(mutants)} mutants in {jobs} copies; {len(tests)} tests run without one first")
    try:
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(Workspace.prepare, spaces))
        verdicts = _try_all(spaces, mutants, _run_unchanged(spaces, tests))
    except BuildError as error:
        print(f"a copy cannot be made, or does not compile without a mutant:\n{error}")
        return 1
    except subprocess.TimeoutExpired as error:
        print(f"tests without a mutant took longer than {error.timeout:.0f} s: {error.cmd[6:]}")
        return 1
    return _report(verdicts, time.monotonic() - start, jobs)


if __name__ == "__main__":
    sys.exit(main())
