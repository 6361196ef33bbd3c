"""Options of plugins: typed values, their texts, the tables, and what is refused."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pythiascope
from program import ROOT, TEXT
from pythiascope import InputError, Model
from pythiascope._c import structures as c
from pythiascope.instruments.entries import EDITORS, parameter_of, parse_options
from pythiascope.instruments.instruments import Instruments
from pythiascope.instruments.options import default_of, option_text, option_texts
from pythiascope.instruments.tables import Option, builtin_tables, find_table

GOOD: list[tuple[int, Any, str]] = [
    (c.PSC_OPTION_YES_NO, True, "yes"),
    (c.PSC_OPTION_YES_NO, False, "no"),
    (c.PSC_OPTION_YES_NO, "yes", "yes"),
    (c.PSC_OPTION_YES_NO, np.bool_(False), "no"),
    (c.PSC_OPTION_COUNT, 7, "7"),
    (c.PSC_OPTION_COUNT, np.int64(7), "7"),
    (c.PSC_OPTION_COUNT, 7.0, "7"),
    (c.PSC_OPTION_COUNT, "7", "7"),
    (c.PSC_OPTION_NUMBER, 0.1, "0.1"),
    (c.PSC_OPTION_NUMBER, 3, "3.0"),
    (c.PSC_OPTION_NUMBER, np.float32(0.5), "0.5"),
    (c.PSC_OPTION_NUMBER, "1e-1", "1e-1"),
    (c.PSC_OPTION_WORD, "b", "b"),
    (c.PSC_OPTION_WORDS, "a+c", "a+c"),
    (c.PSC_OPTION_WORDS, ["c", "a"], "c+a"),
    (c.PSC_OPTION_WORDS, {"c", "a"}, "a+c"),
    (c.PSC_OPTION_ROWS, "all", "all"),
    (c.PSC_OPTION_ROWS, "3-5", "3-5"),
    (c.PSC_OPTION_ROWS, 3, "3"),
    (c.PSC_OPTION_ROWS, np.int32(3), "3"),
    (c.PSC_OPTION_ROWS, -1, "last"),
    (c.PSC_OPTION_ROWS, range(3, 6), "3-5"),
    (c.PSC_OPTION_ROWS, slice(3, 4), "3"),
    (c.PSC_OPTION_ROWS, slice(None, 4), "0-3"),
    (c.PSC_OPTION_ROWS, slice(None), "all"),
    (c.PSC_OPTION_ROWS, (3, 5), "3-5"),
    (c.PSC_OPTION_LAYER, 2, "2"),
    (c.PSC_OPTION_LAYERS, "none", "none"),
    (c.PSC_OPTION_LAYERS, [0, 2], "0-2"),
    (c.PSC_OPTION_HEADS, range(2), "0-1"),
    (c.PSC_OPTION_TEXT, "any text, with = and ,", "any text, with = and ,"),
    (c.PSC_OPTION_TEXT, Path("/a/b"), "/a/b"),
    (c.PSC_OPTION_TEXT, 5, "5"),
    (c.PSC_OPTION_TEXT, [0, 0.5], "0+0.5"),
    (c.PSC_OPTION_TEXT, range(1, 3), "1-2"),
]
BAD: list[tuple[int, Any, str]] = [
    (c.PSC_OPTION_YES_NO, 1, "True or False"),
    (c.PSC_OPTION_YES_NO, np.arange(3), "True or False"),
    (c.PSC_OPTION_ROWS, np.arange(3), "a range of positions"),
    (c.PSC_OPTION_COUNT, 10, "a whole number, 0 to 9"),
    (c.PSC_OPTION_COUNT, 1.5, "a whole number"),
    (c.PSC_OPTION_COUNT, True, "a whole number"),
    (c.PSC_OPTION_COUNT, None, "a whole number"),
    (c.PSC_OPTION_COUNT, "many", "a whole number"),
    (c.PSC_OPTION_COUNT, 1 << 70, "a whole number"),
    (c.PSC_OPTION_NUMBER, float("nan"), "a number, 0 to 9"),
    (c.PSC_OPTION_NUMBER, float("inf"), "a number"),
    (c.PSC_OPTION_NUMBER, [1.0], "a number"),
    (c.PSC_OPTION_WORD, "d", "one of a, b, c"),
    (c.PSC_OPTION_WORD, ["a"], "one of a, b, c"),
    (c.PSC_OPTION_WORDS, [], "one or more of a, b, c"),
    (c.PSC_OPTION_WORDS, "a+d", "one or more of a, b, c"),
    (c.PSC_OPTION_WORDS, [["a"]], "one or more of a, b, c"),
    (c.PSC_OPTION_WORDS, {"d"}, "one or more of a, b, c"),
    (c.PSC_OPTION_ROWS, "some", "a range of positions"),
    (c.PSC_OPTION_ROWS, -2, "a range of positions"),
    (c.PSC_OPTION_ROWS, range(5, 3), "a range of positions"),
    (c.PSC_OPTION_ROWS, range(0, 6, 2), "a range of positions"),
    (c.PSC_OPTION_ROWS, slice(2, None), "a range of positions"),
    (c.PSC_OPTION_ROWS, (5, 3), "a range of positions"),
    (c.PSC_OPTION_ROWS, (1, 2, 3), "a range of positions"),
    (c.PSC_OPTION_ROWS, 1.0, "a range of positions"),
    (c.PSC_OPTION_ROWS, slice("a", "b"), "a range of positions"),
    (c.PSC_OPTION_LAYER, -1, "a layer"),
    (c.PSC_OPTION_LAYER, (0, 1), "a layer"),
    (c.PSC_OPTION_HEADS, "none", "a range of heads"),
    (c.PSC_OPTION_TEXT, "a\0b", "a text"),
    (c.PSC_OPTION_TEXT, object(), "a text"),
]


def option(kind: int) -> Option:
    return Option("key", "", "help", kind, 0.0, 9.0, ("a", "b", "c"))


@pytest.mark.parametrize(("kind", "value", "text"), GOOD)
def test_values_as_texts(kind: int, value: Any, text: str) -> None:
    assert option_text("plugin", option(kind), value) == text


@pytest.mark.parametrize(("kind", "value", "takes"), BAD)
def test_values_that_do_not_fit(kind: int, value: Any, takes: str) -> None:
    with pytest.raises(InputError, match=r"^plugin: key=") as caught:
        option_text("plugin", option(kind), value)
    assert takes in str(caught.value)


def test_defaults_are_values_of_their_options() -> None:
    for table in builtin_tables().values():
        for one in table.options:
            default = default_of(one)
            if default != "":
                assert option_text(table.name, one, default)


def test_unknown_options() -> None:
    table = builtin_tables()["lens"]
    with pytest.raises(InputError, match="plugin lens has no option 'layer'; its options are rows"):
        option_texts(table, {"layer": 3})
    assert option_texts(table, {"rows": None, "top": 3}) == {"top": "3"}
    with pytest.raises(InputError, match="no built-in plugin 'lenz'; the plugins are logits, ln"):
        find_table("lenz")
    with pytest.raises(InputError, match=r"such as \./libmine\.so"):
        find_table("mine")


def test_options_of_a_line() -> None:
    assert parse_options(r"a=1,b=x\,y,c=\\,d==") == {"a": "1", "b": "x,y", "c": "\\", "d": "="}
    assert parse_options("") == {}
    with pytest.raises(InputError, match="not of the form key=value"):
        parse_options("a=1,b")
    with pytest.raises(InputError, match="given twice"):
        parse_options("a=1,a=2")


# --- the generated methods -----------------------------------------------------------------------


def test_the_module_is_what_the_tables_say() -> None:
    tool = ROOT / "tools" / "make_python_instruments.py"
    run = subprocess.run([sys.executable, str(tool), "--check"], capture_output=True, check=False)
    assert run.returncode == 0, run.stdout.decode() + run.stderr.decode()


def test_every_plugin_is_a_method_an_intervention_or_of_a_corpus() -> None:
    for table in builtin_tables().values():
        if table.name in EDITORS:
            assert callable(getattr(pythiascope, table.name))
        elif table.name not in ("means", "activations"):
            method = getattr(Instruments, table.name)
            names = inspect.signature(method).parameters
            hidden = {
                "treebank": {"memory"},
                "probe": {"units"},
                "directions": {"labels", "prompts", "split"},
            }.get(table.name, set())
            for one in table.options:
                name = parameter_of(table, one.key)
                if one.key not in hidden:
                    assert name in names, f"{table.name}.{name}"
                    assert names[name].default == default_of(one)
                    assert f"{name}:" in (method.__doc__ or "")


def test_interventions_have_the_options_of_their_tables() -> None:
    for name in EDITORS:
        made = inspect.signature(getattr(pythiascope, name)).parameters
        keys = {one.key for one in builtin_tables()[name].options}
        assert keys <= set(made), name
        assert set(made) - keys <= {"vector"}
        for one in builtin_tables()[name].options:
            default = made[one.key].default
            if one.key not in ("at", "keys") and default is not None:
                assert default == default_of(one), f"{name}.{one.key}"


def test_types_of_the_methods() -> None:
    hints = Instruments.lens.__annotations__
    assert hints["ln"].replace("'", '"') == 'Literal["own", "final"]'
    assert hints["rows"] == "Rows"
    assert hints["top"] == "int"
    assert hints["fit_ridge"] == "float"
    assert hints["return"] == "Result"


def test_a_plugin_that_has_no_method_appears(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = pythiascope.Model()
    wanted = model.lens(TEXT, rows="all").save(tmp_path / "wanted")
    monkeypatch.delattr(Instruments, "lens")
    assert "lens" in dir(model)
    lens: Any = model.lens
    assert "what each layer's residual already predicts" in (type(lens).__doc__ or "")
    assert "own, final" in (lens.__doc__ or "")
    assert list(inspect.signature(type(lens)).parameters)[:2] == ["text", "rows"]
    found = lens(TEXT, rows="all").save(tmp_path / "found")
    for name in os.listdir(wanted):
        assert (wanted / name).read_bytes() == (found / name).read_bytes()
    with pytest.raises(AttributeError, match=r"pythiascope\.ablate and interventions="):
        model.ablate
    with pytest.raises(AttributeError, match="no attribute 'lenz'"):
        model.lenz
    with pytest.raises(InputError, match="no option 'ronws'"):
        lens(TEXT, ronws="all")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("blocks", "use model.W_Q"),
        ("to", "leave it out: pythiascope runs on the CPU"),
        ("forward", "call the model"),
        ("set_use_attn_in", "heads have no input of their own; edit hook_resid_pre"),
        ("tokenizer", "use model.to_tokens"),
    ],
)
def test_a_habit_of_transformer_lens_gets_a_hint(name: str, hint: str) -> None:
    model = Model()
    assert not hasattr(model, name)
    with pytest.raises(AttributeError, match=f"'Model' has no attribute '{name}'; {hint}"):
        getattr(model, name)


def test_hints_are_about_names_that_do_not_exist() -> None:
    from pythiascope import habits

    model = Model()
    assert not [name for name in habits._MODEL if hasattr(model, name)]
    assert not [name for name in habits._PACKAGE if hasattr(pythiascope, name)]
    with pytest.raises(AttributeError, match=r"no attribute 'HookedTransformer'; use .*Model\("):
        pythiascope.HookedTransformer
    with pytest.raises(AttributeError, match=r"no attribute 'abc'$"):
        pythiascope.abc


def test_tab_completion_shows_what_users_call() -> None:
    model = Model()
    shown = [name for name in dir(pythiascope) if not name.startswith("_")]
    assert shown == sorted(pythiascope.__all__)
    result = model.logits(TEXT, level="head")
    keys = result._ipython_key_completions_()
    assert "contributions" in keys
    assert "logits.contributions" in keys
    _, cache = model.run_with_cache(TEXT)
    assert cache._ipython_key_completions_() == list(cache)


def test_targets_are_ids_of_any_kind() -> None:
    model = Model()
    wanted = model.logits(TEXT, target=[485, 1259]).to_json()
    assert model.logits(TEXT, target=np.array([485, 1259])).to_json() == wanted  # type: ignore[arg-type]
    one = model.logits(TEXT, target=485, contrast=(485, 1259)).to_json()
    tensor = np.array(485)  # as a tensor with one id
    assert model.logits(TEXT, target=tensor, contrast=(tensor, 1259)).to_json() == one  # type: ignore[arg-type]
    for wrong in (True, 4.5, np.array(4.5), None):
        with pytest.raises(InputError, match="a target is a text of one token"):
            model.logits(TEXT, target=[wrong])  # type: ignore[list-item]


def test_defaults_that_are_given_are_the_same(tmp_path: Path) -> None:
    model = Model()
    plain = model.lens(TEXT).to_json()
    assert model.lens(TEXT, fit_ridge=1e-6, rows="last", top=5, lens="").to_json() == plain
