#!/usr/bin/env python3
"""The logits' error against float64, relative to PyTorch's in float32, on Pythia's shapes.

    accuracy.py [--build FOLDER] [--cache FOLDER] [--shapes 70m,160m] [MODEL ...]

100 prompts of random tokens, most of them short, a tenth longer than 256 keys. The error of a
prompt is the root mean square over the last row's logits. The exact value comes from
tests/tools/gptneox_float64.py, numpy in float64. Prints both medians and their ratio; the bound is
1.1.

Random weights do not show how errors grow in a trained model. Pass the folders of trained models
too, with f32, f16 or bf16 weights. Run it with the environment of install_rivals.sh."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE / "rivals"), str(ROOT / "tests" / "tools")]

try:
    import numpy as np  # noqa: E402
    import torch  # noqa: E402
    import transformers  # noqa: E402
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

import gptneox_float64  # noqa: E402
try:
    from contender import prompt  # noqa: E402
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

BOUND = 1.1


def prompts(n, seed=0):
    """(first token, length) of each."""
    random = np.random.default_rng(seed)
    sizes = [random.integers(*((260, 321) if i % 10 == 9 else (2, 49))) for i in range(n)]
    return [(1000 * i, int(size)) for i, size in enumerate(sizes)]


def error(logits, exact):
    return float(np.sqrt(np.mean((logits.astype(np.float64) - exact) ** 2)))


def measure(folder, build, threads, n, as_json):
    exact = gptneox_float64.Model(folder)
    model = transformers.GPTNeoXForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    vocab = exact.config["d_vocab"]
    worker = subprocess.Popen([build / "bench" / "bench_worker", folder, str(threads)], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    worker.stdout.readline()
    mine, theirs = [], []
    with tempfile.TemporaryDirectory() as work:
        path = pathlib.Path(work) / "logits"
        for first, size in prompts(n):
            tokens = prompt(size, vocab, first)
            want = exact.forward(tokens, keep=False)["hook_logits"][-1]
            worker.stdin.write(f"write {path} {first} {size}\n")
            worker.stdin.flush()
            if not worker.stdout.readline():
                sys.exit("bench_worker ended")
            mine.append(error(np.fromfile(path, "<f4"), want))
            with torch.inference_mode():
                got = model(torch.tensor([tokens]), logits_to_keep=1).logits[0, -1]
            theirs.append(error(got.numpy(), want))
    worker.stdin.close()
    worker.wait()
    ratio = np.median(mine) / np.median(theirs)
    paired = np.percentile(np.array(mine) / np.array(theirs), [25, 50, 75])
    if as_json:
        print(json.dumps({"prompts": n, "pythiascope": np.median(mine), "pytorch": np.median(theirs),
                          "ratio": ratio, "by_prompt": list(paired)}), flush=True)
        return
    print(f"{folder}: median error {np.median(mine):.3g}, PyTorch f32 {np.median(theirs):.3g}, "
          f"ratio {ratio:.3f} ({'met' if ratio <= BOUND else 'SHORT'}), by prompt "
          + " ".join(f"{p:.3f}" for p in paired), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("models", nargs="*", help="model folders")
    p.add_argument("--shapes", default="70m,160m")
    p.add_argument("--prompts", type=int, default=100)
    p.add_argument("--threads", type=int, default=torch.get_num_threads())
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    p.add_argument("--cache", type=pathlib.Path, help="folder of generated models; default: BUILD/models")
    p.add_argument("--json", action="store_true", help="print one JSON object per line")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    cache = a.cache or a.build / "models"
    for shape in [s for s in a.shapes.split(",") if s]:
        folder = cache / f"{shape}-f32"
        if not (folder / "config.json").exists():
            subprocess.run([sys.executable, ROOT / "tools" / "make_model.py", folder, shape,
                            "--dtype", "f32"], check=True, stdout=subprocess.DEVNULL)
        a.models.append(str(folder))
    for folder in a.models:
        measure(folder, a.build, a.threads, a.prompts, a.json)


main()
