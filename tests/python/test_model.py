"""Model: configuration, logits, losses, batches."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
import pythiascope
from pythiascope import InputError, IOFailure, Model, StateError
from pythiascope.runtime.opened import embedded_folder

TEXTS = ["The sun", "The sun rose over the hill, and the old man", "Once upon a time"]


def test_cfg_has_the_values_of_config_json(model: Model) -> None:
    with open(os.path.join(embedded_folder(), "config.json")) as file:
        given = json.load(file)
    cfg = model.cfg
    assert cfg.n_layers == given["num_hidden_layers"]
    assert cfg.n_heads == given["num_attention_heads"]
    assert cfg.d_model == given["hidden_size"]
    assert cfg.d_mlp == given["intermediate_size"]
    assert cfg.d_vocab == cfg.d_vocab_out == given["vocab_size"]
    assert cfg.n_ctx == given["max_position_embeddings"]
    assert cfg.d_head == cfg.d_model // cfg.n_heads
    assert cfg.eps == given["layer_norm_eps"]
    assert cfg.rotary_dim == int(cfg.d_head * given["rotary_pct"])
    assert cfg.parallel_attn_mlp is given["use_parallel_residual"]
    assert cfg.act_fn == "gelu" and cfg.normalization_type == "LN"
    assert cfg.positional_embedding_type == "rotary"
    assert cfg.original_architecture == "GPTNeoXForCausalLM"
    assert cfg.model_name == "books-5m"
    assert cfg.n_params == 12 * cfg.n_layers * cfg.d_model**2
    assert cfg.attn_scale == cfg.d_head**0.5


def test_cfg_never_changes(model: Model) -> None:
    with pytest.raises(AttributeError, match="never changes"):
        model.cfg.n_layers = 3
    with pytest.raises(AttributeError):
        del model.cfg.n_layers
    values = model.cfg.to_dict()
    values["n_layers"] = 99
    assert model.cfg.n_layers != 99
    assert f"n_layers={model.cfg.n_layers}" in repr(model.cfg)
    with pythiascope.Model() as other:
        assert other.cfg == model.cfg and hash(other.cfg) == hash(model.cfg)


def test_hash_and_repr(model: Model) -> None:
    assert len(model.hash) == 32 and int(model.hash, 16) > 0
    assert "books-5m" in repr(model)


def test_logits_are_those_of_the_program(model: Model, program: str) -> None:
    """The program's capture of hook_logits is the same tensor, to the bit."""
    text = "The sun rose over the hill"
    logits = model(text)
    assert logits.dtype == np.float32
    assert logits.shape == (1, len(model.to_str_tokens(text)), model.cfg.d_vocab)
    last = subprocess.run(
        [program, "generate", "--text", text, "--n", "1"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert last.rstrip("\n") == model.to_string(int(logits[0, -1].argmax()))


def test_logits_do_not_depend_on_batch_threads_chunk_or_isa(model: Model) -> None:
    alone = [model(text)[0] for text in TEXTS]
    for options in ({"threads": 1}, {"threads": 3, "chunk": 2}, {"isa": "reference"}):
        with Model(**options) as other:  # type: ignore[arg-type]
            for batch in (other(TEXTS), model(TEXTS), model(model.to_tokens(TEXTS))):
                assert batch.shape == (3, max(len(a) for a in alone), model.cfg.d_vocab)
                for rows, expected in zip(batch, alone):
                    assert (rows[: len(expected)] == expected).all()
                    assert np.isnan(rows[len(expected) :]).all()


def test_the_last_logits(model: Model) -> None:
    whole, last = model(TEXTS), model(TEXTS, logits="last")
    assert last.shape == (3, 1, model.cfg.d_vocab)
    for rows, row, text in zip(whole, last, TEXTS):
        assert (rows[len(model.to_str_tokens(text)) - 1] == row[0]).all()


def test_arrays_of_earlier_calls_do_not_change(model: Model) -> None:
    first = model(TEXTS[1])
    kept = first.copy()
    for text in TEXTS:
        model(text)
    assert (first == kept).all()


def test_many_sequences_and_lengths(model: Model) -> None:
    rng = np.random.default_rng(1)
    ids = [rng.integers(0, 4096, n) for n in rng.integers(1, 200, 40)]
    batch = model(ids)
    for i in (0, 7, 39):
        assert (batch[i, : len(ids[i])] == model(ids[i])[0]).all()


def test_the_whole_context_and_one_more(model: Model) -> None:
    ids = np.arange(model.cfg.n_ctx) % 1000
    assert model(ids, logits="last").shape == (1, 1, model.cfg.d_vocab)
    with pytest.raises(InputError, match="513"):
        model(np.arange(model.cfg.n_ctx + 1) % 1000)
    assert model(ids[:3]).shape[1] == 3


def test_losses(model: Model) -> None:
    logits = model(TEXTS[1]).astype(np.float64)[0]
    ids = model.to_tokens(TEXTS[1])[0]
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    expected = -np.log(p[np.arange(len(ids) - 1), ids[1:]])
    per_token = model(TEXTS[1], "loss", loss_per_token=True)
    assert per_token.shape == (1, len(ids) - 1)
    np.testing.assert_allclose(per_token[0], expected, rtol=1e-10)
    assert model(TEXTS[1], return_type="loss") == pytest.approx(expected.mean(), rel=1e-12)
    both = model(TEXTS[1], "both")
    assert both[1] == model(TEXTS[1], "loss") and (both[0] == model(TEXTS[1])).all()
    assert model(TEXTS[1], None) is None
    batch = model(TEXTS, "loss", loss_per_token=True)
    assert (batch[1] == per_token[0]).all() and np.isnan(batch[0, 1:]).all()
    with pytest.raises(InputError, match="two tokens"):
        model("The", "loss")


def test_stop_at_layer(model: Model) -> None:
    n = model.cfg.n_layers
    streams = [model(TEXTS, stop_at_layer=layer) for layer in range(n + 1)]
    for stream in streams:
        assert stream.shape == (3, len(model.to_str_tokens(TEXTS[1])), model.cfg.d_model)
    np.testing.assert_array_equal(streams[n - 1], model(TEXTS, stop_at_layer=-1))
    assert not np.array_equal(streams[0][1], streams[1][1])
    with pytest.raises(InputError, match="stop_at_layer"):
        model(TEXTS, stop_at_layer=n + 1)


@pytest.mark.parametrize(
    "options",
    [
        {"threads": -1},
        {"threads": 1 << 33},
        {"threads": "two"},
        {"threads": 1.5},
        {"threads": 1025},
        {"chunk": -3},
        {"chunk": 1 << 32},
        {"folder": 7},
        {"folder": "/no/such/folder"},
        {"folder": "a\0b"},
        {"isa": "mmx"},
    ],
    ids=str,
)
def test_wrong_options_of_a_model(options: dict[str, object]) -> None:
    with pytest.raises((pythiascope.PythiascopeError, TypeError, ValueError)) as caught:
        Model(**options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"return_type": "logit"}, {"logits": "first"}, {"logits": "last", "return_type": "loss"}],
    ids=str,
)
def test_wrong_options_of_a_call(model: Model, options: dict[str, str]) -> None:
    with pytest.raises(InputError):
        model("The sun", **options)  # type: ignore[call-overload]


