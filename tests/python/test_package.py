"""The package as a whole: one version, types, what an import loads, which module sees which."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pythiascope
from pythiascope._c import library

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "pythiascope"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A room (a folder of modules), and the rooms that its modules may import when they are loaded.
# Imports inside functions and for type checkers are free.
ROOMS = {
    "_c": "",
    "runtime": "_c",
    "results": "_c",
    "hooks": "_c runtime",
    "instruments": "_c runtime results",
    "verbs": "_c runtime results instruments",
    "plugins": "_c runtime hooks instruments",
    "corpora": "_c runtime instruments plugins",
}


def top_imports(path: Path) -> set[str]:
    """What a module imports when it is loaded.

    Names of the package are like "._c.library", others are their first part. Imports in functions
    and for type checkers are left out.
    """
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    found: set[str] = set()

    def visit(nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.Import):
                found.update(name.name.split(".")[0] for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add((node.module or "").split(".")[0])
            elif isinstance(node, ast.ImportFrom):
                base = (*parts[: len(parts) - node.level], *(node.module or "").split("."))
                base = tuple(part for part in base if part)
                for name in node.names:
                    is_module = PACKAGE.joinpath(*base, f"{name.name}.py").exists()
                    found.add("." + ".".join((*base, name.name) if is_module else base))
            elif isinstance(node, ast.If):
                if ast.unparse(node.test) != "TYPE_CHECKING":
                    visit(node.body)
                visit(node.orelse)
            elif isinstance(node, ast.Try):
                visit(node.body)
                visit([line for handler in node.handlers for line in handler.body])

    visit(ast.parse(path.read_text(encoding="utf-8")).body)
    return found


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "." + ".".join(part for part in parts if part != "__init__")


def test_one_version() -> None:
    stated = re.search(
        r"project\(pythiascope VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text()
    )
    assert stated
    assert pythiascope.__version__ == stated[1]
    assert library.library().psc_version().decode() == stated[1]


def test_exports_exist_and_are_described() -> None:
    assert sorted(set(pythiascope.__all__)) == sorted(pythiascope.__all__)
    for name in pythiascope.__all__:
        assert getattr(pythiascope, name).__doc__, name
    assert (PACKAGE / "py.typed").exists()


def test_an_import_needs_numpy_alone() -> None:
    for path in MODULES:
        others = {name for name in top_imports(path) if not name.startswith(".")}
        foreign = others - set(sys.stdlib_module_names) - {"numpy"}
        assert not foreign, f"{path} imports {foreign} when it is loaded"


def test_an_import_loads_no_library_and_no_optional_package() -> None:
    code = (
        "import sys, pythiascope; from pythiascope._c import library;"
        "assert library._loaded is None;"
        "bad = {'pandas', 'xarray', 'tqdm', 'nltk', 'IPython'} & set(sys.modules);"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_a_room_sees_the_rooms_below_it() -> None:
    for path in MODULES:
        room = path.relative_to(PACKAGE).parts[0]
        if not path.relative_to(PACKAGE).parent.name:
            continue  # the top, which all may see (errors, checks) or which sees all (model)
        seen = {name.split(".")[1] for name in top_imports(path) if name.startswith(".")}
        wrong = seen - {room, "errors", "checks"} - set(ROOMS[room].split())
        assert not wrong, f"{path} may not import {wrong} when it is loaded"


def test_modules_do_not_import_in_a_circle() -> None:
    graph = {name_of(path): top_imports(path) for path in MODULES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for other in sorted(graph[name]):
                if other in graph and other != ".":
                    visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_a_missing_library_is_one_sentence() -> None:
    environment = {**os.environ, "PYTHIASCOPE_LIBRARY": "/no such library.so"}
    code = "import pythiascope; pythiascope.Model()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("pythiascope.errors.IOFailure: ") and "/no such library.so" in last
