#!/usr/bin/env python3
"""Golden losses: of small random models in float64, of the embedded model by transformers.

    tests/tools/make_loss_golden.py      writes tests/golden/loss/*.safetensors

parallel_f32, _changed: the losses of a text, and their differences when head L1H0 is ablated.
_corpus, _compared: totals over documents, the second against the unchanged run.
held_out: prompts.txt, which the embedded model has not seen, by transformers in float32: the loss of
every token in windows of 128 tokens, and with windows that overlap, as the guide to perplexity of
Hugging Face has them (stride 32). Their figures are computed here from all tokens at once.
"""
import pathlib
import re

try:
    import numpy as np
    import torch
    from safetensors.numpy import save_file
    from transformers import AutoTokenizer, GPTNeoXForCausalLM
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from gptneox_float64 import Model

TESTS = pathlib.Path(__file__).resolve().parent.parent
EMBEDDED = TESTS.parent / "models" / "books-5m"
TOKENS = [3, 41, 7, 19, 60]
DOCUMENTS = [[(i * i + 7 * d * i + 3 * d) % 80 for i in range(12 + 2 * d)] for d in range(6)]
WINDOW, STRIDE = 128, 32


def ablate(z):
    z[:, 0] = 0
    return z


EDITS = {"blocks.1.attn.hook_z": ablate}


def losses(model, tokens, edits=None):
    """[T]: of each token, NaN for the first."""
    z = model.forward(tokens, edits, keep=False)["hook_logits"]
    top = z.max(-1)
    log_z = top + np.log(np.exp(z - top[:, None]).sum(-1))
    return np.concatenate([[np.nan], log_z[:-1] - z[np.arange(len(tokens) - 1), tokens[1:]]])


# --- figures of windows -----------------------------------------------------------------------------


def ratio_error(sums, counts):
    """The standard error of sum(sums)/sum(counts) over windows."""
    sums, counts, n = np.array(sums), np.array(counts), len(sums)
    rest = sums - sums.sum() / counts.sum() * counts
    return np.sqrt(n / (n - 1) * (rest**2).sum()) / counts.sum()


def values(windows, early, late, n_bytes, n_words):
    """windows: [(positions, losses)] of the scored tokens of each."""
    sums, counts = [x.sum() for _, x in windows], [len(x) for _, x in windows]
    nats, tokens = np.sum(sums), np.sum(counts)
    scores = np.array([x[p == late][0] - x[p == early][0] for p, x in windows
                       if early in p and late in p])
    out = {"windows_scored": len(windows), "tokens_scored": tokens, "loss": nats / tokens,
           "bytes_scored": n_bytes, "words_begun": n_words, "loss_error": ratio_error(sums, counts),
           "perplexity": np.exp(nats / tokens), "in_context_windows": len(scores)}
    if n_bytes:
        out |= {"bits_per_byte": nats / n_bytes / np.log(2),
                "perplexity_byte": np.exp(nats / n_bytes), "perplexity_word": np.exp(nats / n_words)}
    if len(scores):
        out["in_context_score"] = scores.mean()
    if len(scores) > 1:
        out["in_context_score_error"] = scores.std(ddof=1) / np.sqrt(len(scores))
    return {"values." + k: np.array([v], np.float64) for k, v in out.items()}


def groups(prefix, keys, x, n, changes):
    """Means and counts of x by key."""
    count = np.bincount(keys, minlength=n).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        out = {prefix + "_loss": np.bincount(keys, x, n) / count, prefix + "_tokens": count}
        if changes is not None:
            out[prefix + "_difference"] = np.bincount(keys, changes, n) / count
    return out


def tables(position, token, loss, change, n_vocab):
    """The arrays of the plugin, from all scored tokens."""
    position, token, loss = np.array(position), np.array(token), np.array(loss)
    change = None if change is None else np.array(change)
    out = groups("position", position, loss, position.max() + 1, change)
    count = np.bincount(token, minlength=n_vocab)
    share = count / count.sum()
    bins = np.searchsorted(-10.0 ** np.arange(-1, -7, -1), -share)
    out |= groups("frequency", bins[token], loss, 7, change)
    out["frequency_types"] = np.bincount(bins[count > 0], minlength=7).astype(np.float64)
    key = np.abs(np.bincount(token, loss if change is None else change, n_vocab))
    top = np.argsort(-key, kind="stable")[:10]
    out |= {k: v[top] for k, v in groups("token", token, loss, n_vocab, change).items()}
    out["token_ids"] = top.astype(np.int32)
    return {"loss." + k: v for k, v in out.items()}


