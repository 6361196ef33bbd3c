#!/usr/bin/env python3
"""A gradient against PyTorch's backward pass with respect to activations, in one process, in turns.

    bench/gradient_rivals.py MODEL_FOLDER [--rows 128,512] [--turns 5] [--threads 1]

Run it with the Python of install_rivals.sh, PYTHONPATH=python and PYTHIASCOPE_LIBRARY. PyTorch
holds the parameters constant (requires_grad off) and differentiates with respect to the embeddings;
the faster of its two attentions counts. Times are processor time of all threads. The metric is the
log-probability of one token at the last row; before timing, both gradients of the embeddings are
compared. "backward": PyTorch's backward() alone, and what a gradient adds to our run.
"""

import argparse
import statistics
import time

try:
    import numpy as np
    import torch
    import transformers
    from pythiascope import Metric, Model
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

TOLERANCE = 1e-4  # of the largest element


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("model")
    p.add_argument("--rows", default="128,512")
    p.add_argument("--turns", type=int, default=5)
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    a.rows = [int(n) for n in a.rows.split(",")]
    return a


class PyTorch:
    """The model in float32 with one kind of attention."""

    def __init__(self, folder, attention):
        self.model = transformers.GPTNeoXForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation=attention
        ).eval()
        self.model.requires_grad_(False)

    def turn(self, tokens, target):
        """Seconds forward and backward, and the gradient of the embeddings."""
        x = self.model.gpt_neox.embed_in(torch.tensor([tokens])).requires_grad_()
        start = time.process_time()
        logits = self.model(inputs_embeds=x, use_cache=False, logits_to_keep=1).logits
        metric = logits[0, -1].log_softmax(-1)[target]
        middle = time.process_time()
        metric.backward()
        return middle - start, time.process_time() - middle, x.grad[0].numpy()


def our_turn(model, tokens, metric):
    """The same: forward alone, what the gradient adds, the gradient."""
    keep = "blocks.*.hook_resid_pre"
    start = time.process_time()
    model(tokens, logits="last")
    middle = time.process_time()
    _, cache = model.run_with_cache(
        tokens, names_filter=keep, incl_bwd=True, metric=metric, return_type=None
    )
    both = time.process_time() - middle
    return middle - start, both - (middle - start), cache["blocks.0.hook_resid_pre_grad"][0]


def measure(rivals, model, rows, turns):
    vocab = model.cfg.d_vocab
    tokens = [2654435761 * (i + 1) % 2**32 % vocab for i in range(rows)]
    metric = Metric.log_prob(11)
    ours, theirs = [], {name: [] for name in rivals}
    for turn in range(turns + 1):
        for name, rival in rivals.items():
            theirs[name].append(rival.turn(tokens, 11))
        ours.append(our_turn(model, tokens, metric))
        if turn == 0:  # warms up, and compares
            for name in rivals:
                expected = theirs[name].pop()[2]
                error = np.abs(ours[0][2] - expected).max() / np.abs(expected).max()
                assert error < TOLERANCE, f"{name}: the gradients differ by {error:.2g}"
            ours.clear()
    forward = statistics.median(t[0] for t in ours)
    adds = statistics.median(t[1] for t in ours)
    print(
        f"{rows} rows: ours {1e3 * forward:.0f} ms forward, {1e3 * adds:.0f} ms for the gradient,"
        f" {adds / forward:.2f} passes"
    )
    for name, taken in theirs.items():
        their_forward = statistics.median(t[0] for t in taken)
        backward = statistics.median(t[1] for t in taken)
        print(
            f"  PyTorch {name}: {1e3 * their_forward:.0f} ms forward, {1e3 * backward:.0f} ms"
            f" backward, {backward / their_forward:.2f} passes;"
            f" backward {backward / adds:.2f} times ours, both"
            f" {(their_forward + backward) / (forward + adds):.2f} times"
        )


def main():
    a = arguments()
    torch.set_num_threads(a.threads)
    transformers.logging.set_verbosity_error()
    rivals = {name: PyTorch(a.model, name) for name in ("eager", "sdpa")}
    with Model(a.model, threads=a.threads) as model:
        for rows in a.rows:
            measure(rivals, model, rows, a.turns)


if __name__ == "__main__":
    main()
