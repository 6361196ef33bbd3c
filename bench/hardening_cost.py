#!/usr/bin/env python3
"""What the hardening flags cost: two builds of this tree, with and without them, take turns.

    bench/hardening_cost.py HARDENED PLAIN [--model DIR] [--rounds 11]

HARDENED and PLAIN are programs; PLAIN was configured with -DPSC_HARDEN=OFF. Each case runs in both,
one after the other, with one thread; the first of a pair alternates. Prints the median ratio of
processor times (user and system, of the whole process) and its quartiles. Without --model, makes a
random f16 model of pythia-160m's shape (tools/make_model.py, which needs numpy).
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROMPT = ",".join(str(2654435761 * (t + 1) % 50000) for t in range(256))
CASES = {
    "prefill of 256 tokens": ["analyze", "--plugin", "ln"],
    "logits:level=neuron": ["analyze", "--plugin", "logits:level=neuron"],
    "attention": ["analyze", "--plugin", "attention"],
    "decoding of 32 tokens": ["generate", "--n", "32"],
}


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("hardened", type=pathlib.Path)
    p.add_argument("plain", type=pathlib.Path)
    p.add_argument("--model", type=pathlib.Path)
    p.add_argument("--rounds", type=int, default=11)
    return p.parse_args()


def seconds(program, case, model, cache):
    """Processor seconds of one run."""
    command = [program, *case, "--model", model, "--cache-dir", cache, "--threads", "1",
               "--tokens", PROMPT]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"hardening_cost: {program} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


def ratios(a, case, model, cache):
    found = []
    for i in range(a.rounds):
        order = [a.hardened, a.plain] if i % 2 else [a.plain, a.hardened]
        times = {program: seconds(program, case, model, cache) for program in order}
        found.append(times[a.hardened] / times[a.plain])
    return found


def main():
    a = arguments()
    with tempfile.TemporaryDirectory(prefix="psc-hardening.") as folder:
        folder = pathlib.Path(folder)
        model = a.model
        if not model:
            model = folder / "160m"
            subprocess.run([sys.executable, ROOT / "tools/make_model.py", model, "160m", "--dtype",
                            "f16"], check=True)
        cache = folder / "cache"
        cache.mkdir(mode=0o700)
        for program in (a.hardened, a.plain):  # packs the weights
            seconds(program, CASES["decoding of 32 tokens"], model, cache)
        for name, case in CASES.items():
            low, middle, high = statistics.quantiles(ratios(a, case, model, cache), n=4)
            print(f"{name}: {middle:.3f} ({low:.3f} to {high:.3f})", flush=True)


if __name__ == "__main__":
    main()
