"""The rows of ``verify`` and ``bench``: what they hold, and the one place that knows their JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar

from mnistkit.common.errors import UsageError

Status = Literal["ok", "failed", "unavailable"]
Json = dict[str, Any]
_Made = TypeVar("_Made")


def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def _made(kind: type[_Made], data: Mapping[str, Any]) -> _Made:
    """``kind`` of exactly the keys that it has."""
    names = set(_names(kind))
    if odd := sorted(names ^ set(data)):
        raise UsageError(f"a {kind.__name__} has the keys {', '.join(sorted(names))}; odd: {odd}")
    return kind(**data)


@dataclass(frozen=True)
class Differing:
    """An image, by its place in the test set, whose digit is not the reference's."""

    index: int
    label: int
    logits: list[float]
    reference_logits: list[float]


@dataclass(frozen=True)
class Figures:
    """What was measured of one backend in one precision, and the bounds that it was held to.

    ``unusual`` is the fraction of images with a logit beyond ``typical_tolerance``, where there is
    one. ``gain`` is the least-squares factor between logits and reference, and ``gain_tolerance``
    the distance from 1 that these images allow it.
    """

    accuracy: float
    standard_error: float
    correct: int
    total: int
    agreement: float
    max_abs_diff: float
    mean_abs_diff: float
    tolerance: float
    tolerance_reason: str
    unusual: float | None
    unusual_tolerance: float | None
    typical_tolerance: float | None
    gain: float | None
    gain_tolerance: float | None
    differing: list[Differing]


@dataclass(frozen=True)
class VerifyRow:
    """One backend in one precision, compared with the reference; or why it was not."""

    backend: str
    precision: str | None
    device: str
    peer: bool
    file: str | None
    status: Status
    reason: str | None
    figures: Figures | None = None

    @property
    def name(self) -> str:
        """Backend and precision, as messages have them."""
        return f"{self.backend} {self.precision or ''}".strip()

    def to_json(self) -> Json:
        """The row with its figures beside the rest; null where nothing was measured."""
        head = {name: getattr(self, name) for name in _names(self) if name != "figures"}
        measured = dataclasses.asdict(self.figures) if self.figures else None
        return head | (measured or dict.fromkeys(_names(Figures)))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote; other keys are a :class:`UsageError`."""
        names = set(_names(Figures))
        measured = {key: value for key, value in data.items() if key in names}
        figures = None
        if any(value is not None for value in measured.values()):
            differing = [_made(Differing, one) for one in measured.get("differing") or ()]
            measured |= {"differing": differing} if "differing" in measured else {}
            figures = _made(Figures, measured)
        elif set(measured) != names:
            raise UsageError(f"a row of verify lacks {', '.join(sorted(names - set(measured)))}")
        head = {key: value for key, value in data.items() if key not in names}
        return _made(cls, head | {"figures": figures})


@dataclass(frozen=True)
class ReferenceRow:
    """A reference: it is compared with nothing but what the manifest says of its accuracy."""

    backend: str
    precision: str
    accuracy: float
    correct: int
    total: int
    reason: str | None  # why it is not to be trusted, or None

    def to_json(self) -> Json:
        """The fields as they are."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote; other keys are a :class:`UsageError`."""
        return _made(cls, data)


