"""The decompositions of a cache, against sums in plain NumPy over the reference's tensors.

Everything here is computed from a cache that the reference model made, so that only the
decompositions are under test. Axes and labels are TransformerLens's.
"""

import neox
import numpy as np
import pytest
from pythiascope import ActivationCache, InputError, Model, OutOfMemory, Slice, UnknownHook

IDS = [[3, 14, 15, 9, 26], [5, 35, 8, 9, 7]]
LAYERS, HEADS, NEURONS = 3, 3, 40
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module", params=["parallel", "sequential"])
def setting(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("residual") / request.param
    neox.write_model(folder, parallel=request.param == "parallel")
    reference = neox.Reference(folder)
    runs = [reference.run(ids) for ids in IDS]
    wide = {name: np.stack([run[name] for run in runs]) for name in runs[0]}
    model = Model(folder, cache=False)
    narrow = {
        name: array.astype(np.float32) for name, array in wide.items() if "result" not in name
    }
    return ActivationCache(narrow, model), wide, reference


def same(found, expected):
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, **CLOSE)


def centered(x):
    return x - x.mean(axis=-1, keepdims=True)


def head_writes(wide, layers):
    return [
        wide[f"blocks.{layer}.attn.hook_result"][:, :, head]
        for layer in range(layers)
        for head in range(HEADS)
    ]


def neuron_writes(wide, reference, layers, neurons=range(NEURONS)):
    return [
        wide[f"blocks.{layer}.mlp.hook_post"][..., n, None] * reference.weight("W_out", layer)[n]
        for layer in range(layers)
        for n in neurons
    ]


@pytest.mark.parametrize("layer", [None, -1, 3, 2, 0])
def test_accumulated_resid(setting, layer):
    cache, wide, _ = setting
    stack, labels = cache.accumulated_resid(layer, return_labels=True)
    last = 3 if layer in (None, -1) else layer
    names = [f"blocks.{i}.hook_resid_pre" for i in range(min(last + 1, 3))]
    expected_labels = [f"{i}_pre" for i in range(min(last + 1, 3))]
    if last == 3:
        names.append("blocks.2.hook_resid_post")
        expected_labels.append("final_post")
    assert labels == expected_labels
    same(stack, np.stack([wide[name] for name in names]))
    assert np.array_equal(cache.accumulated_resid(layer), stack)


def test_accumulated_resid_with_the_middle(setting):
    cache, wide, _ = setting
    if cache.model.cfg.parallel_attn_mlp:
        with pytest.raises(UnknownHook, match="so it has no middle"):
            cache.accumulated_resid(incl_mid=True)
        return
    stack, labels = cache.accumulated_resid(2, incl_mid=True, mlp_input=True, return_labels=True)
    assert labels == ["0_pre", "0_mid", "1_pre", "1_mid", "2_pre", "2_mid"]
    same(stack[-1], wide["blocks.2.hook_resid_mid"])
    stack, labels = cache.accumulated_resid(2, mlp_input=True, return_labels=True)
    assert labels == ["0_pre", "1_pre", "2_pre", "2_mid"]
    ln = cache.accumulated_resid(2, mlp_input=True, apply_ln=True)
    same(ln, centered(stack) / wide["blocks.2.ln2.hook_scale"])


def test_accumulated_resid_with_ln(setting):
    cache, wide, reference = setting
    stack = cache.accumulated_resid(2, apply_ln=True)
    expected = np.stack([wide[f"blocks.{i}.hook_resid_pre"] for i in range(3)])
    same(stack, centered(expected) / wide["blocks.2.ln1.hook_scale"])
    same(stack[-1], wide["blocks.2.ln1.hook_normalized"])
    lens = cache.accumulated_resid(apply_ln=True)
    same(lens[-1], wide["ln_final.hook_normalized"] * reference.weight("ln_final_w")
         + reference.weight("ln_final_b"))  # fmt: skip
    x = centered(wide["blocks.1.hook_resid_pre"])
    x = x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + 1e-5)
    same(lens[1], x * reference.weight("ln_final_w") + reference.weight("ln_final_b"))


