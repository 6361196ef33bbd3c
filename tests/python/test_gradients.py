"""Gradients: run_with_cache(incl_bwd=True), bwd_hooks, and metrics."""

import re

import numpy as np
import pytest
import pythiascope
from program import run_program
from pythiascope import InputError, Metric, StateError, UnknownHook, read_folder

TEXT = "The sun rose over the hill."
BATCH = [[5, 77, 301, 9, 12, 40], [8, 9, 7]]


def nothing(array, hook):
    pass


def test_every_tensor_has_a_gradient(model):
    _, cache = model.run_with_cache(TEXT, incl_bwd=True)
    names = [name for name in cache if not name.endswith("_grad")]
    assert [name for name in cache if name.endswith("_grad")] == [name + "_grad" for name in names]
    for name in names:
        assert cache[name + "_grad"].shape == cache[name].shape, name
        assert name + "_grad" in cache
    assert np.isfinite(cache["blocks.0.attn.hook_attn_scores_grad"]).all()
    assert cache.metric == pytest.approx(model(TEXT, "loss"), rel=1e-6)


def test_a_gradient_is_the_slope(model):
    metric = Metric.logit(" sun") - 0.5 * Metric.log_prob(" hill", pos=4)
    _, cache = model.run_with_cache(TEXT, incl_bwd=True, metric=metric)
    random = np.random.default_rng(3)
    for name in ("hook_embed", "blocks.2.attn.hook_v", "blocks.3.mlp.hook_pre"):
        gradient = cache[name + "_grad"].astype(np.float64)
        step = random.normal(size=gradient.shape).astype(np.float32) * 1e-2

        def value(by, name=name, step=step):
            logits = model.run_with_hooks(TEXT, fwd_hooks=[(name, lambda a, hook: a + by * step)])
            row = logits[0, 4].astype(np.float64)
            log_prob = row[model.to_single_token(" hill")] - np.log(np.exp(row).sum())
            return logits[0, -1, model.to_single_token(" sun")] - 0.5 * log_prob

        slope = (value(1.0) - value(-1.0)) / 2
        assert slope == pytest.approx((gradient * step).sum(), rel=2e-2, abs=1e-4), name
    row = model(TEXT)[0]
    lse = np.log(np.exp(row[4].astype(np.float64)).sum())
    expected = row[-1, model.to_single_token(" sun")]
    expected -= 0.5 * (row[4, model.to_single_token(" hill")] - lse)
    assert cache.metric == pytest.approx(expected, rel=1e-5)


def test_sum_adds_metrics(model):
    rows = [Metric.logit(3, pos=i) for i in range(3)]
    _, first = model.run_with_cache(TEXT, incl_bwd=True, metric=sum(rows))
    _, second = model.run_with_cache(TEXT, incl_bwd=True, metric=rows[0] + rows[1] + rows[2])
    assert first.metric == second.metric
    assert np.array_equal(first["hook_embed_grad"], second["hook_embed_grad"])
    with pytest.raises(TypeError):
        1 + rows[0]


def test_random_edges_are_drawn_from_those_that_exist(model):
    result = model.attribution(TEXT, over="edges", sample=5)
    places = np.isfinite(result["estimate"][0]).sum()
    words = " ".join(str(result).split())
    assert f"5 random places of {places:,} beside their exact effects" in words


@pytest.mark.parametrize("order", ["score", "greedy"])
def test_a_threshold_above_all_scores_says_so(model, order):
    result = model.circuit(TEXT, target=" Oz", do="zero", order=order, threshold=1e9)
    assert result.values["circuit_edges"] == 0
    words = " ".join(str(result).split())
    said = re.search(
        r"keeps no edge: the first in order, (\S+), has the score (\S+), and thr", words
    )
    assert said, words
    receiver, sender = said[1].split("<-")
    score = result["score"].sel(receivers=receiver, senders=sender)
    assert float(said[2]) == pytest.approx(float(score), rel=1e-3)
    if order == "score":
        assert abs(float(score)) == np.nanmax(abs(result["score"].values))


def test_one_place_is_not_called_several(model):
    words = " ".join(str(model.attribution(TEXT, exact=1, sample=1)).split())
    assert "The largest estimate beside the exact effect: " in words
    assert "1 random place of 32 beside the exact effect: " in words


