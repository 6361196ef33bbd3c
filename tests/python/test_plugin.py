"""Plugins written in Python, over a text: the life, the host, and misuse."""

from __future__ import annotations

import gc
import math
import os
import sys
import threading
import traceback

import numpy as np
import pytest
from corpus_files import files_of, plugin_file, run
from pythiascope import (
    Change,
    InputError,
    Model,
    Plugin,
    PluginError,
    StateError,
    Variant,
    ablate,
    option,
)

TEXT = "the Emerald City of"


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(threads=2)


class Norms(Plugin):
    """the norm of the residual stream after each layer"""

    version = "1.1"
    centered: bool = option(False, "subtract each row's mean first, as LayerNorm does")

    def open(self, host):
        host.observe("hook_resid_post", self.on_resid_post)

    def run_begin(self, host):
        host.axis("layers", host.model.n_layers)
        host.axis("rows", len(host.rows))
        self.norm = host.array("resid_post", ["layers", "rows"])

    def on_resid_post(self, event):
        x = event.tensor.astype(np.float64)
        squares = np.add.accumulate(x * x, axis=1)[:, -1]
        if self.centered:
            squares -= np.add.accumulate(x, axis=1)[:, -1] ** 2 / x.shape[1]
        self.norm[event.layer, event.rows["index"]] = np.sqrt(squares)

    def report(self, host):
        last = self.norm[-1, -1]
        host.value("last", last)
        host.bars("|x| at the last row", ["last residual"], [last])


@pytest.mark.parametrize("centered", [False, True])
def test_the_template_in_python_gives_the_files_of_the_template_in_c(model, tmp_path, centered):
    result = model.analyze(TEXT, plugins=[Norms(centered=centered)])
    path = plugin_file("norms.so") + (":centered=yes" if centered else "")
    out = str(tmp_path / "theirs")
    finished = run("analyze", "--text", TEXT, "--plugin", path, "--out", out, "--threads", "2")
    assert finished.returncode == 0, finished.stderr
    result.save(tmp_path / "ours")
    assert files_of(tmp_path / "ours") == files_of(tmp_path / "theirs")
    assert finished.stdout.decode().startswith(str(result))


def test_chunks_do_not_matter():
    whole = Model(threads=1).analyze(TEXT, plugins=[Norms])
    small = Model(threads=1, chunk=2).analyze(TEXT, plugins=[Norms])
    assert whole["resid_post"].values.tobytes() == small["resid_post"].values.tobytes()


class Ids(Plugin):
    def report(self, host):
        host.axis("rows", len(host.rows))
        host.put("ids", ["rows"], host.rows["token"])
        host.token_ids("ids")
        host.put("counts", ["rows"], host.rows["token"])


def test_arrays_of_token_ids(model):
    result = model.analyze(TEXT, plugins=[Ids])
    assert result["ids"].token_ids and not result["counts"].token_ids
    assert result.vocabulary == {t.id: t.text for t in sorted(result.tokens)}
    with pytest.raises(InputError, match="array's name"):
        model.analyze(TEXT, plugins=[OddIds])


class OddIds(Plugin):
    def report(self, host):
        host.token_ids("a\0b")


# --- options -------------------------------------------------------------------------------------


class Every(Plugin):
    """one option of every kind"""

    flag: bool = option(True)
    n: int = option(3, "a number of things", low=1, high=9)
    x: float = option(0.5, low=0, high=1)
    word: str = option("a", words=("a", "b"))
    words: tuple = option(("a",), words=("a", "b", "c"))
    text: str = option("hello, world")
    rows: object = option("auto", kind="rows")
    layer: int = option("0", kind="layer")
    layers: range = option("all", kind="layers")
    heads: range = option("all", kind="heads")
    from_: int = option(1)

    def report(self, host):
        for key in ("flag", "n", "x", "word", "words", "text", "rows", "layer", "layers", "heads"):
            host.value(key, repr(getattr(self, key)))
        host.value("from", self.from_)