@pytest.mark.parametrize("pos_slice", [-1, (1, 3), [0, 4], Slice(2), None])
def test_position_slices(setting, pos_slice):
    cache, wide, _ = setting
    chosen = pos_slice.slice if isinstance(pos_slice, Slice) else pos_slice
    chosen = slice(*chosen) if isinstance(chosen, tuple) else chosen
    at = slice(None) if chosen is None else chosen

    def cut(array, axis=1):
        return array[(slice(None),) * axis + (at,)]

    same(cache.accumulated_resid(pos_slice=pos_slice)[1], cut(wide["blocks.1.hook_resid_pre"]))
    same(cache.decompose_resid(pos_slice=pos_slice)[1], cut(wide["blocks.0.hook_attn_out"]))
    heads = cache.stack_head_results(pos_slice=pos_slice, incl_remainder=True)
    same(heads[5], cut(wide["blocks.1.attn.hook_result"])[..., 2, :])
    same(heads.sum(axis=0), cut(wide["blocks.2.hook_resid_post"]))
    full = cache.get_full_resid_decomposition(pos_slice=pos_slice)
    same(full.sum(axis=0), cut(wide["blocks.2.hook_resid_post"]))
    ln = cache.get_full_resid_decomposition(pos_slice=pos_slice, apply_ln=True)
    same(ln.sum(axis=0), cut(wide["ln_final.hook_normalized"]))
    attrs = cache.logit_attrs(full, 7, pos_slice=pos_slice)
    assert attrs.shape == full.shape[:-1]


@pytest.mark.parametrize("mode", ["all", "attn", "mlp"])
def test_decompose_resid(setting, mode):
    cache, wide, _ = setting
    stack, labels = cache.decompose_resid(2, mode=mode, return_labels=True)
    kinds = {"all": ["attn", "mlp"], "attn": ["attn"], "mlp": ["mlp"]}[mode]
    expected = ["embed"] + [f"{layer}_{kind}_out" for layer in range(2) for kind in kinds]
    assert labels == expected
    for entry, label in zip(stack[1:], labels[1:]):
        layer, rest = label.split("_", 1)
        same(entry, wide[f"blocks.{layer}.hook_{rest}"])
    same(stack[0], wide["hook_embed"])
    if mode == "all":
        same(stack.sum(axis=0), wide["blocks.2.hook_resid_pre"])
    assert len(cache.decompose_resid(2, mode=mode, incl_embeds=False)) == len(stack) - 1
    ln = cache.decompose_resid(2, mode=mode, apply_ln=True)
    same(ln, centered(stack.astype(np.float64)) / wide["blocks.2.ln1.hook_scale"])


def test_decompose_resid_before_an_mlp(setting):
    cache, wide, _ = setting
    stack, labels = cache.decompose_resid(1, mlp_input=True, return_labels=True)
    assert labels == ["embed", "0_attn_out", "0_mlp_out", "1_attn_out"]
    if not cache.model.cfg.parallel_attn_mlp:
        same(stack.sum(axis=0), wide["blocks.1.hook_resid_mid"])
    assert len(cache.decompose_resid(1, mlp_input=True, mode="mlp")) == 2
    ln = cache.decompose_resid(1, mlp_input=True, apply_ln=True)
    same(ln, centered(stack.astype(np.float64)) / wide["blocks.1.ln2.hook_scale"])


def test_stack_head_results(setting):
    cache, wide, _ = setting
    for layer, n in ((-1, 3), (None, 3), (3, 3), (2, 2), (1, 1)):
        stack, labels = cache.stack_head_results(layer, return_labels=True)
        assert labels == [f"L{i}H{h}" for i in range(n) for h in range(HEADS)]
        same(stack, np.stack(head_writes(wide, n)))
    assert "blocks.0.attn.hook_result" not in cache
    ln = cache.stack_head_results(2, apply_ln=True)
    same(ln, centered(np.stack(head_writes(wide, 2))) / wide["blocks.2.ln1.hook_scale"])
    stack, labels = cache.stack_head_results(2, incl_remainder=True, return_labels=True)
    assert labels[-1] == "remainder"
    same(stack.sum(axis=0), wide["blocks.1.hook_resid_post"])
    ln = cache.stack_head_results(incl_remainder=True, apply_ln=True)
    same(ln.sum(axis=0), wide["ln_final.hook_normalized"])


