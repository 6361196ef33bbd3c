"""The faults of a scene, and which of them a run of faults.py judges.

A place is where a fault strikes: the call stack of an allocation, or a system call and its path.
All scenes of a verb share places. A place is judged in one scene, thread count and turn, drawn by
the seed.
"""

from __future__ import annotations

import collections
import random
import re
import shutil
from collections.abc import Iterable

from fault_run import Fault, Judge, copy_scene, random_times, run

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


def _allocations(judge: Judge, every: bool, seed: int) -> list[Fault]:
    """Each allocation, or one of each call stack: once, and from it on."""
    stacks = judge.bench.work / "stacks"
    count = {"LD_PRELOAD": judge.bench.shim, "PSC_FAULT_CALL": "alloc"}
    _copy(judge, "counted", extra=count | {"PSC_FAULT_STACKS": str(stacks)})
    numbers: dict[str, list[int]] = {}
    for line in stacks.read_text().splitlines():
        number, _, stack = line.split()
        numbers.setdefault(stack, []).append(int(number))
    source = random.Random(f"{seed} {judge.scene.name} {judge.threads}")
    return [
        Fault("alloc", n, on=on, place=stack)
        for stack, all_of_it in numbers.items()
        for on in (False, True)
        for n in (all_of_it if every else [source.choice(all_of_it)])
    ]


def _copy(judge: Judge, name: str, more: str = "", extra: dict[str, str] | None = None) -> str:
    """An undisturbed run in a copy of the scene, with more variables or traced; its folder."""
    folder = judge.bench.work / name
    copy_scene(judge.template, folder)
    run(judge.bench, judge.scene, folder, judge.threads, None, tuple(more.split()), extra)
    shutil.rmtree(folder)
    return str(folder)


def _system_calls(judge: Judge) -> list[Fault]:
    """Every system call with every errno that fits it, from each on, and a kill at each."""
    log = judge.bench.work / "log"
    folder = _copy(judge, "traced", f"--calls all --log {log}")
    verb = judge.scene.arguments[0]
    found: list[Fault] = []
    counts: collections.Counter[str] = collections.Counter()
    for line in log.read_text(errors="replace").splitlines():
        if not (match := re.fullmatch(r"(\d+) (\w+) ?(.*)", line)):
            continue
        at, call, path = int(match[1]), match[2], match[3].replace(folder, "")
        place = f"{verb} {call} {re.sub(r'[0-9]+', 'N', path)}"
        faults = [Fault("call", at, e) for e in ERRNOS.get(call, ["EIO"])]
        for calls, name in GROUPS.items():
            if calls == "all" or call in calls.split(","):
                counts[calls] += 1
                faults.append(Fault("call", counts[calls], name, True, calls))
        if call not in ("madvise", "brk", "munmap", "mprotect"):
            faults.append(Fault("call", at, "KILL"))
        if call in ("write", "pwrite64"):
            faults.append(Fault("call", at, "TEAR"))
        found += [f.told(call=call, path=path, place=place) for f in faults]
    return found


def faults_of(
    judge: Judge, kinds: Iterable[str], kills: int, every: bool, seed: int
) -> list[Fault]:
    """All faults of a scene."""
    found: list[Fault] = []
    if "alloc" in kinds:
        found += _allocations(judge, every, seed)
    if "call" in kinds and judge.bench.tracer:
        found += _system_calls(judge)
    if "time" in kinds:
        found += random_times(judge, kills, seed)
    return found


def one_per_place(cases: list[tuple[Judge, Fault]], seed: int) -> list[tuple[Judge, Fault]]:
    """Of the cases with the same fault at the same place, one."""
    source = random.Random(seed)
    groups: dict[tuple[object, ...], list[tuple[Judge, Fault]]] = {}
    kept = []
    for judge, fault in cases:
        if fault.place:
            key = (fault.kind, fault.place, fault.name, fault.on, fault.calls)
            groups.setdefault(key, []).append((judge, fault))
        else:
            kept.append((judge, fault))
    return kept + [source.choice(group) for group in groups.values()]
