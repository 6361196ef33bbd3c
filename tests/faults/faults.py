#!/usr/bin/env python3
"""Puts faults of memory and of the system into small runs of every verb, and kills them.

    tests/faults/run.sh                    a bounded part
    tests/faults/run.sh --all              every place that allocates, every system call
    tests/faults/run.sh --every            every single allocation: hours
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
import re
import shutil
import socketserver
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fault_models
from fault_run import Bench, Fault, Judge, make_judge, random_times, run
from fault_scenes import Scene, scenes

HERE = Path(__file__).resolve().parent
# errno by system call; SHORT: fewer bytes than asked for
FAULTS = {
    "read pread64": "EIO EINTR SHORT",
    "write pwrite64": "EIO ENOSPC EINTR SHORT",
    "writev readv": "EIO EINTR",
    "open openat creat": "EIO EACCES EMFILE EINTR ENOMEM",
    "close": "EIO EINTR",
    "fsync fdatasync ftruncate": "EIO ENOSPC",
    "rename renameat renameat2 link linkat symlink symlinkat": "EIO ENOSPC EACCES",
    "mkdir mkdirat": "ENOSPC EACCES",
    "unlink unlinkat rmdir": "EIO EACCES",
    "stat lstat fstat newfstatat statx access faccessat faccessat2 readlink": "EIO EACCES",
    "mmap mremap brk mprotect": "ENOMEM",
    "munmap madvise": "ENOMEM",
    "flock fcntl": "ENOLCK EINTR",
    "getdents64": "EIO",
    "clone clone3": "EAGAIN",
    "pipe pipe2 socket": "EMFILE",
    "getrandom": "EINTR ENOSYS",
    "connect sendto recvfrom poll": "EIO EINTR",
    "lseek ioctl statfs getcwd": "EIO",
    "chmod fchmod fchmodat utimensat sched_getaffinity prlimit64": "EPERM",
}
ERRNOS = {call: names.split() for calls, names in FAULTS.items() for call in calls.split()}
# from the n-th call of a kind on: a full disk, no descriptors, no memory, a disk that is gone
GROUPS = {
    "write,pwrite64,mkdir,openat": "ENOSPC",
    "open,openat,pipe2,socket": "EMFILE",
    "mmap,brk,mremap": "ENOMEM",
    "clone,clone3": "EAGAIN",
    "all": "EIO",
}


def allocations(judge: Judge, every: bool) -> list[Fault]:
    """The first and the last allocation of each place, or every one; once, and from it on."""
    stacks = judge.bench.work / "stacks"
    folder = judge.bench.work / "counted"
    judge_copy(
        judge,
        folder,
        {
            "LD_PRELOAD": judge.bench.shim,
            "PSC_FAULT_CALL": "alloc",
            "PSC_FAULT_STACKS": str(stacks),
        },
    )
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    lines = stacks.read_text().splitlines()
    for line in lines:
        number, _, stack = line.split()
        first.setdefault(stack, int(number))
        last[stack] = int(number)
    numbers = sorted({*first.values(), *last.values()})
    if every:
        numbers = list(range(1, len(lines) + 1))
    return [Fault("alloc", n, on=on) for n in numbers for on in (False, True)]


def judge_copy(judge: Judge, folder: Path, extra: dict[str, str]) -> None:
    """An undisturbed run in a copy of the scene, with more variables or traced."""
    shutil.copytree(judge.template, folder, symlinks=True)
    more = tuple(extra.pop("trace").split()) if "trace" in extra else ()
    run(judge.bench, judge.scene, folder, judge.threads, None, more, extra)
    shutil.rmtree(folder)


def system_calls(judge: Judge) -> list[Fault]:
    """Every system call with every errno that fits it, from each on, and a kill at each."""
    log, folder = judge.bench.work / "log", judge.bench.work / "traced"
    judge_copy(judge, folder, {"trace": f"--calls all --log {log}"})
    found: list[Fault] = []
    counts: collections.Counter[str] = collections.Counter()
    for line in log.read_text(errors="replace").splitlines():
        if not (match := re.fullmatch(r"(\d+) (\w+) ?(.*)", line)):
            continue
        at, call, path = int(match[1]), match[2], match[3].replace(str(folder), "")
        found += [Fault("call", at, e, call=call, path=path) for e in ERRNOS.get(call, ["EIO"])]
        for calls, name in GROUPS.items():
            if calls == "all" or call in calls.split(","):
                counts[calls] += 1
                found.append(Fault("call", counts[calls], name, True, calls, call, path))
        if call not in ("madvise", "brk", "munmap", "mprotect"):
            found.append(Fault("call", at, "KILL", call=call, path=path))
        if call in ("write", "pwrite64"):
            found.append(Fault("call", at, "TEAR", call=call, path=path))
    return found


def faults_of(judge: Judge, options: argparse.Namespace) -> list[Fault]:
    """All faults of a scene that the options ask for."""
    found: list[Fault] = []
    if "alloc" in options.kinds:
        found += allocations(judge, options.every)
    if "call" in options.kinds and judge.bench.tracer:
        found += system_calls(judge)
    if "time" in options.kinds:
        found += random_times(judge, 200 if options.all else 20, options.seed)
    return found


def one_fault(text: str) -> Fault:
    """The fault that a report names."""
    kind, at, name = text.split(maxsplit=1)[0].split(":")
    kind, _, calls = kind.partition("/")
    return Fault(kind, int(at), name.rstrip("+"), name.endswith("+"), calls or "all")


class Report:
    """Counts cases and prints problems as they come, the same one once."""

    def __init__(self) -> None:
        self.counts: dict[str, collections.Counter[str]] = {}
        self.problems: collections.Counter[str] = collections.Counter()
        self.lock = threading.Lock()

    def add(self, judge: Judge, fault: Fault, code: int, problems: list[str]) -> None:
        """One case."""
        ends = {0: "whole", 1: "refused", 137: "killed", -9: "killed", 2000: "library"}
        with self.lock:
            counts = self.counts.setdefault(judge.scene.name, collections.Counter())
            counts[ends.get(code, "other")] += 1
            for problem in problems:
                counts["problems"] += 1
                key = re.sub(r"\d+", "N", f"{judge.scene.name} {fault.call} {problem}")
                self.problems[key] += 1
                if self.problems[key] == 1:
                    print(
                        f"--scene {judge.scene.name} --threads {judge.threads} "
                        f"--fault '{fault}': {problem}",
                        flush=True,
                    )

    def conclude(self, seconds: float) -> int:
        """Prints the table; 1 when there are problems."""
        names = ("whole", "refused", "killed", "library", "other", "problems")
        print(f"{'scene':<18}" + "".join(f"{name:>10}" for name in names))
        total: collections.Counter[str] = collections.Counter()
        for scene, counts in sorted(self.counts.items()):
            print(f"{scene:<18}" + "".join(f"{counts[name]:>10}" for name in names))
            total += counts
        print(f"{'all':<18}" + "".join(f"{total[name]:>10}" for name in names))
        cases = sum(total[name] for name in names[:5])
        print(f"{cases} cases in {seconds:.0f} s, {len(self.problems)} kinds of problems")
        return 1 if self.problems else 0


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


def arguments() -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", type=Path, default=HERE.parent.parent / "build/release")
    p.add_argument("--cases", type=int, default=0, help="most cases, drawn by the seed; 0: all")
    p.add_argument("--all", action="store_true", help="every place, both numbers of threads")
    p.add_argument("--every", action="store_true", help="every allocation")
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
    for scene in chosen:
        for threads in options.threads or ([1, 2] if options.all else [2]):
            judge = make_judge(bench, scene, threads)
            found = [one_fault(options.fault)] if options.fault else faults_of(judge, options)
            source.shuffle(found)
            share = options.cases // len(chosen) // (4 if scene.slow else 1)
            cases += [(judge, fault) for fault in (found[:share] if options.cases else found)]
    source.shuffle(cases)
    return cases


def main() -> int:
    """Runs the cases; 1 when there are problems."""
    options, report, begin = arguments(), Report(), time.monotonic()
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
        chosen = [s for s in scenes() if not options.scene or s.name in options.scene]
        cases = cases_of(bench, chosen, options)
        print(f"{len(cases)} cases in {len(chosen)} scenes", flush=True)

        def one(numbered: tuple[int, tuple[Judge, Fault]]) -> None:
            number, (judge, fault) = numbered
            code, problems, error, fault = judge.judge(fault, work / f"case{number}")
            report.add(judge, fault, code, problems)
            if options.fault:
                print(f"exit {code}\n{error}", end="")

        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(one, enumerate(cases)))
        return report.conclude(time.monotonic() - begin)


if __name__ == "__main__":
    sys.exit(main())