def test_layer_0_has_no_heads_and_no_neurons(setting):
    cache, wide, _ = setting
    assert cache.stack_head_results(0).shape == (0, 2, 5, 24)
    assert cache.stack_neuron_results(0).shape == (0, 2, 5, 24)
    for stack in (
        cache.stack_head_results(0, incl_remainder=True),
        cache.stack_neuron_results(0, incl_remainder=True),
    ):
        same(stack, wide["blocks.2.hook_resid_post"][None])


def test_compute_head_results(setting):
    cache, wide, _ = setting
    copy = ActivationCache(dict(cache.cache_dict), cache.model)
    kept = np.full((2, 5, HEADS, 24), 7, np.float32)
    copy.cache_dict["blocks.1.attn.hook_result"] = kept
    copy.compute_head_results()
    same(copy["result", 0], wide["blocks.0.attn.hook_result"])
    same(copy["result", 2], wide["blocks.2.attn.hook_result"])
    assert copy["result", 1] is kept
    assert copy["result", 0].flags.c_contiguous
    stack = copy.stack_head_results()
    same(stack[6:], np.stack(head_writes(wide, 3))[6:])
    assert (stack[3:6] == 7).all()  # what the cache holds is taken as it is


def test_get_neuron_results(setting):
    cache, wide, reference = setting
    post, w_out = wide["blocks.1.mlp.hook_post"], reference.weight("W_out", 1)
    same(cache.get_neuron_results(1), post[..., None] * w_out)
    same(cache.get_neuron_results(1, neuron_slice=[3, 5]), post[..., [3, 5], None] * w_out[[3, 5]])
    same(cache.get_neuron_results(1, neuron_slice=4), post[..., 4, None] * w_out[4])
    same(cache.get_neuron_results(1, pos_slice=2), post[:, 2, :, None] * w_out)
    direction = np.linspace(-1, 1, 24)
    same(cache.get_neuron_results(1, project_output_onto=direction), post * (w_out @ direction))
    matrix = np.stack([direction, direction**2], axis=1)
    same(
        cache.get_neuron_results(1, project_output_onto=matrix),
        post[..., None] * (w_out @ matrix),
    )


def test_stack_neuron_results(setting):
    cache, wide, reference = setting
    stack, labels = cache.stack_neuron_results(2, return_labels=True)
    assert labels == [f"L{i}N{n}" for i in range(2) for n in range(NEURONS)]
    same(stack, np.stack(neuron_writes(wide, reference, 2)))
    chosen, labels = cache.stack_neuron_results(-1, neuron_slice=(3, 9, 3), return_labels=True)
    assert labels == ["L0N3", "L0N6", "L1N3", "L1N6", "L2N3", "L2N6"]
    same(chosen, np.stack(neuron_writes(wide, reference, 3, (3, 6))))
    _, labels = cache.stack_neuron_results(2, neuron_slice=-1, return_labels=True)
    assert labels == ["L0N39", "L1N39"]
    rest, labels = cache.stack_neuron_results(2, incl_remainder=True, return_labels=True)
    assert labels[-1] == "remainder"
    same(rest.sum(axis=0), wide["blocks.1.hook_resid_post"])
    ln = cache.stack_neuron_results(2, apply_ln=True, incl_remainder=True)
    same(ln.sum(axis=0), wide["blocks.2.ln1.hook_normalized"])
    same(ln[:-1], centered(stack.astype(np.float64)) / wide["blocks.2.ln1.hook_scale"])
    before_mlp = cache.stack_neuron_results(1, apply_ln=True, mlp_input=True)
    expected = centered(np.stack(neuron_writes(wide, reference, 1)))
    same(before_mlp, expected / wide["blocks.1.ln2.hook_scale"])


@pytest.mark.parametrize("apply_ln", [False, True])
@pytest.mark.parametrize("outputs", [None, 1, 3])
def test_projections_are_products_with_the_stack(setting, apply_ln, outputs):
    cache, _, _ = setting
    rng = np.random.default_rng(1)
    onto = rng.normal(size=24 if outputs is None else (24, outputs))
    for call in (
        cache.get_full_resid_decomposition,
        lambda **options: cache.get_full_resid_decomposition(expand_neurons=False, **options),
        lambda **options: cache.stack_neuron_results(-1, incl_remainder=True, **options),
    ):
        whole, projected = (
            call(apply_ln=apply_ln),
            call(apply_ln=apply_ln, project_output_onto=onto),
        )
        same(projected, whole.astype(np.float64) @ onto)
    with pytest.raises(InputError, match=r"project_output_onto is \[24\] or \[24, outputs\]"):
        cache.stack_neuron_results(project_output_onto=onto[:-1])


