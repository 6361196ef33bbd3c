"""Python functions and plugins that accumulate over a corpus."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from corpus_files import (
    files_of,
    make_corpus,
    plugin_file,
    run,
    same_numbers,
    saved,
    survey,
)
from pythiascope import (
    InputError,
    Model,
    Plugin,
    PluginError,
    StateError,
    accumulator,
    merge,
    option,
)


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("accumulators") / "docs")


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(threads=2)


def norms_of(tensor):
    """|x| of each row in f64, the squares added in order."""
    x = tensor.astype(np.float64)
    return np.sqrt(np.add.accumulate(x * x, axis=1)[:, -1])


class Lengths(Plugin):
    """over a corpus: the mean norm of the residual stream after each layer"""

    version = "1.0"
    from_: int = option(
        1,
        "the first position that counts; 0 includes the attention sink",
        low=0,
        high=1 << 20,
    )

    def open(self, host):
        self.n_layers = host.model.n_layers
        self.norm = host.accumulator("norm", "sum", self.n_layers)
        self.count = host.accumulator("rows", "count")
        self.top = host.accumulator("longest", "top", self.n_layers, 3)
        host.observe("hook_resid_post", self.on_resid_post)

    def run_begin(self, host):
        self.norms = np.zeros((self.n_layers, len(host.rows)))

    def on_resid_post(self, event):
        self.norms[event.layer, event.rows["index"]] = norms_of(event.tensor)

    def run_end(self, host):
        rows = host.rows
        for sequence in np.unique(rows["sequence"]):
            mine = rows["sequence"] == sequence
            kept = np.flatnonzero(mine & (rows["position"] >= self.from_))
            self.count.add(len(kept))
            for layer in range(self.n_layers):
                norms = self.norms[layer, kept]
                self.norm.add(np.add.accumulate(norms)[-1] if len(norms) else 0.0, layer)
                for row, norm in zip(kept, norms):
                    self.top.add_top(layer, norm, rows[row])

    def report(self, host):
        host.axis("layers", self.n_layers)
        mean = host.array("mean", ["layers"], np.float64)
        longest = host.array("longest", ["layers"], np.float64)
        count = self.count.total()[0]
        mean[:] = self.norm.total() / count
        for layer in range(self.n_layers):
            for entry in self.top.top(layer)[:1]:
                longest[layer] = entry.value
                host.append("longest_at", host.token_text(entry.token))
        host.value("rows_counted", count)


def lengths_step(step):
    """the same by an accumulator's function"""
    counted = step.rows["position"] >= 1
    norm = norms_of(step.tensor)
    step.mean("mean", norm, where=counted)
    step.top("longest", norm, where=counted)


lengths_function = accumulator(
    "blocks.*.hook_resid_post", means=["mean"], tops={"longest": 3}, name="lengths", version="1.0"
)(lengths_step)


def test_a_plugin_in_python_gives_the_files_of_the_plugin_in_c(model, docs, tmp_path):
    result = survey(model, files=docs, plugins=[Lengths()])
    out = ["--out", str(tmp_path / "theirs"), "--window", "64", "--threads", "2"]
    finished = run("corpus", str(docs), "--plugin", plugin_file("lengths.so"), *out)
    assert finished.returncode == 0, finished.stderr
    assert saved(result, tmp_path / "ours") == files_of(tmp_path / "theirs")


def test_a_function_gives_the_totals_of_the_plugin_in_c(model, docs):
    c = survey(model, files=docs, plugins=[plugin_file("lengths.so")]).main
    found = survey(model, files=docs, plugins=[lengths_function]).main
    assert found.arrays["mean"].values.tobytes() == c.arrays["mean"].values.tobytes()
    assert found.arrays["mean"].dims == ("layers",)
    assert (found.arrays["mean_rows"].values == c.values["rows_counted"]).all()
    longest = found.arrays["longest_value"].values
    assert longest[:, 0].tobytes() == c.arrays["longest"].values.tobytes()
    assert found.arrays["longest_tokens"].values.shape == (4, 3, 17)
    tokens = found.arrays["longest_tokens"].values[:, 0, 12]
    assert [repr(model.to_string([t])) for t in tokens] == list(c.values["longest_at"])
    assert found.version == "1.0"


# --- against NumPy -------------------------------------------------------------------------------