def test_options_have_typed_values(model):
    section = model.analyze(TEXT, plugins=[Every]).main
    values = section.values
    assert values["flag"] == "True" and values["n"] == "3" and values["x"] == "0.5"
    assert values["word"] == "'a'" and values["words"] == "('a',)"
    assert values["text"] == "'hello, world'"
    assert values["rows"].startswith("Rows(mode=1")
    assert values["layers"] == "range(0, 4)" and values["heads"] == "range(0, 8)"
    assert section.options["from"] == "1"
    given = {"flag": False, "n": 9, "x": 1.0, "word": "b", "words": ("b", "c"), "text": "a,b=c\\"}
    more = {"rows": "2-5", "layer": 2, "layers": range(1, 3), "heads": 3, "from_": 7}
    values = model.analyze(TEXT, plugins=[Every(**given, **more)]).main.values
    assert values["flag"] == "False" and values["n"] == "9" and values["x"] == "1.0"
    assert values["words"] == "('b', 'c')" and values["text"] == repr("a,b=c\\")
    assert values["rows"] == "Rows(mode=2, begin=2, end=6)"
    assert values["layers"] == "range(1, 3)" and values["heads"] == "range(3, 4)"
    assert values["from"] == 7.0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"n": 10}, "plugin every: n=10 is not a whole number in 1..9"),
        ({"x": 2.0}, "x=2 is not a number"),
        ({"word": "c"}, "one of a, b"),
        ({"colour": 1}, "Every has no option 'colour'; its options are flag, n"),
        ({"text": "a\0b"}, "0 character"),
        ({"layers": range(9)}, "layers=0-8 is not"),
    ],
)
def test_wrong_options_are_one_sentence(model, given, sentence):
    with pytest.raises(InputError, match=sentence):
        model.analyze(TEXT, plugins=[Every(**given)])


def test_options_are_set_when_the_plugin_is_made():
    with pytest.raises(InputError, match=r"Every\(n=...\)"):
        Every().n = 3
    with pytest.raises(InputError, match="'colour' is not a kind"):
        option(1, kind="colour")


# --- the life ------------------------------------------------------------------------------------


class Life(Plugin):
    """records its callbacks, and raises in one"""

    def __init__(self, fail="", error=LookupError):
        super().__init__()
        self.fail, self.error, self.calls = fail, error, []

    def _at(self, name):
        self.calls.append(name)
        if name == self.fail:
            raise self.error(f"raised in {name}")

    def open(self, host):
        self._at("open")
        host.observe("hook_embed", lambda event: self._at("event"))
        host.edit("hook_embed", lambda event: self._at("edit"))

    def run_begin(self, host):
        self._at("run_begin")

    def run_end(self, host):
        self._at("run_end")

    def run_failed(self, host):
        self._at("run_failed")

    def report(self, host):
        self._at("report")

    def close(self):
        self._at("close")


def test_the_life_of_a_plugin(model):
    plugin = Life()
    model.analyze(TEXT, plugins=[plugin])
    assert plugin.calls == ["open", "run_begin", "edit", "event", "run_end", "report", "close"]


AFTER = {
    "open": ["open"],
    "run_begin": ["open", "run_begin", "close"],
    "edit": ["open", "run_begin", "edit", "run_failed", "close"],
    "event": ["open", "run_begin", "edit", "event", "run_failed", "close"],
    "run_end": ["open", "run_begin", "edit", "event", "run_end", "close"],
    "report": ["open", "run_begin", "edit", "event", "run_end", "report", "close"],
}


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("at", list(AFTER))
def test_an_exception_of_any_callback_comes_out_with_its_traceback(model, at, error):
    plugin = Life(at, error)
    with pytest.raises(error, match=f"raised in {at}") as caught:
        model.analyze(TEXT, plugins=[plugin, "ln"])
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "_at" in frames
    assert plugin.calls == AFTER[at]
    assert "sigma" in str(model.analyze(TEXT, plugins=["ln"]))


