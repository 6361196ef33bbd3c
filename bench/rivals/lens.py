#!/usr/bin/env python3
"""TransformerLens: lens.py MODEL_FOLDER f32 THREADS

`rows N CASE`, one fixed target at all rows; the plain pass computes all rows' logits:
  heads        logit_attrs over stack_head_results
  neurons      also logit_attrs over stack_neuron_results, in slices of positions that fit in memory
  projected    get_full_resid_decomposition with project_output_onto, heads and neurons at once

`sweep N OVER COUNT`, seconds per variant of the patching helpers, over COUNT positions spread
evenly over all (their index_df): heads_by_pos or resid_pre"""
import sys
from importlib.metadata import version

import pandas
import torch
import transformers
from transformer_lens import HookedTransformer, HookedTransformerConfig, patching
from transformer_lens.pretrained.weight_conversions.neox import convert_neox_weights

from contender import clock, prompt, serve, top

TARGET = 11
SLICE_BYTES = 1 << 30


def open_lens(folder):
    """fold_ln and no other processing."""
    model = transformers.GPTNeoXForCausalLM.from_pretrained(folder, dtype=torch.float32)
    c = model.config
    rope = getattr(c, "rope_parameters", None) or {}
    d_head = c.hidden_size // c.num_attention_heads
    cfg = HookedTransformerConfig(
        n_layers=c.num_hidden_layers, d_model=c.hidden_size, n_ctx=1024, d_head=d_head,
        n_heads=c.num_attention_heads, d_mlp=c.intermediate_size, d_vocab=c.vocab_size,
        act_fn="gelu", eps=c.layer_norm_eps, normalization_type="LN", parallel_attn_mlp=True,
        positional_embedding_type="rotary",
        rotary_dim=int(rope.get("partial_rotary_factor", 0.25) * d_head),
        rotary_base=int(rope.get("rope_theta", 10000)), rotary_adjacent_pairs=False, device="cpu")
    lens = HookedTransformer(cfg)
    lens.load_and_process_state_dict(
        dict(convert_neox_weights(model, cfg)), fold_ln=True, center_writing_weights=False,
        center_unembed=False, fold_value_biases=False)
    return lens.eval()


def main():
    torch.set_num_threads(int(sys.argv[3]))
    torch.set_grad_enabled(False)
    lens = open_lens(sys.argv[1])
    ids = torch.tensor([prompt(1024, lens.cfg.d_vocab)])

    def heads(cache):
        return cache.logit_attrs(cache.stack_head_results(layer=-1), TARGET)

    def neurons(cache, n):
        row = lens.cfg.n_layers * lens.cfg.d_mlp * lens.cfg.d_model * 4
        step = max(1, SLICE_BYTES // row)
        parts = []
        for first in range(0, n, step):
            piece = (first, min(n, first + step))
            stack = cache.stack_neuron_results(layer=-1, pos_slice=piece)
            parts.append(cache.logit_attrs(stack, TARGET, pos_slice=piece))
        return torch.cat(parts, -1)

    def projected(cache):
        u = lens.tokens_to_residual_directions(torch.tensor(TARGET))
        return cache.get_full_resid_decomposition(
            layer=-1, apply_ln=True, expand_neurons=True, project_output_onto=u)

    def run(n, case):
        tokens = ids[:, :n]
        if case == "plain":
            return lens(tokens, return_type="logits")
        _, cache = lens.run_with_cache(tokens, return_type="logits")
        if case == "heads":
            return heads(cache)
        if case == "neurons":
            return heads(cache), neurons(cache, n)
        return projected(cache)

    def rows(n, case):
        with torch.inference_mode():
            return clock(lambda: run(n, case))

    def sweep(n, over, count):
        """Without the run that fills the cache, which is one pass."""
        tokens, (layers, heads) = ids[:, :n], (lens.cfg.n_layers, lens.cfg.n_heads)
        if over == "heads_by_pos":
            places = [(l, p, h) for l in range(layers) for p in range(n) for h in range(heads)]
            names, point = ("layer", "pos", "head"), "z"
            setter = patching.layer_pos_head_vector_patch_setter
        else:
            places = [(l, p) for l in range(layers) for p in range(n)]
            names, point = ("layer", "pos"), "resid_pre"
            setter = patching.layer_pos_patch_setter
        chosen = [places[i * len(places) // count] for i in range(min(count, len(places)))]
        table = pandas.DataFrame(chosen, columns=names)
        with torch.inference_mode():
            _, cache = lens.run_with_cache(tokens.flip(1))
            return clock(lambda: patching.generic_activation_patch(
                lens, tokens, cache, lambda z: z[0, -1, TARGET], setter, point,
                index_df=table)) / len(chosen)

    def logits(n):
        with torch.inference_mode():
            z = lens(ids[:, :n], return_type="logits")[0, -1]
            return top((z).tolist())

    serve({"rows": rows, "logits": logits, "sweep": sweep,
           "about": lambda: f"transformer-lens {version('transformer-lens')}, "
                            f"torch {torch.__version__}, {torch.get_num_threads()} threads"})


if __name__ == "__main__":
    main()
