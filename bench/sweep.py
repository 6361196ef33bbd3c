#!/usr/bin/env python3
"""Activation patching at every position: the plugin sweep against TransformerLens's helpers.

    bench/sweep.py MODEL_FOLDER --build BUILD --rivals FOLDER [--tokens 32] [--count 60]

Both patch heads' outputs and residuals position by position from another prompt, and measure one
logit of the last row. pythiascope computes all positions, TransformerLens COUNT of them, spread
evenly (its time per position is the same for all). Contenders take turns; the waiting one is
stopped. Prints seconds per position and their ratio, medians and ranges. install_rivals.sh makes
the folder of rivals.
"""
import argparse
import json
import pathlib
import statistics

from turns import HERE, Contender


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("--build", type=pathlib.Path, required=True)
    p.add_argument("--rivals", type=pathlib.Path, required=True)
    p.add_argument("--tokens", type=int, default=32)
    p.add_argument("--count", type=int, default=60)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--json", action="store_true", help="print one JSON object per line")
    a = p.parse_args()
    config = json.loads((a.model / "config.json").read_text())
    layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
    with (Contender("pythiascope", [a.build / "bench" / "bench_worker", a.model, a.threads]) as ours,
          Contender("TransformerLens", [a.rivals / "bin" / "python", HERE / "rivals" / "lens.py",
                                        a.model, "f32", a.threads]) as lens):
        for over, places in (("resid_pre", layers * a.tokens),
                             ("heads_by_pos", layers * a.tokens * heads)):
            times = [(ours.ask(f"sweep {a.tokens} {over}") / places,
                      lens.ask(f"sweep {a.tokens} {over} {a.count}")) for _ in range(a.rounds)]
            if a.json:
                print(json.dumps({"over": over, "tokens": a.tokens, "places": places,
                                  "pythiascope": [t[0] for t in times],
                                  "transformer_lens": [t[1] for t in times]}), flush=True)
                continue
            x, y = (statistics.median(t[i] for t in times) for i in (0, 1))
            ratios = sorted(t[1] / t[0] for t in times)
            print(f"{over}, {a.tokens} tokens, {places} places: pythiascope {1e3 * x:.2f} ms "
                  f"per place, TransformerLens {1e3 * y:.2f} ms, {y / x:.1f} times ({ratios[0]:.1f} to "
                  f"{ratios[-1]:.1f})", flush=True)


main()