def test_an_exception_of_close_is_unraisable(model, monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: seen.append(unraisable.exc_value))
    result = model.analyze(TEXT, plugins=[Life("close"), Norms()])
    assert [str(error) for error in seen] == ["raised in close"]
    assert "norms" in result.sections


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_in_close_comes_out(model, kind):
    class Closing(Plugin):
        """Ctrl-C comes while it closes."""

        def close(self):
            raise kind("in close")

    plugin = Closing()
    with pytest.raises(kind, match="in close"):
        model.analyze(TEXT, plugins=[plugin, Norms()])
    with pytest.raises(kind, match="in close"):
        model.corpus([TEXT], [plugin], progress=False)
    assert "norms" in model.analyze(TEXT, plugins=[Norms()]).sections


def test_a_plugin_belongs_to_one_session(model):
    plugin = Norms()
    with pytest.raises(StateError, match="norms is in use by another session"):
        model.analyze(TEXT, plugins=[plugin, plugin])
    result = model.analyze(TEXT, plugins=[plugin, Norms()])
    assert set(result.sections) == {"norms", "norms#2"}
    model.analyze(TEXT, plugins=[plugin])


def test_names_that_are_no_names(model):
    bad = type("Bad", (Plugin,), {"name": "no name"})
    with pytest.raises(PluginError, match="no name"):
        model.analyze(TEXT, plugins=[bad])
    with pytest.raises(InputError, match="0 character"):
        model.analyze(TEXT, plugins=[type("Bad", (Plugin,), {"version": "1\0"})])


def test_a_plugin_that_needs_bos(model):
    class Front(Plugin):
        needs_bos = True

        def report(self, host):
            host.value("first", int(host.rows["token"][0]))

    result = model.analyze(TEXT, plugins=[Front])
    assert result.values["first"] == model.to_tokens("", prepend_bos=True)[0, 0]


# --- the host ------------------------------------------------------------------------------------


class Calls(Plugin):
    """runs functions of the host in its callbacks"""

    def __init__(self, **callbacks):
        super().__init__()
        self.callbacks, self.out = callbacks, {}

    def open(self, host):
        self.host = host
        if "open" in self.callbacks:
            self.out["open"] = self.callbacks["open"](host)
        if "event" in self.callbacks:
            host.observe("hook_logits", self._event)

    def _event(self, event):
        self.out["event"] = self.callbacks["event"](self.host, event)

    def run_begin(self, host):
        if "run_begin" in self.callbacks:
            self.out["run_begin"] = self.callbacks["run_begin"](host)

    def run_end(self, host):
        if "run_end" in self.callbacks:
            self.out["run_end"] = self.callbacks["run_end"](host)

    def report(self, host):
        if "report" in self.callbacks:
            self.out["report"] = self.callbacks["report"](host)


def in_host(model, text=TEXT, **callbacks):
    plugin = Calls(**callbacks)
    result = model.analyze(text, plugins=[plugin])
    return plugin.out, result


def test_the_run_as_the_host_shows_it(model):
    def look(host):
        return {
            "model": host.model,
            "rows": host.rows,
            "text": host.text,
            "phase": (host.phase, host.source),
            "targets": host.targets,
            "accumulating": host.accumulating(),
            "editor": host.has_editor("hook_embed"),
            "sentences": host.sentences(),
            "labels": [host.label("head", 1, 3), host.label("embed"), host.label("mlp_out", 2)],
            "token": (host.token_text(0), host.token_bytes(0)),
            "cancelled": host.cancelled(),
        }

    out, _ = in_host(model, run_end=look)
    seen = out["run_end"]
    ids = model.to_tokens(TEXT)[0]
    assert seen["rows"]["token"].tolist() == ids.tolist()
    assert seen["rows"]["next"].tolist() == [*ids[1:].tolist(), -1]
    text = seen["text"]
    assert text == TEXT.encode()
    pieces = [text[row["start"] : row["end"]] for row in seen["rows"]]
    assert b"".join(pieces) == text
    assert seen["model"].n_layers == 4 and seen["model"].hash == model.hash
    assert seen["phase"] == ("only", -1) and seen["accumulating"] is False
    assert [t.kind for t in seen["targets"]] == ["top"]
    assert seen["labels"] == ["L1H3", "embed", "2_mlp_out"]
    assert seen["editor"] is False and seen["sentences"] == [] and seen["cancelled"] is False