@pytest.mark.parametrize("expand", [True, False])
@pytest.mark.parametrize("layer", [None, 2, 1, 0])
def test_full_decomposition(setting, expand, layer):
    cache, wide, reference = setting
    stack, labels = cache.get_full_resid_decomposition(
        layer, expand_neurons=expand, return_labels=True
    )
    n = 3 if layer is None else layer
    expected = [f"L{i}H{h}" for i in range(n) for h in range(HEADS)]
    if expand:
        expected += [f"L{i}N{k}" for i in range(n) for k in range(NEURONS)]
    else:
        expected += [f"{i}_mlp_out" for i in range(n)]
    assert labels == [*expected, "embed", "bias"]
    stream = "blocks.2.hook_resid_post" if n == 3 else f"blocks.{n}.hook_resid_pre"
    same(stack.sum(axis=0), wide[stream])
    bias = sum(
        reference.weight("b_O", i) + (reference.weight("b_out", i) if expand else 0)
        for i in range(n)
    )
    same(stack[-1], np.broadcast_to(bias, (2, 5, 24)))
    same(stack[-2], wide["hook_embed"])


def test_full_decomposition_before_an_mlp(setting):
    cache, wide, _ = setting
    stack, labels = cache.get_full_resid_decomposition(1, mlp_input=True, return_labels=True)
    assert labels[:6] == ["L0H0", "L0H1", "L0H2", "L1H0", "L1H1", "L1H2"]
    if not cache.model.cfg.parallel_attn_mlp:
        same(stack.sum(axis=0), wide["blocks.1.hook_resid_mid"])
        ln = cache.get_full_resid_decomposition(1, mlp_input=True, apply_ln=True)
        same(ln.sum(axis=0), wide["blocks.1.ln2.hook_normalized"])
    with pytest.raises(InputError, match="no MLP reads the end of the stream"):
        cache.get_full_resid_decomposition(mlp_input=True)


def test_stack_activation(setting):
    cache, wide, _ = setting
    same(cache.stack_activation("z"), np.stack([wide[f"blocks.{i}.attn.hook_z"] for i in range(3)]))
    scales = cache.stack_activation("scale", 2, "ln2")
    same(scales, np.stack([wide[f"blocks.{i}.ln2.hook_scale"] for i in range(2)]))
    with pytest.raises(InputError, match="before layer 0"):
        cache.stack_activation("z", 0)


def expected_attrs(wide, reference, stack, directions):
    scaled = centered(stack) / wide["ln_final.hook_scale"]
    return (scaled * directions).sum(axis=-1)


def test_logit_attrs_add_up_to_the_logit(setting):
    cache, wide, reference = setting
    stack = cache.get_full_resid_decomposition()
    attrs = cache.logit_attrs(stack, 7)
    column = reference.weight("W_U")[:, 7]
    logit = wide["hook_logits"][:, :, 7]
    beta = reference.weight("ln_final_b") @ column
    np.testing.assert_allclose(attrs.sum(axis=0) + beta, logit, **CLOSE)
    direction = column * reference.weight("ln_final_w")
    same(attrs, expected_attrs(wide, reference, stack.astype(np.float64), direction))
    difference = cache.logit_attrs(stack, 7, 11)
    same(difference, attrs.astype(np.float64) - cache.logit_attrs(stack, 11))


def test_logit_attrs_of_many_tokens(setting):
    cache, wide, reference = setting
    stack = cache.decompose_resid()
    columns = (reference.weight("W_U").T * reference.weight("ln_final_w"))[:, :]
    wide_stack = stack.astype(np.float64)
    grid = np.array([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]])
    same(cache.logit_attrs(stack, grid), expected_attrs(wide, reference, wide_stack, columns[grid]))
    per_sequence = cache.logit_attrs(stack, [1, 6])
    directions = columns[[1, 6]][:, None]
    same(per_sequence, expected_attrs(wide, reference, wide_stack, directions))
    per_position = cache.logit_attrs(stack, np.array([1, 2, 3, 4, 5]))
    same(per_position, expected_attrs(wide, reference, wide_stack, columns[[1, 2, 3, 4, 5]]))
    wrong = cache.logit_attrs(stack, grid, grid[::-1])
    same(wrong, cache.logit_attrs(stack, grid).astype(float) - cache.logit_attrs(stack, grid[::-1]))
    with pytest.raises(InputError, match="the same shape"):
        cache.logit_attrs(stack, [1, 2], 3)
    with pytest.raises(InputError, match=r"tokens \[3\] do not fit rows \[2, 5\]"):
        cache.logit_attrs(stack, [1, 2, 3])


