"""The parts of a bench run that other programs of this folder measure: decoding on a busy machine, what
hooks cost in instructions, memory, the second start, accuracy, a sweep. Each gives a list of objects."""
import json
import os
import pathlib
import re
import subprocess
import tempfile

from turns import HERE, ROOT, model_folder, python

PARTS = ("busy", "hooks", "memory", "start", "accuracy", "sweep")
TOKENIZER = ROOT / "tests" / "golden" / "tokenizer" / "gpt-neox-20b.tokenizer.json"


def json_lines(command, failing=()):
    """What a program prints, where a line is an object. failing: exit codes that are answers too."""
    env = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True, check=False,
                          env=env)
    if done.returncode not in (0, *failing):
        raise RuntimeError(f"exit code {done.returncode}: {' '.join(map(str, command))}")
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for answer in answers:  # the page says what was measured, not where this machine keeps it
        if "model" in answer:
            answer["model"] = pathlib.Path(answer["model"]).name
        if "weights" in answer:
            answer["weights"] = re.sub(r" (in|from) /.*", "", answer["weights"])
    return answers


def busy(a, shape, rounds=3):
    command = [a.build / "bench" / "bench_pass", model_folder(a, shape, "f16"), "--json", "--only",
               "busy", "--threads", a.threads]
    return [line for _ in range(rounds) for line in json_lines(command)]


def hooks(a):
    """Two builds of their own, kept in the build folder."""
    return json_lines([HERE / "hooks_cost.sh", a.build / "hooks"])


def memory(a, shape="410m"):
    """Freshly packed; while the kept file is made; mapped."""
    with tempfile.TemporaryDirectory(dir=a.cache) as kept:
        command = [a.build / "bench" / "bench_memory", model_folder(a, shape, "f16"), "--json"]
        return [line for cache in ([], ["--cache-dir", kept], ["--cache-dir", kept])
                for line in json_lines(command + cache, failing=(1,))]


def start(a, shape="410m"):
    """The program is given a tokenizer too, as a user's model has one."""
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


def sections(a):
    """(name, function) of the parts that a.parts wants. They have shapes of their own, of which a small
    run leaves out what is not in a.shapes."""
    small = [s for s in ("70m", "160m") if s in a.shapes]
    wanted = [(f"busy/{s}", lambda s=s: busy(a, s)) for s in small]
    wanted += [("hooks", lambda: hooks(a))]
    wanted += [(f"{f.__name__}/410m", lambda f=f: f(a)) for f in (memory, start) if "410m" in a.shapes]
    wanted += [(f"accuracy/{s}", lambda s=s: accuracy(a, s)) for s in small]
    wanted += [("sweep/160m", lambda: sweep(a))] if "160m" in a.shapes else []
    for name, function in wanted:
        if name.split("/")[0] in a.parts:
            yield name, function
