"""What all tests of the package share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pythiascope
from pythiascope.runtime.opened import embedded_folder

ROOT = Path(__file__).resolve().parent.parent.parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "forks_among_threads: the test forks while threads may run")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The address sanitizer before GCC 14 leaves its allocator's locks as the fork found them.

    A child then waits forever for a lock that a thread of the parent held.
    """
    if item.get_closest_marker("forks_among_threads") and "asan" in os.environ.get(
        "LD_PRELOAD", ""
    ):
        pytest.skip("the sanitizer's allocator does not survive a fork among threads")


@pytest.fixture(scope="module")
def model() -> Iterator[pythiascope.Model]:
    """The embedded model."""
    with pythiascope.Model() as opened:
        yield opened


@pytest.fixture(scope="session")
def program() -> str:
    """The path of the program, which the package's results are compared with."""
    path = os.environ.get("PYTHIASCOPE_PROGRAM") or str(ROOT / "build/release/pythiascope")
    if not os.access(path, os.X_OK):
        pytest.skip(f"there is no program at {path}; set PYTHIASCOPE_PROGRAM")
    return path


@pytest.fixture(scope="session")
def bare_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded model without its tokenizer."""
    folder = tmp_path_factory.mktemp("bare")
    for name in ("config.json", "model.safetensors"):
        (folder / name).symlink_to(os.path.join(embedded_folder(), name))
    return str(folder)


@pytest.fixture(scope="session")
def child() -> Callable[..., str]:
    """Runs Python code in a process of its own, returns its output; it must exit with 0."""

    def run(code: str, *arguments: str, timeout: float = 300) -> str:
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Exception ignored" not in done.stderr, done.stderr
        return done.stdout

    return run
