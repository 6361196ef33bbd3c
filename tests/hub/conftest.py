"""What all tests of pull share: a hub, a home, and how the program is run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_models import model
from hub_server import FakeHub

ROOT = Path(__file__).resolve().parent.parent.parent
NAME = "EleutherAI/pythia-1m"
WEIGHTS = "model.safetensors"


class Program:
    """Runs the program with an empty home and a hub of this test."""

    def __init__(self, home: Path, hub: FakeHub) -> None:
        path = os.environ.get("PYTHIASCOPE_PROGRAM") or str(ROOT / "build/release/pythiascope")
        if not os.access(path, os.X_OK):
            pytest.skip(f"there is no program at {path}; set PYTHIASCOPE_PROGRAM")
        self.path, self.hub, self.home = path, hub, home
        self.cache = home / ".cache" / "huggingface" / "hub"
        self.root = self.cache / "models--EleutherAI--pythia-1m"
        self.variables = {"HOME": str(home), "HF_ENDPOINT": hub.url, "PATH": os.environ["PATH"]}
        for name in ("LD_PRELOAD", "ASAN_OPTIONS", "UBSAN_OPTIONS"):
            if name in os.environ:
                self.variables[name] = os.environ[name]

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Starts the program and does not wait."""
        return subprocess.Popen(
            [self.path, *arguments],
            env=self.variables | variables,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> str:
        """The output of a run that succeeds, and prints no errors."""
        process = self.start(*arguments, **variables)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, f"exit {process.returncode}\n{out}\n{err}"
        assert err == ""
        return out

    def fail(self, *arguments: str, **variables: str) -> str:
        """The sentence of a run that fails with exit code 1, one line."""
        process = self.start(*arguments, **variables)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 1, f"exit {process.returncode}\n{out}\n{err}"
        assert err.startswith("pythiascope: ") and err.count("\n") == 1, err
        return err.removeprefix("pythiascope: ").rstrip("\n")

    def leftovers(self) -> list[str]:
        """What lies in the model's folder besides empty folders."""
        found = (path for path in self.root.rglob("*") if not path.is_dir() or path.is_symlink())
        return sorted(str(path.relative_to(self.root)) for path in found)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """A hub with one model."""
    made = FakeHub()
    made.add(NAME).add("main", model())
    yield made
    made.close()


@pytest.fixture
def program(tmp_path: Path, hub: FakeHub) -> Program:
    """The program, with a home of its own."""
    return Program(tmp_path, hub)