SHAPES = {
    "sums": {"total": "d_model", "heads": ("n_heads", 2)},
    "means": ["norm"],
    "counts": {"rows": (), "positive": "d_model"},
    "minima": {"least": "d_model"},
    "maxima": ["largest"],
    "tops": {"best": 4, "each": (2, "n_heads")},
}
seen: list[np.ndarray] = []


@accumulator("blocks.1.hook_mlp_out", **SHAPES)
def every(step):
    """every kind of accumulator"""
    x = step.tensor
    seen.append(x.copy())
    step.sum("total", x)
    step.sum("heads", x[:, :16].reshape(-1, 8, 2))
    step.mean("norm", x[:, 0], where=step.rows["position"] % 2 == 0)
    step.count("rows")
    step.count("positive", x > 0)
    step.min("least", x)
    step.max("largest", x.max(axis=1))
    step.top("best", x[:, 3])
    step.top("each", x[:, :8], where=step.rows["position"] > 2)


def test_every_kind_against_numpy(model, docs):
    seen.clear()
    result = survey(model, files=docs, plugins=[every])
    rows = np.concatenate(seen).astype(np.float64)
    arrays = {name: a.values for name, a in result.main.arrays.items()}
    exact = np.array([math.fsum(column) for column in rows.T])
    error = np.abs(arrays["total"] - exact)
    assert error.max() <= len(seen) * 2.0**-41 + 1e-12 * np.abs(rows).sum(axis=0).max()
    assert np.allclose(arrays["heads"], exact[:16].reshape(8, 2))
    even = np.concatenate([x[::2, 0] for x in seen]).astype(np.float64)
    assert math.isclose(arrays["norm"], math.fsum(even) / len(even), rel_tol=1e-12, abs_tol=1e-12)
    assert arrays["norm_rows"] == len(even) and arrays["rows"] == len(rows)
    assert arrays["positive"].tolist() == (rows > 0).sum(axis=0).tolist()
    assert arrays["least"].tolist() == rows.min(axis=0).tolist()
    assert arrays["largest"] == rows.max()
    assert arrays["best_value"].tolist() == sorted(rows[:, 3], reverse=True)[:4]
    late = np.concatenate([x[3:, :8] for x in seen]).astype(np.float64)
    assert arrays["each_value"].tolist() == np.sort(late, axis=0)[::-1][:2].T.tolist()
    assert result["total"].dims == ("d_model",) and result["heads"].dims == ("heads", "heads_1")


@pytest.mark.parametrize("options", [{"batch": 1}, {"batch": 7}, {"batch": 3, "chunk": 13}])
def test_batches_and_chunks_do_not_matter(model, docs, options):
    other = Model(threads=1, chunk=options.pop("chunk", 0))
    plugins = [every, lengths_function, patterns]
    whole = survey(model, files=docs, plugins=plugins)
    same_numbers(whole, survey(other, files=docs, plugins=plugins, **options))


@accumulator(
    "blocks.*.attn.hook_pattern",
    "blocks.*.attn.hook_attn_scores",
    sums={"first": "n_heads"},
    counts=["rows"],
)
def patterns(step):
    """tensors with keys have as many keys as the window has rows, whatever the chunks"""
    rows, _, keys = step.tensor.shape
    assert rows == keys == len(step.rows)
    beyond = step.tensor[0, :, 1:]
    assert (beyond == (0 if "pattern" in step.name else -np.inf)).all()
    step.sum("first", step.tensor[:, :, 0])
    step.count("rows")


def test_several_points_have_the_axis_hooks(model, docs):
    result = survey(model, files=docs, plugins=[patterns])
    assert result["first"].dims == ("hooks", "heads")
    names = list(result["first"].coords["hooks"])
    assert names[0] == "blocks.0.attn.hook_pattern" and len(names) == 8
    assert "blocks.3.attn.hook_attn_scores" in names
    assert len(set(result["rows"].values.tolist())) == 1


def test_names_of_transformerlens_4_are_taken(model, docs):
    def step(step):
        step.mean("mean", norms_of(step.tensor), where=step.rows["position"] >= 1)
        assert step.name.endswith("hook_resid_post")

    same = accumulator("blocks.*.hook_out", means=["mean"], name="lengths")(step)
    ours = survey(model, files=docs, plugins=[lengths_function])["mean"].values
    assert survey(model, files=docs, plugins=[same])["mean"].values.tobytes() == ours.tobytes()


