"""Results: arrays over the result's memory, labels, rankings, values, text, pages."""

from __future__ import annotations

import gc
import json
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import pythiascope
from program import GRIM, TEXT, run_program
from pythiascope import Array, InputError, IOFailure, Model, Result, ablate
from pythiascope.results.sections import Bars


@pytest.fixture(scope="module")
def model() -> Model:
    return pythiascope.Model(threads=1)


@pytest.fixture(scope="module")
def result(model: Model) -> Result:
    return model.logits(TEXT, level="head", rows="all", target=[" Oz", " the"])


# --- arrays --------------------------------------------------------------------------------------


def test_an_array_has_named_axes(result: Result) -> None:
    array = result["contributions"]
    assert array.dims == ("targets", "rows", "components")
    assert array.shape == (2, 7, 41)
    assert (array.ndim, array.size, len(array)) == (3, 2 * 7 * 41, 2)
    assert array.coords["targets"] == ("' Oz'", "' the'")
    assert array.coords["rows"].tolist() == list(range(7))  # type: ignore[union-attr]
    assert array.coords["components"][:2] == ("embed", "L0H0")
    assert (array.name, array.key) == ("logits.contributions", "contributions")
    assert "contributions" in list(result)
    assert array.dtype == np.float32
    assert list(array.coords) == ["targets", "rows", "components"]


def test_values_are_the_tensors_of_the_saved_folder(result: Result, tmp_path: Path) -> None:
    raw = (result.save(tmp_path / "out") / "tensors.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    for name, entry in json.loads(raw[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        data = raw[8 + size + begin : 8 + size + end]
        assert np.ascontiguousarray(result[name]).tobytes() == data
        assert list(result[name].shape) == entry["shape"]


def test_texts_of_token_ids(model: Model) -> None:
    result = model.lens(TEXT, rows="all")
    ids = result["top_ids"]
    assert ids.token_ids and not result["rank"].token_ids and not result["entropy"].token_ids
    named = {int(i) for key in ("top_ids", "target_ids") for i in result[key].values.ravel()}
    assert set(result.vocabulary) == named - {-1}
    assert list(result.vocabulary) == sorted(result.vocabulary)
    for token_id, text in result.vocabulary.items():
        assert text == model.to_string([token_id])
    assert result.to_dict()["vocabulary"] == {str(i): t for i, t in result.vocabulary.items()}
    assert model.attention(TEXT).vocabulary == {}


def test_values_are_read_only_and_not_copied(result: Result) -> None:
    values = result["contributions"].values
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0, 0] = 1.0
    assert np.shares_memory(values, result["contributions"].values)
    assert np.shares_memory(values, result["contributions"].isel(rows=0).values)
    assert not np.shares_memory(values, result["contributions"].sel(rows=[0, 1]).values)


def test_an_array_outlives_everything(model: Model) -> None:
    other = pythiascope.Model()
    found = other.ln(TEXT)
    array, rows = found["frozen_ln"], found["frozen_ln"].coords["target_rows"]
    wanted = np.array(model.ln(TEXT)["frozen_ln"])
    other.close()
    del other, found
    gc.collect()
    again = [model.ln(GRIM) for _ in range(3)]  # memory that was freed would be used again
    assert np.array_equal(array.values, wanted)
    assert list(rows) == [6]
    assert len(again) == 3


def test_numpy_takes_an_array(result: Result) -> None:
    array = result["contributions"]
    assert np.asarray(array) is array.values
    assert np.array(array).flags.writeable
    assert np.asarray(array, dtype=np.float64).dtype == np.float64
    assert np.sum(array) == array.values.sum()
    assert array[0, 6, 0] == array.values[0, 6, 0]
    assert [line.shape for line in array] == [(7, 41)] * 2
    one = array.isel(targets=0, rows=0, components=0)
    assert float(one) == one.item() == array.values[0, 0, 0]
    assert int(result["target_ids"].isel(targets=1, rows=0, ids=0)) == 263
    with pytest.raises(InputError, match="has 574 elements, not one"):
        float(array)


