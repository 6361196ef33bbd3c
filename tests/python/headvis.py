"""HeadVis's folder: what its readers expect, and its numbers by brute force in float64.

The types are those that Neuronpedia's loaders and pages read (github.com/hijohnnylin/neuronpedia,
utils/neuronpedia-utils/neuronpedia_utils/headvis and apps/webapp). The numbers are made anew from
whole patterns: no code of the package.
"""

from __future__ import annotations

import bisect
import math

import numpy as np

METRICS = (
    "self_attention_score",
    "prev_token_score",
    "pattern_entropy",
    "qk_distance",
    "qk_distance_variance",
    "induction_score",
)
INTERVALS, SAMPLES, SAMPLED, RANKED, KEYS, LEAST = 5, 3, 32, 1024, 8, 0.005
EDGES = [0, *(2**i for i in range(13))]
NUMBER = (int, float)


# --- what the readers expect ---------------------------------------------------------------------


def typed(value, kind, where):
    """A value of a kind: a type, a tuple of types, [kind of entries], {key: kind}."""
    if isinstance(kind, dict):
        assert isinstance(value, dict), where
        for key, inner in kind.items():
            assert key in value, f"{where}.{key} is missing"
            typed(value[key], inner, f"{where}.{key}")
    elif isinstance(kind, list):
        assert isinstance(value, list), where
        for i, entry in enumerate(value):
            typed(entry, kind[0], f"{where}[{i}]")
    else:
        assert (isinstance(value, kind) and not isinstance(value, bool)) or kind is bool, where
        assert not isinstance(value, float) or math.isfinite(value), where


HISTOGRAM = {"bin_edges": [NUMBER], "bin_values": [NUMBER]}
WEIGHED = [{"token": str, "weight": NUMBER}]
ROW = {"layer": int, "head": int, **dict.fromkeys(METRICS, (int, float, type(None)))}
HEAD = {
    "sequences": [
        {
            "sequence_id": int,
            "interval": int,
            "tokens": [str],
            "attention_indices": [int],
            "attention_values": [NUMBER],
            "seq_len": int,
            "max_activation": NUMBER,
        }
    ],
    "qk_distance_histogram": HISTOGRAM,
    "top_query_tokens": WEIGHED,
    "top_key_tokens": WEIGHED,
    "histogram": HISTOGRAM,
    "statistics": {"n_samples": int, "mean_max_activation": (int, float, type(None))},
}
KEY_LABEL = [{"key": str, "label": str}]
CONFIG = {
    "model_name": str,
    "np_model_id": str,
    "dataset_name": str,
    "heads": [[int]],
    "n_layers": int,
    "n_heads": int,
    "n_intervals": int,
    "metrics": [str],
    "metric_descriptions": dict.fromkeys(METRICS, str),
    "head_data_pattern": str,
    "has_umap": bool,
    "umap_heads": [int],
    "custom_plots": KEY_LABEL,
    "custom_tables": KEY_LABEL,
    "statistics_display": {
        name: {"label": str, "format": str} for name in ("n_samples", "mean_max_activation")
    },
    "pipeline_config": {
        "n_sequences": int,
        "seq_len": int,
        "dtype": str,
        "attn_implementation": str,
        "n_intervals": int,
    },
}


