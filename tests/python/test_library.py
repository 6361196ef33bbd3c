"""Finding and loading the library, and its errors as exceptions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import pythiascope
from pythiascope._c import library, structures
from pythiascope.errors import error_of


def test_each_status_has_an_exception_that_python_code_expects() -> None:
    expected = {
        structures.PSC_ERROR_INPUT: (pythiascope.InputError, ValueError),
        structures.PSC_ERROR_IO: (pythiascope.IOFailure, OSError),
        structures.PSC_ERROR_MEMORY: (pythiascope.OutOfMemory, MemoryError),
        structures.PSC_ERROR_SUPPORT: (pythiascope.Unsupported, Exception),
        structures.PSC_ERROR_PLUGIN: (pythiascope.PluginError, Exception),
        structures.PSC_ERROR_STATE: (pythiascope.StateError, RuntimeError),
        structures.PSC_ERROR_CANCELLED: (pythiascope.Cancelled, Exception),
    }
    for status, (own, builtin) in expected.items():
        error = error_of(status, "what is wrong")
        assert type(error) is own
        assert isinstance(error, builtin)
        assert isinstance(error, pythiascope.PythiascopeError)
        assert str(error) == "what is wrong"
    assert type(error_of(-99, "x")) is pythiascope.PythiascopeError


def test_an_error_has_the_sentence_of_the_library(tmp_path: Path) -> None:
    with pytest.raises(pythiascope.PythiascopeError, match="no-such-model"):
        pythiascope.Model(tmp_path / "no-such-model")


def test_a_library_that_does_not_load_is_one_sentence(
    child: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "libbroken.so"
    broken.write_text("not a library")
    monkeypatch.setenv("PYTHIASCOPE_LIBRARY", str(broken))
    code = "import pythiascope\ntry: pythiascope.Model()\nexcept OSError as e: print(e)"
    assert "cannot be loaded" in child(code)


def test_a_library_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(structures.FUNCTIONS, "psc_of_tomorrow", (None, ()))
    with pytest.raises(pythiascope.Unsupported, match="psc_of_tomorrow"):
        library._load()


def test_a_library_of_another_release_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "VERSION", "0.1.9")
    with pytest.raises(pythiascope.Unsupported, match=r"but this package is 0\.1\.9"):
        library._load()


def test_without_a_library_the_error_names_the_places(
    child: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHIASCOPE_LIBRARY", raising=False)
    code = """
import os
from pythiascope._c import library
os.path.exists = lambda path: False
try: library.library_path()
except OSError as e: print(e)
"""
    assert "PYTHIASCOPE_LIBRARY" in child(code)


def test_import_loads_no_library_and_nothing_optional(child: Callable[..., str]) -> None:
    code = """
import sys, numpy
before = set(sys.modules)
import pythiascope
from pythiascope._c import library
assert library._loaded is None
new = {name.split('.')[0] for name in set(sys.modules) - before}
slow = {'dataclasses', 'inspect', 'asyncio', 'concurrent', 'logging', 'subprocess', 'tempfile',
    'xarray', 'pandas', 'tqdm', 'torch', 'IPython', 'nltk', 'html', 'json', 'urllib', 'email'}
print(sorted(new & slow))
"""
    assert child(code).strip() == "[]"


def test_the_version_is_the_library_s() -> None:
    assert pythiascope.__version__ == library.library().psc_version().decode()


@pytest.mark.skipif(sys.platform == "win32", reason="not a platform of the library")
def test_take_text_copies_and_frees(model: pythiascope.Model) -> None:
    for _ in range(1000):
        assert model.to_string([5]) == model.to_str_tokens([5])[0]
