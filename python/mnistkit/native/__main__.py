"""``python -m mnistkit.native [engine] [runner]``: compile what is named, or both."""

from __future__ import annotations

import argparse

from mnistkit.common.terminal import program
from mnistkit.native.library import LIBRARIES


def main() -> None:
    """Compile and print where each library lies."""
    parser = argparse.ArgumentParser(prog="python -m mnistkit.native", description=__doc__)
    parser.add_argument("libraries", nargs="*", metavar="LIBRARY", help=", ".join(LIBRARIES))
    parser.add_argument("-v", "--verbose", action="store_true", help="show the compiler's output")
    options = parser.parse_args()
    if unknown := set(options.libraries) - set(LIBRARIES):
        parser.error(f"got {', '.join(sorted(unknown))}; wanted {' or '.join(LIBRARIES)}")
    for name in options.libraries or LIBRARIES:
        print(f"{name}: {LIBRARIES[name].build(verbose=options.verbose)}")


if __name__ == "__main__":
    program(main)
