"""Runs a scene, undisturbed or with one fault, and judges what the run left."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from fault_scenes import Scene, arguments_of
from fault_server import server_of

SECONDS = 90  # a run takes 0.03 of them
REMOVERS = ("unlink", "unlinkat", "rmdir")


@dataclass(frozen=True)
class Fault:
    """One fault of one run; kind: alloc, call or time."""

    kind: str
    at: int  # the n-th call; time: microseconds
    name: str = "ENOMEM"  # of errno, or SHORT, KILL, TEAR
    on: bool = False
    calls: str = "all"  # system calls that count
    call: str = ""  # the one that fails, and its path, as the undisturbed run made it
    path: str = ""
    place: str = ""  # what cases share; "": it is drawn by itself

    def name_of(self) -> str:
        """As --fault takes it."""
        counted = f"/{self.calls}" if self.kind == "call" else ""
        return f"{self.kind}{counted}:{self.at}:{self.name}{'+' if self.on else ''}"

    def told(self, call: str, path: str, place: str) -> Fault:
        """The same with what is known of it."""
        return replace(self, call=call, path=path, place=place)


@dataclass
class Outcome:
    """What a run left."""

    code: int
    out: bytes
    error: str
    files: dict[str, str]


@dataclass
class Bench:
    """The program, the tools and the folders of all runs."""

    program: str
    shim: str
    tracer: str
    work: Path
    models: Path
    endpoint: str = ""
    clean: dict[str, str] = field(default_factory=dict)

    def environment(self, folder: Path) -> dict[str, str]:
        """The variables of a run: no home but the scene's."""
        kept = ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS", "LANG")
        variables = {name: os.environ[name] for name in kept if name in os.environ}
        variables |= {"HOME": str(folder / "home"), "PSC_CACHE_DIR": str(folder / "cache")}
        return variables | ({"HF_ENDPOINT": self.endpoint} if self.endpoint else {})


LARGE = 1 << 20
_hashes: dict[tuple[int, ...], str] = {}


def _hash_of(path: Path) -> str:
    """Size and hash; of a large file once, since copies of scenes share it."""
    info = path.stat()
    key = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
    if info.st_size < LARGE or key not in _hashes:
        found = f"{info.st_size} " + hashlib.sha1(path.read_bytes()).hexdigest()[:16]
        if info.st_size < LARGE or info.st_nlink == 1:
            return found
        _hashes[key] = found
    return _hashes[key]


def copy_scene(template: Path, folder: Path) -> None:
    """A copy; its large files are links, since no run writes to a file that is there."""

    def copy(source: str, target: str) -> None:
        if os.path.getsize(source) < LARGE:
            shutil.copy2(source, target)
        else:
            os.link(source, target)

    shutil.copytree(template, folder, symlinks=True, copy_function=copy)


