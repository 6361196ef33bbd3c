#!/usr/bin/env python3
"""Makes again what the README and the docs show of the program's output.

    tools/make_outputs.py                          # all pages
    tools/make_outputs.py README.md docs/page.md   # some
    tools/make_outputs.py --check                  # changes nothing; prints differences, exit 1

An indented block that begins with "$ " holds commands and what they print, on stdout and stderr.
It ends where the text begins, or after a blank line a command without "$". All commands of a page
run in one new folder, in order, by sh. `pythiascope` is build/release/pythiascope, or
$PYTHIASCOPE_PROGRAM; tests/, docs/, models/ and examples/ are there. A line before the block,
invisible on the page, chooses what it shows of the output:

    <!-- output: sections=logits,ln head=no from=why lines=12 -->

Here: two sections without the model and tokens, from the first line that contains "why" on, and at
most 12 lines.

What differs by machine is written as on another one: the instruction set and the threads as "avx2,
2 threads". Nothing beyond Python 3.10 is needed.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINKED = ("tests", "docs", "models", "examples")
DIRECTIVE = re.compile(r"^<!-- output: (.*) -->$")
OTHER = re.compile(r"pythiascope |python3? |dot ")  # a command that is not run, after a blank line
SECONDS = 60  # that a command may take

# What a machine or a release adds, and how it is written on a page.
MACHINE = [
    (r"(pythiascope \S+), \w+, \d+ threads?", r"\1, avx2, 2 threads"),
    (r"\b\d+(\.\d+)? s\b", "0.1 s"),
    (r"\b\d+(\.\d+)? ms\b", "1 ms"),
    (r"\b[\d,]+(\.\d+)? tokens/s\b", "1000 tokens/s"),
]
# What a comparison ignores besides: the release.
IGNORED = [(r"pythiascope \d+\.\d+\.\d+\S*,", "pythiascope VERSION,")]


@dataclass
class Block:
    """A block of a page: lines begin..end-1, each indented by `indent`."""

    begin: int
    end: int
    indent: str
    options: dict[str, str] = field(default_factory=dict)


def pages() -> list[Path]:
    """The pages whose blocks are run."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(lines: list[str]) -> Iterator[Block]:
    """The blocks whose first line is an indented "$ pythiascope", or sets a variable for one."""
    i = 0
    while i < len(lines):
        found = re.match(r"^(\s{4,})\$ (pythiascope |[A-Za-z_]+=)", lines[i])
        if not found or (i > 0 and lines[i - 1].strip()):
            i += 1
            continue
        end = i
        while end < len(lines) and (not lines[end].strip() or lines[end].startswith(found[1])):
            if OTHER.match(lines[end][len(found[1]) :]) and not lines[end - 1].strip():
                break
            end += 1
        while not lines[end - 1].strip():
            end -= 1
        yield Block(i, end, found[1], options_before(lines, i))
        i = end


def options_before(lines: list[str], i: int) -> dict[str, str]:
    """The options of the directive above line i; empty without one."""
    above = [line for line in lines[max(0, i - 2) : i] if line.strip()]
    found = DIRECTIVE.match(above[-1].strip()) if above else None
    return dict(part.split("=", 1) for part in found[1].split()) if found else {}


def commands_of(lines: list[str], indent: str) -> Iterator[list[str]]:
    """The commands of a block: each with its continued lines, without the indentation."""
    i = 0
    while i < len(lines):
        line = lines[i][len(indent) :]
        i += 1
        if not line.startswith("$ "):
            continue
        command = [line]
        while command[-1].endswith("\\") and i < len(lines):
            command.append(lines[i][len(indent) :])
            i += 1
        yield command


