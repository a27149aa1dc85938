"""What a run of tests says of a mutant."""

from __future__ import annotations

from dataclasses import dataclass
from subprocess import TimeoutExpired

from mutants.catalogue import Mutant
from mutants.workspace import BuildError, Outcome, Workspace

KILLED, SURVIVED, BROKEN, NOT_JUDGED = "killed", "survived", "broken", "not judged"
# pytest's exit codes: 1 is a failed test, the rest are collection, usage and its own faults.
_FAILED = 1


@dataclass(frozen=True)
class Verdict:
    """``killed``, ``survived``, ``broken`` (nothing was shown) or ``not judged`` (skipped)."""

    mutant: Mutant
    word: str
    why: str
    seconds: float = 0.0


def baseline(mutant: Mutant, outcomes: dict[str, Outcome]) -> Verdict | None:
    """A verdict where the unchanged copy already decides; None where the tests pass on it."""
    told = [(test, outcomes[test]) for test in mutant.tests]
    for test, outcome in told:
        if outcome.failed or outcome.code not in (0, _FAILED):
            why = outcome.failed[0]["error"] if outcome.failed else _last_line(outcome)
            return Verdict(mutant, BROKEN, f"{test} does not pass without the mutant: {why}")
    if not any(outcome.passed for _, outcome in told):
        reasons = {str(entry.get("error", "")) for _, run in told for entry in run.tests}
        return Verdict(mutant, NOT_JUDGED, "; ".join(sorted(reasons)) or "no test ran")
    return None


def judge(mutant: Mutant, outcome: Outcome) -> tuple[str, str]:
    """The word and the reason for a run with the mutant in place."""
    if outcome.code == 0:
        return SURVIVED, f"its {len(outcome.passed)} tests pass"
    if outcome.code != _FAILED or not outcome.failed:
        return BROKEN, f"pytest ended with exit code {outcome.code}: {_last_line(outcome)}"
    first = outcome.failed[0]
    if first["when"] != "call":
        return BROKEN, f"{first['test']}: an error before the test: {first['error']}"
    if first["broken"]:
        return BROKEN, f"{first['test']}: {first['error']}"
    return KILLED, f"{first['test']}: {first['error']}"


def try_out(space: Workspace, mutant: Mutant, timeout: float) -> tuple[str, str]:
    """Apply a mutant in a copy, run its tests and judge."""
    try:
        with space.changed(mutant) as library:
            run = space.pytest(mutant.tests, timeout, first=True, library=library)
    except BuildError as error:
        return BROKEN, f"the engine does not compile:\n{error}"
    except TimeoutExpired:
        return BROKEN, f"its tests took longer than {timeout:.0f} s"
    return judge(mutant, run)


def _last_line(outcome: Outcome) -> str:
    return (outcome.text.strip().splitlines() or ["no output"])[-1]