def test_results_of_every_kind(model, tmp_path):
    def report(host):
        host.axis("labels", ["a", "b"])
        host.axis("numbers", [5, 7, 9])
        host.axis("none", [])
        host.put("floats", ["labels", "numbers"], np.arange(6.0).reshape(2, 3))
        host.put("small", ["labels"], np.float32([1.5, math.nan]))
        host.put("whole", ["numbers"], [1, 2, 3])
        host.put("empty", ["none", "labels"], np.zeros((0, 2)))
        host.put("single", [], 2.5)
        unset = host.array("unset", ["labels"], np.int32)
        assert unset.tolist() == [-1, -1] and unset.flags.writeable
        host.value("text", "été")
        host.value("number", math.nan)
        host.append("list", "x")
        host.append("list", "y")
        host.summary("One sentence.")
        host.bars("bars", ["one"], [1.0], "nats")
        host.document("txt", "a page")
        return unset

    out, result = in_host(model, report=report)
    out["report"][:] = 99  # later writes have no effect
    assert result["floats"].values.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert result["floats"].dims == ("labels", "numbers")
    assert result["whole"].values.dtype == np.int32
    assert result["small"].values.dtype == np.float32 and np.isnan(result["small"].values[1])
    assert result["empty"].values.shape == (0, 2)
    assert result["single"].values == 2.5
    assert result["unset"].values.tolist() == [-1, -1]
    assert result.values["text"] == "été" and list(result.values["list"]) == ["x", "y"]
    assert "One sentence." in str(result) and result.files["calls.txt"] == b"a page"


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (
            lambda host: host.put("x", ["rows"], [1.0]),
            "plugin calls: array 'x' has the axis 'rows'",
        ),
        (lambda host: host.axis("a", ["x", 3]), "neither labels nor whole numbers"),
        (lambda host: host.axis("a", [2**31]), "does not fit in 32 bits"),
        (lambda host: (host.axis("a", 2), host.put("x", ["a"], [1.0, 2.0, 3.0])), "shape"),
        (lambda host: (host.axis("a", 2), host.axis("a", 2)), "declared twice"),
        (lambda host: host.array("x", "rows"), r"axes is a list of names, as \[\"rows\"\]"),
        (lambda host: host.array("x", [], np.float16), "float16 is not float32"),
        (lambda host: host.value("no name", 1.0), "plugin calls: value_number: name 'no name'"),
        (lambda host: host.value("x", "a\0b"), "0 character"),
        (lambda host: host.append("x", 1.0) or host.append("x", "a"), "is a list of numbers"),
        (lambda host: host.bars("t", ["a", "b"], [1.0]), "2 labels for 1 values"),
        (lambda host: host.document("../a/b", b""), "is not a file type"),
        (
            lambda host: host.observe("hook_embed", print),
            "observe is allowed in open and run_begin",
        ),
        (lambda host: host.accumulator("x", "sum"), "needs a session that accumulates"),
        (lambda host: host.accumulator("x", "median"), "'median' is no kind of accumulator"),
        (lambda host: host.label("heart"), "'heart' is not a component"),
        (lambda host: host.token_text(2**40), "pass a whole number from -2147483648"),
        (lambda host: host.token_text("x"), "pass a whole number"),
        (lambda host: host.progress("x"), "could not convert|progress"),
        (lambda host: host.embedding(10**6), "token id 1000000 is out of range"),
        (lambda host: host.ln_parameters("ln1", 99), "LayerNorm 0 of layer 99 does not exist"),
        (lambda host: host.ln_parameters("ln9", 0), "'ln9' is not a LayerNorm"),
        (lambda host: host.bias("W_Q", -1), "matrix 0 of layer -1 does not exist"),
        (lambda host: host.apply("W_Q", np.zeros(3), 0), "W_Q needs 256"),
        (lambda host: host.apply("W_X", np.zeros(256), 0), "'W_X' is not a matrix"),
        (lambda host: host.dot([1.0], [1.0, 2.0]), "differ"),
        (lambda host: host.rotate(np.zeros(3), 0), "not .d_head."),
        (lambda host: host.keep(np.zeros(3)), "the logits have the shape"),
        (lambda host: host.read_tensor("/nonexistent"), "/nonexistent"),
        (lambda host: host.read_sentences("/nonexistent"), "/nonexistent"),
        (lambda host: host.fail("enough of it"), "plugin calls: enough of it"),
        (lambda host: host.target_ids(0, host.rows[0]), "needs the row's logits"),
        (lambda host: host.target_ids(0, 3), "must be one element of host.rows"),
    ],
)
def test_wrong_calls_of_the_host_are_one_sentence(model, report, sentence):
    with pytest.raises(Exception, match=sentence) as caught:
        in_host(model, report=report)
    assert type(caught.value).__module__ == "pythiascope.errors" or "convert" in str(caught.value)
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "<lambda>" in frames


