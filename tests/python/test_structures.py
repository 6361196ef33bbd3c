"""The generated module of structures agrees with the headers and with the compiler."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pythiascope._c import structures
from pythiascope._c.library import library

ROOT = Path(__file__).resolve().parent.parent.parent
GENERATOR = ROOT / "tools" / "make_python_structures.py"
COMPILER = os.environ.get("CC", "cc").split()


def generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("pycparser")
    if not shutil.which(COMPILER[0]):
        pytest.skip("there is no C compiler")
    command = [sys.executable, str(GENERATOR), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_committed_module_is_what_the_headers_say() -> None:
    done = generate("--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_stale_module_is_noticed(tmp_path: Path) -> None:
    stale = tmp_path / "structures.py"
    stale.write_text("PSC_OK = 1\n")
    done = generate("--check", "--module", str(stale))
    assert done.returncode == 1
    assert "make_python_structures.py" in done.stdout


def test_the_compiler_agrees_on_every_size_offset_and_value(tmp_path: Path) -> None:
    source, program = tmp_path / "layout.c", tmp_path / "layout"
    done = generate("--layout", str(source))
    assert done.returncode == 0, done.stderr
    include = str(ROOT / "include" / "pythiascope")
    subprocess.run([*COMPILER, "-I", include, str(source), "-o", str(program)], check=True)
    lines = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    seen = set()
    for line in lines.splitlines():
        name, *numbers = line.split()
        assert [int(n) for n in numbers] == numbers_of(name), name
        seen.add(name)
    assert {cls.__name__ for cls in structures.STRUCTURES} <= seen
    members = [f"{c.__name__}.{m[0]}" for c in structures.STRUCTURES for m in c._fields_]
    assert set(members) <= seen
    assert len(members) > 250
    assert {"PSC_OK", "PSC_HOOK_LOGITS", "PSC_PLUGIN_ABI", "PSC_TREEBANK_BYTES"} <= seen


def numbers_of(name: str) -> list[int]:
    """What ctypes says of a structure, of a member, or of a number."""
    if "." in name:
        structure, member = name.split(".")
        field = getattr(getattr(structures, structure), member)
        return [field.offset, field.size]
    value = getattr(structures, name)
    return [value] if isinstance(value, int) else [ctypes.sizeof(value)]


def test_structures_start_from_their_init_values() -> None:
    options = structures.psc_run_options()
    assert options.struct_size == ctypes.sizeof(structures.psc_run_options)
    assert options.logits == structures.PSC_ROWS_LAST
    assert structures.psc_copy().layer == -1
    sampler = structures.psc_sampler(seed=7)
    assert sampler.seed == 7
    assert sampler.strategy.struct_size == ctypes.sizeof(structures.psc_strategy)
    assert sampler.strategy.temperature == 0.0
    assert structures.psc_strategy().temperature == 1.0


def test_the_points_are_those_of_the_library() -> None:
    assert len(structures.POINTS) == structures.PSC_POINT_COUNT
    out = ctypes.create_string_buffer(64)
    for number, (name, _, layered) in enumerate(structures.POINTS):
        library().psc_point_name(out, 64, number, 3 if layered else -1)
        assert out.value.decode() == ("blocks.3." if layered else "") + name


def test_every_function_of_the_headers_is_declared() -> None:
    names = set()
    for header in (ROOT / "include" / "pythiascope").glob("*.h"):
        for piece in header.read_text().split("PSC_API ")[1:]:
            name = piece.split("(")[0].split()[-1].lstrip("*")
            if name.startswith("psc_") and "FILE *" not in piece.split(";")[0]:
                names.add(name)
    names -= {"psc_fail", "psc_fail_va", "psc_plugin_entry"}
    assert names == set(structures.FUNCTIONS)
