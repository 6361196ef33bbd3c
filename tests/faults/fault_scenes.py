"""The small runs that faults are put into: one or more of every verb.

A scene is a command line and the files that are there before. It runs in a folder of its own, so
that all files it leaves are seen. Models lie outside and are only read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import fault_models

PLAIN = ("--plugin", "ln", "--plugin", "logits")
CORPUS = (
    "corpus",
    "docs",
    "--model",
    "{model}",
    "--plugin",
    "ln",
    "--plugin",
    "neurons:contexts=2",
)
STATE = (*CORPUS, "--window", "8", "--batch", "1", "--state", "run.state", "--save-seconds", "0")


@dataclass(frozen=True)
class Scene:
    """One small run."""

    name: str
    arguments: tuple[str, ...]
    files: dict[str, bytes] = field(default_factory=dict)
    before: tuple[tuple[str, ...], ...] = ()  # command lines whose files are there before
    grows: tuple[str, ...] = ()  # files that a failed run may leave further on
    optional: tuple[str, ...] = ()  # files whose absence loses time only: the cache
    removes: tuple[str, ...] = ()  # files that a failed run may have removed
    parts: tuple[str, ...] = ()  # results that are delivered one by one; what is whole stays
    resumes: bool = False  # the same command continues after a run that failed
    slow: bool = False  # packs 64 MiB: fewer faults in a bounded run
    hub: bool = False  # needs the local hub


def scenes() -> list[Scene]:
    """All of them."""
    docs, tree = fault_models.documents(), {"own.conllu": fault_models.conllu()}
    tests = {"test.conllu": fault_models.conllu(fault_models.OTHERS)}
    model = ("--model", "{model}")
    text = ("--text", "The cat sat")
    forms = {
        "forms.tsv": b"cat\tcat NOUN\tNN\ncats\tcat NOUN\tNNS\nran\trun VERB\tVBD\n"
        b"run\trun VERB\tVB\ndog\tdog NOUN\tNN\ndogs\tdog NOUN\tNNS\n"
    }
    shard = tuple((*STATE[:-4], "--shard", f"{i}/2", "--state", f"{i}.state") for i in (1, 2))
    halfway = (*STATE, "--limit-tokens", "24")
    packing = ("generate", "--model", "{large}", "--tokens", "5,6", "--n", "1")
    return [
        *more_scenes(),
        Scene("analyze", ("analyze", *model, *text, *PLAIN, "--out", "out")),
        Scene("analyze-html", ("analyze", *model, *text, "--html", "page.html")),
        Scene(
            "analyze-effects",
            (
                "analyze",
                *model,
                *text,
                "--source",
                "The dog sat",
                "--patch",
                "L0H*",
                "--plugin",
                "effects",
                "--out",
                "out",
            ),
        ),
        Scene(
            "analyze-prompts",
            ("analyze", *model, "--prompts", "p.txt", "--out", "out"),
            {"p.txt": b"The cat\nThe dog\n"},
            parts=("out/1", "out/2"),
        ),
        Scene("sweep", ("sweep", *model, *text, "--out", "out")),
        Scene(
            "generate", ("generate", *model, *text, "--n", "4", "--plugin", "lens", "--out", "out")
        ),
        Scene(
            "weights",
            (
                "weights",
                *model,
                "--what",
                "frames,copying,tokens",
                "--token",
                " the",
                "--out",
                "out",
            ),
        ),
        Scene("corpus", (*CORPUS, "--window", "8", "--out", "out"), docs),
        Scene("corpus-state", (*STATE, "--out", "out"), docs, grows=("run.state",), resumes=True),
        Scene(
            "corpus-resumed",
            (*STATE, "--out", "out"),
            docs,
            before=(halfway,),
            grows=("run.state",),
            resumes=True,
        ),
        Scene("merge", ("merge", *model, "1.state", "2.state", "--out", "out"), docs, before=shard),
        Scene("words", ("words", *model, *text, "--out", "out")),
        Scene(
            "score",
            ("score", "pairs.jsonl", *model, "--examples", "lines.jsonl", "--out", "out"),
            {
                "pairs.jsonl": b'{"good": "The cat sat", "bad": "The cat sit"}\n{"text": "The dog"}\n'
            },
            parts=("lines.jsonl", "out"),
        ),
        Scene("forms", ("forms", "forms.tsv", *model, "--out", "out"), forms),
        Scene("treebank", ("treebank", "own.conllu", *model, "--draws", "5", "--out", "out"), tree),
        Scene(
            "probe",
            (
                "probe",
                "own.conllu",
                "--test",
                "test.conllu",
                *model,
                "--tasks",
                "upos",
                "--out",
                "out",
            ),
            tree | tests,
        ),
        Scene(
            "directions",
            (
                "directions",
                "labelled.jsonl",
                *model,
                "--at",
                "embed",
                "--held-out",
                "0",
                "--save",
                "fitted.safetensors",
                "--out",
                "out",
            ),
            {"labelled.jsonl": b'{"text": "The cat", "label": 1}\n{"text": "A dog", "label": 0}\n'},
            parts=("fitted.safetensors", "out"),
        ),
        Scene("info", ("info", "{model}")),
        Scene("plugins", ("plugins",)),
        Scene(
            "view",
            ("view", "done", "--html", "page.html"),
            before=(("analyze", *model, *text, *PLAIN, "--out", "done"),),
        ),
        Scene("packing", packing, optional=("cache/",), slow=True),
        Scene("packed", packing, before=(packing,), optional=("cache/",), slow=True),
        Scene("cache", ("cache",), before=(packing,), slow=True),
        Scene("pull", ("pull", "EleutherAI/tiny"), grows=("home/",), resumes=True, hub=True),
        Scene(
            "pull-to",
            ("pull", "EleutherAI/tiny", "--to", "here"),
            grows=("here/",),
            resumes=True,
            hub=True,
        ),
    ]


def more_scenes() -> list[Scene]:
    """Other ways to call the same verbs."""
    docs, model = fault_models.documents(), ("--model", "{model}")
    listed = fault_models.compressed(docs) | {"list.txt": b"docs\nmore/0.txt.gz\n"}
    packing = ("generate", "--model", "{large}", "--tokens", "5,6", "--n", "1")
    shard = tuple((*STATE[:-4], "--shard", f"{i}/2", "--state", f"{i}.state") for i in (1, 2))
    both = tuple(
        ("analyze", *model, "--text", text, *PLAIN, "--out", out)
        for text, out in (("The cat", "done"), ("The dog", "other"))
    )
    steps = ("--model", "{steps}@step0,step1")
    series = (*steps, *CORPUS[4:], "--window", "8", "--state", "run.state", "--save-seconds", "0")
    return [
        Scene("cache-clear", ("cache", "clear"), before=(packing,), removes=("cache/",), slow=True),
        Scene("cache-verify", ("cache", "verify"), before=(packing,), slow=True),
        Scene("corpus-list", (*CORPUS, "--from-list", "list.txt", "--out", "out"), docs | listed),
        Scene("corpus-json", (*CORPUS, "--sample", "3", "--strict", "--json"), docs),
        Scene("merge-missing", ("merge", "--missing", "1.state", "2.state"), docs, before=shard),
        Scene("view-beside", ("view", "done", "other", "--html", "page.html"), before=both),
        Scene("view-json", ("view", "done", "--json"), before=both[:1]),
        Scene(
            "steps",
            ("analyze", *steps, "--text", "The cat", *PLAIN, "--out", "out"),
            grows=("out.steps/",),
            resumes=True,
        ),
        Scene(
            "steps-corpus",
            ("corpus", "docs", *series, "--out", "out"),
            docs,
            grows=("run.state", "out.steps/"),
            resumes=True,
        ),
    ]


def arguments_of(line: tuple[str, ...], models: Path, threads: int) -> list[str]:
    """The command line with the models' paths, and the number of threads where a verb has it."""
    places = {"model": str(models / "tiny"), "large": str(models / "large")}
    places["steps"] = str(models / "steps")
    words = [word.format(**places) for word in line]
    if line[0] not in ("merge", "view", "cache", "pull", "info", "plugins"):
        words += ["--threads", str(threads)]
    return words