def test_a_failed_call_that_the_plugin_hides_still_fails_the_run(model):
    def report(host):
        try:
            host.value("no name", 1.0)
        except Exception:
            pass

    with pytest.raises(PluginError, match="value_number: name 'no name'"):
        in_host(model, report=report)


def test_weights_and_mathematics(model):
    def compute(host):
        x = np.linspace(-2, 2, 512, dtype=np.float32).reshape(2, 256)
        gamma, beta = host.ln_parameters("ln1", 0)
        return {
            "apply": host.apply("W_in", x, 1),
            "pullback": host.pullback("W_in", host.apply("W_in", x, 1), 1),
            "norms": (host.row_norms("W_out", 0), host.column_norms("W_U", centered=True)),
            "gamma": (gamma, beta, host.bias("W_Q", 0), host.bias("W_U")),
            "embed": (host.embedding(5), host.unembedding(5), host.unembedding_mean()),
            "exp": host.exp(x),
            "erf": host.erf(x),
            "tanh": host.tanh(x),
            "log": host.log([1.0, 2.0]),
            "lse": host.log_sum_exp(x),
            "dot": host.dot(x[0], x[1]),
            "shares": host.shares(x[0], x[1], 2.0),
            "keep": host.keep(np.arange(host.model.d_vocab), top_k=3),
            "rotate": host.rotate(host.rotate(x[0, : host.model.d_head], 7), 7, inverse=True),
        }

    out, _ = in_host(model, run_begin=compute)
    r = out["run_begin"]
    x = np.linspace(-2, 2, 512, dtype=np.float32).reshape(2, 256)
    assert r["apply"].shape == (2, 1024) and r["pullback"].shape == (2, 256)
    assert r["norms"][0].shape == (256,) and r["norms"][1].shape == (256,)
    assert np.allclose(r["exp"], np.exp(x)) and np.allclose(r["log"], np.log([1.0, 2.0]))
    assert np.isclose(r["dot"], float(x[0] @ x[1]), rtol=1e-5)
    assert np.isclose(r["lse"], np.log(np.exp(x.astype(float)).sum()))
    assert np.allclose(r["shares"][0], x[0] * x[1] / 2) and r["shares"][1].shape == (32,)
    n = model.cfg.d_vocab
    assert r["keep"][0].tolist() == [n - 3, n - 2, n - 1]
    assert np.allclose(r["rotate"], x[0, :32], atol=1e-6)
    assert r["gamma"][3] is None and r["gamma"][2].shape == (256,)
    assert math.isclose(r["erf"][0, 0], math.erf(-2), rel_tol=1e-5)
    assert math.isclose(r["tanh"][0, 0], math.tanh(-2), rel_tol=1e-5)