def test_parts_by_label(result: Result) -> None:
    array = result["contributions"]
    part = array.sel(targets=" Oz", components=["L2H1", "L2H7"])
    assert part.dims == ("rows", "components")
    assert part.coords["components"] == ("L2H1", "L2H7")
    place = array.index("components", "L2H7")
    assert np.array_equal(part.values[:, 1], array.values[0, :, place])
    assert np.array_equal(array.sel(targets="' the'").values, array.values[1])
    assert array.isel(rows=slice(2, 4)).coords["rows"].tolist() == [2, 3]  # type: ignore[union-attr]
    assert array.isel(components=[1, 0]).coords["components"] == ("L0H0", "embed")
    assert array.isel(components=slice(0, 2)).coords["components"] == ("embed", "L0H0")
    assert array.labels_at((1, 3, 0)) == {"targets": "' the'", "rows": 3, "components": "embed"}


def test_labels_that_do_not_exist(result: Result) -> None:
    array = result["contributions"]
    with pytest.raises(InputError, match="no axis 'heads'; it has targets, rows, components"):
        array.sel(heads=1)
    with pytest.raises(InputError, match="the axis components has no entry 'L9H9'"):
        array.sel(components="L9H9")
    with pytest.raises(InputError, match="the axis rows has no entry 70"):
        array.sel(rows=70)
    with pytest.raises(InputError, match="the axis rows has no entry 'x'"):
        array.sel(rows="x")
    with pytest.raises(IndexError):
        array.isel(rows=70)


def test_an_axis_twice(model: Model) -> None:
    shared = model.spans(GRIM)["shared"]
    assert shared.dims == ("levels", "levels_2")
    assert shared.coords["levels_2"] == shared.coords["levels"] == ("0", "1", "2", "3")
    assert float(shared.sel(levels="1", levels_2="1")) == 1.0


def test_an_array_can_be_pickled(result: Result) -> None:
    array = result["contributions"]
    again = pickle.loads(pickle.dumps(array))
    assert np.array_equal(again.values, array.values)
    assert again.dims == array.dims
    assert again.coords["components"] == array.coords["components"]
    assert not again.values.flags.writeable


def test_repr_of_an_array(result: Result) -> None:
    shown = repr(result["sigma"])
    assert shown.startswith("<Array logits.sigma (rows: 7) float32>\narray([")


def test_empty_arrays(model: Model) -> None:
    edges = model.graph(TEXT, threshold=1e9)
    assert edges["link_weight"].size == 0 or edges["link_weight"].shape[0] >= 1
    alone = model.spans("the", levels=2)
    assert alone["strength"].shape == (1, 0)
    assert alone["strength"].top(3) == []


# --- rankings ------------------------------------------------------------------------------------


def test_top_is_the_printed_list(model: Model) -> None:
    result = model.logits(TEXT, target=" Oz", level="neuron", top=5)
    bars = next(item for item in result.main.items if isinstance(item, Bars))
    top = result.top(5)
    assert [entry.label for entry in top] == list(bars.labels)
    assert [entry.value for entry in top] == list(bars.values)
    assert top[0].at == {"targets": "' Oz'", "rows": 6, "components": top[0].label}
    assert str(top).splitlines()[0] == "L2H1    +0.570864"


def test_top_per_target_and_row(result: Result) -> None:
    top = result.top(3)
    assert len(top) == 2 * 7 * 3
    line = [e for e in top if e.at["targets"] == "' the'" and e.at["rows"] == 4]
    values = result["contributions"].sel(targets=" the", rows=4).values
    order = np.argsort(-np.abs(values), kind="stable")[:3]
    assert [e.label for e in line] == [result.axes["components"][i] for i in order]
    high, low = result.top(1, by="high"), result.top(1, by="low")
    assert high[0].value == result["contributions"].values[0, 0].max()
    assert low[0].value == result["contributions"].values[0, 0].min()


