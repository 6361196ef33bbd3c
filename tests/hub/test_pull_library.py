"""huggingface_hub finds what pull downloaded, and the program finds what huggingface_hub did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import NAME, WEIGHTS, Program
from hub_models import model
from hub_server import FakeHub

FIND = """
import sys
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download
name, revision = sys.argv[1:]
print(hf_hub_download(name, "model.safetensors", revision=revision))
print(snapshot_download(name, revision=revision, allow_patterns=["*.json", "*.safetensors"]))
(found,) = scan_cache_dir().repos
print(sorted(ref for r in found.revisions for ref in r.refs), scan_cache_dir().warnings)
"""


def python(program: Program, code: str, *arguments: str, **variables: str) -> list[str]:
    """The lines that code prints, with the program's home and hub."""
    settings = program.variables | {"HF_HUB_DISABLE_PROGRESS_BARS": "1"} | variables
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_huggingface_hub_finds_what_pull_downloaded(hub: FakeHub, program: Program) -> None:
    step = hub.repositories[NAME].add("step3", model(seed=3))
    main = hub.repositories[NAME].refs["main"]
    program.run("pull", f"{NAME}@main,step3")
    hub.log.clear()
    snapshots = program.root / "snapshots"
    for revision, commit in (("main", main), ("step3", step)):
        file, folder, facts = python(program, FIND, NAME, revision, HF_HUB_OFFLINE="1")
        assert file == str(snapshots / commit / WEIGHTS)
        assert folder == str(snapshots / commit)
        assert facts == "['main', 'step3'] []"
    assert not hub.log
    # Online it asks for the names, and downloads none of the files.
    python(program, FIND, NAME, "main")
    assert hub.log and not [r for r in hub.log if r.host == "store"]


def test_the_program_finds_what_huggingface_hub_downloaded(hub: FakeHub, program: Program) -> None:
    hub.repositories[NAME].add("step3", model(seed=3))
    python(program, FIND, NAME, "step3")
    assert f"{NAME}@step3  " in program.run("analyze", "--model", f"{NAME}@step3", "--tokens", "1")
    assert "has @step3 of it" in program.fail("info", NAME)
    hub.log.clear()
    program.run("pull", f"{NAME}@step3")
    assert not hub.asked("/blob/")  # README.md was not among what was downloaded
    assert [Path(r.path).name for r in hub.asked("/resolve/")] == ["README.md"]


def test_an_older_layout_without_links(hub: FakeHub, program: Program) -> None:
    """On file systems without links huggingface_hub puts the files themselves into the snapshot."""
    commit = hub.repositories[NAME].refs["main"]
    folder = program.root / "snapshots" / commit
    folder.mkdir(parents=True)
    for name, data in model().items():
        if "/" not in name:
            (folder / name).write_bytes(data)
    (program.root / "refs").mkdir()
    (program.root / "refs" / "main").write_text(commit)
    assert "already there" in program.run("pull", NAME)
    assert not hub.asked("/resolve/") and not os.path.exists(program.root / "blobs")