def test_retain_targets_and_edits(model):
    kept = {}

    def begin(host):
        kept["z"] = host.retain("attn.hook_z", layers=[1, 2], heads=3)

    def end(host):
        event = kept["z"].fetch(2)
        return event.tensor, event.rows, event.name, event.heads

    def logits(host, event):
        ids = [host.target_ids(0, row, logits) for row, logits in zip(event.rows, event.tensor)]
        return ids, event.tensor.argmax(axis=1), event.tensor.flags.writeable

    out, _ = in_host(model, run_begin=begin, run_end=end, event=logits)
    tensor, rows, name, heads = out["run_end"]
    assert tensor.shape == (7, 1, 32) and len(rows) == 7 and name == "blocks.2.attn.hook_z"
    assert tensor.flags.owndata and heads == (3,)
    ids, best, writeable = out["event"]
    assert [one[0] for one in ids] == best.tolist() and not writeable
    assert all(one[1] == -1 for one in ids)


def test_an_editor_and_before(model):
    seen = []

    class Zero(Plugin):
        def open(self, host):
            host.edit("blocks.1.hook_mlp_out", self.zero, rows=(2, 4))
            host.observe("hook_mlp_out", self.look, edited_only=True)

        def zero(self, event):
            assert event.layer == 1 and event.before is None
            event.tensor[:] = 0

        def look(self, event):
            seen.append((event.name, event.rows["position"].tolist(), event.tensor.max()))
            assert event.before is not None and np.abs(event.before[2:4]).max() > 0

    with pytest.raises(ValueError, match="read-only"):
        in_host(model, event=lambda host, event: event.tensor.__setitem__(0, 1))
    changed = model.analyze(TEXT, plugins=[Zero, "logits:rows=last"])
    plain = model.analyze(TEXT, plugins=["logits:rows=last"])
    assert seen[0][0] == "blocks.1.hook_mlp_out" and seen[0][1] == list(range(7))
    assert changed["logits.values"].values != plain["logits.values"].values


def test_a_fixed_change_is_as_one_that_sets(model):
    got = {}

    def end(host):
        values = np.arange(256) / 100
        for kind in ("set", "fix"):
            change = Change(kind, "hook_mlp_out", 1, rows=(2, 5), values=values)
            host.variants(
                [Variant([change])],
                lambda number, event, kind=kind: got.setdefault(kind, event.tensor[-1].copy()),
            )

    in_host(model, run_begin=lambda host: host.prepare_variants(), run_end=end)
    assert np.array_equal(got["set"], got["fix"])
    assert not np.array_equal(got["set"], model(TEXT)[0, -1])


def test_variants_are_runs_with_editors(model):
    def end(host):
        change = Change("scale", "attn.hook_z", 1, rows=(3, 7), head=2)
        values = np.arange(256) / 100
        add = Change("add", "hook_resid_pre", 2, rows=(1, 2), alpha=0.5, values=values)
        logits = {}
        host.variants(
            [Variant([change]), Variant([change, add])],
            lambda number, event: logits.setdefault(number, event.tensor[-1].copy()),
        )
        return logits

    out, _ = in_host(model, run_begin=lambda host: host.prepare_variants(), run_end=end)

    class Same(Plugin):
        def open(self, host):
            host.edit("blocks.1.attn.hook_z", self.scale, heads=2, rows=(3, 7))
            host.observe("hook_logits", self.keep, rows="last")

        def scale(self, event):
            event.tensor[:] = 0.0

        def keep(self, event):
            self.logits = event.tensor[0].copy()

    same = Same()
    model.analyze(TEXT, plugins=[same])
    assert same.logits.tobytes() == out["run_end"][0].tobytes()
    assert same.logits.tobytes() != out["run_end"][1].tobytes()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (Change("melt", "hook_resid_pre", 0), "'melt' is not a change"),
        (Change("set", "hook_resid_pre", 0, values=np.zeros(7)), "values have the shape"),
        (Change("set", "hook_resid_pre", 0, rows=(3, 3), values=np.zeros(256)), "begin must be"),
        (Change("scale", "hook_resid_pre", 99), "the layer does not exist"),
        (Change("scale", "hook_resid_pre", 0, head=2**40), "pass a whole number"),
        (Change("set", "hook_resid_pre", 0, rows=(0, 2**40), values=1.0), "pass a whole number"),
        (Change("scale", "nowhere", 0), "there is no hook nowhere"),
    ],
)
def test_wrong_variants(model, change, sentence):
    with pytest.raises((InputError, PluginError), match=sentence):
        in_host(
            model,
            run_begin=lambda host: host.prepare_variants(),
            run_end=lambda host: host.variants([Variant([change])], lambda n, e: None),
        )


