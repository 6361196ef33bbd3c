"""Interventions: made and checked early, combined, numbered with their source prompts."""

from __future__ import annotations

import gc
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pythiascope
from neox import read_tensors, write_tensors
from program import TEXT, check_same, run_program
from pythiascope import InputError, Model, PluginError, ablate, knockout, patch, scale, steer
from pythiascope.instruments.interventions import Combined, Intervention, Plan, combined

SUN, MOON = "the sun rose", "the moon rose"


@pytest.fixture(scope="module")
def model() -> Model:
    return pythiascope.Model(threads=1)


def test_what_an_intervention_says() -> None:
    one = ablate(["L2H3", "0_mlp_out"], by="mean", rows=range(1, 4), heads=0)
    assert one.kind == "ablate"
    assert one.options == {"at": "L2H3+0_mlp_out", "by": "mean", "rows": "1-3", "heads": "0"}
    assert repr(one) == "ablate('L2H3+0_mlp_out', by='mean', rows='1-3', heads='0')"
    assert repr(patch("L1H1", MOON)) == "patch('L1H1', source='the moon rose')"
    assert scale("embed").options == {"at": "embed"}
    assert knockout("L*H*", (1, 2), layers=1).options == {
        "at": "L*H*",
        "keys": "1-2",
        "layers": "1",
    }


def test_they_combine() -> None:
    a, b, d = ablate("L0H0"), scale("L0H1", 2.0), patch("L1H1", MOON)
    both = a + b
    assert isinstance(both, Combined)
    assert [one.kind for one in both + d] == ["ablate", "scale", "patch"]
    assert [one.kind for one in d + both] == ["patch", "ablate", "scale"]
    assert list([a] + b) == [a, b]  # noqa: RUF005
    assert list(a + [b, d]) == [a, b, d]  # noqa: RUF005
    assert list(both + both) == [a, b, a, b]
    assert combined(()) == ()
    assert repr(both) == "ablate('L0H0') + scale('L0H1', alpha='2.0')"
    for wrong in ("L0H0", [1], 5, [a, "b"], None):
        with pytest.raises(InputError, match="is not ablate"):
            combined(wrong)  # type: ignore[arg-type]


BAD: list[tuple[Callable[[], Intervention], str]] = [
    (lambda: ablate("L2"), "at='L2' is not a place; write one like L0H3"),
    (lambda: ablate(""), "at='' is not a place"),
    (lambda: ablate([]), "at is empty"),
    (lambda: ablate("L0H0+nothing"), "at='nothing'"),
    (lambda: ablate("blocks.0.hook_nothing"), "is not a place"),
    (lambda: ablate(3), "at=3 is not a place"),  # type: ignore[arg-type]
    (lambda: ablate("L0H0", by="median"), "by='median' is not one of zero"),  # type: ignore[arg-type]
    (lambda: ablate("L0H0", source=MOON), "needs by='resample', not by='zero'"),
    (lambda: ablate("L0H0", file="x"), "needs by='mean'"),
    (lambda: ablate("L0H0", rows="some"), "rows='some'"),
    (lambda: ablate("L0H0", by="resample", source=0), "source=0"),
    (lambda: scale("L0H0", float("nan")), "alpha=nan"),
    (lambda: scale("L0H0", "half"), "alpha='half'"),  # type: ignore[arg-type]
    (lambda: steer("L0H0", [1.0], file="x"), "a vector, a file, or the prompts"),
    (lambda: steer("L0H0", [1.0], plus=SUN), "a vector, a file, or the prompts"),
    (lambda: steer("L0H0", [float("inf")]), "not finite"),
    (lambda: steer("L0H0", []), "the vector is empty"),
    (lambda: steer("L0F1", plus=SUN, sae="x"), "or a latent with sae"),
    (lambda: scale("L0H0", sae="x"), "write one like L3F12 with sae="),
    (lambda: scale("L0F3"), "is not a place"),
    (lambda: knockout("embed", 1), "write one like L0H3, L0H"),
    (lambda: knockout("L0H0", -2), "keys=-2"),
    (lambda: patch("L0H0", source=-1), "source=-1"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), BAD)
