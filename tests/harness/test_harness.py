"""HarnessLM in lm-evaluation-harness: tasks of our own against the program and the logits."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

import numpy as np
import pytest
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
from pythiascope import InputError, Model, Unsupported
from pythiascope.harness import HarnessLM

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "score" / "examples.jsonl"
LINES = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def lm() -> Iterator[Any]:
    with Model(threads=1) as model:
        yield HarnessLM(model)


def requests(*arguments: tuple[Any, ...]) -> list[Any]:
    return [SimpleNamespace(args=one) for one in arguments]


def evaluate(lm: Any, folder: Path, lines: list[dict[str, Any]], task: dict[str, Any]) -> Any:
    data = folder / "data.jsonl"
    data.write_text("\n".join(json.dumps(line) for line in lines))
    whole = {
        "task": "own",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(folder / "cache")},
        "test_split": "test",
        "num_fewshot": 0,
        **task,
    }
    (folder / "own.yaml").write_text(json.dumps(whole))  # JSON is YAML
    results = simple_evaluate(
        model=lm,
        tasks=["own"],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
        cache_requests=False,
    )
    return results["results"]["own"], results["samples"]["own"]


def program(folder: Path, lines: list[dict[str, Any]], *options: str) -> dict[str, float]:
    path = folder / "lines.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    done = subprocess.run(
        [os.environ["PYTHIASCOPE_PROGRAM"], "score", str(path), "--json", *options],
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)["plugins"]["score"]


def test_choices(lm: Any, tmp_path: Path) -> None:
    lines = [
        {
            "prefix": line["prefix"],
            "choices": [choice.strip() for choice in line["choices"]],
            "answer": line["answer"],
        }
        for line in LINES
        if line.get("prefix", "").strip() and not line["prefix"][-1].isspace()
    ]
    lines = [line for line in lines if "caf" not in line["prefix"]]
    results, samples = evaluate(
        lm,
        tmp_path,
        lines,
        {
            "output_type": "multiple_choice",
            "doc_to_text": "{{prefix}}",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "{{answer}}",
            "metric_list": [{"metric": "acc"}, {"metric": "acc_bytes"}],
        },
    )
    ours = program(tmp_path, lines, "--delimiter", " ")
    assert len(samples) == len(lines) > 5
    assert results["acc,none"] == ours["accuracy"]
    assert results["acc_bytes,none"] == ours["accuracy_by_bytes"]
    for line, sample in zip(lines, sorted(samples, key=lambda s: s["doc_id"])):
        scores = lm.model.score([(line["prefix"], " " + choice) for choice in line["choices"]])
        got = [tuple(response[0]) for response in sample["resps"]]
        assert got == [(s.sum, s.is_greedy) for s in scores]


def test_pairs_without_a_context(lm: Any, tmp_path: Path) -> None:
    lines = [{"good": line["good"], "bad": line["bad"]} for line in LINES if "good" in line]
    results, _ = evaluate(
        lm,
        tmp_path,
        lines,
        {
            "output_type": "multiple_choice",
            "doc_to_text": "",
            "doc_to_choice": "{{[good, bad]}}",
            "doc_to_target": 0,
            "metric_list": [{"metric": "acc"}],
        },
    )
    assert results["acc,none"] == program(tmp_path, lines, "--delimiter", " ")["accuracy"]


def test_last_words(lm: Any, tmp_path: Path) -> None:
    lines = [{"text": line["text"]} for line in LINES if "text" in line]
    results, _ = evaluate(
        lm,
        tmp_path,
        lines,
        {
            "output_type": "loglikelihood",
            "doc_to_text": "{{text.split(' ')[:-1]|join(' ')}}",
            "doc_to_target": "{{' '+text.split(' ')[-1]}}",
            "metric_list": [
                {"metric": "perplexity", "aggregation": "perplexity"},
                {"metric": "acc", "aggregation": "mean"},
            ],
        },
    )
    ours = program(tmp_path, lines)
    assert results["acc,none"] == ours["accuracy"]
    assert results["perplexity,none"] == pytest.approx(ours["perplexity"], rel=1e-12)


def test_rolling(lm: Any) -> None:
    model, n_ctx = lm.model, lm.max_length
    texts = ["The old man sat by the fire.", "one two three " * 300]
    sums = lm.loglikelihood_rolling(requests(*((text,) for text in texts)))
    short = model(texts[0], "loss", prepend_bos=True, loss_per_token=True)
    assert sums[0] == pytest.approx(-short.sum(), abs=1e-9)
    ids = [lm.eot_token_id, *lm.tok_encode(texts[1])]
    assert len(ids) > n_ctx + 1
    total, predicted = 0.0, 1
    while predicted < len(ids):
        end = min(predicted + n_ctx, len(ids))
        begin = max(0, end - n_ctx - 1)
        z = model(ids[begin : end - 1])[0].astype(np.float64)[predicted - begin - 1 :]
        z -= z.max(-1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
        total += log_p[np.arange(len(z)), ids[predicted:end]].sum()
        predicted = end
    assert sums[1] == pytest.approx(total, abs=1e-7)


def test_long_contexts_are_cut_on_their_left(lm: Any) -> None:
    context = "one two three " * 300 + "the old"
    (cut, _), (kept, _) = lm.loglikelihood(requests((context, " man"), ("the old", " man")))
    whole = lm.tok_encode(context + " man")
    expected = lm.model.score([(whole[-lm.max_length - 1 : -1], whole[-1:])])[0].sum
    assert cut == expected != kept
    with pytest.raises(InputError, match="takes 1 to 512"):
        lm.loglikelihood(requests(("a", " b" * 600)))


def test_generation(lm: Any, tmp_path: Path) -> None:
    prompts = ["Once upon a time", "The king", "He said"]
    settings = {"until": [".", "\n"], "max_gen_toks": 24}
    texts = lm.generate_until(requests(*((p, settings) for p in prompts)))
    for prompt, text in zip(prompts, texts):
        assert text == lm.model.generate(prompt, 24, stop=[".", "\n"], with_prompt=False)
        assert "." not in text
    sampled = {"until": "\n", "max_gen_toks": 8, "do_sample": True, "temperature": 0.7}
    mixed = lm.generate_until(requests((prompts[0], sampled), (prompts[0], settings)))
    assert mixed[0] == lm.model.generate(
        prompts[0], 8, temperature=0.7, stop="\n", with_prompt=False
    )
    assert mixed[1] == texts[0]
    with pytest.raises(Unsupported, match="num_beams"):
        lm.generate_until(requests((prompts[0], {"num_beams": 4})))
    with pytest.raises(InputError, match="max_gen_toks is 512"):
        lm.generate_until(requests((prompts[0], {"max_gen_toks": 512})))
    results, samples = evaluate(
        lm,
        tmp_path,
        [{"q": p, "a": t} for p, t in zip(prompts, texts)],
        {
            "output_type": "generate_until",
            "doc_to_text": "{{q}}",
            "doc_to_target": "{{a}}",
            "generation_kwargs": {**settings, "do_sample": False},
            "metric_list": [{"metric": "exact_match", "aggregation": "mean"}],
        },
    )
    assert results["exact_match,none"] == 1
    assert len(samples) == 3


def test_by_name(tmp_path: Path) -> None:
    from lm_eval.api.registry import get_model

    assert get_model("pythiascope") is HarnessLM
    made = HarnessLM.create_from_arg_string("threads=1", {"batch_size": 8, "device": "cpu"})
    assert made.max_length == 512 and made.tok_decode(made.tok_encode("the old")) == "the old"
    assert made.tok_encode("") == [] and made.tok_encode("", add_special_tokens=True) == [0]
    assert np.isfinite(made.loglikelihood(requests(("", "the old")))[0][0])
    made.model.close()
