"""Edits of a run as a user of TransformerLens writes them: functions of (value, hook).

The same functions run in TransformerLens on tensors (make_python_golden.py,
make_bridge_golden.py) and in pythiascope on NumPy arrays (tests/python/test_transformer_lens.py).
The edited models have 2 layers, 2 sequences of 9 tokens, and at least 1 head of 8 dimensions.
"""


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
