"""fork_program.py ARTIFACT BACKEND WHAT: uses a predictor, forks, and prints what children tell.

``tests/test_fork.py`` runs it in a process of its own, for what hangs hangs for ever.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import mnistkit
import numpy as np
from mnistkit.common.errors import MnistkitError

SECONDS = 25
PICTURES = np.random.default_rng(0).integers(0, 256, (512, 1, 28, 28), np.uint8)


def tell(queue: Any, body: Callable[[], Any]) -> None:
    """Put what the body gives, or the kind and text of its error."""
    try:
        queue.put(["ok", body()])
    except MnistkitError as error:
        queue.put([type(error).__name__, str(error)])


def in_child(body: Callable[[], Any]) -> list[Any]:
    """What a forked child tells, as multiprocessing makes them; one that hangs is killed."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=tell, args=(queue, body), daemon=True)
    child.start()
    child.join(SECONDS)
    if child.exitcode is None:
        child.kill()
        return ["hung", None]
    return list(queue.get()) if child.exitcode == 0 else ["died", child.exitcode]


def digits(path: str, backend: str, threads: int, wanted: Any) -> str:
    """Load here, run, and compare."""
    with mnistkit.load(path, backend, precision(backend), threads=threads) as predictor:
        return "same" if np.allclose(predictor.logits(PICTURES), wanted, atol=1e-3) else "wrong"


def precision(backend: str) -> str:
    return "int8" if backend == "reference" else "fp32"


def inherited(predictor: Any, bound: Callable[[], Any]) -> None:
    """A predictor of the parent's in the child."""
    for name, call in (
        ("logits", lambda: predictor.logits(PICTURES)),
        ("none", lambda: predictor.logits(PICTURES[:0])),
        ("bound", bound),
        ("bind", lambda: predictor.bind(PICTURES)),
        ("close", predictor.close),
    ):
        print(json.dumps([name, *in_child(lambda call=call: call() is None)]), flush=True)

    def dropped() -> str:
        predictor.__dict__.clear()  # what the last reference does
        return "gone"

    print(json.dumps(["dropped", *in_child(dropped)]), flush=True)


def workers(path: str, backend: str, wanted: Any) -> None:
    """A server that loads, forks two workers, and each loads for itself; by os.fork alone."""
    ends, pids = [], []
    for _ in range(2):
        reader, writer = os.pipe()
        if (pid := os.fork()) == 0:
            code = 1
            try:
                os.write(writer, digits(path, backend, 0, wanted).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        ends.append(reader)
        pids.append(pid)
    for reader, pid in zip(ends, pids, strict=True):
        told = os.read(reader, 100).decode()
        print(json.dumps(["worker", told, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]))


def data_loader(path: str, backend: str, predictor: Any, wanted: Any) -> None:
    """A Dataset that reads labels with a predictor, in two forked workers."""
    from torch.utils.data import DataLoader, Dataset

    class Labelled(Dataset[Any]):
        def __init__(self, *, loads: bool) -> None:
            self.loads, self.predictor = loads, predictor

        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> int:
            if self.loads:
                self.predictor = mnistkit.load(path, backend, precision(backend))
                self.loads = False
            return int(self.predictor.logits(PICTURES[index * 64 :][:64])[0].argmax())

    for loads in (True, False):
        loader = DataLoader(
            Labelled(loads=loads),
            batch_size=2,
            num_workers=2,
            multiprocessing_context="fork",
            timeout=SECONDS,
        )
        try:
            got = np.concatenate([batch.numpy() for batch in loader])
            told = "same" if (got == wanted[::64].argmax(1)).all() else "wrong"
        except MnistkitError as error:
            told = str(error)
        print(json.dumps(["loads" if loads else "inherits", told]), flush=True)


def main() -> None:
    path, backend, what = sys.argv[1:]
    warnings.simplefilter("ignore")
    predictor = mnistkit.load(path, backend, precision(backend), threads=2)
    wanted = predictor.logits(PICTURES)
    bound = predictor.bind(PICTURES)
    bound()
    if what == "inherits":
        inherited(predictor, bound)
    elif what == "loads":
        for threads in (0, 1, 2):
            told = in_child(lambda threads=threads: digits(path, backend, threads, wanted))
            print(json.dumps([threads, *told]), flush=True)
    elif what == "workers":
        workers(path, backend, wanted)
    else:
        data_loader(path, backend, predictor, wanted)
    assert np.allclose(predictor.logits(PICTURES), wanted, atol=1e-3)  # the parent goes on
    predictor.close()
    print(json.dumps(["parent", "goes on"]))


if __name__ == "__main__":
    main()
