"""Means over a reference corpus: means= of attribution and circuit, and do=set_mean of pairs.

What they put in place is set again by hooks, or computed in float64.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pythiascope import InputError, Metric, Model, Pairs, PluginError, ablate

Array = npt.NDArray[Any]

TEXT = "the Emerald City of"
OTHER = "the moon was in the sky above"
POINTS = {
    "heads": "attn.hook_z",
    "heads_by_pos": "attn.hook_z",
    "neurons": "mlp.hook_post",
    "resid_pre": "hook_resid_pre",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
}


def save(path: Path, tensors: dict[str, Array]) -> Path:
    """A safetensors file of F32."""
    header, data = {}, b""
    for name, values in tensors.items():
        raw = values.astype(np.float32).tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(values.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def means_of(model: Model, texts: list[Any]) -> dict[str, Array]:
    """The mean over all rows of the texts at each point, in float64."""
    caches = [model.run_with_cache(text)[1] for text in texts]
    means = {}
    for layer in range(model.cfg.n_layers):
        for point in set(POINTS.values()):
            name = f"blocks.{layer}.{point}"
            rows = np.concatenate([cache[name][0].astype(np.float64) for cache in caches])
            means[name] = rows.mean(0)
    return means


@pytest.fixture(scope="module")
def means(model: Model) -> dict[str, Array]:
    return means_of(model, [OTHER, "He said that it was so"])


@pytest.fixture(scope="module")
def file(means: dict[str, Array], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("means") / "params.safetensors", means)


def place_of(label: str) -> tuple[int, int | None, int | None]:
    """The layer, unit and row of "L1H4", "L0N33", "L1H4 @2 'mer'" or "3_mlp_out @2 'mer'"."""
    found = re.match(r"(?:L(\d+)[HN](\d+)|(\d+)_\w+)(?: @(\d+))?", label)
    assert found
    layer, unit, other, row = (None if x is None else int(x) for x in found.groups())
    return (other if layer is None else layer), unit, row  # type: ignore[return-value]


def effect_by_hooks(
    model: Model, text: str, label: str, point: str, means: dict[str, Array], ids: list[int]
) -> float:
    """The change of z_a - z_b (or z_a) of the last row, where a hook has set the mean."""
    layer, unit, row = place_of(label)
    name = f"blocks.{layer}.{point}"
    rows = slice(None) if row is None else row

    def put(values: Array, hook: Any) -> None:
        mean = means[name].astype(np.float32)
        if unit is None:
            values[0, rows] = mean
        else:
            values[0, rows, unit] = mean[unit]

    def metric(logits: Array) -> float:
        z = logits[0, -1].astype(np.float64)
        return float(z[ids[0]] - (z[ids[1]] if ids[1] >= 0 else 0.0))

    after = model.run_with_hooks(text, fwd_hooks=[(name, put)])
    return metric(after) - metric(model(text))


def check_effects(
    model: Model, result: Any, example: Any, text: str, over: str, means: dict[str, Array]
) -> None:
    """Every exact effect of a result, or of one example of it."""
    exact, ids = result["cell_exact"], result["target_ids"].values
    got = exact.values[example][0]
    wanted = [
        effect_by_hooks(model, text, label, POINTS[over], means, list(ids[example].ravel()[:2]))
        for label in exact.coords["cells"]
    ]
    assert len(wanted) >= 8
    largest = np.abs(wanted).max()
    assert largest > 1e-2
    assert np.abs(got - wanted).max() <= 1e-5 * largest


@pytest.mark.parametrize("over", POINTS)
def test_attribution_takes_means_of_a_file(
    model: Model, means: dict[str, Array], file: Path, over: str
) -> None:
    sample = 20 if over == "neurons" else 10000
    given = {"target": " Oz", "do": "mean", "over": over, "exact": 5, "sample": sample}
    result = model.attribution(TEXT, means=str(file), **given)  # type: ignore[arg-type]
    check_effects(model, result, slice(None), TEXT, over, means)
    own = model.attribution(TEXT, **given)  # type: ignore[arg-type]
    assert not np.allclose(own["estimate"].values, result["estimate"].values)
    shared = model.attribution(Pairs([{"clean": TEXT, "target": " Oz"}]), means=str(file), **given)  # type: ignore[arg-type]
    assert np.array_equal(shared["estimate"].values[0], result["estimate"].values)


def test_estimates_are_those_of_float64(model: Model, means: dict[str, Array], file: Path) -> None:
    metric = Metric.logit(" Oz")
    _, cache = model.run_with_cache(TEXT, incl_bwd=True, metric=metric)
    result = model.attribution(TEXT, target=" Oz", do="mean", means=str(file), exact=0, sample=0)
    for layer in range(model.cfg.n_layers):
        name = f"blocks.{layer}.attn.hook_z"
        z, slope = (cache[n][0].astype(np.float64) for n in (name, name + "_grad"))
        wanted = ((means[name].astype(np.float32) - z) * slope).sum((0, 2))
        got = result["estimate"].values[0, layer]
        assert np.abs(got - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_it_is_what_ablate_does_with_the_file(model: Model, file: Path) -> None:
    result = model.attribution(
        TEXT, target=" Oz", do="mean", means=str(file), exact=0, sample=10000
    )
    exact = result["cell_exact"]
    for label in ("L0H3", "L1H4", "L3H7"):
        change = model.effects(
            TEXT, target=" Oz", interventions=ablate(label, by="mean", file=str(file))
        )
        effect = float(exact.sel(cells=label).values[0])
        assert effect == pytest.approx(float(change["dz"].values[0, -1]), abs=2e-6)


# --- sets of pairs -------------------------------------------------------------------------------

LINES: list[dict[str, Any]] = [
    {
        "clean": "Then Alice looked in the glass, and said to",
        "corrupt": "Then Tom looked in the glass, and said to",
        "target": " herself",
        "contrast": " himself",
    },
    {"clean": "The sun rose over the", "corrupt": "The moon rose over the", "target": " hill"},
]


@pytest.mark.parametrize("turn", [1, -1])
def test_effects_of_the_mean_of_a_set(model: Model, turn: int) -> None:
    means, lines = means_of(model, [line["corrupt"] for line in LINES]), LINES[::turn]
    result = model.attribution(Pairs(lines, draws=0), do="set_mean", sample=10000)
    for i, line in enumerate(lines):
        check_effects(model, result, i, line["clean"], "heads", means)


@pytest.mark.parametrize("over", ["heads_by_pos", "neurons", "resid_pre", "attn_out", "mlp_out"])
def test_effects_of_the_mean_of_one_pair(model: Model, over: str) -> None:
    # Of several pairs these places have other names, so they are left out.
    means = means_of(model, [LINES[0]["corrupt"]])
    result = model.attribution(
        Pairs(LINES[:1], draws=0), do="set_mean", over=over, exact=10, sample=10
    )
    check_effects(model, result, 0, LINES[0]["clean"], over, means)


# --- circuits ------------------------------------------------------------------------------------


def logit(model: Model, residual: Array, token: int) -> float:
    """ln_final and the unembedding, in float64."""
    centered = residual - residual.mean()
    scale = np.sqrt((centered**2).mean() + model.cfg.eps)
    normalized = centered / scale * model.ln_final_w + model.ln_final_b
    return float(normalized @ model.W_U[:, token].astype(np.float64))


def test_edges_to_the_logits_carry_means(model: Model, means: dict[str, Array], file: Path) -> None:
    token = int(model.to_single_token(" Oz"))
    _, cache = model.run_with_cache(TEXT)
    last = cache[f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"][0, -1].astype(np.float64)

    def write(sender: str) -> Array:
        """What the patched edge carries minus what its sender writes."""
        found = re.fullmatch(r"L(\d)H(\d)|(\d)_mlp_out|embed", sender)
        assert found
        if sender == "embed":
            return means["blocks.0.hook_resid_pre"] - cache["hook_embed"][0, -1]
        if found[3]:
            name = f"blocks.{found[3]}.hook_mlp_out"
            return means[name] - cache[name][0, -1]
        layer, head = int(found[1]), int(found[2])
        name = f"blocks.{layer}.attn.hook_z"
        change = means[name][head] - cache[name][0, -1, head]
        return change @ model.W_O[layer, head].astype(np.float64)

    for senders in (["embed"], ["L1H4"], ["3_mlp_out"], ["embed", "L0H3", "2_mlp_out", "L3H7"]):
        path = "+".join(f"logits<-{sender}" for sender in senders)
        result = model.circuit(TEXT, target=" Oz", do="mean", means=str(file), path=path)
        change = sum(write(sender) for sender in senders)
        wanted = logit(model, last + change, token) - logit(model, last, token)
        assert result.values["path_effect"] == pytest.approx(wanted, rel=1e-5, abs=5e-6), path


@pytest.mark.parametrize("scores", ["exact", "eap", "eap_ig"])
def test_circuits_of_a_file_are_those_of_its_prompt(
    model: Model, tmp_path: Path, scores: str
) -> None:
    file = save(tmp_path / "other.safetensors", means_of(model, [OTHER]))
    options = {"target": " Oz", "do": "mean", "scores": scores, "edges": 30, "minimal": 5}
    given = model.circuit(TEXT, means=str(file), **options)  # type: ignore[arg-type]
    prompt = model.circuit(TEXT, source=OTHER, **options)  # type: ignore[arg-type]
    for key in ("base", "source", "circuit", "complement"):
        assert given.values[key] == pytest.approx(prompt.values[key], abs=1e-5), key
    for key in ("score", "curve_value"):
        a, b = given[key].values, prompt[key].values
        assert np.nanmax(np.abs(a - b)) <= 1e-5 * np.nanmax(np.abs(b)), key
    own = model.circuit(TEXT, **options)  # type: ignore[arg-type]
    assert abs(own.values["source"] - given.values["source"]) > 1e-2


def test_circuits_of_sequential_models(tmp_path: Path) -> None:
    from program import ROOT

    with Model(ROOT / "tests/golden/parity/sequential_f32") as model:
        ids, other = [3, 41, 7, 19, 60], [3, 12, 7, 55, 60, 8]
        file = save(tmp_path / "means.safetensors", means_of(model, [other]))
        options = {"target": 5, "do": "mean", "scores": "exact", "edges": 10}
        given = model.circuit(ids, means=str(file), **options)  # type: ignore[arg-type]
        prompt = model.circuit(ids, source=[other], **options)  # type: ignore[arg-type]
        a, b = given["score"].values, prompt["score"].values
        assert np.nanmax(np.abs(a - b)) <= 1e-5 * np.nanmax(np.abs(b))


# --- refusals ------------------------------------------------------------------------------------


def test_files_that_do_not_fit(model: Model, means: dict[str, Array], tmp_path: Path) -> None:
    def refused(tensors: dict[str, Array], message: str) -> None:
        file = save(tmp_path / "bad.safetensors", tensors)
        calls: list[Callable[..., Any]] = [model.attribution, model.circuit]
        for call in calls:
            with pytest.raises((InputError, PluginError), match=message):
                call(TEXT, target=" Oz", do="mean", means=str(file))

    name = "blocks.1.attn.hook_z"
    refused({k: v for k, v in means.items() if k != name}, rf'no tensor .*"?{name}')
    refused(means | {name: means[name][:, :-1]}, r"means=.* has 248 numbers, but the point has 256")
    refused(means | {name: means[name] * np.nan}, r"means=.*hook_z.* not finite")
    with pytest.raises(PluginError, match="means= is of do=mean"):
        model.circuit(TEXT, target=" Oz", do="zero", means="x")
    with pytest.raises(PluginError, match="means= is of do=mean, not of do=zero"):
        model.attribution(TEXT, target=" Oz", means="x")
    with pytest.raises(PluginError, match="edges have no mean"):
        model.attribution(TEXT, target=" Oz", do="mean", over="edges", means="x")


def test_a_source_prompt_beside_the_file_is_refused(model: Model, file: Path) -> None:
    for call in (model.attribution, model.circuit):
        with pytest.raises(InputError, match="source= is not used"):
            call(TEXT, target=" Oz", do="mean", means=str(file), source=OTHER)


def test_the_files_of_the_plugin_means(model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    documents = [OTHER, "He said that it was so"]
    model.corpus(documents, [f"means:save={folder},from=0"], progress=False)
    file = save(tmp_path / "own.safetensors", means_of(model, documents))
    for call in (model.attribution, model.circuit):
        saved, own = (
            call(TEXT, target=" Oz", do="mean", means=str(path))
            for path in (folder / "params.safetensors", file)
        )
        key = "estimate" if "estimate" in list(saved) else "score"
        a, b = saved[key].values, own[key].values
        assert np.nanmax(np.abs(a - b)) <= 1e-5 * np.nanmax(np.abs(b))
