"""One run of plugins: inputs, batches, the beginning of text, plugins by path, mistakes."""

from __future__ import annotations

import gc
import inspect
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pythiascope
from program import GRIM, ROOT, TEXT, check_same
from pythiascope import InputError, Model, OutOfMemory, PluginError, StateError
from pythiascope.instruments.entries import Instrument, given_plugin


@pytest.fixture(scope="module")
def model() -> Model:
    return pythiascope.Model(threads=1)


# --- inputs --------------------------------------------------------------------------------------


def test_ids_in_every_form(model: Model) -> None:
    ids = model.to_tokens(TEXT)
    wanted = model.lens(TEXT)["kl"].values
    for given in (ids, ids[0], ids[0].tolist(), tuple(ids[0].tolist()), ids.astype(np.int16)):
        result = model.lens(given)
        assert np.array_equal(result["kl"].values, wanted)
        assert [t.start for t in result.tokens] == [0] * 7  # ids have no text


def test_a_batch_is_one_run(model: Model) -> None:
    texts = [TEXT, "He said", GRIM]
    batch = model.logits(texts, level="head", rows="last", target="next")
    assert batch.run.sequences == 3
    assert len(batch.tokens) == sum(len(model.to_tokens(t)[0]) for t in texts)
    assert [t.text for t in batch.tokens if t.sequence == 1] == model.to_str_tokens("He said")
    whole = "".join(texts).encode()
    assert all(whole[t.start : t.end] == t.bytes for t in batch.tokens)
    for i, text in enumerate(texts):
        alone = model.logits(text, level="head", rows="last", target="next")
        assert np.array_equal(
            batch["contributions"].values[:, i], alone["contributions"].values[:, 0], equal_nan=True
        )


def test_a_batch_of_ids_and_texts(model: Model) -> None:
    mixed = model.lens([model.to_tokens(TEXT)[0].tolist(), [5, 6]], rows="all")
    assert mixed["kl"].shape == (5, 9)
    padded = model.lens(np.array([[5, 6, 7], [8, 9, -1]]), rows="all")
    assert padded["kl"].shape == (5, 5)


def test_the_beginning_of_text(model: Model) -> None:
    plain = model.spans(GRIM)
    assert plain.run.bos
    assert plain.tokens[0].text == "<|endoftext|>"
    assert plain.notes == ("spans needs <|endoftext|> in front of the text; it was added",)
    asked = model.spans(GRIM, prepend_bos=True)
    assert asked.notes == ()
    assert asked.to_json() == plain.to_json()
    there = model.spans("<|endoftext|>" + GRIM)
    assert there.notes == ()
    assert np.array_equal(there["strength"].values, plain["strength"].values)
    ids = model.to_tokens(GRIM)[0].tolist()
    with pytest.raises(InputError, match="let them begin with 0"):
        model.spans(ids)
    assert model.spans([0, *ids])["strength"].shape == plain["strength"].shape
    assert model.lens(GRIM).notes == ()


def test_the_context(model: Model) -> None:
    long = [5] * (model.cfg.n_ctx + 1)
    with pytest.raises(InputError, match="has 513 tokens, more than the model's context of 512"):
        model.lens(long)
    with pytest.raises(InputError, match="513 tokens"):
        model.effects([5], interventions=pythiascope.patch("embed", long))
    with pytest.raises(InputError, match="513 tokens"):
        model.spans("the" + " the" * 511)
    assert model.lens(long[1:]).run.rows == 512


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"target": " Emerald City"}, "is 5 tokens"),
    ({"target": "#99999"}, "99999"),
    ({"target": 99999}, "99999"),
    ({"target": 1.5}, "a target is a text"),
    ({"target": " the\0"}, "a target is a text of one token"),
    ({"target": "\ud800"}, "surrogate"),
    ({"fit": "\ud800"}, "is not a text"),
    ({"target": [None]}, "a target is a text of one token"),
    ({"contrast": (" he", " he")}, "different"),
    ({"contrast": [(" he",)]}, "is not a pair of tokens"),
    ({"contrast": (" he", None)}, "a target is a text"),
    ({"rows": 70}, "70"),
    ({"rows": "sme"}, "rows='sme' is not"),
    ({"interventions": "L0H0"}, "is not ablate"),
    ({"rows": np.arange(3)}, "is not"),
    ({"prepend_bos": 5}, "prepend_bos=5 is not True or False"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_mistakes_have_a_sentence(model: Model, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, PluginError), match=message):
        model.lens(TEXT, **arguments)
    assert model.lens(TEXT).run.rows == 7  # the model stays usable