def test_logit_attrs_of_one_position_and_slices_of_the_batch(setting):
    cache, wide, _ = setting
    whole = cache.logit_attrs(cache.decompose_resid(), 7)
    last = cache.decompose_resid(pos_slice=-1)
    same(cache.logit_attrs(last, 7, pos_slice=-1), whole[:, :, -1])
    same(cache.logit_attrs(last, [7, 7], pos_slice=-1), whole[:, :, -1])
    same(cache.logit_attrs(cache.decompose_resid(), 7, batch_slice=1), whole[:, 1])
    one = cache.apply_slice_to_batch_dim(0)
    same(one.logit_attrs(one.decompose_resid(), 7, has_batch_dim=False), whole[:, 0])
    same(one.stack_head_results(pos_slice=1), np.stack(head_writes(wide, 3))[:, 0, 1])
    same(one.accumulated_resid(apply_ln=True), cache.accumulated_resid(apply_ln=True)[:, 0])
    same(
        one.get_full_resid_decomposition(apply_ln=True).sum(axis=0),
        wide["ln_final.hook_normalized"][0],
    )


def test_logit_attrs_of_one_row(setting):
    cache, _, _ = setting
    first = cache.apply_slice_to_batch_dim(0)
    stack = first.decompose_resid(pos_slice=2)  # [components, d_model]
    assert stack.ndim == 2
    attrs = first.logit_attrs(stack, 3, pos_slice=2, has_batch_dim=False)
    expected = cache.logit_attrs(cache.decompose_resid(), 3)[:, 0, 2]
    same(attrs, expected)


def test_a_stack_that_does_not_fit(setting):
    cache, _, _ = setting
    stack = cache.decompose_resid()
    with pytest.raises(InputError, match=r"give the stack's pos_slice"):
        cache.logit_attrs(cache.decompose_resid(pos_slice=(0, 2)), 7)
    with pytest.raises(InputError, match=r"a residual stack is \[components, ..., 24\]"):
        cache.apply_ln_to_stack(stack[..., :-1])
    for layer in (4, -2):
        with pytest.raises(InputError, match="layer is 0 to 3"):
            cache.decompose_resid(layer)
    with pytest.raises(InputError, match="mode is 'all'"):
        cache.decompose_resid(mode="heads")
    with pytest.raises(InputError, match="has no component"):
        cache.decompose_resid(0, incl_embeds=False)
    with pytest.raises(InputError, match="does not fit an axis of 5 entries"):
        cache.stack_head_results(pos_slice=9)


def test_a_stack_has_a_limit(setting):
    cache, _, _ = setting
    limited = ActivationCache(cache.cache_dict, cache.model)
    limited.memory_limit = 120 * 2 * 5 * 24 * 4
    assert len(limited.stack_neuron_results()) == 120
    with pytest.raises(OutOfMemory, match=r"a stack \[121, 2, 5, 24\] takes .* memory_limit"):
        limited.stack_neuron_results(incl_remainder=True)
    assert len(limited.stack_neuron_results(pos_slice=0, incl_remainder=True)) == 121


def test_rows_are_found_without_the_embedding(setting):
    cache, wide, _ = setting
    names = [f"blocks.{layer}.attn.hook_{kind}" for layer in range(3) for kind in ("pattern", "z")]
    few = ActivationCache({name: cache[name] for name in names}, cache.model)
    same(few.stack_head_results(pos_slice=(1, 3)), np.stack(head_writes(wide, 3))[:, :, 1:3])
    only = ActivationCache({names[0]: cache[names[0]]}, cache.model)
    with pytest.raises(InputError, match="no entry with positions"):
        only.stack_head_results()
