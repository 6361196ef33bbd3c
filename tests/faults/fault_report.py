"""Counts cases, prints problems as they come, and remembers cases, so that a run can go on."""

from __future__ import annotations

import collections
import json
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from fault_run import Fault, Judge

ENDS = {0: "whole", 1: "refused", 137: "killed", -9: "killed", 2000: "library"}
COLUMNS = ("whole", "refused", "killed", "library", "other", "problems")
SECONDS = 60  # between two lines about how far the run is


class Report:
    """Cases of this run, and of earlier ones in the same log."""

    def __init__(self, log: Path | None) -> None:
        self.counts: dict[str, collections.Counter[str]] = {}
        self.problems: collections.Counter[str] = collections.Counter()
        self.lock = threading.Lock()
        self.done: set[str] = set()
        self.cases = 0  # that this run judges; set by the caller
        self.begin = self.told = time.monotonic()
        self.log: TextIO | None = None
        if not log:
            return
        if log.exists():
            for line in log.read_text().splitlines():
                self._count(json.loads(line))
        self.log = log.open("a")

    @staticmethod
    def name_of(judge: Judge, fault: Fault) -> str:
        """The options of faults.py that repeat a case."""
        return f"--scene {judge.scene.name} --threads {judge.threads} --fault '{fault.name_of()}'"

    def _count(self, case: dict[str, Any]) -> None:
        self.done.add(case["case"])
        counts = self.counts.setdefault(case["scene"], collections.Counter())
        counts[ENDS.get(case["exit"], "other")] += 1
        counts["problems"] += len(case["problems"])
        for problem in case["problems"]:
            key = re.sub(r"\d+", "N", f"{case['scene']} {case['at'].split(' ')[0]} {problem}")
            self.problems[key] += 1
            if self.problems[key] == 1:
                print(f"{case['case']} ({case['at']}): {problem}", flush=True)

    def add(self, name: str, judge: Judge, fault: Fault, code: int, problems: list[str]) -> None:
        """One case under the name by which it was asked for; fault: what failed."""
        at = f"{fault.call} {fault.path}".strip() or fault.kind
        case: dict[str, Any] = {"case": name, "scene": judge.scene.name, "at": at}
        case |= {"exit": code, "problems": problems}
        with self.lock:
            self._count(case)
            if self.log:
                self.log.write(json.dumps(case) + "\n")
                self.log.flush()
            now = time.monotonic()
            if now - self.told > SECONDS:
                self.told = now
                told = f"{len(self.done)} cases of {self.cases}, {len(self.problems)} kinds of"
                print(f"faults: {told} problems, {now - self.begin:.0f} s", file=sys.stderr)

    def conclude(self, left: int) -> int:
        """Prints the table; 1 when there are problems. left: cases that found no time."""
        print(f"{'scene':<18}" + "".join(f"{name:>10}" for name in COLUMNS))
        total: collections.Counter[str] = collections.Counter()
        for scene, counts in sorted(self.counts.items()):
            print(f"{scene:<18}" + "".join(f"{counts[name]:>10}" for name in COLUMNS))
            total += counts
        print(f"{'all':<18}" + "".join(f"{total[name]:>10}" for name in COLUMNS))
        cases = sum(total[name] for name in COLUMNS[:5])
        seconds = time.monotonic() - self.begin
        print(f"{cases} cases in {seconds:.0f} s, {len(self.problems)} kinds of problems")
        if left:
            print(f"{left} cases found no time; the same command with the same --log goes on")
        return 1 if self.problems else 0