def corpus(model, edits):
    windows, position, token, loss, change = [], [], [], [], []
    for tokens in DOCUMENTS:
        x = losses(model, tokens, edits)[1:]
        windows.append((np.arange(1, len(tokens)), x))
        position += range(1, len(tokens))
        token += tokens[1:]
        loss += list(x)
        change += list(x - losses(model, tokens)[1:])
    out = tables(position, token, loss, change if edits else None, 80) | values(windows, 4, 15, 0, 0)
    if edits:
        sums = np.array([x.sum() for _, x in windows])
        before = np.array([losses(model, t)[1:].sum() for t in DOCUMENTS])
        n = [len(t) - 1 for t in DOCUMENTS]
        more = {"loss_unchanged": before.sum() / sum(n), "difference": (sums - before).sum() / sum(n),
                "difference_error": ratio_error(sums - before, n)}
        out |= {"values." + k: np.array([v]) for k, v in more.items()}
    return out


def random_model(name):
    model = Model(str(TESTS / "golden" / "parity" / name))
    base, changed = losses(model, TOKENS), losses(model, TOKENS, EDITS)
    save(name, {"loss.loss": base})
    save(name + "_changed", {"loss.loss": changed, "loss.difference": changed - base})
    save(name + "_corpus", corpus(model, None))
    save(name + "_compared", corpus(model, EDITS))


# --- held-out text ----------------------------------------------------------------------------------


def windows_of(model, ids, stride):
    """[(positions, indices, losses)] as the guide to perplexity counts each token once."""
    before, out = 0, []
    for begin in range(0, len(ids), stride):
        end = min(begin + WINDOW, len(ids))
        with torch.no_grad():
            z = model(torch.tensor([ids[begin:end]])).logits[0, :-1].float()
        x = torch.nn.functional.cross_entropy(z, torch.tensor(ids[begin + 1 : end]), reduction="none")
        first = max(before - begin, 1)
        index = np.arange(begin + first, end)
        out.append((index - begin, index, x.numpy().astype(np.float64)[first - 1 :]))
        before = end
        if end == len(ids):
            break
    return out


def held_out():
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    model = GPTNeoXForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32).eval()
    text = (TESTS / "tools" / "prompts.txt").read_bytes().decode()
    assert text.isascii()
    encoded = tokenizer(text, return_offsets_mapping=True)
    ids, spans = encoded["input_ids"], encoded["offset_mapping"]
    starts = np.array([m.start() for m in re.finditer(r"(?<!\S)\S", text)])
    out = {}
    for name, stride in (("plain", WINDOW), ("strided", STRIDE)):
        windows, x = windows_of(model, ids, stride), np.full(len(ids), np.nan)
        n_bytes = n_words = 0
        for _, index, loss in windows:
            assert np.isnan(x[index]).all()
            x[index] = loss
            for i in index:
                n_bytes += spans[i][1] - spans[i][0]
                n_words += ((starts >= spans[i][0]) & (starts < spans[i][1])).sum()
        figures = values([(p, loss) for p, _, loss in windows if len(p)], 10, 100, n_bytes, n_words)
        position = np.concatenate([p for p, _, _ in windows])
        scored = np.concatenate([index for _, index, _ in windows])
        figures |= tables(position, np.array(ids)[scored], x[scored], None, 4096)
        out |= {f"{name}.{k}": v for k, v in figures.items()}
        out[name + ".losses"] = x.astype(np.float32)
    save("held_out", out)


def save(name, arrays):
    path = TESTS / "golden" / "loss" / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, str(path))
    path.chmod(0o644)


if __name__ == "__main__":
    random_model("parallel_f32")
    held_out()