def test_top_of_every_length_is_sorted_alike() -> None:
    rng = np.random.default_rng(5)
    values = rng.integers(-9, 9, 400).astype(np.float64)
    values[::7] = np.nan
    array = Array("x", values, ["i"], {"i": tuple(map(str, range(400)))})
    whole = array.top(400)
    assert len(whole) == int(np.isfinite(values).sum())
    for n in (0, 1, 5, 40, 60, 399):
        assert array.top(n) == whole[:n]
    assert [abs(e.value) for e in whole] == sorted((abs(e.value) for e in whole), reverse=True)


def test_top_of_a_list_that_is_ranked(model: Model) -> None:
    result = model.mlp(TEXT, top=4)
    first = result.top(2)[0]
    assert first.value == float(result["top_share"].values[0, 0, 0])
    assert first.beside["top_neuron"] == float(result["top_neuron"].values[0, 0, 0])
    assert set(first.beside) == {"top_layer", "top_neuron", "top_pre", "top_gate"}
    assert "top_layer" in str(result.top(2))
    edges = model.edges(TEXT, by="norm", top=5)
    assert [e.value for e in edges.top(2)] == edges["norm"].values[0, 0, :2].tolist()
    assert [e.value for e in model.edges(TEXT).top(1)] == [
        model.edges(TEXT)["share"].values[0, 0, 0]
    ]


def test_top_without_targets(model: Model) -> None:
    graph = model.graph(TEXT)
    assert graph.top(2)[0].value == float(np.abs(graph["node_flow"].values[1:]).max())
    with pytest.raises(InputError, match="has no ranked list; name one of its arrays"):
        model.sampling(TEXT).top()
    assert len(model.frozen(TEXT).top(3, "image")) == 7 * 3
    with pytest.raises(InputError, match="by='size'"):
        graph.top(2, "node_flow", by="size")


# --- sections, values, options -------------------------------------------------------------------


def test_values_and_options(result: Result) -> None:
    assert result.options == {"level": "head", "rows": "all", "centered": "no", "top": "12"}
    assert result.values["finest_level"] == "head"
    assert result.values["complete"] == 1.0
    assert result.values["completeness_bound"] == 1e-5
    assert result.axes["ids"] == ("a", "b")
    stated = result.to_dict()["plugins"]["logits"]
    for name, value in result.values.items():
        assert stated[name] == value


def test_lists_of_values(model: Model) -> None:
    values = model.mlp(TEXT).values
    assert isinstance(values["never_fired"], list)
    words = model.words("the Emerald City of Oz")
    assert words.values["read_on.0"] == words.to_dict()["plugins"]["words"]["read_on.0"]


def test_completeness(model: Model, result: Result) -> None:
    check = result.completeness
    assert check is not None
    assert check.error == result.values["completeness"]
    assert (check.bound, check.checked, check.failed) == (1e-5, 14, 0)
    assert check.ok
    found = model.ln(TEXT).completeness
    assert found is not None
    assert found.error < 1e-6
    assert found.ok is None
    assert model.sampling(TEXT).completeness is None


def test_several_sections(model: Model) -> None:
    result = model.analyze(TEXT, ["logits:level=head", "lens", "lens:rows=all"])
    assert list(result.sections) == ["logits", "lens", "lens#2"]
    assert result["contributions"].name == "logits.contributions"
    assert result["lens#2.kl"].shape == (5, 7)
    assert result.sections["lens"]["kl"].shape == (5, 1)
    with pytest.raises(KeyError, match=r"use one of lens.kl, lens#2.kl"):
        result["kl"]
    with pytest.raises(KeyError, match="several sections"):
        result.values
    with pytest.raises(KeyError, match="no array 'nothing'"):
        result["nothing"]
    assert "contributions" in result
    assert "nothing" not in result
    assert set(result.arrays) >= {"logits.contributions", "lens.kl", "lens#2.kl"}


def test_the_methods_own_plugin_comes_first(model: Model) -> None:
    result = model.ln(TEXT, interventions=ablate("L1H1"))
    assert list(result.sections) == ["ablate", "effects", "ln"]
    assert result["frozen_ln"].name == "ln.frozen_ln"  # effects has one, too
    assert result["effects.frozen_ln"].name == "effects.frozen_ln"
    assert result["kl"].name == "effects.kl"  # ln has none