def run(command: list[str], folder: Path) -> str:
    """What a command prints. Variables that it sets serve the commands behind it."""
    program = Path(os.environ.get("PYTHIASCOPE_PROGRAM", ROOT / "build/release/pythiascope"))
    environment = dict(os.environ, PATH=f"{program.resolve().parent}:{os.environ['PATH']}")
    environment.pop("COLUMNS", None)
    text = "\n".join(command)[2:]
    assignments = folder / ".variables"
    kept = assignments.read_text("utf-8") if assignments.exists() else ""
    if re.match(r"^[A-Za-z_]+=", text):
        assignments.write_text(kept + text + "\n", "utf-8")
        return ""
    made = subprocess.run(
        ["sh", "-c", kept + text],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        check=False,
    )
    return made.stdout.decode("utf-8", "replace")


def replaced(text: str, patterns: list[tuple[str, str]]) -> str:
    """A text with every pattern replaced."""
    for pattern, by in patterns:
        text = re.sub(pattern, by, text)
    return text


def chosen(output: str, options: dict[str, str]) -> list[str]:
    """The lines of an output that the block shows."""
    lines = [line.rstrip() for line in replaced(output, MACHINE).rstrip("\n").split("\n")]
    starts = [i for i, line in enumerate(lines) if re.match(r"^\S+ ─{3,}$", line)]
    sections = options.get("sections")
    if sections is not None:
        head = lines[: starts[0]] if starts else lines
        parts = [lines[a:b] for a, b in zip(starts, [*starts[1:], len(lines)])]
        wanted = sections.split(",")
        lines = head + [x for part in parts if part[0].split(" ")[0] in wanted for x in part]
    if options.get("head") == "no":
        lines = lines[next((i for i, x in enumerate(lines) if re.match(r"^\S+ ─{3,}$", x)), 0) :]
    if "from" in options:
        lines = lines[next(i for i, line in enumerate(lines) if options["from"] in line) :]
    most = int(options.get("lines", "0"))
    if 0 < most < len(lines):
        lines = [*lines[:most], "..."]
    while lines and not lines[-1]:
        lines.pop()
    return lines  # none for a command that prints nothing


def made_block(lines: list[str], block: Block, folder: Path) -> list[str]:
    """The block's lines as the program prints now."""
    out: list[str] = []
    for command in commands_of(lines[block.begin : block.end], block.indent):
        shown = chosen(run(command, folder), block.options)
        out += [""] * bool(out and not out[-1].startswith("$ ")) + command + shown
    return [block.indent + line if line else "" for line in out]


def made_page(path: Path) -> tuple[list[str], list[str]]:
    """The page's lines as they are and as they should be."""
    lines = path.read_text("utf-8").split("\n")
    out, done = [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for linked in LINKED:
            (folder / linked).symlink_to(ROOT / linked)
        for block in blocks_of(lines):
            out += lines[done : block.begin] + made_block(lines, block, folder)
            done = block.end
    return lines, out + lines[done:]


def difference(path: Path) -> str:
    """How the page differs from what the program prints; empty if it does not."""
    old, new = ([replaced(line, IGNORED + MACHINE) for line in lines] for lines in made_page(path))
    name = str(path.relative_to(ROOT))
    return "\n".join(difflib.unified_diff(old, new, name, f"{name}, made again", lineterm=""))


def main(arguments: list[str]) -> int:
    """Makes the pages again, or checks them."""
    if "--help" in arguments or "-h" in arguments:
        print(__doc__)
        return 0
    unknown = [name for name in arguments if name.startswith("-") and name != "--check"]
    absent = [name for name in arguments if name != "--check" and not Path(name).is_file()]
    if unknown or absent:
        what = f"unknown option {unknown[0]}" if unknown else f"no page {absent[0]}"
        print(f"make_outputs.py: {what} (see make_outputs.py --help)", file=sys.stderr)
        return 2
    check = "--check" in arguments
    named = [Path(name).resolve() for name in arguments if name != "--check"]
    failed = False
    for path in named or pages():
        if check:
            found = difference(path)
            failed |= bool(found)
            print(found, end="\n" if found else "")
            continue
        old, new = made_page(path)
        if old != new:
            path.write_text("\n".join(new), "utf-8")
            print(f"made {path.relative_to(ROOT)} again")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