def test_a_sequence_has_its_own_gradient_in_a_batch(model):
    both = Metric.logit(3, batch=0) + Metric.logit(4, pos=1, batch=1)
    _, cache = model.run_with_cache(BATCH, incl_bwd=True, metric=both)
    _, first = model.run_with_cache(BATCH[0], incl_bwd=True, metric=Metric.logit(3))
    _, second = model.run_with_cache(BATCH[1], incl_bwd=True, metric=Metric.logit(4, pos=1))
    for name in cache:
        if not name.endswith("_grad"):
            continue
        a, b = cache[name][0], cache[name][1]
        assert np.array_equal(a, first[name][0]), name
        inner = second[name][0]
        place = tuple(slice(n) for n in inner.shape)
        assert np.array_equal(b[place], inner), name


def test_the_divergence_from_itself_has_no_gradient(model):
    logits = model(TEXT)[0, -1]
    metric = Metric.kl(logits)
    _, cache = model.run_with_cache(TEXT, names_filter="hook_embed", incl_bwd=True, metric=metric)
    assert list(cache) == ["hook_embed", "hook_embed_grad"]
    assert cache.metric == pytest.approx(0.0, abs=1e-9)
    assert np.abs(cache["hook_embed_grad"]).max() < 1e-6


def test_recomputing_gives_the_same_bits(model):
    chosen = {"names_filter": ["hook_embed", "blocks.1.attn.hook_q"], "incl_bwd": True}
    _, kept = model.run_with_cache(TEXT, **chosen)
    _, again = model.run_with_cache(TEXT, recompute=True, **chosen)
    assert again.metric == kept.metric
    for name in kept:
        assert np.array_equal(again[name], kept[name]), name
    edit = ("blocks.1.attn.hook_q", lambda array, hook: array * 2)
    with model.hooks([edit]):
        _, kept = model.run_with_cache(TEXT, **chosen)
        _, again = model.run_with_cache(TEXT, recompute=True, **chosen)
    for name in kept:
        assert np.array_equal(again[name], kept[name]), name
    with pytest.raises(InputError, match="recompute needs incl_bwd=True"):
        model.run_with_cache(TEXT, recompute=True)


def test_the_programs_metric_is_in_its_results(model, tmp_path):
    options = (
        "--target",
        " hill",
        "--metric",
        "log_prob",
        "--plugin",
        "ln",
        "--out",
        str(tmp_path / "r"),
    )
    run_program("analyze", "--text", TEXT, *options)
    chosen = {"names_filter": "hook_embed", "incl_bwd": True}
    _, cache = model.run_with_cache(TEXT, metric=Metric.log_prob(" hill"), **chosen)
    section = read_folder(tmp_path / "r").sections["metric"]
    assert section.values["value"] == cache.metric


def test_positions_are_chosen(model):
    chosen = {"names_filter": "blocks.*.attn.hook_pattern", "incl_bwd": True}
    _, whole = model.run_with_cache(TEXT, **chosen)
    _, last = model.run_with_cache(TEXT, pos_slice=-2, **chosen)
    name = "blocks.1.attn.hook_pattern_grad"
    assert np.array_equal(last[name], whole[name][:, :, -2:-1])
    assert last.apply_slice_to_batch_dim(0).metric == last.metric


def test_hooks_see_gradients_backward(model):
    seen = []
    metric = Metric.logit(" sun")
    _, cache = model.run_with_cache(TEXT, incl_bwd=True, metric=metric)

    def note(array, hook):
        seen.append(hook.name)
        assert np.array_equal(array, cache[hook.name + "_grad"])

    hooks = [(lambda name: name.endswith("resid_post"), note), ("blocks.0.attn.hook_pattern", note)]
    out = model.run_with_hooks(TEXT, bwd_hooks=hooks, metric=metric)
    assert np.array_equal(out, model(TEXT))
    layers = range(model.cfg.n_layers - 1, -1, -1)
    expected = [f"blocks.{layer}.hook_resid_post" for layer in layers]
    assert seen == [*expected, "blocks.0.attn.hook_pattern"]


