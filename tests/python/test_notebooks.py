"""The notebooks run in a new kernel, and show what they are committed with."""

from __future__ import annotations

import pages
import pytest

pytest.importorskip("nbclient", reason="runs notebooks")
pytest.importorskip("nbformat", reason="reads notebooks")
pytest.importorskip("ipykernel", reason="runs notebooks")

NAMES = sorted(path.name for path in pages.NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("name", NAMES)
def test_notebook_shows_what_it_computes(name: str) -> None:
    pages.check_notebook(pages.NOTEBOOKS / name)


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_committed_as_it_ran(name: str) -> None:
    cells = [c for c in pages.read_notebook(pages.NOTEBOOKS / name).cells if c.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(pages.texts_of(cell)) for cell in cells) > len(cells) // 2
    for cell in cells:
        assert all(output.output_type != "error" for output in cell.outputs)
        assert all(output.get("name") != "stderr" for output in cell.outputs)
        assert not any(len(line) > 100 for line in cell.source.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_is_one_cell(name: str) -> None:
    for cell in pages.read_notebook(pages.NOTEBOOKS / name).cells:
        assert "# %%" not in cell.source  # what separates cells in a script


def test_there_are_four_notebooks() -> None:
    assert NAMES == ["circuit.ipynb", "comparison.ipynb", "first_look.ipynb", "survey.ipynb"]


def test_an_exception_in_a_cell_is_raised() -> None:
    import nbformat
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        pages.execute(notebook)


def test_another_text_is_found() -> None:
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(1)\n6 * 7")])
    pages.execute(notebook)
    assert pages.texts_of(notebook.cells[0]) == "1\n42\n"
    assert pages.difference("1\n41\n", pages.texts_of(notebook.cells[0])) != ""
