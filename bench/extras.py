"""The parts of a bench run that other programs of this folder measure: decoding on a busy machine,
the instructions that hooks cost, memory, the second start, accuracy, a sweep, the Python package,
statistics over a corpus.
Each returns a list of objects."""
import json
import os
import pathlib
import re
import subprocess
import tempfile

from turns import HERE, ROOT, model_folder, python

PARTS = ("busy", "hooks", "memory", "start", "accuracy", "sweep", "python", "corpus")
TOKENIZER = ROOT / "tests" / "golden" / "tokenizer" / "gpt-neox-20b.tokenizer.json"


def json_lines(command, failing=()):
    """The JSON objects that a program prints, one per line. failing: exit codes to accept."""
    env = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True, check=False,
                          env=env)
    if done.returncode not in (0, *failing):
        raise RuntimeError(f"exit code {done.returncode}: {' '.join(map(str, command))}")
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for answer in answers:  # the page names what was measured, without this machine's paths
        if "model" in answer:
            answer["model"] = pathlib.Path(answer["model"]).name
        if isinstance(answer.get("weights"), str):
            answer["weights"] = re.sub(r" (in|from) /.*", "", answer["weights"])
    return answers


def busy(a, shape, rounds=3):
    command = [a.build / "bench" / "bench_pass", model_folder(a, shape, "f16"), "--json", "--only",
               "busy", "--threads", a.threads]
    return [line for _ in range(rounds) for line in json_lines(command)]


def hooks(a):
    """Two separate builds, kept in the build folder."""
    return json_lines([HERE / "hooks_cost.sh", a.build / "hooks"])


def memory(a, shape="410m"):
    """Freshly packed; while writing the cache file; mapped from it."""
    with tempfile.TemporaryDirectory(dir=a.cache) as kept:
        command = [a.build / "bench" / "bench_memory", model_folder(a, shape, "f16"), "--json"]
        return [line for cache in ([], ["--cache-dir", kept], ["--cache-dir", kept])
                for line in json_lines(command + cache, failing=(1,))]


def start(a, shape="410m"):
    """The program gets a tokenizer too, as in a user's model."""
    with tempfile.TemporaryDirectory(dir=a.cache) as work:
        for file in model_folder(a, shape, "f16").iterdir():
            (pathlib.Path(work) / file.name).symlink_to(file.resolve())
        (pathlib.Path(work) / "tokenizer.json").symlink_to(TOKENIZER)
        return json_lines([python(a), HERE / "start.py", a.build / "pythiascope", "--model", work,
                           "--json"])


def accuracy(a, shape):
    return json_lines([python(a), HERE / "accuracy.py", model_folder(a, shape, "f32"), "--shapes", "",
                       "--build", a.build, "--threads", a.threads, "--json"])


def sweep(a, shape="160m"):
    return json_lines([python(a), HERE / "sweep.py", model_folder(a, shape, "f32"), "--build", a.build,
                       "--rivals", a.rivals, "--threads", a.threads, "--json"])


def package(a, shapes, parts):
    return json_lines([python(a), HERE / "python_cost.py", "--build", a.build, "--rivals", a.rivals,
                       "--cache", a.cache, "--shapes", shapes, "--parts", parts, "--threads", a.threads,
                       "--json"])


def corpus(a, shape):
    """Every plugin against the plain pass, and statistics against PyTorch."""
    rounds = {"70m": 7, "160m": 4}.get(shape, 3)
    mine = json_lines([a.build / "bench" / "bench_corpus_cost", model_folder(a, shape, "f16"),
                       "--json", "--threads", a.threads, "--rounds", rounds])
    if "pytorch" in a.without:
        return mine
    return mine + json_lines([python(a), HERE / "corpus_rivals.py", "--build", a.build, "--rivals",
                              a.rivals, "--cache", a.cache, "--shapes", shape, "--threads", a.threads,
                              "--json"], failing=(3,))


def sections(a):
    """(name, function) of the parts in a.parts. They have their own shapes; a small run skips those
    that are not in a.shapes."""
    small = [s for s in ("70m", "160m") if s in a.shapes]
    wanted = [(f"busy/{s}", lambda s=s: busy(a, s)) for s in small]
    wanted += [("hooks", lambda: hooks(a))]
    wanted += [(f"{f.__name__}/410m", lambda f=f: f(a)) for f in (memory, start) if "410m" in a.shapes]
    wanted += [(f"accuracy/{s}", lambda s=s: accuracy(a, s)) for s in small]
    wanted += [("sweep/160m", lambda: sweep(a))] if "160m" in a.shapes else []
    wanted += [("python/start", lambda: package(a, "", "import"))]
    wanted += [(f"python/{s}", lambda s=s: package(a, s, "cache,call,hook,memory"))
               for s in ("160m", "410m") if s in a.shapes]
    wanted += [(f"corpus/{s}", lambda s=s: corpus(a, s))
               for s in ("70m", "160m", "410m") if s in a.shapes]
    for name, function in wanted:
        if name.split("/")[0] in a.parts:
            yield name, function
