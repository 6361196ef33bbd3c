"""Calls as a user of TransformerLens writes them: edits of a run, and questions to its cache.

The same functions get TransformerLens's tensors (make_python_golden.py, make_bridge_golden.py)
and pythiascope's NumPy arrays (tests/python/test_transformer_lens.py). The models are those of
parity_models.py; the input is 2 sequences of 9 tokens.
"""

KEPT = [3, 5, 8]  # rows whose logits after an edit are kept

# --- edits -------------------------------------------------------------------------------------


def zero_head(z, hook):
    z[:, :, 0] = 0
    return z


def zero_head_in_place(z, hook):
    z[:, :, -1] = 0


def swap_sequences(x, hook):
    """Row 3 of the first sequence comes from the second one, and back."""
    first = x[0, 3] + 0
    x[0, 3] = x[1, 3]
    x[1, 3] = first


def look_at_first(pattern, hook):
    """The last head's query 5 attends to key 0 alone."""
    pattern[:, -1, 5, :] = 0
    pattern[:, -1, 5, 0] = 1
    return pattern


def flatten(scores, hook):
    """Half the scores of queries 4 to 6; -inf stays -inf."""
    scores[:, :, 4:7] = scores[:, :, 4:7] * 0.5


def add_to_neuron(post, hook):
    post[..., 5] += 1.5


def add_by_layer(x, hook):
    changed = x + 0
    changed[..., :4] += 0.25 * (1 + hook.layer())
    return changed


def halve(x, hook):
    return x * 0.5


def reverse_row(x, hook):
    """Row 3 with its last axis reversed; of a scale times 0.75; of scores and pattern keys 0..3."""
    if hook.name.endswith(("attn_scores", "pattern")):
        keys = x[:, :, 3, :4] + 0
        for key in range(4):
            x[:, :, 3, key] = keys[..., 3 - key]
    elif hook.name.endswith("scale"):
        x[:, 3] = x[:, 3] * 0.75
    else:
        row = x[:, 3] + 0
        for i in range(row.shape[-1]):
            x[:, 3, ..., i] = row[..., row.shape[-1] - 1 - i]


def is_post(name):
    return name.endswith("hook_resid_post")


def is_q_or_v(name):
    return name.endswith(("attn.hook_q", "attn.hook_v"))


# name: the fwd_hooks of run_with_hooks
EDITS = {
    "zero_head": [("blocks.0.attn.hook_z", zero_head)],
    "zero_head_in_place": [("blocks.1.attn.hook_z", zero_head_in_place)],
    "zero_result": [("blocks.0.attn.hook_result", zero_head)],
    "patch_embed": [("hook_embed", swap_sequences)],
    "patch_resid_pre": [("blocks.1.hook_resid_pre", swap_sequences)],
    "patch_attn_out": [("blocks.0.hook_attn_out", swap_sequences)],
    "patch_mlp_out": [("blocks.1.hook_mlp_out", swap_sequences)],
    "look_at_first": [("blocks.1.attn.hook_pattern", look_at_first)],
    "flatten": [("blocks.0.attn.hook_attn_scores", flatten)],
    "add_to_neuron": [("blocks.0.mlp.hook_post", add_to_neuron)],
    "add_to_pre": [("blocks.1.mlp.hook_pre", add_to_neuron)],
    "add_everywhere": [(is_post, add_by_layer)],
    "halve_q_and_v": [(is_q_or_v, halve)],
    "halve_k": [("blocks.0.attn.hook_k", halve)],
    "halve_rotated": [("blocks.1.attn.hook_rot_q", halve), ("blocks.0.attn.hook_rot_k", halve)],
    "scales": [("blocks.1.ln1.hook_scale", halve), ("ln_final.hook_scale", halve)],
    "normalized": [("blocks.1.ln2.hook_normalized", halve), ("ln_final.hook_normalized", halve)],
    "two_on_one": [("blocks.0.hook_resid_post", add_by_layer),
                   ("blocks.0.hook_resid_post", swap_sequences)],
    "three": [("blocks.0.attn.hook_z", zero_head), (is_post, add_by_layer),
              ("blocks.1.attn.hook_pattern", look_at_first)],
}

# Names of TransformerLens 4 that edit a tensor of ours.
BRIDGE_POINTS = [f"blocks.{layer}.{name}" for layer in (0, 1) for name in (
    "hook_in", "hook_out", "attn.hook_out", "mlp.hook_out", "attn.q.hook_out", "attn.k.hook_out",
    "attn.v.hook_out", "attn.o.hook_in", "mlp.in.hook_out", "mlp.out.hook_in")]


