"""What ``predict`` says of a picture: a digit with its probabilities, or why there is none."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reading:
    """One picture that was read; ``index`` counts the pictures of a file that holds several."""

    file: str
    index: int
    digit: int
    confidence: float  # the digit's probability, 0 to 1
    probabilities: tuple[float, ...]  # of 0 to 9

    def to_json(self) -> dict[str, Any]:
        """The record that ``predict --json`` writes; probabilities to six places."""
        return dataclasses.asdict(self) | {
            "probabilities": [round(value, 6) for value in self.probabilities]
        }


@dataclass(frozen=True)
class Unread:
    """A file that holds no digits we can read, and why."""

    file: str
    error: str

    def to_json(self) -> dict[str, Any]:
        """The record that ``predict --json`` writes."""
        return dataclasses.asdict(self)
