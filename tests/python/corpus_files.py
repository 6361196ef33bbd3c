"""A small corpus of files, and how the tests run Python and the program over it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from program import program_path, without_command
from pythiascope import Model, Result
from pythiascope._c.library import library_path

PLUGINS = ("ln", "mlp", "logits:level=layer")
STORY = """the old man gave a red apple to little girl and she thanked him before they walked
home through green fields under wide sky while river ran slowly past mill where miller
slept"""
WORDS = STORY.split()


def sentence(seed: int, n: int) -> str:
    """n words in an order that depends on the seed only."""
    state = seed * 2654435761 % 2**32
    out = []
    for _ in range(n):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append(WORDS[(state >> 16) % len(WORDS)])
    return " ".join(out).capitalize() + "."


def make_corpus(folder: Path) -> Path:
    """Text files in two folders, a JSONL file, and files that are not read."""
    (folder / "a").mkdir(parents=True)
    (folder / "b").mkdir()
    (folder / "a" / "two.md").write_text(sentence(2, 130))
    (folder / "a" / "empty.txt").write_text("")
    (folder / "b" / "one.txt").write_text(" ".join(sentence(s, 30) for s in range(7)))
    lines = [json.dumps({"id": i, "text": sentence(i, 3 + 2 * i) + " été"}) for i in range(20)]
    (folder / "c.jsonl").write_text("\n".join([*lines[:7], "", *lines[7:]]) + "\n")
    (folder / "notes.org").write_text("not read")
    (folder / ".hidden.txt").write_text("not read")
    return folder


def documents_of(folder: Path) -> list[str]:
    """The documents of make_corpus, in the program's order."""
    texts = [(folder / "a" / name).read_text() for name in ("empty.txt", "two.md")]
    texts.append((folder / "b" / "one.txt").read_text())
    lines = (folder / "c.jsonl").read_text().splitlines()
    return texts + [json.loads(line)["text"] for line in lines if line]


def survey(model: Model, **options: Any) -> Result:
    """model.corpus with the options that the tests share."""
    options = {"plugins": PLUGINS, "window": 64, "progress": False, **options}
    return model.corpus(options.pop("documents", None), **options)


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The program, which may fail."""
    command = [str(program_path()), *arguments]
    return subprocess.run(command, capture_output=True, check=False, timeout=300)


def program_survey(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """`pythiascope corpus` with the options that the tests share."""
    plugins = [word for plugin in PLUGINS for word in ("--plugin", plugin)]
    return run("corpus", str(folder), *plugins, "--window", "64", *arguments)


def plugin_file(name: str) -> str:
    """The path of a plugin that the tests' build makes; skips where it is missing."""
    path = Path(library_path()).resolve().parent / "tests" / "plugins" / name
    if not path.exists():
        pytest.skip(f"{path} is not built")
    return str(path)


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of an output folder, without the program's command."""
    return {path.name: without_command(path) for path in sorted(folder.iterdir())}


def saved(result: Result, folder: Path) -> dict[str, bytes]:
    """The files that a result saves."""
    return files_of(result.save(folder))


def without_run(text: str) -> str:
    """results.json without what may differ: threads and chunk."""
    return re.sub(r'\s*"(threads|chunk)": \d+,?', "", text)


def same_numbers(one: Result, other: Result) -> None:
    """Equal to the bit in everything but threads and chunk."""
    assert without_run(one.to_json()) == without_run(other.to_json())
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        assert array.values.tobytes() == other.arrays[name].values.tobytes(), name


def chunks(items: list[Any], seed: int) -> Iterator[int]:
    """Places in a list that depend on the seed only."""
    state = seed
    while True:
        state = (state * 1103515245 + 12345) % 2**31
        yield (state >> 8) % (len(items) + 1)
