"""Every error that mnistkit raises on purpose.

    MnistkitError                 exit code
    ├── UsageError                2   the call was wrong
    │   ├── SpecError             2   a net's layers do not fit together
    │   └── InputError            2   an image array or image file is not what is wanted
    ├── CheckError                1   a check failed: parity, accuracy, a self-check
    │   └── ArtifactError         1   an artifact or checkpoint is damaged or does not fit
    └── MissingError              3   a library, a driver or data is needed and not there

Each message says what was given, what was wanted and what to do.
"""

from __future__ import annotations


class MnistkitError(Exception):
    """Base of all of them; ``exit_code`` is what the command line returns."""

    exit_code = 1


class UsageError(MnistkitError):
    """The call was wrong."""

    exit_code = 2


class SpecError(UsageError):
    """A net's layers do not fit together."""


class InputError(UsageError):
    """An image array or image file is not what is wanted."""


class CheckError(MnistkitError):
    """A check failed: parity, accuracy floor, self-check."""

    exit_code = 1


class ArtifactError(CheckError):
    """An artifact or checkpoint is damaged, of a newer schema, or of another net."""


class MissingError(MnistkitError):
    """A library, a driver or data is needed and is not there."""

    exit_code = 3
