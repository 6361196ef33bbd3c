"""Pages with examples: the code blocks of a Markdown page and the cells of notebooks.

A page's ```python blocks run in order, in one namespace. A ```text block after one shows what it
printed. `python needs=NAME,...` in a fence names modules, or files of the working folder that start
with "./", without which the block is left out.

usage: pages.py [--update] PAGE.md|NOTEBOOK.ipynb ...

Without --update it compares; with it, it writes what the code prints into the page or notebook.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "examples" / "notebooks"

_FENCE = re.compile(
    r"^```python(?: needs=(?P<needs>\S+))?\n(?P<code>.*?)^```\n"
    r"(?P<shown>\n*^```text\n(?P<output>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A block of code of a page, and the output that the page shows after it."""

    code: str
    needs: tuple[str, ...]
    output: str | None
    line: int  # of the code's first line, from 1


def blocks_of(text: str) -> list[Block]:
    """The ```python blocks of a page, in order."""
    found = []
    for match in _FENCE.finditer(text):
        needs = tuple((match["needs"] or "").split(",")) if match["needs"] else ()
        line = text.count("\n", 0, match.start("code")) + 1
        found.append(Block(match["code"], needs, match["output"], line))
    return found


def missing(block: Block) -> list[str]:
    """What a block needs and this environment lacks."""
    return [
        need
        for need in block.needs
        if not (os.path.exists(need) if need.startswith("./") else importlib.util.find_spec(need))
    ]


def printed(block: Block, page: str, namespace: dict[str, Any]) -> str:
    """Runs a block; what it printed. Tracebacks have the page's lines."""
    out = io.StringIO()
    code = compile("\n" * (block.line - 1) + block.code, page, "exec", dont_inherit=True)
    with contextlib.redirect_stdout(out):
        exec(code, namespace)
    return out.getvalue()


@contextlib.contextmanager
def clean_folder() -> Iterator[Path]:
    """A new working folder; libnorms.so of examples/norms is in it when this build has it."""
    before = Path.cwd()
    library = os.environ.get("PYTHIASCOPE_LIBRARY", "")
    built = Path(library).resolve().parent / "tests" / "plugins" / "norms.so"
    with tempfile.TemporaryDirectory() as folder:
        if library and built.exists():
            shutil.copy(built, Path(folder) / "libnorms.so")
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def tidy(text: str) -> str:
    """A text without blanks at the ends of lines and lines at its end."""
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip()


def difference(shown: str, now: str) -> str:
    """The lines in which an output differs; "" if it does not."""
    before, after = tidy(shown).splitlines(), tidy(now).splitlines()
    return "\n".join(difflib.unified_diff(before, after, "shown", "printed now", lineterm=""))


def update_page(path: Path) -> None:
    """Writes what the blocks print into the page."""
    text = path.read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    parts, end = [], 0
    with clean_folder():
        for match, block in zip(_FENCE.finditer(text), blocks_of(text)):
            if missing(block):
                raise SystemExit(f"{path}:{block.line}: needs {', '.join(missing(block))}")
            out = tidy(printed(block, str(path), namespace))
            parts += [text[end : match.end() - len(match["shown"] or "")]]
            parts += [f"\n```text\n{out}\n```\n" if out else ""]
            end = match.end()
    path.write_text("".join(parts) + text[end:], encoding="utf-8")


# --- notebooks -----------------------------------------------------------------------------------


def read_notebook(path: Path) -> Any:
    """A notebook as nbformat has it."""
    import nbformat

    return nbformat.read(path, as_version=4)


def execute(notebook: Any) -> None:
    """Runs all cells in a new kernel, in the folder of the notebooks; raises what a cell raises."""
    from nbclient import NotebookClient

    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    resources = {"metadata": {"path": str(NOTEBOOKS)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()


def texts_of(cell: Any) -> str:
    """The text that a cell shows: what it printed, and its value as plain text."""
    parts = []
    for output in cell.get("outputs", ()):
        if output.output_type == "stream" and output.name == "stdout":
            parts.append(output.text)
        elif output.output_type in ("execute_result", "display_data"):
            parts.append(output.data.get("text/plain", "") + "\n")
    return "".join(parts)


def update_notebook(path: Path) -> None:
    """Runs a notebook and writes it with its outputs, without what changes from run to run."""
    import nbformat

    notebook = read_notebook(path)
    execute(notebook)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            output.pop("transient", None)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


def main() -> None:
    """Updates or compares the pages and notebooks of the command line."""
    arguments = sys.argv[1:]
    update = "--update" in arguments
    for name in arguments:
        path = Path(name).resolve()
        if path.suffix not in (".md", ".ipynb"):
            continue
        if update:
            (update_page if path.suffix == ".md" else update_notebook)(path)
        elif path.suffix == ".md":
            check_page(path)
        else:
            check_notebook(path)


def check_page(path: Path) -> None:
    """Raises AssertionError where a block prints something else than the page shows."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with clean_folder():
        for block in blocks_of(path.read_text(encoding="utf-8")):
            if not missing(block):
                now = printed(block, str(path), namespace)
                wrong = difference(block.output or "", now)
                assert not wrong, f"{path.name}:{block.line}:\n{wrong}"


def check_notebook(path: Path) -> None:
    """Raises AssertionError where a cell shows another text than the notebook has."""
    shown, now = read_notebook(path), read_notebook(path)
    execute(now)
    for number, (before, after) in enumerate(zip(shown.cells, now.cells)):
        wrong = difference(texts_of(before), texts_of(after))
        assert not wrong, f"{path.name}, cell {number}:\n{wrong}"


if __name__ == "__main__":
    main()
