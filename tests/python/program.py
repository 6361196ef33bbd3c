"""The program beside the package: what it prints and writes is what the package must give."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from pythiascope import Result
from pythiascope._c.library import library_path

ROOT = Path(__file__).resolve().parents[2]
TEXT = "the Emerald City of"
GRIM = "The old man gave the little girl a red apple, and she thanked him."


def program_path() -> Path:
    """The program: $PYTHIASCOPE_PROGRAM, else the one beside the library."""
    named = os.environ.get("PYTHIASCOPE_PROGRAM")
    return Path(named) if named else Path(library_path()).resolve().parent / "pythiascope"


def run_program(*arguments: str) -> str:
    """What the program prints; fails when the program does."""
    command = [str(program_path()), *arguments]
    run = subprocess.run(command, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout.decode()


def without_command(path: Path) -> bytes:
    """A file of an output folder, without the command that only the program's results.json has."""
    return re.sub(rb'\n  "command": ".*",\n', b"\n", path.read_bytes(), count=1)


def check_same(result: Result, tmp_path: Path, *arguments: str) -> None:
    """The result has the program's files, to the byte, and its text.

    Most models of the tests have one thread, so that a busy machine does not slow them down.
    """
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    threads = str(result.run.threads)  # which the files name
    printed = run_program(*arguments, "--threads", threads, "--out", str(theirs))
    assert result.save(ours) == ours
    names = sorted(path.name for path in theirs.iterdir())
    assert sorted(path.name for path in ours.iterdir()) == names
    for name in names:
        assert (ours / name).read_bytes() == without_command(theirs / name), name
    text, wrote, rest = printed.partition("\nwrote ")
    assert wrote
    assert str(result) == text + rest.partition("\n")[2]
    assert result.to_json().encode() == without_command(theirs / "results.json")