def test_an_exception_in_a_variant(model):
    def end(host):
        change = Change("scale", "attn.hook_z", 1, rows=(3, 7))
        host.variants([Variant([change])], lambda number, event: {}["missing"])

    with pytest.raises(KeyError, match="missing"):
        in_host(model, run_begin=lambda host: host.prepare_variants(), run_end=end)


def test_files(model, tmp_path):
    def report(host):
        tensors = {"w": np.arange(6.0).reshape(2, 3)}
        host.save_folder(tmp_path / "new", {"a": "text", "b": 2.5, "c": True}, tensors)
        host.save_file(tmp_path / "page.txt", b"hello")
        settings = [host.load_setting(tmp_path / "new", key) for key in "abcd"]
        return settings, host.read_tensor(tmp_path / "new" / "params.safetensors", "w")

    out, _ = in_host(model, report=report)
    settings, tensor = out["report"]
    assert settings == ["text", 2.5, True, None] and settings[2] is True
    assert tensor.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (tmp_path / "page.txt").read_bytes() == b"hello"


# --- misuse --------------------------------------------------------------------------------------


def test_a_host_outside_its_callbacks(model):
    plugin = Calls()
    model.analyze(TEXT, plugins=[plugin])
    for call in (lambda: plugin.host.rows, lambda: plugin.host.token_text(3)):
        with pytest.raises(StateError, match="outside the callbacks of plugin calls"):
            call()


def test_a_host_on_another_thread(model):
    failures = []

    def report(host):
        def other():
            try:
                host.token_text(3)
            except StateError as failure:
                failures.append(str(failure))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    in_host(model, report=report)
    assert "on another thread" in failures[0]


def test_a_view_that_is_kept_ends_the_run(model):
    kept = []
    with pytest.raises(StateError, match=r"plugin calls, hook_logits: .*keep array.copy"):
        in_host(model, event=lambda host, event: kept.append(event.tensor))
    before = kept[0].copy()
    for _ in range(3):
        model.analyze("another text altogether", plugins=["ln"])
    gc.collect()
    assert kept[0].tobytes() == before.tobytes()


def test_a_view_in_the_traceback_of_an_exception(model):
    def fail(host, event):
        view = event.tensor
        raise LookupError(view.shape)

    with pytest.raises(LookupError) as caught:
        in_host(model, event=fail)
    frame = traceback.walk_tb(caught.value.__traceback__)
    view = next(f.f_locals["view"] for f, _ in frame if "view" in f.f_locals)
    before = view.copy()
    model.analyze("another text altogether", plugins=["ln"])
    assert view.tobytes() == before.tobytes()


def test_an_event_that_is_over(model):
    kept = []
    in_host(model, event=lambda host, event: kept.append(event))
    for name in ("tensor", "rows", "before", "heads"):
        with pytest.raises(StateError, match="the event of hook_logits is over"):
            getattr(kept[0], name)