def test_mistakes_are_found_when_they_are_made(
    make: Callable[[], Intervention], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)


def test_the_run_knows_the_model(model: Model) -> None:
    with pytest.raises(PluginError, match=r"at=L9H0 is not a component of this model"):
        model.effects(TEXT, interventions=ablate("L9H0"))
    with pytest.raises(InputError, match="source= is not used"):
        model.lens(TEXT, source=MOON)
    for call in (model.circuit, model.attribution):
        with pytest.raises(InputError, match="source= is not used"):
            call(SUN, target="next", do="zero", source=MOON)
    several: Any = [MOON, SUN]
    with pytest.raises(InputError, match="list of prompts; give one prompt"):
        model.effects(SUN, interventions=patch("L1H1", several))
    with pytest.raises(pythiascope.PythiascopeError, match="source"):
        model.effects(SUN, interventions=patch("L1H1", 3), source=MOON)
    with pytest.raises(pythiascope.PythiascopeError, match="sweep"):
        model.sweep(TEXT, interventions=ablate("L1H1"))


# --- numbers of source prompts -------------------------------------------------------------------


def test_source_prompts_are_numbered_once(model: Model) -> None:
    ids = [int(i) for i in model.to_tokens(MOON)[0]]
    given = (
        patch("L1H1", MOON) + patch("L1H2", ids) + patch("L1H3", "a star rose") + patch("L1H4", 1)
    )
    plan = Plan(model._opened, given, source=[SUN])
    assert [options.get("source") for _, options in plan] == ["2", "2", "3", None]
    assert [p.text for p in plan.prompts] == [SUN.encode(), MOON.encode(), b"a star rose"]
    assert plan.longest == max(len(p) for p in plan.prompts)
    assert bool(plan)
    assert not Plan(model._opened)


def test_ids_as_a_source(model: Model) -> None:
    ids = model.to_tokens(MOON)[0]
    by_text = model.effects(SUN, interventions=patch("1_mlp_out", MOON))
    for given in (ids, ids.tolist(), np.asarray(ids, np.int32)):
        by_ids = model.effects(SUN, interventions=patch("1_mlp_out", given))
        assert np.array_equal(by_ids["kl"], by_text["kl"])
    numbered = model.effects(SUN, source=ids, interventions=patch("1_mlp_out"))
    assert np.array_equal(numbered["kl"], by_text["kl"])


# --- what they do --------------------------------------------------------------------------------


def test_effects_report_what_changed(model: Model) -> None:
    before, after = model(TEXT)[0, -1], None
    result = model.effects(TEXT, target=" the", interventions=ablate("L2H3"))
    logits = model.analyze(TEXT, capture="hook_logits", interventions=ablate("L2H3"))["hook_logits"]
    after = logits.values[-1]
    token = model.to_single_token(" the")
    wanted = float(after[token]) - float(before[token])
    assert float(result["dz"].isel(targets=0, rows=0)) == pytest.approx(wanted, abs=1e-6)
    assert abs(wanted) > 1e-3


def test_a_vector_is_a_file_for_the_run(model: Model, tmp_path: Path) -> None:
    vector = np.linspace(-1, 1, model.cfg.d_model).astype(np.float32)
    head = json.dumps(
        {"v": {"dtype": "F32", "shape": [len(vector)], "data_offsets": [0, vector.nbytes]}}
    )
    file = tmp_path / "v.safetensors"
    file.write_bytes(len(head).to_bytes(8, "little") + head.encode() + vector.tobytes())
    place = "blocks.1.hook_resid_pre"
    wanted = model.effects(TEXT, interventions=steer(place, file=file, tensor="v", alpha=2.0))
    change = steer(place, vector, alpha=2.0)
    for _ in range(2):
        found = model.effects(TEXT, interventions=change)
        assert np.array_equal(found["kl"], wanted["kl"])
    name = change.options["file"]
    assert os.path.exists(name)
    del change, found
    gc.collect()
    assert not os.path.exists(name)


