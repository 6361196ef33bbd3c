"""The plugin loss from Python: against the logits, the program, and windows that overlap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corpus_files import documents_of, files_of, make_corpus, run, same_numbers, saved
from pythiascope import InputError, ablate, merge

TEXT = "Dorothy went to the Emerald City of Oz and saw the Wizard."
PLUGIN = ("loss", {"early": 2, "late": 20})


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("loss") / "docs")


def survey(model, docs, **options):
    return model.corpus(files=docs, plugins=[PLUGIN], window=32, progress=False, **options)


def test_a_text_has_the_losses_of_its_logits(model):
    ids = model.to_tokens(TEXT, prepend_bos=False)
    z = np.asarray(model(ids), np.float64).reshape(-1, model.cfg.d_vocab)
    ids = np.asarray(ids).ravel()
    top = z.max(-1)
    log_z = top + np.log(np.exp(z - top[:, None]).sum(-1))
    want = log_z[:-1] - z[np.arange(len(ids) - 1), ids[1:]]
    result = model.loss(TEXT)
    got = np.asarray(result["loss"])
    assert np.isnan(got[0])
    np.testing.assert_allclose(got[1:], want, rtol=0, atol=1e-10)
    assert result.values["bytes_scored"] == len(TEXT) - 1  # the first token is the letter D
    assert result.values["perplexity"] == pytest.approx(np.exp(want.mean()), rel=1e-12)


def test_an_intervention_has_the_difference_of_two_texts(model):
    change = ablate("L0H3")
    changed = model.loss(TEXT, interventions=change)
    with_change = np.asarray(changed.sections["loss"].arrays["loss"])
    difference = np.asarray(changed.sections["loss"].arrays["difference"])
    np.testing.assert_array_equal(difference, with_change - np.asarray(model.loss(TEXT)["loss"]))


@pytest.mark.parametrize("more", [{}, {"bos": True}, {"interventions": ablate("L2H1")}])
def test_overlapping_windows_are_the_programs(model, docs, tmp_path, more):
    arguments = ["--stride", "12", "--window", "32", "--plugin", "loss:early=2,late=20"]
    arguments += ["--bos"] * ("bos" in more)
    arguments += ["--ablate", "L2H1"] * ("interventions" in more)
    finished = run("corpus", str(docs), *arguments, "--out", str(tmp_path / "theirs"))
    assert finished.returncode == 0, finished.stderr.decode()
    result = survey(model, docs, stride=12, **more)
    assert saved(result, tmp_path / "ours") == files_of(tmp_path / "theirs")


def test_documents_in_memory_are_the_files(model, docs):
    ours = model.corpus(documents_of(docs), [PLUGIN], window=32, stride=5, progress=False)
    same_numbers(ours, survey(model, docs, stride=5))


def test_a_stride_is_resumed_and_merged(model, docs, tmp_path):
    whole = survey(model, docs, stride=7)
    for tokens in (40, 300, None):
        state = tmp_path / "limited"
        resumed = survey(model, docs, stride=7, state=state, limit_tokens=tokens, batch=3)
    same_numbers(whole, resumed)
    for part in (1, 2, 3):
        state = tmp_path / f"{part}"
        survey(model, docs, stride=7, state=state, shard=(part, 3), shard_by="size")
    same_numbers(whole, merge([tmp_path / p for p in "312"], model=model))
    with pytest.raises(InputError, match="with a stride of 7, not with windows that"):
        survey(model, docs, stride=8, state=tmp_path / "limited")
    with pytest.raises(InputError, match="not with windows that do not overlap"):
        survey(model, docs, state=tmp_path / "limited")


def test_what_a_stride_is_refused_for(model, docs):
    for stride in (0, -1, 2.5, "3"):
        with pytest.raises((InputError, TypeError), match="stride"):
            survey(model, docs, stride=stride)
    for stride in (32, 100):
        with pytest.raises(InputError, match=rf"a stride of {stride} .* need .* to 31"):
            survey(model, docs, stride=stride)
    with pytest.raises(InputError, match=r"plugin ln .* count their tokens twice"):
        model.corpus(files=docs, plugins=["ln"], window=32, stride=8, progress=False)
