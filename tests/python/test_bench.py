"""The verb bench: its figures belong together."""

from __future__ import annotations

import json
import math
import subprocess

from pythiascope import Model


def test_its_figures_are_consistent(program: str) -> None:
    done = subprocess.run(
        [program, "bench", "--json", "--rows", "24", "--threads", "2"],
        capture_output=True,
        check=True,
    )
    found = json.loads(done.stdout)
    with Model() as model:
        cfg = model.cfg
    assert found["rows"] == 24 and found["threads"] == 2 and not done.stderr

    prefill = found["prefill"]
    layer = 4 * cfg.d_model**2 + 2 * cfg.d_model * cfg.d_mlp
    # Of the last layer, only keys and values are computed for all rows.
    both = 2 * cfg.d_model**2
    rows = 24 * (layer * (cfg.n_layers - 1) + both) + layer - both
    keys = (cfg.n_layers - 1) * 24 * 25 / 2 + 24
    work = 2 * (rows + cfg.d_vocab * cfg.d_model) + 4 * cfg.d_model * keys
    assert prefill["operations"] == work
    rate = prefill["operations"] * prefill["tokens_per_second"] / 24
    assert math.isclose(prefill["flops"], rate, rel_tol=1e-6)
    # Short turns on a busy machine: a share may exceed 1 by far.
    assert 0 < prefill["share"] < 50 and prefill["turns"] >= 3
    assert prefill["peak_flops"] > 1e8

    decode = found["decode"]
    weights = cfg.n_layers * layer + cfg.d_vocab * cfg.d_model
    cache = 2 * 4 * cfg.d_model * cfg.n_layers * (24 + 4.5)  # of 25 to 32 keys, on average
    assert decode["bytes"] == 2 * weights + cache  # the file has f16, the cache f32
    rate = decode["bytes"] * decode["tokens_per_second"]
    assert math.isclose(decode["bytes_per_second"], rate, rel_tol=1e-6)
    assert decode["share"] > 0 and decode["memory_bytes_per_second"] > 1e8

    split = found["decomposition"]
    assert math.isclose(split["tokens_per_second"], 24 / split["seconds"], rel_tol=1e-6)
    assert split["plain_seconds"] > 0 and 0.3 < split["ratio"] < 30
