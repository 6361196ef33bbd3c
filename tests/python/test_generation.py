"""Generation: the same draws as the program's, streams, stops, batches."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neox import read_tensors, write_model, write_tensors
from pythiascope import InputError, Model

PROMPT = "Once upon a time"
STRATEGIES: list[dict[str, Any]] = [
    {},
    {"temperature": 0.8, "top_p": 0.95, "seed": 7},
    {"top_k": 20, "seed": 3},
    {"min_p": 0.05, "seed": 1 << 40},
    {"temperature": 1.5, "seed": 12},
    {"temperature": 3.0, "seed": 5},
]


@pytest.mark.parametrize("options", STRATEGIES, ids=str)
def test_the_text_is_the_program_s(model: Model, program: str, options: dict[str, Any]) -> None:
    arguments = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    done = subprocess.run(
        [program, "generate", "--text", PROMPT, "--n", "60", *arguments],
        capture_output=True,
        check=True,
    )
    expected = done.stdout.decode()[:-1]
    text = model.generate(PROMPT, 60, **options)
    assert text == PROMPT + expected
    assert model.generate(PROMPT, 60, with_prompt=False, **options) == expected
    pieces = list(model.generate(PROMPT, 60, stream=True, **options))
    assert "".join(pieces) == expected
    assert len(pieces) > 1


def test_ids_in_ids_out(model: Model) -> None:
    ids = model.to_tokens(PROMPT)
    text = model.generate(PROMPT, 12)
    whole = model.generate(ids, 12)
    assert whole.dtype == np.int64 and whole.shape == (1, ids.shape[1] + 12)
    assert model.to_string(whole[0]) == text
    assert (model.generate(ids[0], 12) == whole[0]).all()
    assert (model.generate(ids[0], 12, with_prompt=False) == whole[0, ids.shape[1] :]).all()


def test_a_batch_has_the_texts_of_its_prompts_alone(model: Model) -> None:
    prompts = [PROMPT, "The", "He said, and the old man"]
    options = {"temperature": 0.9, "seed": 4}
    alone = [model.generate(prompt, 20, **options) for prompt in prompts]  # type: ignore[call-overload]
    assert model.generate(prompts, 20, **options) == alone  # type: ignore[call-overload]


def test_steps(model: Model) -> None:
    steps = list(model.generate_steps([PROMPT, "The"], 5))
    for number, prompt in enumerate([PROMPT, "The"]):
        own = [step for step in steps if step.sequence == number]
        assert [step.id >= 0 for step in own] == [True] * 5 + [False]
        assert prompt + "".join(step.text for step in own) == model.generate(prompt, 5)


def test_the_model_is_free_between_steps(model: Model) -> None:
    expected = model.generate(PROMPT, 10)
    pieces = []
    for piece in model.generate(PROMPT, 10, stream=True):
        pieces.append(piece)
        model("Something else")
        model.generate("Something else", 2)
    assert PROMPT + "".join(pieces) == expected


def test_a_stream_that_is_left_closes_its_session(model: Model) -> None:
    for _ in range(20):
        stream = model.generate(PROMPT, 50, stream=True)
        next(stream)
    del stream
    assert model.generate(PROMPT, 2)


def test_hooks_take_part(model: Model) -> None:
    shapes: list[tuple[int, ...]] = []
    prompts = [PROMPT, "He said, and the old man"]
    lengths = [len(model.to_str_tokens(prompt)) for prompt in prompts]
    plain = model.generate(prompts, 6)

    def look(array: np.ndarray[Any, Any], hook: object) -> None:
        shapes.append(array.shape)

    def ablate(array: np.ndarray[Any, Any], hook: object) -> None:
        array[...] = 0

    with model.hooks([("blocks.1.attn.hook_pattern", look)]):
        assert model.generate(prompts, 6) == plain
    heads = model.cfg.n_heads
    assert shapes[0] == (2, heads, max(lengths), max(lengths))
    assert shapes[1:] == [(2, heads, 1, max(lengths) + i) for i in range(1, 6)]
    with model.hooks([("blocks.0.hook_mlp_out", ablate)]):
        ids = list(model.to_tokens(PROMPT)[0])
        for _ in range(6):
            ids.append(int(model(ids)[0, -1].argmax()))
        changed = model.generate(PROMPT, 6)
    assert changed == model.to_string(ids) != plain[0]
    assert model.generate(prompts, 6) == plain


def test_a_hook_that_comes_during_a_generation(model: Model) -> None:
    stream = model.generate(PROMPT, 6, stream=True)
    next(stream)

    def boom(array: object, hook: object) -> None:
        raise KeyError("mine")

    with model.hooks([("blocks.0.hook_mlp_out", boom)]), pytest.raises(KeyError, match="mine"):
        list(stream)
    assert len(list(model.generate(PROMPT, 6, stream=True))) == 6


def test_stop_texts_end_the_text_and_are_not_part_of_it(model: Model) -> None:
    whole = model.generate(PROMPT, 40, with_prompt=False)
    stop = whole[30:33]
    at = whole.find(stop)
    cut = model.generate(PROMPT, 40, stop=stop, with_prompt=False)
    assert cut == whole[:at]
    assert "".join(model.generate(PROMPT, 40, stop=[stop, "\x01"], stream=True)) == whole[:at]
    spread = whole[10:25]  # over several tokens
    assert model.generate(PROMPT, 40, stop=spread, with_prompt=False) == whole[: whole.find(spread)]
    assert model.generate(PROMPT, 40, stop="\x01\x02", with_prompt=False) == whole


def test_every_piece_of_a_stream_is_whole_characters(model: Model) -> None:
    for seed in range(6):
        options: dict[str, Any] = {"temperature": 4.0, "seed": seed}
        ids = model.generate(model.to_tokens("東"), 80, with_prompt=False, **options)[0]
        pieces = list(model.generate("東", 80, stream=True, **options))
        assert "".join(pieces) == model.to_string(ids)


def test_the_context_is_the_limit(model: Model) -> None:
    n = model.cfg.n_ctx
    ids = np.full(n - 2, 5)
    assert len(model.generate(ids, 100)) == n + 1
    assert len(model.generate(np.full(n, 5), 100)) == n + 1
    with pytest.raises(InputError, match="context"):
        model.generate(np.full(n + 1, 5), 1)


def test_no_new_tokens(model: Model) -> None:
    assert model.generate(PROMPT, 0) == PROMPT
    assert list(model.generate(PROMPT, 0, stream=True)) == []


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_k": 0},
        {"top_k": 1 << 31},
        {"top_k": 1.5},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": -0.1},
        {"min_p": float("nan")},
        {"seed": -1},
        {"seed": 1 << 63},
        {"seed": None},
        {"stop": ""},
        {"stop": ["a", ""]},
        {"max_new_tokens": -1},
        {"max_new_tokens": 1 << 31},
        {"input": ["a", "b"], "stream": True},
    ],
    ids=str,
)
def test_wrong_options(model: Model, options: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        model.generate(**{"input": PROMPT, **options})
    assert "\n" not in str(caught.value)


def test_do_sample_is_a_temperature() -> None:
    model = Model()
    greedy = model.generate("The sun", 6)
    assert model.generate("The sun", 6, do_sample=False) == greedy
    assert model.generate("The sun", 6, do_sample=False, temperature=2.0, top_k=9) == greedy
    drawn = model.generate("The sun", 6, temperature=1.0, seed=3)
    assert model.generate("The sun", 6, do_sample=True, seed=3) == drawn != greedy
    hot = model.generate("The sun", 6, temperature=2.0, seed=3)
    assert model.generate("The sun", 6, do_sample=True, temperature=2.0, seed=3) == hot != drawn


def always_seven(folder: Path, ends: object, generation: dict[str, object] | None = None) -> str:
    """A model that says 7 after every text: its final LayerNorm gives one direction, 7's."""
    write_model(folder)
    path = folder / "model.safetensors"
    tensors = {name: tensor.copy() for name, tensor in read_tensors(path).items()}
    tensors["gpt_neox.final_layer_norm.weight"][:] = 0
    tensors["gpt_neox.final_layer_norm.bias"][:] = tensors["embed_out.weight"][7]
    tensors["embed_out.weight"][7] *= 20
    write_tensors(path, tensors)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": ends}))
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return str(folder)


@pytest.mark.parametrize(
    ("ends", "generation", "expected"),
    [
        (0, None, 4),
        (7, None, 0),
        ([3, 7], None, 0),
        (50256, None, 4),
        (0, {"eos_token_id": 7}, 0),
        (0, {"eos_token_id": [7, 50256]}, 0),
        (7, {"eos_token_id": 0}, 4),
        (7, {"_from_model_config": True}, 4),
    ],
    ids=str,
)
def test_it_ends_where_transformers_does(
    tmp_path: Path, program: str, ends: object, generation: Any, expected: int
) -> None:
    """At model.generation_config.eos_token_id, as transformers 5.23 fills it."""
    folder = always_seven(tmp_path / "model", ends, generation)
    done = subprocess.run(
        [program, "generate", "--model", folder, "--tokens", "1,2", "--n", "4"],
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().split() == ["#7"] * expected
    with Model(folder) as model:
        assert model.generate(np.array([1, 2]), 4, with_prompt=False).tolist() == [7] * expected
        whole = model.generate(np.array([1, 2]), 4, with_prompt=False, stop_at_eos=False)
        assert whole.tolist() == [7] * 4
