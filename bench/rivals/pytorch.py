#!/usr/bin/env python3
"""Hugging Face transformers on PyTorch: pytorch.py MODEL_FOLDER DTYPE THREADS

`rows N CASE` is the adjoint method in PyTorch: hooks capture z and post, each target's direction is
pulled back through W_O and W_out. The shares of all heads and neurons are written into one array,
divided by sigma and summed, as in pythiascope's plugin."""
import sys

import torch
import transformers

from contender import clock, prompt, serve, top

TEN = list(range(11, 21))


class Adjoint:
    """Shares of every head and neuron, [targets, rows, components], and their sums."""

    def __init__(self, model, tokens):
        self.model, self.base = model, model.gpt_neox
        self.tokens = tokens
        config = model.config
        self.layers = config.num_hidden_layers
        self.heads, self.n = config.num_attention_heads, config.hidden_size
        self.m = config.intermediate_size
        self.width = 1 + self.layers * (self.heads + 1 + self.m + 1)
        self.shares = {}
        self.kept = {}
        self.hooks = []
        for i, layer in enumerate(self.base.layers):
            self.keep(layer.attention.dense, ("z", i))
            self.keep(layer.mlp.dense_4h_to_h, ("post", i))
        self.keep(self.base.final_layer_norm, ("final", 0))
        self.keep(self.base.layers[0].input_layernorm, ("embed", 0))

    def keep(self, module, key):
        def hook(_, inputs):
            self.kept[key] = inputs[0][0]
        self.hooks.append(module.register_forward_pre_hook(hook))

    def directions(self, ids):
        ln = self.base.final_layer_norm
        t = self.model.get_output_embeddings().weight[ids] * ln.weight
        return t - t.mean(-1, keepdim=True)

    def run(self, ids, each):
        """ids: the targets, or each row's own target."""
        logits = self.model(self.tokens, use_cache=False).logits
        rows = self.tokens.shape[1]
        n_targets = 1 if each else len(ids)
        size = (n_targets, rows, self.width)
        if size not in self.shares:
            self.shares[size] = torch.empty(size)
        out = self.shares[size]
        u = self.directions(ids)
        x = self.kept["final", 0]
        sigma = (x.var(-1, unbiased=False) + self.base.final_layer_norm.eps).sqrt()
        spread = (lambda p: p[None]) if each else (lambda p: p[:, None])  # to [targets, rows, .]
        out[:, :, 0] = (self.kept["embed", 0][None] * spread(u)).sum(-1)
        at = 1
        for i, layer in enumerate(self.base.layers):
            dense, down = layer.attention.dense, layer.mlp.dense_4h_to_h
            z = self.kept["z", i]
            products = (z[None] * spread(u @ dense.weight)).view(n_targets, rows, self.heads, -1)
            torch.sum(products, -1, out=out[:, :, at:at + self.heads])
            at += self.heads
            out[:, :, at] = spread((u @ dense.bias)[:, None])[..., 0]
            torch.mul(self.kept["post", i][None], spread(u @ down.weight),
                      out=out[:, :, at + 1:at + 1 + self.m])
            at += 1 + self.m
            out[:, :, at] = spread((u @ down.bias)[:, None])[..., 0]
            at += 1
        out /= sigma[None, :, None]
        return logits, out.sum(-1), out.abs().sum(-1)

    def check(self):
        """The largest |z - sum| / (1 + sum |share|) over rows, of one target."""
        logits, total, size = self.run([TEN[0]], False)
        constant = self.model.get_output_embeddings().weight[TEN[0]] @ self.base.final_layer_norm.bias
        gap = (logits[0, :, TEN[0]] - total[0] - constant).abs() / (1 + size[0])
        return gap.max().item()


def main():
    folder, dtype, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    kind = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[dtype]
    model = transformers.GPTNeoXForCausalLM.from_pretrained(
        folder, dtype=kind, attn_implementation="sdpa").eval()
    vocab = model.config.vocab_size
    ids = torch.tensor([prompt(1024, vocab)])
    state = {}

    def step(tokens, past):
        return model(tokens, past_key_values=past, use_cache=True, logits_to_keep=1)

    @torch.inference_mode()
    def prefill(n):
        return clock(lambda: step(ids[:, :n], None))

    @torch.inference_mode()
    def decode(prompt_length, steps):
        if state.get("length") != prompt_length:
            state["past"] = step(ids[:, :prompt_length], None).past_key_values
            state["length"] = prompt_length
        past = state["past"]

        def go():
            for i in range(prompt_length, prompt_length + steps):
                step(ids[:, i:i + 1], past)
        seconds = clock(go) / steps
        past.crop(-steps)
        return seconds

    @torch.inference_mode()
    def rows(n, case):
        tokens = ids[:, :n]
        if case == "plain":
            return clock(lambda: model(tokens, use_cache=False))
        adjoint = Adjoint(model, tokens)
        # The last row has no next token; any id costs the same.
        targets = {"one": TEN[:1], "ten": TEN, "next": ids[0, 1:n + 1].tolist()}[case]
        if case not in state:
            state[case] = adjoint.shares
        adjoint.shares = state[case]  # pythiascope also keeps its arrays' memory between runs
        seconds = clock(lambda: adjoint.run(targets, case == "next"))
        for hook in adjoint.hooks:
            hook.remove()
        return seconds

    @torch.inference_mode()
    def check(n):
        adjoint = Adjoint(model, ids[:, :n])
        worst = adjoint.check()
        for hook in adjoint.hooks:
            hook.remove()
        return worst

    @torch.inference_mode()
    def logits(n):
        return top(step(ids[:, :n], None).logits[0, -1].float().tolist())

    serve({"prefill": prefill, "decode": decode, "rows": rows, "check": check, "logits": logits,
           "about": lambda: f"torch {torch.__version__}, transformers {transformers.__version__}, "
                            f"{torch.get_num_threads()} threads"})


main()
