"""The protocol that every runtime stands behind, and the one check of its input."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, NoReturn, Self

import numpy as np

from mnistkit.artifact.folder import Artifact
from mnistkit.backends import process, self_check
from mnistkit.backends.tolerances import CUDA, Tolerance, Tolerances
from mnistkit.common.errors import UsageError
from mnistkit.common.images import Images, Logits, check_images
from mnistkit.common.threads import check_threads


class Predictor(ABC):
    """A model loaded into a runtime. Any number of threads may share one; close it at the end.

    A call after ``close``, and any call in a process that was forked from the one that loaded the
    predictor, is a :class:`UsageError`; see ``docs/explanations/threads.md``. What does
    not hold for a runtime its own class says.

    >>> import mnistkit, numpy
    >>> artifact = mnistkit.export("nano", "out", formats=["native"], force=True)
    >>> with mnistkit.load(artifact, "engine", "int8") as predictor:
    ...     predictor.logits(numpy.zeros((1, 1, 28, 28), numpy.uint8)).dtype
    dtype('float32')
    """

    _home: process.Process
    _closed = False

    def __new__(cls, *_arguments: Any, **_named: Any) -> Self:
        """Note the process, whatever a subclass does in its ``__init__``."""
        made = super().__new__(cls)
        made._home = process.enter(made)
        return made

    def logits(self, images: Any) -> Logits:
        """Return float32 logits ``(N, 10)`` for uint8 images ``(N, 1, 28, 28)``.

        An empty batch gives an empty result; anything but uint8 of that shape is an
        :class:`InputError`. Safe from any number of threads at once.
        """
        checked = check_images(images)
        if self._closed or self._home is not process.here:
            self._refuse()
        if not len(checked):
            return np.zeros((0, 10), np.float32)
        return self._run(checked)

    @abstractmethod
    def _run(self, images: Images) -> Logits:
        """Run a checked, contiguous batch that is not empty; in several threads at once.

        Another thread may close the predictor meanwhile: hold what the run needs in variables of
        its own, and call :meth:`_refuse` where it is gone already.
        """

    def _check_open(self) -> None:
        """Refuse where the predictor is closed or the process forked."""
        if self._closed or self._home is not process.here:
            self._refuse()

    def _refuse(self) -> NoReturn:
        """Say why this predictor runs nothing."""
        if self._home is not process.here:
            raise UsageError(
                f"this predictor was loaded by process {self._home.pid}, and this is process "
                f"{process.here.pid}, which was forked: load it again here, after the fork"
            )
        raise UsageError("this predictor is closed; load it again")

    def bind(self, images: Any) -> Callable[[], Any]:
        """Return a call that runs the engine alone on this batch.

        What can be prepared once (conversion, device copies, buffers) is prepared here, so that
        timing the call times the engine and not the way to it. What the call returns is the
        runtime's own: :meth:`bound_logits` reads it. There is one place for it, so the call is for
        one thread at a time, beside any other calls. It is refused where :meth:`logits` is.
        """
        self._check_open()
        call = self._bind(check_images(images))

        def run() -> Any:
            if self._closed or self._home is not process.here:
                self._refuse()
            return call()

        return run

    def _bind(self, images: Images) -> Callable[[], Any]:
        """The bound call of a checked, contiguous batch; :meth:`bind` adds the refusals."""
        return functools.partial(self._run, images)

    def bound_logits(self, result: Any) -> Logits:
        """The logits ``(N, 10)`` in what a bound call returned, as an array of the caller's own."""
        return np.array(result, np.float32)

    def close(self) -> None:
        """Give back what the runtime holds; later calls are refused.

        Calls that run in other threads finish, and the last of them gives it back. A second call
        does nothing. In a forked process nothing is given back: it is the parent's.
        """
        self._closed = True
        if self._home is process.here:
            self._release()

    def _release(self) -> None:  # noqa: B027 - some have nothing to give back
        """Let go of what the runtime holds; called again it does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Backend(ABC):
    """A runtime: whether it can be used here, and how it loads an artifact."""

    name: ClassVar[str]
    description: ClassVar[str]
    format: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]]
    tolerances: ClassVar[Tolerances]  # on a CPU, by precision
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    cuda_only: ClassVar[tuple[str, ...]] = ()
    is_timed: ClassVar[bool] = True  # bench takes it where no backend is named
    is_peer: ClassVar[bool] = False  # there to be measured against: its faults are not ours
    int8_is_exact: ClassVar[bool] = False  # its integers are the definition's on every CPU

    @abstractmethod
    def available(self) -> str | None:
        """None where the runtime can be used, else the reason and the command that helps."""

    def load(
        self,
        artifact: Artifact,
        precision: str,
        device: str = "cpu",
        threads: int = 0,
        *,
        check: bool = True,
    ) -> Predictor:
        """Load the artifact's model of that precision: its hash is checked, then its answers.

        ``threads`` is a number of CPU threads; 0 leaves the choice to the runtime. What
        :func:`mnistkit.common.threads.check_threads` refuses is a :class:`UsageError`. ``check``
        runs the golden digits: logits that are not the reference's are a :class:`CheckError`.
        """
        predictor = self._open(artifact, precision, device, check_threads(threads))
        if check:
            try:
                tolerance = self.tolerance(precision, device).of_few()
                self_check.check(predictor, artifact, self.name, precision, tolerance)
            except BaseException:
                predictor.close()
                raise
        return predictor

    @abstractmethod
    def _open(self, artifact: Artifact, precision: str, device: str, threads: int) -> Predictor:
        """Load the file of that precision, its hash checked; ``threads`` are sound."""

    def tolerance(self, precision: str, device: str = "cpu") -> Tolerance:
        """How far this runtime may be from that precision's reference on that device."""
        return (CUDA if device.startswith("cuda") else self.tolerances)[precision]

    def refuses(self, precision: str, device: str) -> str | None:
        """Why this runtime cannot run that precision on that device, or None."""
        kind = device.split(":", maxsplit=1)[0]
        if kind not in self.devices:
            return f"runs on {' and '.join(self.devices)}, not on {device}"
        if precision not in self.precisions:
            return f"has no {precision}"
        if precision in self.cuda_only and kind == "cpu":
            return f"runs {precision} on CUDA alone: use --device cuda"
        return None