def test_a_closed_model_refuses_and_its_arrays_live() -> None:
    model = Model()
    logits = model(TEXTS[1])
    kept = logits.copy()
    model.close()
    model.close()
    assert model.closed and "closed" in repr(model)
    assert (logits == kept).all()
    assert model.cfg.n_layers > 0
    for call in (lambda: model("The"), lambda: model.to_tokens("The"), model.session):
        with pytest.raises(StateError, match="closed; open it again"):
            call()
    with pytest.raises(StateError, match="closed"):
        model.generate("The", 2)


def test_a_model_is_not_pickled(model: Model) -> None:
    with pytest.raises(StateError, match="pickled"):
        pickle.dumps(model)


def test_the_cache_folder_of_packed_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    from pythiascope.runtime.opened import cache_folder

    monkeypatch.setenv("PSC_CACHE_DIR", str(tmp_path))
    assert cache_folder() == str(tmp_path)
    monkeypatch.setenv("PSC_CACHE_DIR", "relative")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == "/x/pythiascope"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() in ("/home/me/.cache/pythiascope", "/home/me/Library/Caches/pythiascope")
    monkeypatch.setenv("HOME", "")
    assert cache_folder() is None


def test_the_limit_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    from pythiascope.runtime.opened import cache_limit

    for text, size in {"": 0, "500M": 500 << 20, "20g": 20 << 30, "7": 7, "1T": 1 << 40}.items():
        monkeypatch.setenv("PSC_CACHE_LIMIT", text)
        assert cache_limit() == size
    for text in ("M", "0", "-5", "1.5G", "5X", "99999999999T", "٣"):
        monkeypatch.setenv("PSC_CACHE_LIMIT", text)
        with pytest.raises(InputError, match="PSC_CACHE_LIMIT"):
            Model()


def test_a_model_opens_by_its_name_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "models--EleutherAI--pythia-9m"
    snapshot = root / "snapshots" / "0123456789abcdef"
    snapshot.mkdir(parents=True)
    for name in os.listdir(embedded_folder()):
        (snapshot / name).symlink_to(os.path.join(embedded_folder(), name))
    (root / "refs").mkdir()
    (root / "refs" / "step3000").write_text("0123456789abcdef")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with Model("EleutherAI/pythia-9m@step3000") as model:
        assert model.cfg.model_name == "EleutherAI/pythia-9m@step3000"
        assert model.folder == str(snapshot)
        result = model.logits("The sun")
        assert result.run.name == "EleutherAI/pythia-9m@step3000"
        assert str(result).startswith("EleutherAI/pythia-9m@step3000  ")
    with pytest.raises(IOFailure, match=r"pull EleutherAI/pythia-9m@step9$"):
        Model("EleutherAI/pythia-9m@step9")