def check_head(head, where):
    """One head's file: types, and that every index points at a token."""
    typed(head, HEAD, where)
    assert head["statistics"]["n_samples"] == len(head["sequences"])
    for name in ("histogram", "qk_distance_histogram"):
        assert len(head[name]["bin_edges"]) == len(head[name]["bin_values"]) + 1
    for sequence in head["sequences"]:
        n = sequence["seq_len"]
        assert len(sequence["tokens"]) == n and 1 <= sequence["interval"] <= INTERVALS
        indices, values = sequence["attention_indices"], sequence["attention_values"]
        assert len(indices) == len(values) and indices == sorted(set(indices))
        assert all(0 <= index % n <= index // n < n for index in indices)
        assert all(LEAST <= value <= 1 for value in values)
        assert all("\0" not in token for token in sequence["tokens"])


def check_folder(files):
    """files: parsed JSON by its path in the folder. Every file, its type, and every head."""
    config, scatter = files["config.json"], files["scatter_data.json"]
    typed(config, CONFIG, "config")
    typed(scatter, [ROW], "scatter_data")
    heads = [[i, j] for i in range(config["n_layers"]) for j in range(config["n_heads"])]
    assert config["heads"] == heads and config["metrics"] == list(METRICS)
    assert [[row["layer"], row["head"]] for row in scatter] == heads
    names = {f"heads/{config['head_data_pattern']}".format(layer=i, head=j) for i, j in heads}
    assert files["server_config.json"] == {} and files["attributions/manifest.json"] == {}
    others = {
        "config.json",
        "scatter_data.json",
        "server_config.json",
        "attributions/manifest.json",
    }
    assert set(files) == names | others
    for name in names:
        check_head(files[name], name)


# --- the numbers ---------------------------------------------------------------------------------


def windows_of(documents, size):
    """(document, position, ids) of every window of two tokens or more."""
    for number, ids in enumerate(documents):
        for first in range(0, len(ids), size):
            if len(ids) - first > 1:
                yield number, first, ids[first : first + size]


def metrics_of(windows, patterns):
    """[layers, heads, metrics] over all rows; patterns [layers, heads, rows, keys] per window."""
    sums, rows, later, repeats = 0, 0, 0, 0
    for (_, _, ids), a in zip(windows, patterns):
        n = len(ids)
        distance = np.arange(n)[:, None] - np.arange(n)
        entropy = -(a * np.log(np.where(a > 0, a, 1))).sum((-1, -2))
        diagonal = np.einsum("lhkk->lh", a)
        previous = a[:, :, np.arange(1, n), np.arange(n - 1)].sum(-1)
        far, square = (a * distance).sum((-1, -2)), (a * distance**2).sum((-1, -2))
        induction = np.zeros(a.shape[:2])
        for k in range(n):
            earlier = [j for j in range(k) if ids[j] == ids[k]]
            repeats += bool(earlier)
            for j in earlier:
                induction += np.where(a[:, :, k, j + 1] >= 0.01, a[:, :, k, j + 1], 0)
        sums = sums + np.stack([diagonal, previous, entropy, far, square, induction], -1)
        rows, later = rows + n, later + n - 1
    means = sums / np.array([rows, later, rows, rows, rows, repeats])
    means[..., 4] -= means[..., 3] ** 2
    return means


def largest_of(pattern):
    """[layers, heads] the largest attention outside row 0 and key 0."""
    return pattern[:, :, 1:, 1:].max((-1, -2))


def priority(document, position):
    """The window's number in 0..1 by which the sample is taken."""
    mask = 2**64 - 1
    x = (document * 0x9E3779B97F4A7C15 + position) & mask
    for _ in range(2):
        x = (x + 0x9E3779B97F4A7C15) & mask
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & mask
        x = (x ^ x >> 27) * 0x94D049BB133111EB & mask
        x ^= x >> 31
    return (x >> 11) / 2**53


def chosen_of(windows, largest, kept):
    """[(interval, index of the window)] of one head, as the folder lists them."""
    order = sorted(range(len(windows)), key=lambda i: -priority(*windows[i][:2]))
    ranked = sorted(largest[i] for i in order[:RANKED])
    n = len(ranked)
    limits = [ranked[min(round(i * n / INTERVALS), n - 1)] for i in range(1, INTERVALS)]
    buckets = [bisect.bisect_right(limits, value) for value in largest]
    found = []
    for bucket in range(INTERVALS - 1):
        inside = [i for i in order[:SAMPLED] if buckets[i] == bucket]
        found += [(bucket + 1, i) for i in inside[:SAMPLES]]
    best = sorted(range(len(windows)), key=lambda i: -largest[i])[:kept]
    return found + [(INTERVALS, i) for i in best if buckets[i] == INTERVALS - 1]


def triples_of(pattern):
    """{row * n + key: weight}: each row's largest weights [rows, keys] from LEAST up."""
    n, found = len(pattern), {}
    for k, row in enumerate(pattern):
        for j in np.argsort(-row, kind="stable")[:KEYS]:
            if row[j] >= LEAST:
                found[int(k * n + j)] = float(row[j])
    return found


def check_sums(head, tokens_of):
    """The distances and tokens of a head's file, from its own sequences."""
    bins = [0.0] * (len(EDGES) - 1)
    weights = {"query": {}, "key": {}}
    for sequence in head["sequences"]:
        n, texts = sequence["seq_len"], sequence["tokens"]
        for index, value in zip(sequence["attention_indices"], sequence["attention_values"]):
            bins[bisect.bisect_right(EDGES, index // n - index % n) - 1] += value
            for side, place in (("query", index // n), ("key", index % n)):
                weights[side][texts[place]] = weights[side].get(texts[place], 0.0) + value
    histogram = head["qk_distance_histogram"]
    assert histogram["bin_edges"] == EDGES
    np.testing.assert_allclose(histogram["bin_values"], bins, rtol=0, atol=5e-5)
    for side, found in weights.items():
        listed = head[f"top_{side}_tokens"]
        assert [entry["token"] for entry in listed] == tokens_of(found)[: len(listed)]
        assert len(listed) == min(50, len(found))
        for entry in listed:
            assert abs(entry["weight"] - found[entry["token"]]) < 5e-5


def ranked_tokens(found):
    """Texts by weight, equal ones by their bytes."""
    return sorted(found, key=lambda text: (-round(found[text] * 10000), text.encode()))