def write_dictionary(folder: Path, n: int, point: str) -> dict[str, np.ndarray[Any, Any]]:
    """A random SAE of 40 latents in SAELens's layout."""
    rng = np.random.default_rng(7)
    tensors = {
        "W_enc": rng.normal(size=(n, 40)) / n**0.5,
        "b_enc": rng.normal(size=40) / 10,
        "W_dec": rng.normal(size=(40, n)) / n**0.5,
        "b_dec": rng.normal(size=n) / 10,
    }
    tensors = {name: value.astype(np.float32) for name, value in tensors.items()}
    folder.mkdir()
    write_tensors(folder / "sae_weights.safetensors", tensors)
    config = {"architecture": "standard", "d_in": n, "d_sae": 40, "hook_name": point}
    (folder / "cfg.json").write_text(json.dumps(config))
    return tensors


def test_latents_of_a_dictionary(model: Model, program: str, tmp_path: Path) -> None:
    """What a hook that encodes the row itself makes of the logits, and the program's bits."""
    place, text, folder = "blocks.1.hook_resid_pre", "once upon a time", tmp_path / "sae"
    w = write_dictionary(folder, model.cfg.d_model, place)
    ids = [3, 17]

    def edit(x: Any, hook: Any) -> Any:
        f = np.maximum((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"], 0)[..., ids]
        return x + (factor - 1) * f @ w["W_dec"][ids]

    for factor, change in [
        (0.0, ablate("L1F3+L*F17", sae=folder)),
        (2.5, scale(["F17", "F3"], 2.5, sae=str(folder))),
    ]:
        found = model.analyze(text, capture="hook_logits", interventions=change)["hook_logits"]
        wanted = model.run_with_hooks(text, fwd_hooks=[(place, edit)])
        assert np.abs(found.values - np.asarray(wanted)[0]).max() < 1e-4
        kind, at = change.kind, change.options["at"]
        option = f"{at}:sae={folder}" + (f",alpha={factor}" if factor else "")
        (tmp_path / kind).mkdir()
        result = model.effects(text, interventions=change)
        check_same(result, tmp_path / kind, "analyze", "--text", text, f"--{kind}", option)


def test_a_feature_of_a_dictionary_is_the_vector_alone(
    model: Model, program: str, tmp_path: Path
) -> None:
    """One row of a decoder [features, d_model], also of [1, features, d_model] and of f16."""
    place, text = "blocks.1.hook_resid_pre", "once upon a time"
    decoder = np.random.default_rng(4).normal(size=(8, model.cfg.d_model)).astype(np.float16)
    for shape in (decoder.shape, (1, *decoder.shape)):
        write_tensors(tmp_path / "sae", {"W_enc": decoder[:, :5], "W_dec": decoder.reshape(shape)})
        wanted = model.analyze(
            text, capture="hook_logits", interventions=steer(place, decoder[3].astype(np.float32))
        )["hook_logits"].values
        change = steer(place, file=tmp_path / "sae", tensor="W_dec", index=3)
        found = model.analyze(text, capture="hook_logits", interventions=change)["hook_logits"]
        assert np.array_equal(found.values, wanted)
        option = f"{place}:file={tmp_path / 'sae'},tensor=W_dec,index=3"
        out = tmp_path / f"out{len(shape)}"
        run_program(
            "analyze",
            "--text",
            text,
            "--steer",
            option,
            "--capture",
            "hook_logits",
            "--out",
            str(out),
        )
        written = read_tensors(out / "tensors.safetensors")["hook_logits"]
        assert np.array_equal(written, wanted)
        mean = steer(place, file=tmp_path / "sae", tensor="W_dec")
        rows = decoder.astype(np.float64).mean(0).astype(np.float32)
        assert np.array_equal(
            model.effects(text, interventions=mean)["kl"],
            model.effects(text, interventions=steer(place, rows))["kl"],
        )
    write_tensors(tmp_path / "one", {"decoder": decoder[None]})
    only = model.effects(text, interventions=steer(place, file=tmp_path / "one", index=7))
    alone = model.effects(text, interventions=steer(place, decoder[7].astype(np.float32)))
    assert np.array_equal(only["kl"], alone["kl"])


@pytest.mark.parametrize(
    ("tensor", "index", "message"),
    [
        ("W_dec", 8, "has the entries 0 to 7, and no 8"),
        ("W_dec", -1, "index=-1"),
        ("W_dec", "last", "index=last"),
        ("b", 0, "is one vector"),
        ("W_enc", 0, "takes 256"),
        ("W", 0, 'no tensor "W", only "W_dec", "W_enc", "b"'),
        (None, 0, 'no tensor "blocks.1.hook_resid_pre", only'),
    ],
)
def test_a_feature_that_is_not_there(
    model: Model, tmp_path: Path, tensor: str | None, index: Any, message: str
) -> None:
    values = np.zeros((8, model.cfg.d_model), np.float32)
    write_tensors(tmp_path / "sae", {"W_dec": values, "W_enc": values[:, :5], "b": values[0]})
    change = steer("blocks.1.hook_resid_pre", file=tmp_path / "sae", tensor=tensor, index=index)
    with pytest.raises(pythiascope.PythiascopeError, match=re.escape(message)):
        model.effects(TEXT, interventions=change)


@pytest.mark.parametrize(
    ("place", "shape"), [("L1H2", (32,)), ("blocks.1.attn.hook_z", (8, 32)), ("0_mlp_out", (256,))]
)
def test_vectors_of_places(model: Model, place: str, shape: tuple[int, ...]) -> None:
    vector = np.ones(shape)
    result = model.effects(TEXT, interventions=steer(place, vector))
    assert result["kl"].values[0] > 0
    with pytest.raises(pythiascope.PythiascopeError):
        model.effects(TEXT, interventions=steer(place, np.ones(5)))


def test_a_batch_is_changed_in_each_sequence(model: Model) -> None:
    texts = [SUN, "the Emerald City of", "He lit the lamp"]
    change = ablate("L1H*", by="mean") + knockout("L2H0", 0, rows=2)
    batch = model.effects(texts, target="next", rows="all", interventions=change)
    at = 0
    for text in texts:
        alone = model.effects(text, target="next", rows="all", interventions=change)
        n = len(alone.tokens)
        if text == texts[0]:
            assert n < len(batch.tokens)
        # a mean is over all rows of the run, so only the knock-out would agree alone
        assert batch["kl"].values[at : at + n].shape == alone["kl"].values.shape
        at += n
    only = knockout("L2H0", 0, rows=2)
    batch = model.effects(texts, rows="all", interventions=only)
    whole = np.concatenate(
        [model.effects(t, rows="all", interventions=only)["kl"].values for t in texts]
    )
    assert np.array_equal(batch["kl"].values, whole)


def test_every_instrument_takes_them(model: Model) -> None:
    change: Any = ablate("L1H1")
    for name in ("logits", "ln", "mlp", "lens", "sampling", "frozen", "graph", "edges", "roles",
                 "neurons", "attention", "spans", "partition"):  # fmt: skip
        try:
            result = getattr(model, name)(TEXT, interventions=change)
        except pythiascope.PythiascopeError as error:
            assert "edit" in str(error) or "changed" in str(error), f"{name}: {error}"
        else:
            assert list(result.sections) == ["ablate", "effects", name]


# --- passes, caches and generation ---------------------------------------------------------------

CHANGES = [
    (ablate("L1H*"), ()),
    (ablate("1_mlp_out", by="mean") + knockout("L2H0", 0, rows=2), ()),
    (patch("blocks.1.hook_resid_pre", MOON), ()),
    (patch("L1H1", 2) + scale("L0H0", 2.0), [SUN, MOON]),
]


@pytest.mark.parametrize(("change", "source"), CHANGES)
def test_a_pass_is_changed(model: Model, change: Any, source: Any) -> None:
    points = ["hook_logits", "blocks.*.hook_resid_post"]
    wanted = model.analyze(SUN, [], capture=points, interventions=change, source=source)
    logits = model(SUN, interventions=change, source=source)
    assert np.array_equal(logits[0], wanted["hook_logits"].values)
    assert not np.array_equal(logits, model(SUN))
    again, cache = model.run_with_cache(SUN, interventions=change, source=source)
    assert np.array_equal(again, logits)
    for layer in range(4):
        name = f"blocks.{layer}.hook_resid_post"
        assert np.array_equal(cache[name][0], wanted[name].values)
    assert np.array_equal(
        model(SUN)[0], model.analyze(SUN, [], capture="hook_logits")["hook_logits"]
    )


def test_hooks_see_the_changed_pass(model: Model) -> None:
    seen: dict[str, Any] = {}

    def keep(array: Any, hook: Any) -> None:
        seen[hook.name] = array.copy()

    def halve(array: Any, hook: Any) -> Any:
        return array * 0.5

    name = "blocks.1.attn.hook_z"
    hooks: Any = [
        (name, keep),
        ("blocks.1.attn.hook_result", keep),
        ("blocks.2.hook_mlp_out", halve),
    ]
    found = model.run_with_hooks(SUN, fwd_hooks=hooks, interventions=ablate("L1H2"))
    assert seen[name][0, :, 2].any()  # a hook at the same place comes before the intervention
    assert not seen["blocks.1.attn.hook_result"][0, :, 2].any()
    wanted = model(SUN, interventions=ablate("L1H2") + scale("2_mlp_out", 0.5))
    assert np.array_equal(found, wanted)
    with pytest.raises(ZeroDivisionError):
        model.run_with_hooks(
            SUN, fwd_hooks=[(name, lambda array, hook: 1 // 0)], interventions=ablate("L1H2")
        )
    assert np.array_equal(model(SUN, interventions=ablate("L1H2")).shape, found.shape)


def test_a_batch_of_passes_is_changed(model: Model) -> None:
    change = ablate("L1H2") + knockout("L2H0", 0, rows=1)
    logits = model([SUN, "the Emerald City of"], interventions=change)
    for i, text in enumerate([SUN, "the Emerald City of"]):
        alone = model(text, interventions=change)[0]
        assert np.array_equal(logits[i, : len(alone)], alone)


def test_generation_is_changed(model: Model) -> None:
    given = ["--text", SUN, "--n", "12", "--ablate", "L1H*", "--source", MOON]
    given += ["--patch", "2_mlp_out"]
    change = ablate("L1H*") + patch("2_mlp_out", MOON)
    text = model.generate(SUN, 12, interventions=change, with_prompt=False)
    assert run_program("generate", *given).rstrip("\n").endswith(text)
    assert text != model.generate(SUN, 12, with_prompt=False)
    pieces = model.generate(SUN, 12, interventions=change, stream=True)
    assert "".join(pieces) == text
    sampled: dict[str, Any] = {"temperature": 0.8, "seed": 3, "interventions": ablate("L1H*")}
    both = model.generate([SUN, MOON], 5, with_prompt=False, **sampled)
    alone = [model.generate(t, 5, with_prompt=False, **sampled) for t in (SUN, MOON)]
    assert both == alone


def test_passes_refuse_what_does_not_fit(model: Model) -> None:
    calls: list[Any] = [model, model.run_with_cache, model.generate]
    for call in calls:
        with pytest.raises(InputError, match="is not ablate"):
            call(SUN, interventions="L0H0")
        with pytest.raises(InputError, match="source= is not used"):
            call(SUN, source=MOON)
        with pytest.raises(InputError, match="source= is not used"):
            call(SUN, source=MOON, interventions=ablate("L0H0"))
    with pytest.raises(pythiascope.StateError):
        model(SUN, stop_at_layer=2, interventions=ablate("L0H0"))


def test_a_source_prompt_of_ids_that_needs_bos_is_named(model: Model) -> None:
    with pytest.raises(InputError, match=r"^source prompt 1: spans needs the beginning-of-text"):
        model.spans(SUN, interventions=patch("L1H1", [843, 508, 939]))
    with pytest.raises(InputError, match=r"^spans needs the beginning-of-text"):
        model.spans([843, 508, 939])