def test_a_run_and_a_close_in_a_callback(model):
    with pytest.raises(StateError, match="cannot start inside a callback"):
        in_host(model, event=lambda host, event: model.analyze("a b", plugins=["ln"]))
    other = Model(threads=1)
    out, _ = in_host(model, run_end=lambda host: str(other.analyze("a b", plugins=["ln"])))
    assert "sigma" in out["run_end"]
    closing = Model(threads=1)
    in_host(closing, event=lambda host, event: (closing.close(), gc.collect()))
    with pytest.raises(StateError, match="closed"):
        closing.analyze(TEXT, plugins=["ln"])


def test_garbage_collection_in_every_callback(model):
    everywhere = dict.fromkeys(
        ("open", "run_begin", "run_end", "report"), lambda host: gc.collect()
    )
    in_host(model, **everywhere, event=lambda host, event: gc.collect())


@pytest.mark.forks_among_threads
def test_a_fork_in_a_callback(model):
    def report(host):
        child = os.fork()
        if child == 0:
            try:
                host.token_text(3)
            except StateError:
                os._exit(7)
            os._exit(1)
        return os.waitpid(child, 0)[1]

    out, _ = in_host(model, report=report)
    assert os.waitstatus_to_exitcode(out["report"]) == 7


def test_a_resized_array_is_refused(model):
    def begin(host):
        host.axis("a", 4)
        array = host.array("x", ["a"])
        array.resize(2, refcheck=False)

    with pytest.raises(InputError, match="array x was resized"):
        in_host(model, run_begin=begin)


def test_no_plugin_is_left_behind(model):
    class Marked(Calls):
        pass

    def alive():
        gc.collect()
        return sum(isinstance(one, Marked) for one in gc.get_objects())

    before = alive()
    for _ in range(5):
        model.analyze(TEXT, plugins=[Marked(event=lambda host, event: event.tensor.sum())])
    assert alive() == before


CONLLU = """# sent_id = one
# text = The old man
1\tThe\tthe\tDET\t_\tDefinite=Def\t3\tdet\t_\t_
2\told\told\tADJ\t_\t_\t3\tamod\t_\t_
3\tman\tman\tNOUN\t_\tNumber=Sing\t0\troot\t_\t_

"""


def test_labelled_sentences(model, tmp_path):
    (tmp_path / "one.conllu").write_text(CONLLU)
    out, _ = in_host(model, report=lambda host: host.read_sentences(tmp_path / "one.conllu"))
    (sentence,) = out["report"]
    assert (sentence.id, sentence.text, sentence.start) == ("one", "The old man", 0)
    assert [word.form for word in sentence.words] == ["The", "old", "man"]
    assert sentence.words[1] == (4, 7, 2, "old", "old", "ADJ", "", "", "amod", "")


def test_phases(model):
    class Phases(Plugin):
        phases = True

        def __init__(self):
            super().__init__()
            self.seen = []

        def run_end(self, host):
            self.seen.append((host.phase, host.source, len(host.rows)))

    plugin, resting = Phases(), Life()
    editor = ablate("L1H3", "resample")
    sources = ["the old man", "a red apple she"]
    model.analyze(TEXT, plugins=[plugin, resting], interventions=editor, source=sources)
    lengths = [model.to_tokens(text).shape[1] for text in (*sources, TEXT, TEXT)]
    phases = ["source", "source", "base", "changed"]
    assert plugin.seen == list(zip(phases, [0, 1, -1, -1], lengths))
    assert resting.calls.count("run_begin") == 1


def test_writes_of_observers_are_noticed_if_the_model_checks_them():
    given = f"{plugin_file('faulty.so')}:do=write,when=open"
    Model(threads=1).analyze(TEXT, plugins=[given])
    checked = Model(threads=1, check_plugins=True)
    with pytest.raises(
        PluginError, match=r"plugin faulty wrote to what it only observes .*resid_post"
    ):
        checked.analyze(TEXT, plugins=[given])
    with pytest.raises(PluginError, match="faulty wrote"):
        checked.session(threads=1).analyze(TEXT, plugins=[given])
    checked.analyze(TEXT, plugins=[Norms])