@pytest.mark.parametrize("text", ["", [], [[]], None, 5, {"a": 1}, ["a", 5], [-3], [[1], [-7]]])
def test_texts_that_are_none(model: Model, text: Any) -> None:
    with pytest.raises(InputError):
        model.lens(text)


# --- plugins by name and path --------------------------------------------------------------------

SOURCE = """
#include "psc_plugin.h"
#include <stddef.h>
typedef struct { int32_t times; const char *word; } fields;
static const psc_option_description options[] = {
    {"times", "2", "what the count is multiplied by", PSC_OPTION_COUNT, offsetof(fields, times), 1,
        9, NULL},
    {"class", "", "any text", PSC_OPTION_TEXT, offsetof(fields, word), 0, 0, NULL},
    {0}};
static const psc_host *host;
static fields given;
static int start(psc_context *c, const psc_host *h, void **state) {
    host = h; *state = &given;
    return h->options(c, &given);
}
static int report(psc_context *c, void *state) {
    int32_t n = 0;
    (void)state;
    host->rows(c, &n);
    return host->value_number(c, "rows", n * given.times) ||
           host->value_text(c, "word", given.word);
}
static const psc_plugin plugin = {.abi = PSC_PLUGIN_ABI, .struct_size = sizeof(psc_plugin),
    .name = "mine", .version = "1", .summary = "counts rows", .options = options, .open = start,
    .report = report};
PSC_PLUGIN_EXPORT { return &plugin; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugin")
    source, out = folder / "mine.c", folder / "libmine.so"
    source.write_text(SOURCE)
    include = ROOT / "include" / "pythiascope"
    command = ["cc", "-shared", "-fPIC", "-I", str(include), str(source), "-o", str(out)]
    subprocess.run(command, check=True)
    return out


def test_a_plugin_of_ones_own(model: Model, library: Path, tmp_path: Path) -> None:
    mine = model.plugin(library, times=3)
    assert isinstance(mine, Instrument)
    assert "What the count is multiplied by" in (mine.__doc__ or "")
    assert "counts rows" in repr(mine)
    result = mine(TEXT, class_="x, y=z")
    assert (result.values["rows"], result.values["word"]) == (21.0, "x, y=z")
    given = f"{library}:times=3,class=x\\, y=z"
    check_same(result, tmp_path, "analyze", "--text", TEXT, "--plugin", given)
    at_once = model.plugin(str(library), TEXT, times=4, target=" Oz")
    assert at_once.values["rows"] == 28.0
    several = model.analyze(TEXT, [library, (library, {"times": 5}), mine, f"{library}:times=1"])
    assert list(several.sections) == ["mine", "mine#2", "mine#3", "mine#4"]
    assert [s.values["rows"] for s in several.sections.values()] == [7.0] * 4  # they share fields


def test_options_of_a_plugin_of_ones_own(model: Model, library: Path) -> None:
    with pytest.raises(
        InputError, match="plugin mine has no option 'tiems'; its options are times"
    ):
        model.plugin(library, tiems=3)
    with pytest.raises(InputError, match="mine: times=10 is not a whole number, 1 to 9"):
        model.plugin(library, times=10)
    with pytest.raises(InputError, match="target belong to a run; pass a text, too"):
        model.plugin(library, target=" Oz")
    with pytest.raises(InputError, match="one text"):
        model.plugin(library, TEXT, GRIM)
    signature = inspect.signature(type(model.plugin(library)))
    assert list(signature.parameters)[:3] == ["text", "times", "class_"]
    assert signature.parameters["times"].default == 2


def test_files_that_are_no_plugins(model: Model, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="nowhere"):
        model.plugin(tmp_path / "nowhere.so")
    text = tmp_path / "text.so"
    text.write_text("no library")
    with pytest.raises(PluginError):
        model.plugin(text)
    with pytest.raises(InputError, match="no built-in plugin 'nowhere'"):
        model.analyze(TEXT, ["nowhere"])
    with pytest.raises(InputError, match="not of the form key=value"):
        model.analyze(TEXT, ["lens:rows"])
    wrong: Any = 5
    with pytest.raises(InputError, match="plugins=5 is not a list"):
        model.analyze(TEXT, wrong)
    with pytest.raises(InputError, match="capture=5 is not a hook point"):
        model.analyze(TEXT, capture=wrong)


def test_entries_of_plugins(model: Model) -> None:
    assert given_plugin("lens:rows=all,top=2").options == {"rows": "all", "top": "2"}
    assert given_plugin(("lens", {"top": 3})).options == {"top": "3"}
    assert given_plugin(("lens:rows=all", {"top": 3})).options == {"rows": "all", "top": "3"}
    assert model.analyze(TEXT, "lens").main.name == "lens"
    assert list(model.analyze(TEXT, []).sections) == []


# --- states --------------------------------------------------------------------------------------


def test_a_closed_model() -> None:
    model = Model()
    result = model.lens(TEXT)
    lens = model.plugin("lens")
    model.close()
    for call in (model.lens, lens, model.analyze):
        with pytest.raises(StateError, match="closed"):
            call(TEXT)
    with pytest.raises(StateError, match="closed"):
        model.weights()
    assert "lens" in str(result)
    assert result["kl"].shape == (5, 1)
    del model, call, lens
    gc.collect()
    assert result.tokens[1].text == " E"  # texts of tokens live in the model, which is kept


def test_results_survive_their_session(model: Model) -> None:
    results = [model.ln(TEXT) for _ in range(20)]
    wanted = results[0]["frozen_ln"].values.copy()
    del results[:10]
    gc.collect()
    for result in results:
        assert np.array_equal(result["frozen_ln"].values, wanted)


def test_threads_on_one_model(model: Model) -> None:
    wanted = model.logits(TEXT, level="head").to_json()
    found: list[str] = []

    def work() -> None:
        for _ in range(5):
            found.append(model.logits(TEXT, level="head").to_json())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 40


def test_an_instrument_in_a_callback_is_refused(model: Model) -> None:
    def hook(array: Any, hook: Any) -> None:
        model.lens(TEXT)

    with pytest.raises(StateError, match="callback"):
        model.run_with_hooks(TEXT, fwd_hooks=[("blocks.0.hook_resid_post", hook)])
    assert model.lens(TEXT).run.rows == 7


def test_the_cap_of_a_model() -> None:
    tight = Model(threads=1, retained_cap=1 << 16)
    calls: list[Callable[[Model], Any]] = [
        lambda m: m.attribution(GRIM, target="next"),
        lambda m: m.gradient(GRIM, target="next"),
        lambda m: m.circuit(GRIM, target="next", do="zero", edges=0),
        lambda m: m.analyze(GRIM, target="next", plugins=["gradient"]),
        lambda m: m.analyze(GRIM, plugins=["lens"], capture="blocks.*.mlp.hook_post"),
        lambda m: m.run_with_cache(GRIM, incl_bwd=True),
    ]
    for run in calls:
        with pytest.raises(OutOfMemory, match=r"retained_cap"):
            run(tight)
        with pytest.raises(OutOfMemory, match=r"retained_cap"):
            run(tight.session())
        run(tight.session(retained_cap=0))
    for wrong in (-1, 1 << 64, 2.5, "2 GiB"):
        with pytest.raises(InputError, match="retained_cap is "):
            Model(retained_cap=wrong)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="retained_cap is "):
            tight.session(retained_cap=wrong)  # type: ignore[arg-type]