# --- questions to a cache ----------------------------------------------------------------------

def cases(parallel):
    """{name: function of (cache, ids)}, on the cache of the batch."""
    found = {
        "stack_head_results": lambda c, _: c.stack_head_results(return_labels=True),
        "stack_head_results, layer 1": lambda c, _: c.stack_head_results(
            1, return_labels=True, incl_remainder=True, pos_slice=(2, 4)),
        "stack_head_results, last row": lambda c, _: c.stack_head_results(
            -1, return_labels=True, incl_remainder=True, pos_slice=-1, apply_ln=True),
        "decompose_resid": lambda c, _: c.decompose_resid(return_labels=True),
        "decompose_resid, layer 1": lambda c, _: c.decompose_resid(
            1, apply_ln=True, pos_slice=(2, 4), return_labels=True),
        "decompose_resid, attn": lambda c, _: c.decompose_resid(
            mode="attn", incl_embeds=False, pos_slice=[1, 3], return_labels=True),
        "decompose_resid, mlp": lambda c, _: c.decompose_resid(
            mode="mlp", apply_ln=True, pos_slice=-1, return_labels=True),
        "accumulated_resid": lambda c, _: c.accumulated_resid(return_labels=True),
        "accumulated_resid, layer 1": lambda c, _: c.accumulated_resid(
            1, apply_ln=True, pos_slice=(2, 4), return_labels=True),
        "get_full_resid_decomposition": lambda c, _: c.get_full_resid_decomposition(
            expand_neurons=False, return_labels=True, pos_slice=(7, 9)),
        "get_full_resid_decomposition, layer 1": lambda c, _: c.get_full_resid_decomposition(
            1, apply_ln=True, return_labels=True, pos_slice=-1),
        "stack_neuron_results": lambda c, _: c.stack_neuron_results(
            -1, neuron_slice=(0, 7), pos_slice=-1, return_labels=True, incl_remainder=True),
        "get_neuron_results": lambda c, _: c.get_neuron_results(
            1, neuron_slice=(3, 6), pos_slice=(2, 4)),
        "stack_activation, z": lambda c, _: c.stack_activation("z"),
        "stack_activation, scale": lambda c, _: c.stack_activation("scale", 1, "ln2"),
        "logit_attrs": lambda c, _: c.logit_attrs(c.decompose_resid(), 7),
        "logit_attrs, contrast": lambda c, _: c.logit_attrs(c.stack_head_results(), 7, 9),
        "logit_attrs, batch": lambda c, ids: c.logit_attrs(
            c.decompose_resid(pos_slice=-1), ids[:, -1], pos_slice=-1),
        "logit_attrs, each": lambda c, ids: c.logit_attrs(c.decompose_resid(), ids, ids * 0 + 2),
        "logit_attrs, one sequence": lambda c, _: c.logit_attrs(
            c.decompose_resid(pos_slice=(4, 6)), 11, pos_slice=(4, 6), batch_slice=1),
    }
    if not parallel:
        found |= {
            "decompose_resid, mlp_input": lambda c, _: c.decompose_resid(
                1, mlp_input=True, apply_ln=True, return_labels=True),
            "accumulated_resid, incl_mid": lambda c, _: c.accumulated_resid(
                incl_mid=True, return_labels=True),
            "accumulated_resid, mlp_input": lambda c, _: c.accumulated_resid(
                1, incl_mid=True, mlp_input=True, apply_ln=True, return_labels=True),
        }
    return found


RAW = {"accumulated_resid, logit lens": lambda c, _: c.accumulated_resid(
    apply_ln=True, pos_slice=(7, 9), return_labels=True)}


def without_rotated(name):
    return "rot_" not in name


# Arguments of run_with_cache whose entries' names and shapes are kept. With pos_slice, those of
# hook_rot_q and hook_rot_k are left out: TransformerLens slices their heads.
RUNS = {
    "everything": {},
    "one position": {"pos_slice": -1},
    "three positions": {"pos_slice": (2, 5)},
    "some positions": {"pos_slice": [0, 4, 8]},
    "one layer": {"stop_at_layer": 1},
    "but the last layer": {"stop_at_layer": -1},
    "no layer": {"stop_at_layer": 0},
    "a name": {"names_filter": "blocks.1.attn.hook_z"},
    "names": {"names_filter": ["hook_embed", "blocks.0.mlp.hook_post"]},
    "a predicate": {"names_filter": lambda name: name.endswith("resid_post")},
    "results": {"names_filter": lambda name: name.endswith("hook_result")},
    "one sequence": {"one": True, "remove_batch_dim": True, "pos_slice": (2, 5)},
}