def test_names_that_do_not_exist(result: Result) -> None:
    with pytest.raises(KeyError, match="no array 'shares'; it has values, constant"):
        result["shares"]
    with pytest.raises(InputError, match="no value 'x'"):
        result.values["x"]
    assert result.values.get("x") is None
    with pytest.raises(KeyError, match="named by a text, not by 0"):
        result[0]  # type: ignore[index]
    with pytest.raises(KeyError, match="no section 'ln'"):
        result.sections["ln"]
    with pytest.raises(KeyError, match="no file 'x'; it has none"):
        result.files["x"]


# --- the head, text and pages --------------------------------------------------------------------


def test_tokens_and_run(model: Model, result: Result) -> None:
    assert [t.text for t in result.tokens] == ["the", " E", "mer", "ald", " C", "ity", " of"]
    assert [t.position for t in result.tokens] == list(range(7))
    assert TEXT[result.tokens[1].start : result.tokens[1].end] == " E"
    run = result.run
    assert (run.version, run.hash, run.model) == (
        pythiascope.__version__,
        model.hash,
        model.folder,
    )
    assert (run.rows, run.sequences, run.bos) == (7, 1, False)
    parts = model.lens("日").tokens
    assert b"".join(t.bytes for t in parts).decode() == "日"


def test_text(result: Result, model: Model) -> None:
    assert str(result) == result.text() == f"{result}"
    assert max(map(len, result.text(60, head=False).splitlines())) <= 60
    assert "\x1b[" in result.text(color=True)
    head = run_program("analyze", "--text", TEXT, "--plugin", "ln", "--threads", "1").splitlines()[
        0
    ]
    assert head in str(result)
    assert head not in result.text(head=False)
    with pytest.raises(InputError, match="width"):
        result.text(7)
    assert repr(result) == f"<Result logits: 7 tokens, model {model.hash[:16]}>"


def test_json(result: Result) -> None:
    assert "\n" not in result.to_json(one_line=True).strip()
    assert json.loads(result.to_json(one_line=True)) == result.to_dict()


def test_saving(result: Result, tmp_path: Path) -> None:
    folder = result.save(str(tmp_path / "out"))
    assert sorted(p.name for p in folder.iterdir()) == ["results.json", "tensors.safetensors"]
    with pytest.raises(IOFailure, match="not empty"):
        result.save(folder)
    with pytest.raises(IOFailure):
        result.save(tmp_path / "no" / "such" / "place")


def test_saving_of_files(model: Model, tmp_path: Path) -> None:
    result = model.graph(TEXT)
    folder = result.save(tmp_path / "out")
    assert set(result.files) == {"graph.json", "graph.graphml", "graph.dot", "graph.txt"}
    for name, data in result.files.items():
        assert (folder / name).read_bytes() == data
    assert json.loads(result.files["graph.json"])


# --- other packages ------------------------------------------------------------------------------


def test_xarray(result: Result, model: Model) -> None:
    xarray = pytest.importorskip("xarray")
    array = result["contributions"].to_xarray()
    assert isinstance(array, xarray.DataArray)
    assert array.dims == ("targets", "rows", "components")
    assert array.name == "logits.contributions"
    one = array.sel(targets="' Oz'", rows=6, components="L2H1")
    assert float(one) == float(
        result["contributions"].sel(targets=" Oz", rows=6, components="L2H1")
    )
    assert model.spans(GRIM)["shared"].to_xarray().dims == ("levels", "levels_2")


def test_pandas(result: Result) -> None:
    pandas = pytest.importorskip("pandas")
    series = result["contributions"].to_pandas()
    assert series.index.names == ["targets", "rows", "components"]
    assert series["' Oz'", 6, "L2H1"] == float(
        result["contributions"].sel(targets=" Oz", rows=6, components="L2H1")
    )
    frame = result["values"].to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.columns.tolist() == list(range(7))
    assert result["sigma"].to_pandas().index.name == "rows"
    assert result["sigma"].isel(rows=0).to_pandas().size == 1