def test_resumption_shards_and_merge(model, docs, tmp_path):
    plugins = [lengths_function, every, "ln"]
    whole = survey(model, files=docs, plugins=plugins)
    state = tmp_path / "one.state"
    for limit in (100, 333, 700):
        survey(model, files=docs, plugins=plugins, state=state, limit_tokens=limit)
    same_numbers(whole, survey(model, files=docs, plugins=plugins, state=state))
    parts = [tmp_path / f"{i}.state" for i in (1, 2, 3)]
    for i, part in enumerate(parts):
        survey(model, files=docs, plugins=plugins, state=part, shard=(i + 1, 3), batch=i + 1)
    merged = merge(parts, model=model, plugins=[every, lengths_function])
    same_numbers(whole, merged)


def test_merge_needs_the_plugins_written_in_python(model, docs, tmp_path):
    state = tmp_path / "one.state"
    survey(model, files=docs, plugins=[Lengths(from_=3)], state=state)
    with pytest.raises(InputError, match=r"one.state: it was made with the Python plugin lengths;"):
        merge([state], model=model)
    with pytest.raises(InputError, match="pass only those written in Python"):
        merge([state], model=model, plugins=["ln"])
    whole = survey(model, files=docs, plugins=[Lengths(from_=3)])
    same_numbers(whole, merge([state], model=model, plugins=[Lengths]))
    same_numbers(whole, merge([state], model=model, plugins=[Lengths(from_=3)]))
    with pytest.raises(InputError, match="from=3 for plugin lengths, not from=1"):
        merge([state], model=model, plugins=[Lengths()])
    finished = run("merge", str(state))
    assert finished.returncode == 1
    assert b"unknown built-in plugin 'lengths (Python)'" in finished.stderr


def test_another_version_or_declaration_is_refused(model, docs, tmp_path):
    state = tmp_path / "one.state"
    survey(model, files=docs, plugins=[lengths_function], state=state, limit_tokens=100)
    point = "blocks.*.hook_resid_post"
    newer = accumulator(point, means=["mean"], tops={"longest": 3}, name="lengths", version="2")
    with pytest.raises(InputError, match=r"version 1.0 of plugin lengths, but this is version 2"):
        survey(model, files=docs, plugins=[newer(lengths_step)], state=state)
    other = accumulator(point, means=["mean"], tops={"longest": 4}, name="lengths", version="1.0")
    with pytest.raises(InputError, match="has different accumulators for plugin lengths"):
        survey(model, files=docs, plugins=[other(lengths_step)], state=state)


def test_a_report_of_the_authors(model, docs):
    counted = accumulator("hook_embed", counts=["rows"], sums={"x": "d_model"})(
        lambda step: (step.count("rows"), step.sum("x", step.tensor))
    )

    @counted.report
    def show(host, totals):
        host.summary(f"{totals['rows']:.0f} rows")
        host.value("norm", float(np.linalg.norm(totals["x"])))
        assert sorted(totals) == ["rows", "x"] and len(totals) == 2

    with pytest.raises(PluginError, match="lambda"):
        survey(model, files=docs, plugins=[counted])
    named = accumulator("hook_embed", counts=["rows"], sums={"x": "d_model"}, name="counted")(
        lambda step: (step.count("rows"), step.sum("x", step.tensor))
    )
    named.report(show)
    result = survey(model, files=docs, plugins=[named])
    assert f"{result['rows'].values:.0f} rows" in str(result)
    assert result.values["norm"] == np.linalg.norm(result["x"].values)


def test_the_summary(model, docs):
    text = str(survey(model, files=docs, plugins=[lengths_function]))
    assert "layer 3" in text and "longest: the largest" in text and "document" in text


