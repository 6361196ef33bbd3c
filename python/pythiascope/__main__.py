"""``python -m pythiascope``: replaces itself by the program, as the command pythiascope does."""

import os
import sys

from ._c.library import library_path


def main() -> None:
    """Runs the program beside the library with the arguments of the command line."""
    program = os.path.join(os.path.dirname(os.path.realpath(library_path())), "pythiascope")
    if not os.access(program, os.X_OK):
        sys.exit(f"pythiascope: there is no program {program}; install the package again with pip")
    os.execv(program, ["pythiascope", *sys.argv[1:]])


if __name__ == "__main__":
    main()