def files_of(folder: Path) -> dict[str, str]:
    """Each path below the folder with its kind and the hash of its bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = "link " + os.readlink(path)
        elif path.is_dir():
            found[name + "/"] = "folder"
        else:
            with contextlib.suppress(FileNotFoundError):  # a process that ends meanwhile
                found[name] = _hash_of(path)
    return found


def prepare(bench: Bench, scene: Scene, folder: Path, threads: int) -> None:
    """Makes the scene's files."""
    folder.mkdir(parents=True)
    (folder / "home").mkdir()
    for name, data in scene.files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    for line in scene.before:
        command = [bench.program, *arguments_of(line, bench.models, threads)]
        subprocess.run(
            command,
            cwd=folder,
            env=bench.environment(folder),
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def command_of(
    bench: Bench,
    scene: Scene,
    folder: Path,
    threads: int,
    fault: Fault | None,
    more: tuple[str, ...] = (),
) -> tuple[list[str], dict[str, str]]:
    """The command line of a run, and its variables."""
    command = [bench.program, *arguments_of(scene.arguments, bench.models, threads)]
    variables = bench.environment(folder)
    if fault and fault.kind == "alloc":
        variables |= {"LD_PRELOAD": bench.shim, "PSC_FAULT_CALL": "alloc"}
        variables |= {"PSC_FAULT_AT": str(fault.at), "PSC_FAULT_ON": "1" if fault.on else "0"}
    elif fault and fault.kind == "call":
        options = ["--calls", fault.calls, "--at", str(fault.at), "--fault", fault.name]
        options += ["--where", str(folder.with_suffix(".where"))]
        command = [bench.tracer, *options, *(["--on"] if fault.on else []), "--", *command]
    elif more:
        command = [bench.tracer, *more, "--", *command]
    return command, variables


def _run_traced(
    command: list[str], variables: dict[str, str], folder: Path, fault: Fault | None
) -> tuple[int, bytes, bytes]:
    """A process of its own, traced, or killed at a time."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        if fault and fault.kind == "time":
            time.sleep(fault.at / 1e6)
            process.kill()
        out, error = process.communicate(timeout=SECONDS)
        return process.returncode, out, error
    except subprocess.TimeoutExpired:
        process.kill()
        return 1000, *process.communicate()


def run(
    bench: Bench,
    scene: Scene,
    folder: Path,
    threads: int,
    fault: Fault | None = None,
    more: tuple[str, ...] = (),
    extra: dict[str, str] | None = None,
) -> Outcome:
    """One run in the folder. A run that hangs is killed and has code 1000."""
    command, variables = command_of(bench, scene, folder, threads, fault, more)
    variables |= extra or {}
    if "LD_PRELOAD" in variables or not (fault or more):
        variables.pop("LD_PRELOAD", None)
        server = server_of(bench.program, bench.shim)
        code, out, error = server.run(command, variables, folder, SECONDS)
    else:
        code, out, error = _run_traced(command, variables, folder, fault)
    here = str(folder)
    said = error.decode(errors="replace").replace(here, ".")
    return Outcome(code, out.replace(here.encode(), b"."), said, files_of(folder))


def different(a: dict[str, str], b: dict[str, str]) -> list[str]:
    """The paths that two folders do not share."""
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def _sentences(error: str, usual: str) -> list[str]:
    """The lines on stderr that an undisturbed run does not print."""
    known = usual.splitlines()
    return [line for line in error.splitlines() if line not in known]


def _is_sentence(line: str) -> bool:
    bad = re.search(r"\(null\)|: Success|line -1|: *$|: ;|  |Unknown error", line)
    return line.startswith("pythiascope: ") and not bad


def _is_skip(line: str) -> bool:
    """A document that is left out, as docs/corpus.md says."""
    return line.endswith("skipped")


def _is_note(line: str) -> bool:
    return _is_skip(line) or bool(re.match(r"pythiascope: (note|warning)\b", line))


def _as_it_was(fault: Fault, where: Path) -> Fault:
    """The fault with the call that failed; threads make the n-th one vary."""
    if fault.kind != "call" or not where.exists():
        return fault
    call, _, path = where.read_text(errors="replace").rstrip("\n").partition(" ")
    return replace(fault, call=call, path=path)


def in_a_library(where: Path) -> bool:
    """Whether the allocation failed in the start of OpenSSL, which crashes then by itself."""
    return where.exists() and "OPENSSL_init_crypto" in where.read_text(errors="replace")


def windows_of(state: Path) -> int:
    """The windows that a state file holds; -1: it is broken or not there."""
    try:
        found = re.search(rb'"windows":(\d+)\}', state.read_bytes()[:65536])
    except OSError:
        return -1
    return int(found[1]) if found else -1


@dataclass
class Judge:
    """What the undisturbed run had before it and left behind it."""

    bench: Bench
    scene: Scene
    threads: int
    template: Path
    before: dict[str, str]
    good: Outcome

    def _ignored(self, name: str) -> bool:
        return name.startswith(self.scene.grows + self.scene.optional or ("\0",))

    def _whole_parts(self, got: dict[str, str]) -> set[str]:
        """The paths of results that are delivered one by one, and are whole."""
        paths: set[str] = set()
        for part in self.scene.parts:
            inside = {
                n: h for n, h in self.good.files.items() if n == part or n.startswith(part + "/")
            }
            if all(got.get(n) == h for n, h in inside.items()):
                paths |= {*inside, part.split("/")[0] + "/"}
        return paths

    def _left(self, files: dict[str, str], than: dict[str, str]) -> list[str]:
        return [n for n in different(files, than) if not self._ignored(n)]

    def _may_lose(self, name: str) -> bool:
        return name.startswith(self.scene.removes or ("\0",))

    def _after_success(self, fault: Fault, got: Outcome) -> list[str]:
        said = _sentences(got.error, self.good.error)
        if any(_is_skip(s) for s in said):
            return [f"exit 0 and: {s}" for s in said if not _is_sentence(s)]
        problems = []
        lost = [
            n
            for n in different(got.files, self.good.files)
            if not n.startswith(self.scene.optional or ("\0",))
        ]
        if self._may_leave(fault):  # an empty lock, which the next run removes
            lost = [n for n in lost if not n.endswith((".psc-tmp", ".lock"))]
        if any("note: cannot remove" in s for s in said):
            lost = [n for n in lost if not n.startswith(self.scene.grows or ("\0",))]
        if lost:
            problems.append(f"exit 0, but not the same files: {', '.join(lost[:4])}")
        if got.out != self.good.out:
            problems.append("exit 0, but not the same stdout")
        problems += [f"exit 0 and: {s}" for s in said if not _is_sentence(s)]
        # A run that was to be killed and ends well had fewer calls than the one that was counted.
        failed = fault.call == "fsync" and not fault.on
        failed = failed and fault.name not in ("SHORT", "KILL", "TEAR")
        if failed and self._is_file(fault.path):
            problems.append("exit 0 after fsync of a file failed")
        return problems

    def _is_file(self, path: str) -> bool:
        return bool(re.search(r"results\.json|\.safetensors|page\.html", path))

    def _after_failure(self, fault: Fault, got: Outcome) -> list[str]:
        problems = []
        said = [s for s in _sentences(got.error, self.good.error) if not _is_note(s)]
        if len(said) != 1 or not _is_sentence(said[0]):
            problems.append(f"exit 1 with {len(said)} sentences: {' | '.join(said)[:300]}")
        parts = self._whole_parts(got.files)
        changed = [n for n in self._left(got.files, self.before) if n not in parts]
        changed = [n for n in changed if n in got.files or not self._may_lose(n)]
        delivered = not self._left(got.files, self.good.files)
        if changed and not delivered and not self._may_leave(fault):
            problems.append(f"exit 1, and left or changed: {', '.join(changed[:4])}")
        lost = [n for n in self.before if n not in got.files and not self._may_lose(n)]
        if lost:
            problems.append(f"exit 1, and lost: {', '.join(lost[:4])}")
        return problems

    def _may_leave(self, fault: Fault) -> bool:
        """A run that cannot remove a file leaves it to the next one, as one that cannot look."""
        looks = (*REMOVERS, "newfstatat", "stat", "lstat")
        return fault.call in looks or (fault.kind == "call" and fault.on)

    def _next(self, folder: Path) -> list[str]:
        """The next run, undisturbed, must be whole and leave nothing else."""
        got = run(self.bench, self.scene, folder, self.threads)
        refused = got.code != 0 and "is not empty" in got.error
        if refused and (self.scene.parts or not self._left(got.files, self.good.files)):
            return []
        problems = [] if got.code == 0 else [f"the next run: exit {got.code}: {got.error[:300]}"]
        left = different(got.files, self.good.files)
        left = [
            n
            for n in left
            if not n.startswith(self.scene.grows or ("\0",))
            or re.search(r"tmp|partial|incomplete|lock", n)
        ]
        if got.code == 0 and left:
            problems.append(f"the next run left others: {', '.join(left[:4])}")
        return problems

    def _state_lost(self, folder: Path) -> list[str]:
        """A state that was there never goes back."""
        was, now = (windows_of(f / "run.state") for f in (self.template, folder))
        return [f"the state went from {was} to {now} windows"] if now < was else []

    def judge(self, fault: Fault, folder: Path) -> tuple[int, list[str], str, Fault]:
        """Runs the case in its own copy of the scene: exit code, problems, stderr, what failed."""
        copy_scene(self.template, folder)
        where = folder.with_suffix(".where")
        extra = {"PSC_FAULT_WHERE": str(where)}
        got = run(self.bench, self.scene, folder, self.threads, fault, extra=extra)
        fault = _as_it_was(fault, where)
        killed = fault.name in ("KILL", "TEAR") or fault.kind == "time"
        problems: list[str] = []
        if got.code == 1000:
            problems.append(f"no end after {SECONDS} s")
        elif killed and got.code in (137, -9):
            pass
        elif got.code < 0 and self.scene.hub and in_a_library(where):
            got.code = 2000
        elif got.code == 0:
            problems += self._after_success(fault, got)
        elif got.code == 1:
            problems += self._after_failure(fault, got)
        else:
            problems.append(f"exit {got.code}: {got.error[:300]}")
        problems += self._state_lost(folder)
        changed = different(got.files, self.before) and different(got.files, self.good.files)
        if any(_is_skip(s) for s in got.error.splitlines()):
            changed, killed = [], True  # the next run reads other documents
        if not problems and (changed or (self.scene.resumes and got.code == 1 and not killed)):
            problems += self._next(folder)
        shutil.rmtree(folder, ignore_errors=True)
        where.unlink(missing_ok=True)
        return got.code, problems, got.error, fault


def make_judge(bench: Bench, scene: Scene, threads: int) -> Judge:
    """Runs the scene twice, undisturbed: both must leave the same."""
    template = bench.work / f"{scene.name}-{threads}"
    prepare(bench, scene, template, threads)
    before, outcomes = files_of(template), []
    for i in range(2):
        folder = bench.work / f"{scene.name}-{threads}-good{i}"
        copy_scene(template, folder)
        outcomes.append(run(bench, scene, folder, threads))
        shutil.rmtree(folder)
    first, second = outcomes
    if first.code != 0:
        raise SystemExit(f"{scene.name} fails undisturbed: {first.error}")
    changed = [
        n
        for n in different(first.files, second.files)
        if not n.startswith(scene.grows + scene.optional or ("\0",))
    ]
    if changed or first.out != second.out:
        raise SystemExit(f"{scene.name}: two runs leave different files: {changed}")
    return Judge(bench, scene, threads, template, before, second)


def random_times(judge: Judge, count: int, seed: int) -> list[Fault]:
    """Kills at times from the seed, up to the length of an undisturbed run."""
    folder = judge.bench.work / "timed"
    copy_scene(judge.template, folder)
    begin = time.monotonic()
    run(judge.bench, judge.scene, folder, judge.threads)
    length = int(1.2e6 * (time.monotonic() - begin))
    shutil.rmtree(folder)
    source = random.Random(f"{seed} {judge.scene.name}")
    return [Fault("time", source.randrange(1, length), "KILL") for _ in range(count)]