# --- misuse --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: accumulator(), "needs hook names"),
        (lambda: accumulator(3), "needs hook names"),
        (lambda: accumulator("hook_embed", sums=["a"], counts=["a"]), "'a' is declared twice"),
        (lambda: accumulator("hook_embed", sums={"a": "d_heart"}), "'d_heart' is not an extent"),
        (lambda: accumulator("hook_embed", sums={"a": 0}), "0 is not an extent"),
        (lambda: accumulator("hook_embed", tops={"a": 0}), "at least 1 entry, not 0"),
    ],
)
def test_wrong_declarations(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


DECLARED = {"sums": {"a": 3}, "counts": ["n"], "tops": {"t": 2}, "minima": ["m"]}


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (lambda s: s.sum("b", 1.0), "bad: the sum 'b' is not declared; declared are a"),
        (lambda s: s.mean("a", 1.0), "the mean 'a' is not declared; declared are none"),
        (lambda s: s.sum("a", np.zeros(4)), r"a: the values have the shape \(4,\); pass \("),
        (lambda s: s.sum("a", np.zeros(3), where=np.ones(2, bool)), "where is not a mask"),
        (lambda s: s.sum("a", np.full(3, np.nan)), "accumulator 'a', slot 0: .*nan is not finite"),
        (lambda s: s.sum("a", np.full(3, 1e300)), "outside the range of sums"),
        (lambda s: s.count("n", -1), "is not a count"),
        (lambda s: s.count("n", 0.5), "is not a count"),
        (lambda s: s.min("m", np.nan), "cannot be ranked"),
        (lambda s: s.top("t", 1.0), "needs a value for each"),
        (lambda s: s.top("t", np.full(len(s.rows), np.nan)), "a value is NaN"),
        (lambda s: s.tensor.fill(0), "read-only"),
    ],
)
def test_wrong_steps_are_one_sentence(model, docs, step, sentence):
    bad = accumulator("blocks.0.hook_resid_pre", name="bad", **DECLARED)(step)
    with pytest.raises((InputError, PluginError, ValueError), match=sentence):
        survey(model, files=docs, plugins=[bad])
    assert "ln" in survey(model, files=docs / "a", plugins=["ln"]).sections


def test_a_function_over_a_text(model):
    with pytest.raises(PluginError, match=r"plugin lengths: it accumulates over a corpus"):
        model.analyze("the old man", plugins=[lengths_function])


def test_hooks_that_do_not_exist(model, docs):
    for point in ("blocks.*.hook_nowhere", "blocks.9.hook_resid_pre"):
        bad = accumulator(point, counts=["n"], name="bad")(lambda step: None)
        with pytest.raises(InputError, match=point.replace("*", "0")):
            survey(model, files=docs, plugins=[bad])


def test_a_function_that_raises(model, docs, tmp_path):
    calls = []

    def fail(step):
        calls.append(step)
        if len(calls) == 20:
            raise LookupError("the twentieth")

    failing = accumulator("hook_embed", counts=["n"], name="failing")(fail)
    state = tmp_path / "one.state"
    with pytest.raises(LookupError, match="the twentieth"):
        survey(model, files=docs, plugins=[failing, "ln"], state=state, save_seconds=0)
    with pytest.raises(StateError, match="the step of hook_embed is over"):
        calls[0].tensor
    fine = accumulator("hook_embed", counts=["n"], name="failing")(lambda step: step.count("n"))
    resumed = survey(model, files=docs, plugins=[fine, "ln"], state=state)
    whole = survey(model, files=docs, plugins=["ln"])
    assert resumed["ln.site_mean"].values.tobytes() == whole["ln.site_mean"].values.tobytes()
    assert 0 < resumed["failing.n"].values < whole.to_dict()["corpus"]["tokens"]


def test_a_view_that_is_kept(model, docs):
    kept = []
    keeper = accumulator("hook_embed", counts=["n"], name="keeper")(
        lambda step: kept.append(step.tensor)
    )
    with pytest.raises(StateError, match=r"plugin keeper, hook_embed: .*keep array.copy"):
        survey(model, files=docs, plugins=[keeper])
    assert np.isfinite(kept[0]).all()


def test_one_value_of_each_row_fits_one_slot():
    wanted = None
    for means in (["x"], {"x": 1}):

        @accumulator("hook_embed", means=means, sums={"y": 1})
        def first(step):
            step.mean("x", step.tensor[:, 0], where=step.rows["position"] > 0)
            step.sum("y", step.tensor[:, 0])

        result = Model().corpus(["The sun rose", "The moon"], [first], progress=False)
        wanted = wanted or (result["x"].values.item(), result["y"].values.item())
        assert wanted == (result["x"].values.item(), result["y"].values.item())