@pytest.mark.parametrize("package", ["xarray", "pandas"])
def test_packages_that_are_missing(
    result: Result, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ImportError, match=f"to_{package} needs the package {package}"):
        getattr(result["sigma"], f"to_{package}")()


# --- cost ----------------------------------------------------------------------------------------


def test_arrays_are_cheap(model: Model) -> None:
    results = [model.partition(TEXT) for _ in range(5)]
    spent = []
    for result in results:
        began = time.process_time()
        n = len([array.values for array in result.arrays.values()])
        spent.append(time.process_time() - began)
        assert n == 21
    assert min(spent) < 0.01, f"{n} arrays took {min(spent) * 1e3:.1f} ms"


def test_operators_and_missing_methods_of_an_array(result: Result) -> None:
    array = result["contributions"]
    values = array.values
    assert type(array + 1) is np.ndarray
    assert ((array - array) == 0).all()
    assert ((1 - array / 2) == 1 - values / 2).all()
    assert ((array > 0) == (values > 0)).all() and ((values * array) == values * values).all()
    assert len({array, array}) == 1
    with pytest.raises(
        AttributeError, match=r"'Array' object has no attribute 'max'; use \.values\."
    ):
        array.max
    with pytest.raises(AttributeError, match=r"no attribute 'maximum'$"):
        array.maximum
    with pytest.raises(ValueError, match="read-only"):
        array += 1
    assert np.add.reduce(array, axis=-1).shape == array.shape[:-1]
    assert repr(array.coords).startswith("{'targets': (")


def test_a_ranking_over_several_axes(model: Model) -> None:
    array = model.sweep(TEXT, over="heads")["effect"]
    flat = array.values[0].ravel()
    order = np.argsort(-np.abs(flat), kind="stable")[:5]
    top = array.top(5, dim=("layers", "heads"))
    assert [entry.value for entry in top] == flat[order].tolist()
    assert [(e.at["layers"], e.at["heads"]) for e in top] == [(i // 8, i % 8) for i in order]
    assert str(top).splitlines()[0].split()[:4:2] == ["layers", "heads"]
    by_heads = array.top(5, dim=["heads", "layers"])
    assert sorted(e.value for e in by_heads) == sorted(e.value for e in top)
    assert array.top(2, dim=("heads",)) == array.top(2)
    for wrong in ((), ("heads", "heads"), ("heads", "rows")):
        with pytest.raises(InputError):
            array.top(2, dim=wrong)


def test_saving_again_replaces_the_files_of_the_result(model: Model, tmp_path: Path) -> None:
    first = model.spans(TEXT)
    where = first.save(tmp_path / "kept", overwrite=True)
    (where / "notes.txt").write_text("mine")
    second = model.spans(TEXT, heads="causal")
    wanted = second.save(tmp_path / "wanted")
    with pytest.raises(IOFailure, match="not empty"):
        second.save(where)
    assert second.save(where, overwrite=True) == where
    names = sorted(path.name for path in wanted.iterdir())
    assert sorted(path.name for path in where.iterdir()) == sorted([*names, "notes.txt"])
    assert all((wanted / n).read_bytes() == (where / n).read_bytes() for n in names)
    assert (where / "notes.txt").read_text() == "mine"


def test_top_of_a_sweep_ranks_layers_and_heads_together(model: Model) -> None:
    result = model.sweep("The sun rose over the hill", over="heads")
    effect = result["effect"].values[0]
    layer, head = np.unravel_index(np.argsort(-np.abs(effect), axis=None)[:3], effect.shape)
    found = [(e.at["layers"], e.at["heads"], e.value) for e in result.top(3)]
    assert found == [(i, k, effect[i, k]) for i, k in zip(layer, head)]
    lens = model.lens("The sun rose", target=" over")
    assert len(lens.top(2)) == 2
