#!/usr/bin/env python3
"""Runs every verb and the tests of threads in a build with the thread sanitizer.

    tests/faults/races.py                  every verb at 4 threads, and the quick tests
    tests/faults/races.py --all            all tests of the build, too

A report of the sanitizer ends a run with exit code 66. races.supp has what is not a race of ours.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fault_models
from fault_run import Bench, prepare
from fault_scenes import Scene, arguments_of, scenes
from faults import local_hub

HERE = Path(__file__).resolve().parent
TEXT = "The Emerald City lay along the yellow brick road, and the travelers saw it from afar."
PLUGINS = (
    "logits",
    "ln",
    "mlp",
    "lens",
    "frozen",
    "graph",
    "edges",
    "neurons",
    "attention",
    "spans",
    "partition",
)
QUICK = ("test_team", "test_restart", "test_copies", "test_draw", "test_plugins", "test_turns")


def larger_scenes() -> list[Scene]:
    """Runs of the embedded model, whose jobs have parts for each thread."""
    plugins = tuple(word for name in PLUGINS for word in ("--plugin", name))
    text = ("--text", TEXT)
    docs = {f"docs/{i}.txt": f"{TEXT} {i}\n".encode() * 3 for i in range(6)}
    return [
        Scene("large-analyze", ("analyze", *text, *plugins, "--html", "page.html", "--out", "out")),
        Scene("large-edits", ("analyze", *text, "--ablate", "L*H*:by=mean", "--out", "out")),
        Scene("large-sweep", ("sweep", "--text", "The Emerald City", "--over", "heads_by_pos")),
        Scene("large-generate", ("generate", *text, "--n", "6", "--plugin", "lens")),
        Scene(
            "large-corpus",
            (
                "corpus",
                "docs",
                "--plugin",
                "ln",
                "--plugin",
                "neurons:contexts=2",
                "--window",
                "32",
                "--state",
                "run.state",
                "--save-seconds",
                "0",
            ),
            docs,
        ),
        Scene("large-steps", ("analyze", *text, "--model", "books-0.5m@all-steps")),
    ]


def run(bench: Bench, scene: Scene, folder: Path) -> str:
    """The sanitizer's report of one scene at 4 threads, or why it failed; empty: none."""
    prepare(bench, scene, folder, 4)
    command = [bench.program, *arguments_of(scene.arguments, bench.models, 4)]
    got = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=bench.environment(folder),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        errors="replace",
        timeout=600,
    )
    shutil.rmtree(folder)
    return "" if got.returncode == 0 else f"exit {got.returncode}\n{got.stderr}"


def tests_of(build: Path, all_of_them: bool) -> list[Path]:
    """The test programs to run."""
    found = sorted(p for p in (build / "tests").glob("test_*") if os.access(p, os.X_OK))
    return [p for p in found if p.is_file() and (all_of_them or p.name in QUICK)]


def main() -> int:
    """Prints one line per run; 1 when one has a report."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", type=Path, default=HERE.parent.parent / "build/thread")
    p.add_argument("--all", action="store_true")
    options = p.parse_args()
    os.environ["TSAN_OPTIONS"] = (
        f"exitcode=66:die_after_fork=0:second_deadlock_stack=1:suppressions={HERE}/races.supp"
    )
    n_failed = n = 0
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="psc-races-") as folder, local_hub() as endpoint:
        work = Path(folder)
        program = str(options.build.resolve() / "pythiascope")
        bench = Bench(program, "", "", work, work / "models", endpoint)
        fault_models.write_model(work / "models/tiny")
        fault_models.write_large_model(work / "models/large")
        for step in (0, 1):
            fault_models.write_model(work / f"models/steps/step{step}", 1 + step)
        for scene in [*scenes(), *larger_scenes()]:
            report = run(bench, scene, work / scene.name)
            n, n_failed = n + 1, n_failed + bool(report)
            if report:
                print(f"{scene.name}: {report}", flush=True)
        for test in tests_of(options.build, options.all):
            got = subprocess.run(
                [test], check=False, capture_output=True, text=True, errors="replace"
            )
            n, n_failed = n + 1, n_failed + (got.returncode != 0)
            if got.returncode != 0:
                print(f"{test.name}: exit {got.returncode}\n{got.stderr}", flush=True)
    print(
        f"{n} runs under the thread sanitizer in {time.monotonic() - begin:.0f} s, "
        f"{n_failed} with reports"
    )
    return 1 if n_failed or n < 10 else 0


if __name__ == "__main__":
    sys.exit(main())