@dataclass(frozen=True)
class VerifyReport:
    """What ``verify`` found.

    ``named`` are the backends that were asked for, ``damaged`` what is wrong with files of the
    artifact that no row has read.
    """

    environment: Json
    cpu: Json
    artifact: Json
    dataset: str
    named: list[str]
    references: list[ReferenceRow]
    damaged: list[str]
    rows: list[VerifyRow]

    def counts(self, row: VerifyRow) -> bool:
        """Whether a row decides: one of ours, or a peer that was asked for by name."""
        return not row.peer or row.backend in self.named

    @property
    def compared(self) -> bool:
        """Whether anything that counts was compared with a reference, or failed on the way."""
        return any(row.status != "unavailable" and self.counts(row) for row in self.rows)

    def accuracies(self) -> list[tuple[str, float]]:
        """Name and accuracy of everything that counts, the references among them."""
        found = [(f"reference {one.precision}", one.accuracy) for one in self.references]
        counted = [row for row in self.rows if self.counts(row)]
        return found + [(row.name, row.figures.accuracy) for row in counted if row.figures]

    @property
    def faults(self) -> list[str]:
        """Why it did not pass, one text each."""
        found = [
            f"reference {one.backend} {one.precision}: {one.reason}"
            for one in self.references
            if one.reason
        ]
        found += self.damaged
        counted = [row for row in self.rows if self.counts(row)]
        found += [f"{row.name}: {row.reason}" for row in counted if row.status == "failed"]
        if not self.compared:
            what = [f"{one.backend} {one.precision} is a reference" for one in self.references]
            what += [f"{row.name} is a peer" for row in self.rows if not self.counts(row)]
            what += [f"{row.name} is unavailable" for row in counted]
            found.append(f"nothing was compared: {', '.join(what)}")
        return found

    @property
    def passed(self) -> bool:
        """Whether something was compared, and nothing that counts is wrong."""
        return not self.faults

    def to_json(self) -> Json:
        """What ``verify --json`` writes."""
        fp32 = next(one for one in self.references if one.precision == "fp32")
        return {
            "environment": self.environment,
            "cpu": self.cpu,
            "artifact": self.artifact,
            "dataset": self.dataset,
            "named": self.named,
            "reference": {key: getattr(fp32, key) for key in ("backend", "precision", "accuracy")},
            "references": [one.to_json() for one in self.references],
            "damaged": self.damaged,
            "passed": self.passed,
            "faults": self.faults,
            "rows": [row.to_json() for row in self.rows],
        }


@dataclass(frozen=True)
class BenchRow:
    """Times of one backend, precision and batch, in microseconds; memory in MB."""

    backend: str
    precision: str
    device: str
    batch: int
    threads: int
    end_to_end: bool
    p50_us: float
    p90_us: float
    p95_us: float
    p99_us: float
    mean_us: float
    cv: float
    images_per_second: float
    load_ms: float
    peak_rss_mb: float
    samples: int
    raw_us: list[float]
    share_of_peak: float | None = None

    def to_json(self) -> Json:
        """The fields as they are."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote; other keys are a :class:`UsageError`."""
        return _made(cls, data)


@dataclass(frozen=True)
class LeftOut:
    """What ``bench`` did not time, and why; without a precision, none of the backend's."""

    backend: str
    precision: str | None
    peer: bool
    reason: str

    @property
    def name(self) -> str:
        """Backend and precision, as messages have them."""
        return f"{self.backend} {self.precision or ''}".strip()

    def to_json(self) -> Json:
        """The fields as they are."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote; other keys are a :class:`UsageError`."""
        return _made(cls, data)


@dataclass(frozen=True)
class BenchReport:
    """What ``bench`` measured; ``wrong`` answered wrongly, and ``unavailable`` was not there."""

    environment: Json
    cpu: Json
    artifact: Json
    settings: Json
    unavailable: Sequence[LeftOut]
    wrong: Sequence[LeftOut]
    rows: Sequence[BenchRow]
    roofline: Json | None = None

    def to_json(self) -> Json:
        """What ``bench --json`` writes; ``roofline`` where it was measured."""
        made = {
            "environment": self.environment,
            "cpu": self.cpu,
            "artifact": self.artifact,
            "settings": self.settings,
            "unavailable": [one.to_json() for one in self.unavailable],
            "wrong": [one.to_json() for one in self.wrong],
            "rows": [row.to_json() for row in self.rows],
        }
        return made if self.roofline is None else made | {"roofline": self.roofline}