def test_a_changed_gradient_goes_on(model):
    got = []
    last = f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"
    keep = ("hook_embed", lambda array, hook: got.append(array.copy()))
    for by in (1.0, 2.0):
        scale = (last, lambda array, hook, by=by: array * np.float32(by))
        model.run_with_hooks(TEXT, bwd_hooks=[scale, keep], return_type=None)
    assert np.array_equal(got[1], 2 * got[0])


def test_an_edit_is_a_constant_for_those_who_say_so(model):
    """A frozen pattern: no gradient reaches the queries, nor the scores; values keep theirs."""
    name = "blocks.1.attn.hook_pattern"
    got = {}

    def keep(array, hook):
        got[hook.name] = array.copy()

    def gradients(*bwd):
        got.clear()
        places = ["blocks.1.attn.hook_q", "blocks.1.attn.hook_v", "blocks.1.attn.hook_attn_scores"]
        freeze = (name, lambda array, hook: array * np.float32(0.5))
        hooks = [*bwd, *((place, keep) for place in places)]
        model.run_with_hooks(TEXT, fwd_hooks=[freeze], bwd_hooks=hooks, return_type=None)
        return [got[place] for place in places]

    q, v, scores = gradients()
    assert all(np.abs(one).max() > 0 for one in (q, v, scores))
    frozen_q, frozen_v, frozen_scores = gradients((name, lambda array, hook: array * 0))
    assert not frozen_q.any()
    assert not frozen_scores.any()
    assert np.array_equal(frozen_v, v)


def test_a_knockout_has_a_gradient(model):
    cut = pythiascope.knockout("L1H*", keys="1-2", rows="4-6")
    chosen = {"names_filter": ["hook_embed", "blocks.1.attn.hook_attn_scores"], "incl_bwd": True}
    _, cache = model.run_with_cache(TEXT, interventions=cut, **chosen)
    scores = cache["blocks.1.attn.hook_attn_scores_grad"]
    assert not scores[0, :, 4:7, 1:3].any()
    assert scores[0, :, 4:7, 3].any()
    _, plain = model.run_with_cache(TEXT, **chosen)
    assert not np.array_equal(plain["hook_embed_grad"], cache["hook_embed_grad"])


def test_added_hooks_wait_for_a_metric(model):
    seen = []
    model.add_hook("hook_embed", lambda array, hook: seen.append(hook.name), dir="bwd")
    try:
        model(TEXT)
        assert seen == []
        model.run_with_cache(TEXT, names_filter="hook_embed", incl_bwd=True)
        assert seen == ["hook_embed"]
        model.reset_hooks(direction="fwd")
        model.run_with_cache(TEXT, names_filter="hook_embed", incl_bwd=True)
        assert len(seen) == 2
    finally:
        model.reset_hooks()
    model.run_with_cache(TEXT, names_filter="hook_embed", incl_bwd=True)
    assert len(seen) == 2


def test_a_kept_gradient_is_refused(model):
    kept = []
    with pytest.raises(StateError, match="kept a view"):
        model.run_with_hooks(TEXT, bwd_hooks=[("hook_embed", lambda a, hook: kept.append(a))])
    kept.clear()


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (Metric.logit(3, pos=50), "pos"),
        (Metric.logit(3, batch=1), "batch"),
        (Metric.logit(10**6), "token"),
        (Metric.logit("several tokens here"), "pass a text of one token"),
        (Metric.kl([1.0, 2.0]), "logits are 2"),
        (Metric(), "no terms"),
        (np.sum, "a metric is a Metric"),
    ],
)
def test_wrong_metrics(model, metric, words):
    with pytest.raises(InputError, match=words):
        model.run_with_cache(TEXT, incl_bwd=True, metric=metric)


def test_wrong_calls(model):
    with pytest.raises(InputError, match="incl_bwd"):
        model.run_with_cache(TEXT, metric=Metric.loss())
    with pytest.raises(InputError, match="one row"):
        Metric.kl([[1.0]])
    with pytest.raises(InputError, match="at least two tokens"):
        model.run_with_cache([5], incl_bwd=True)
    with pytest.raises(UnknownHook):
        model.run_with_hooks(TEXT, bwd_hooks=[("hook_embde", nothing)])
    with pytest.raises(InputError, match="stop_at_layer"):
        model.run_with_cache(TEXT, incl_bwd=True, stop_at_layer=1)
    assert "2 terms" in repr(Metric.logit(1) - Metric.logit(2))
