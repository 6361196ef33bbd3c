"""Uses an installed package where nothing but Python is (tools/try_wheel.sh).

usage: try_wheel.py ENVIRONMENT: the folder of the virtual environment with the package
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pythiascope

TEXT = "There was once a giant named Grumbold. Nobody in the village had ever seen Grumb"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The console script's exit code and output."""
    return subprocess.run(
        ["pythiascope", *arguments], capture_output=True, text=True, check=False, timeout=300
    )


def check_package(environment: Path) -> None:
    """The embedded model, a pass, a cache and a method whose files are the program's."""
    assert environment in Path(pythiascope.__file__).parents, pythiascope.__file__
    model = pythiascope.Model()
    logits, cache = model.run_with_cache(TEXT)
    assert logits.shape == (1, 23, model.cfg.d_vocab), logits.shape
    assert cache["pattern", 3].shape == (1, 8, 23, 23)
    with tempfile.TemporaryDirectory() as folder:
        model.logits(TEXT).save(f"{folder}/ours")
        done = run("analyze", "--text", TEXT, "--plugin", "logits", "--out", f"{folder}/theirs")
        assert done.returncode == 0, done.stderr
        for name in ("results.json", "tensors.safetensors"):
            ours, theirs = Path(folder, "ours", name), Path(folder, "theirs", name)
            command = rb'\n  "command": ".*",\n'  # which only the program writes
            assert ours.read_bytes() == re.sub(command, b"\n", theirs.read_bytes()), name


def check_program() -> None:
    """Arguments, exit codes and signals of the console script are the program's own."""
    assert run("--version").stdout.startswith(f"pythiascope {pythiascope.__version__}")
    done = run("nothing")
    assert (done.returncode, done.stdout) == (2, ""), done
    assert "unknown verb nothing" in done.stderr
    assert run("info", "/no such folder").returncode == 1
    assert run("forms").returncode == 0
    done = run("pull", "pythia-14m@step8")
    assert done.returncode == 1, done
    assert done.stderr.endswith("hf download EleutherAI/pythia-14m --revision step8\n"), done
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        assert run("analyze", "--text", TEXT, "--html", str(page)).returncode == 0
        assert page.read_text().startswith("<!doctype html>"), "the wheel holds the page"
    # More than a pipe holds, so that the program waits for its reader.
    arguments = ["pythiascope", "generate", "--text", "a b", "--n", "400", "--json"]
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored where a shell started this beside itself
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
            assert process.stdout and process.stdout.read(1)
            process.send_signal(number)
            assert process.wait(60) == -number, process.returncode


def check_surroundings() -> None:
    """No compiler is in reach, so that nothing can have been built here."""
    for name in ("cc", "gcc", "clang", "ld"):
        folders = os.environ["PATH"].split(":")
        assert not any(Path(folder, name).exists() for folder in folders), name


if __name__ == "__main__":
    check_surroundings()
    check_package(Path(sys.argv[1]))
    check_program()
