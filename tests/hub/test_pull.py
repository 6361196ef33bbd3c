"""What a download leaves in the cache, or in a folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from conftest import NAME, WEIGHTS, Program
from hub_models import config, model, sharded_model
from hub_server import FakeHub, Handler, etag, sha256

NEEDED = ("README.md", "config.json", WEIGHTS)


def test_the_cache_has_the_layout_of_huggingface_hub(hub: FakeHub, program: Program) -> None:
    out = program.run("pull", NAME)
    repository = hub.repositories[NAME]
    commit, files = repository.refs["main"], model()
    blobs = [f"blobs/{etag(name, files[name])}" for name in NEEDED]
    links = [f"snapshots/{commit}/{name}" for name in NEEDED]
    assert program.leftovers() == sorted([*blobs, *links, "refs/main"])
    assert (program.root / "refs/main").read_text() == commit
    for name, blob, link in zip(NEEDED, blobs, links):
        assert os.readlink(program.root / link) == f"../../{blob}"
        assert (program.root / link).read_bytes() == files[name]
    first = out.splitlines()[0]
    assert first.startswith(f"{NAME}: 3 files, ") and first.endswith(f"snapshots/{commit}")
    assert f"try: pythiascope analyze --model {NAME} --text" in out
    assert f"{NAME}  " in program.run("analyze", "--model", NAME, "--tokens", "1,2")


def test_a_second_command_downloads_nothing(hub: FakeHub, program: Program) -> None:
    program.run("pull", NAME)
    before = program.leftovers()
    hub.log.clear()
    assert "already there" in program.run("pull", "pythia-1m")
    assert not hub.asked("/resolve/") and not hub.asked("/blob/")
    assert program.leftovers() == before


def test_a_branch_that_moved_is_downloaded_again(hub: FakeHub, program: Program) -> None:
    program.run("pull", NAME)
    hub.log.clear()
    commit = hub.repositories[NAME].add("main", model(seed=1))
    program.run("pull", NAME)
    assert (program.root / "refs/main").read_text() == commit
    assert len(hub.asked("/blob/")) == 1  # the other files are those of the old commit
    assert not hub.asked("config.json")
    assert (program.root / f"snapshots/{commit}/{WEIGHTS}").read_bytes() == model(1)[WEIGHTS]


def test_all_steps_in_ascending_order(hub: FakeHub, program: Program) -> None:
    repository = hub.repositories[NAME]
    for step in (1000, 0, 20, 143000):
        repository.add(f"step{step}", model(seed=step % 1000))  # step0, 1000, 143000: the same

    def late(handler: Handler) -> bool:
        time.sleep(0.5 if handler.path.endswith(sha256(model(0)[WEIGHTS])) else 0)
        return False

    hub.fault("/blob/", late, times=9, host="store")
    out = program.run("pull", f"{NAME}@all-steps")
    steps = [line.split(":")[0] for line in out.splitlines() if "files" in line]
    assert steps == [f"{NAME}@step{step}" for step in (0, 20, 1000, 143000)]
    refs = sorted(os.listdir(program.root / "refs"))
    assert refs == ["step0", "step1000", "step143000", "step20"]
    assert len(hub.asked("/blob/")) == 2, "equal weights are downloaded once"
    assert f"--model {NAME}@step143000" in out
    out = program.run("analyze", "--model", f"{NAME}@step20", "--tokens", "1")
    assert f"{NAME}@step20  " in out
    error = program.fail("info", NAME)
    assert "has @step0, @step20, @step1000, @step143000 of it" in error


def test_several_revisions_by_name(hub: FakeHub, program: Program) -> None:
    for step in (1, 2, 3):
        hub.repositories[NAME].add(f"step{step}", model(seed=step))
    program.run("pull", f"{NAME}@step3,step1")
    assert sorted(os.listdir(program.root / "refs")) == ["step1", "step3"]


def test_a_branch_with_a_slash_and_a_commit(hub: FakeHub, program: Program) -> None:
    commit = hub.repositories[NAME].add("refs/pr/1", model(seed=7))
    program.run("pull", f"{NAME}@refs/pr/1")
    assert (program.root / "refs/refs/pr/1").read_text() == commit
    assert hub.asked("/revision/refs%2Fpr%2F1$")
    hub.repositories[NAME].refs.pop("refs/pr/1")
    program.run("pull", f"{NAME}@{commit}")
    assert os.listdir(program.root / "refs") == ["refs"], "a commit has no ref"


def test_a_plain_folder(hub: FakeHub, program: Program, tmp_path: Path) -> None:
    program.run("pull", NAME, "--to", "mine/deep")
    folder = tmp_path / "mine" / "deep"
    assert sorted(os.listdir(folder)) == sorted(NEEDED)
    assert all((folder / name).read_bytes() == model()[name] for name in NEEDED)
    assert not any((folder / name).is_symlink() for name in NEEDED)
    assert not program.cache.exists()
    assert "deep  " in program.run("analyze", "--model", "mine/deep", "--tokens", "1")
    hub.log.clear()
    assert "already there" in program.run("pull", NAME, "--to", "mine/deep")
    assert not hub.asked("/resolve/")


def test_a_plain_folder_of_steps(hub: FakeHub, program: Program, tmp_path: Path) -> None:
    for step in (1, 20):
        hub.repositories[NAME].add(f"step{step}", model(seed=step))
    program.run("pull", f"{NAME}@all-steps", "--to", "mine")
    assert sorted(os.listdir(tmp_path / "mine")) == ["step1", "step20"]
    assert "mine@step20  " in program.run("analyze", "--model", "mine@step20", "--tokens", "1")


def test_another_file_of_the_user_is_not_replaced(program: Program, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("mine")
    error = program.fail("pull", NAME, "--to", "mine")
    assert error.startswith("mine/config.json exists and is not the file of EleutherAI/pythia-1m")
    assert os.listdir(tmp_path / "mine") == ["config.json"]
    assert (tmp_path / "mine" / "config.json").read_text() == "mine"


def test_weights_of_another_revision_are_not_left_beside(
    hub: FakeHub, program: Program, tmp_path: Path
) -> None:
    step = {name: data for name, data in model(seed=3).items() if name != WEIGHTS}
    hub.repositories[NAME].add("step3", step | {"pytorch_model.bin": b"pickle"})
    program.run("pull", NAME, "--to", "mine")
    error = program.fail("pull", f"{NAME}@step3", "--to", "mine")
    assert error.startswith(f"mine has a {WEIGHTS}, which {NAME}@step3 lacks")
    assert sorted(os.listdir(tmp_path / "mine")) == sorted(NEEDED)


def test_shards_by_their_index(hub: FakeHub, program: Program) -> None:
    files = sharded_model() | {"pytorch_model-00001-of-00001.bin": b"not needed"}
    commit = hub.add("someone/sharded").add("main", files)
    program.run("pull", "someone/sharded")
    folder = program.cache / "models--someone--sharded" / "snapshots" / commit
    assert sorted(os.listdir(folder)) == sorted(sharded_model())
    assert "someone/sharded  " in program.run(
        "analyze", "--model", "someone/sharded", "--tokens", "1"
    )


def test_pickles_only_where_there_is_nothing_else(hub: FakeHub, program: Program) -> None:
    pickles = {"pytorch_model.bin": b"weights", "optimizer.bin": b"not needed"}
    commit = hub.add("someone/old").add("step1", {"config.json": config(), **pickles})
    program.run("pull", "someone/old@step1")
    folder = program.cache / "models--someone--old" / "snapshots" / commit
    assert sorted(os.listdir(folder)) == ["config.json", "pytorch_model.bin"]


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"])
def test_variables_that_name_the_cache(program: Program, tmp_path: Path, variable: str) -> None:
    below = {"HF_HUB_CACHE": "", "HF_HOME": "hub", "XDG_CACHE_HOME": "huggingface/hub"}
    place = {variable: str(tmp_path / "elsewhere")}
    program.run("pull", NAME, **place)
    root = tmp_path / "elsewhere" / below[variable] / "models--EleutherAI--pythia-1m"
    assert (root / "refs" / "main").is_file()
    program.run("analyze", "--model", NAME, "--tokens", "1", **place)
    assert "not on this machine" in program.fail("info", NAME)


def test_an_endpoint_below_a_path(tmp_path: Path) -> None:
    hub = FakeHub(prefix="/mirror")
    hub.add(NAME).add("main", model())
    Program(tmp_path, hub).run("pull", NAME, HF_ENDPOINT=hub.url + "/")
    hub.close()


def test_through_a_proxy(hub: FakeHub, program: Program) -> None:
    """The proxy is the hub itself, which finds the path in the whole URL that proxies receive."""
    commit = hub.repositories[NAME].refs["main"]
    out = program.run(
        "pull", NAME, HF_ENDPOINT="http://hub.invalid", http_proxy=hub.url, no_proxy="localhost"
    )
    assert commit in out and hub.asked("/revision/main$")


def test_offline(program: Program, hub: FakeHub) -> None:
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        error = program.fail("pull", NAME, **{variable: "1"})
        assert "uses no network; unset it" in error
    assert not hub.log


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nonsense", "is not a name like"),
        ("../x/y", "is not a name like"),
        ("/etc/passwd", "is not a name like"),
        ("a/b@../../x", "no usable revision"),
        ("a/b@", "no usable revision"),
        ("a/b\n", "control character"),
        ("a" * 5000, "too long"),
        ("https://huggingface.co/a/b", "pass a/b, not a URL"),
        ("https://huggingface.co/a/b/tree/step7", "pass a/b@step7, not a URL"),
    ],
)
def test_names_that_cannot_be_one(program: Program, hub: FakeHub, name: str, words: str) -> None:
    assert words in program.fail("pull", name)
    assert not hub.log
