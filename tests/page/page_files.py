"""Pages and result folders that the program writes, and their numbers."""

from __future__ import annotations

import base64
import functools
import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TYPES = {"F32": "<f4", "F64": "<f8", "I32": "<i4"}
TEXT = "the Emerald City of Oz is a long way from Kansas, said the little girl in the"


@functools.cache
def read_tensors(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a safetensors file: "lens.entropy" -> [layers, rows]."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    head = json.loads(data[8 : 8 + size])
    found = {}
    for key, given in head.items():
        if key != "__metadata__":
            start, end = (8 + size + offset for offset in given["data_offsets"])
            flat = np.frombuffer(data[start:end], TYPES[given["dtype"]])
            found[key] = flat.reshape(given["shape"])
    return found


class Made(NamedTuple):
    """A page and the result folder of the same run."""

    html: Path
    folder: Path

    @property
    def results(self) -> dict[str, Any]:
        """results.json."""
        loaded: dict[str, Any] = json.loads((self.folder / "results.json").read_text())
        return loaded

    @property
    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """tensors.safetensors: "plugin.array" -> numbers."""
        return read_tensors(self.folder / "tensors.safetensors")

    def section(self, plugin: str) -> dict[str, Any]:
        """What results.json says of a plugin."""
        found: dict[str, Any] = self.results["plugins"][plugin]
        return found


class Maker:
    """Runs the program, once per list of arguments."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        self.folder = folder
        self.known: dict[tuple[str, ...], Made] = {}

    def run(self, *arguments: str) -> str:
        """What the program prints; fails when the program does."""
        command = [self.program, *arguments]
        done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def __call__(self, *arguments: str) -> Made:
        """The page and the folder of a run: made("analyze", "--text", TEXT, "--plugin", "lens")."""
        if arguments not in self.known:
            name = f"run-{len(self.known)}"
            made = Made(self.folder / f"{name}.html", self.folder / name)
            self.run(*arguments, "--html", str(made.html), "--out", str(made.folder))
            self.known[arguments] = made
        return self.known[arguments]

    def count_tokens(self, path: Path) -> int:
        """The number of tokens of a text file; 1,000,000 where the context is too short for it."""
        command = [self.program, "analyze", "--file", str(path), "--plugin", "ln", "--json"]
        done = subprocess.run(command, capture_output=True, check=False)
        return len(json.loads(done.stdout)["tokens"]) if done.returncode == 0 else 1_000_000

    def beside(self, first: Made, second: Made) -> Made:
        """The page of two runs; its folder is the first's."""
        key = ("view", str(first.folder), str(second.folder))
        if key not in self.known:
            html = self.folder / f"view-{len(self.known)}.html"
            self.run(*key, "--html", str(html))
            self.known[key] = Made(html, first.folder)
        return self.known[key]


def changed(page: Made, change: Callable[[Any], None], path: Path) -> Path:
    """The page with another data block."""
    html = page.html.read_text(encoding="utf-8")
    start = html.index(">", html.index('id="data"')) + 1
    end = html.index("</script>", start)
    data = json.loads(html[start:end])
    change(data)
    block = json.dumps(data).replace("<", "\\u003c")
    path.write_text(html[:start] + block + html[end:], encoding="utf-8")
    return path


def encoded(array: np.ndarray[Any, Any], axes: list[str], **more: object) -> dict[str, Any]:
    """An array as the data block has it, without a loss."""
    kind = {"f": ("F32", "f32", "<f4"), "i": ("I32", "i32", "<i4")}[array.dtype.kind]
    data = base64.b64encode(array.astype(kind[2]).tobytes()).decode()
    head = {"dtype": kind[0], "encoding": kind[1], "axes": axes, "shape": list(array.shape)}
    return {**head, "data": data, **more}
