#!/usr/bin/env python3
"""Puts faults of memory and of the system into small runs of every verb, and kills them.

    tests/faults/run.sh                    a bounded part
    tests/faults/run.sh --all              every place once: each call stack that allocates, each
                                           system call of a verb and path, with each fault that fits
    tests/faults/run.sh --every            every single allocation and system call: hours
    tests/faults/run.sh --every --minutes 60 --log faults.log       goes on where faults.log ends
    tests/faults/run.sh --scene corpus-state --fault call/all:57:EIO      one case again

A run must end whole, with the same bytes as an undisturbed one and exit 0, or with exit 1, one
sentence on stderr, and the files that were there before. Killed or not, the next run must be whole.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import socketserver
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fault_models
from fault_draw import faults_of, one_per_place
from fault_report import Report
from fault_run import Bench, Fault, Judge, make_judge
from fault_scenes import Scene, scenes

HERE = Path(__file__).resolve().parent


def one_fault(text: str) -> Fault:
    """The fault that a report names."""
    kind, at, name = text.split(maxsplit=1)[0].split(":")
    kind, _, calls = kind.partition("/")
    return Fault(kind, int(at), name.rstrip("+"), name.endswith("+"), calls or "all")


@contextlib.contextmanager
def local_hub() -> Iterator[str]:
    """The address of a hub of our own that holds a tiny model."""
    sys.path.insert(0, str(HERE.parent / "hub"))

    def say_nothing(*_: object) -> None:
        """A client that is killed is no error of the server."""

    socketserver.BaseServer.handle_error = say_nothing  # type: ignore
    from hub_models import model
    from hub_server import FakeHub

    hub = FakeHub()
    hub.add("EleutherAI/tiny").add("main", model())
    try:
        yield hub.url
    finally:
        hub.close()


def shard(text: str) -> tuple[int, int]:
    """I/N as two numbers."""
    i, n = (int(word) for word in text.split("/"))
    if not 1 <= i <= n:
        raise ValueError(text)
    return i, n


def arguments() -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", type=Path, default=HERE.parent.parent / "build/release")
    p.add_argument("--cases", type=int, default=0, help="most cases, drawn by the seed; 0: all")
    p.add_argument("--all", action="store_true", help="every place, both numbers of threads")
    p.add_argument("--every", action="store_true", help="every turn of every place in each scene")
    p.add_argument("--minutes", type=float, default=0, help="of cases, without their drawing")
    p.add_argument("--shard", type=shard, default=(1, 1), metavar="I/N", help="the I-th of N parts")
    p.add_argument("--log", type=Path, help="a line per case; cases that it has are not run again")
    p.add_argument("--scene", action="append", help="only scenes with this name; repeatable")
    p.add_argument("--fault", help="one fault, as a report names it")
    p.add_argument("--kinds", default="alloc,call,time")
    p.add_argument("--threads", type=int, action="append")
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--seed", type=int, default=1)
    return p.parse_args()


def cases_of(
    bench: Bench, chosen: list[Scene], options: argparse.Namespace
) -> list[tuple[Judge, Fault]]:
    """Judges and faults, in an order from the seed."""
    source, cases = random.Random(options.seed), []
    many, kinds = options.all or options.every, options.kinds.split(",")
    for scene in chosen:
        for threads in options.threads or ([1, 2] if many else [2]):
            judge = make_judge(bench, scene, threads)
            kills = 50 if many else 20
            found = (
                [one_fault(options.fault)]
                if options.fault
                else faults_of(judge, kinds, kills, options.every, options.seed)
            )
            cases += [(judge, fault) for fault in found]
    if not options.every:
        cases = one_per_place(cases, options.seed)
    source.shuffle(cases)
    if options.cases:
        cases = bounded(cases, options.cases, len(chosen))
    i, n = options.shard
    return cases[i - 1 :: n]


def bounded(
    cases: list[tuple[Judge, Fault]], most: int, n_scenes: int
) -> list[tuple[Judge, Fault]]:
    """The first of each scene, fewer of a slow one."""
    taken: collections.Counter[str] = collections.Counter()
    kept = []
    for judge, fault in cases:
        taken[judge.scene.name] += 1
        if taken[judge.scene.name] <= most // n_scenes // (4 if judge.scene.slow else 1):
            kept.append((judge, fault))
    return kept


def judge_all(cases: list[tuple[Judge, Fault]], report: Report, options: argparse.Namespace) -> int:
    """Runs the cases that the log does not have; how many found no time."""
    end = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    report.cases = len(cases)
    numbered = enumerate(cases)
    lock = threading.Lock()
    passed = 0

    def work() -> None:
        nonlocal passed
        while time.monotonic() < end:
            with lock:
                number, (judge, fault) = next(numbered, (-1, cases[0]))
                passed += number >= 0
            if number < 0:
                return
            name = report.name_of(judge, fault)
            if name in report.done:
                continue
            code, problems, error, fault = judge.judge(fault, judge.bench.work / f"case{number}")
            report.add(name, judge, fault, code, problems)
            if options.fault:
                print(f"exit {code}\n{error}", end="")

    with ThreadPoolExecutor(options.jobs) as pool:
        for one in [pool.submit(work) for _ in range(options.jobs)]:
            one.result()
    return len(cases) - passed


def main() -> int:
    """Runs the cases; 1 when there are problems."""
    options = arguments()
    report = Report(options.log)
    tools = options.build.resolve() / "tests/faults"
    tracer = str(tools / "faults_trace")
    if os.system(f"'{tracer}' --calls close -- true") != 0:
        print("system calls are not faulted: this machine does not allow tracing")
        tracer = ""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="psc-faults-", dir=place) as folder,
        local_hub() as endpoint,
    ):
        work = Path(folder)
        shim = str(tools / "libpsc_faults.so")
        program = str(options.build.resolve() / "pythiascope")
        bench = Bench(program, shim, tracer, work, work / "models", endpoint)
        fault_models.write_model(work / "models/tiny")
        fault_models.write_large_model(work / "models/large")
        for step in (0, 1):
            fault_models.write_model(work / f"models/steps/step{step}", 1 + step)
        chosen = [s for s in scenes() if not options.scene or s.name in options.scene]
        cases = cases_of(bench, chosen, options)
        print(f"{len(cases)} cases in {len(chosen)} scenes", flush=True)
        return report.conclude(judge_all(cases, report, options))


if __name__ == "__main__":
    sys.exit(main())
