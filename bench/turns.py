"""Contenders of a bench, which take turns: processes that have loaded a model, answer each input
line with one line, and are stopped by a signal while another one works. Also the models that they
load."""
import os
import pathlib
import signal
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
SHAPES = {"70m": (6, 512, 8), "160m": (12, 768, 12), "410m": (24, 1024, 16), "1.4b": (24, 2048, 16)}
VOCAB = 50304
SIZE = {"f32": 4, "f16": 2, "bf16": 2}


def python(a):
    """The rivals' interpreter."""
    return a.rivals / "bin" / "python"


# --- models --------------------------------------------------------------------------------------

def parameters(shape):
    layers, n, _ = SHAPES[shape]
    return 12 * layers * n * n + 2 * VOCAB * n


def model_folder(a, shape, dtype):
    folder = a.cache / f"{shape}-{dtype}"
    if not (folder / "config.json").exists() or not list(folder.glob("*.safetensors")):
        print(f"making {folder}", flush=True)
        partial = a.cache / f"{shape}-{dtype}.partial"
        subprocess.run(["rm", "-rf", partial], check=True)
        a.cache.mkdir(parents=True, exist_ok=True)
        subprocess.run([python(a), ROOT / "tools" / "make_model.py", partial, shape,
                        "--dtype", dtype], check=True, stdout=subprocess.DEVNULL)
        partial.rename(folder)
    return folder


def gguf_file(a, shape, dtype):
    path = a.cache / f"{shape}-{dtype}.gguf"
    if not path.exists():
        print(f"making {path}", flush=True)
        subprocess.run([python(a), HERE / "rivals" / "gguf_model.py",
                        model_folder(a, shape, dtype), path], check=True)
    return path


# --- contenders ----------------------------------------------------------------------------------

class Contender:
    """A process that answers each input line with one line; stopped between its turns."""

    def __init__(self, name, command, bytes_loaded=0, env=None):
        self.name, self.command, self.bytes = name, [str(c) for c in command], bytes_loaded
        self.env, self.process = env or {}, None

    def __enter__(self):
        env = {**os.environ, **self.env}
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
            stderr=subprocess.DEVNULL if not os.environ.get("BENCH_DEBUG") else None)
        if self.read() != "ready":
            raise RuntimeError(f"{self.name} does not start: {' '.join(self.command)}")
        self.stop()
        return self

    def __exit__(self, *_):
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def stop(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended: {' '.join(self.command)}")
        return line.strip()

    def text(self, question):
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        answer = self.read()
        self.stop()
        return answer

    def ask(self, question):
        return float(self.text(question))


def take(contender, question):
    """A turn: wall and processor seconds of the answer."""
    clock_id = (~contender.process.pid << 3) | 2  # the process's own clock (Linux)
    before = time.clock_gettime(clock_id)
    wall = contender.ask(question)
    return wall, time.clock_gettime(clock_id) - before


def environment(a):
    """Of Python contenders: as many threads, no network, our package from this tree."""
    return {"OMP_NUM_THREADS": str(a.threads), "MKL_NUM_THREADS": str(a.threads),
            "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT / "python"),
            "PYTHONDONTWRITEBYTECODE": "",  # modules are compiled once, as pip does
            "PYTHIASCOPE_LIBRARY": str(a.build / "libpythiascope.so")}


def ours(a, shape, dtype):
    return Contender("pythiascope", [a.build / "bench" / "bench_worker",
                                     model_folder(a, shape, dtype), a.threads],
                     parameters(shape) * SIZE[dtype])


def rival(a, script, name, shape, dtype, path):
    # Limits the threads of every library that a rival uses.
    env = {"OMP_NUM_THREADS": str(a.threads), "MKL_NUM_THREADS": str(a.threads),
           "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    return Contender(name, [python(a), HERE / "rivals" / script, path, dtype, a.threads],
                     parameters(shape) * SIZE[dtype], env)
