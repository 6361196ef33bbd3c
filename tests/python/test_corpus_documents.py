"""model.corpus over documents in memory: the same totals as over files."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from corpus_files import documents_of, make_corpus, same_numbers, sentence, survey
from pythiascope import InputError, Model, PythiascopeWarning, StateError


@pytest.fixture(scope="module")
def docs(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("documents") / "docs")


@pytest.fixture(scope="module")
def model():
    return Model(threads=2)


@pytest.fixture(scope="module")
def whole(model, docs):
    return survey(model, files=docs)


@pytest.fixture(scope="module")
def texts(docs):
    return documents_of(docs)


def test_texts_give_the_totals_of_files(model, texts, whole):
    same_numbers(whole, survey(model, documents=texts))
    same_numbers(whole, survey(model, documents=tuple(texts), batch=1))


def test_a_generator_is_read_one_document_at_a_time(model, texts, whole):
    alive = []

    class Text(str):
        pass

    def stream():
        for i, text in enumerate(texts):
            one = Text(text)
            alive.append(weakref.ref(one))
            gc.collect()
            assert sum(ref() is not None for ref in alive) <= 2
            del text
            yield one
            assert i == len(alive) - 1

    same_numbers(whole, survey(model, documents=stream()))
    assert len(alive) == len(texts)


def test_token_ids_give_the_totals_of_texts(model, texts, whole):
    ids = [model.to_tokens(text)[0].tolist() if text else [] for text in texts]
    same_numbers(whole, survey(model, documents=ids))
    arrays = [np.array(one, np.int16 if i % 2 else np.uint64) for i, one in enumerate(ids)]
    same_numbers(whole, survey(model, documents=(array for array in arrays)))
    mixed = [ids[i] if i % 2 else texts[i] for i in range(len(ids))]
    same_numbers(whole, survey(model, documents=mixed))


def test_a_text_that_is_longer_than_a_piece(model, tmp_path):
    text = " ".join(sentence(seed, 60) for seed in range(450))
    assert len(text) > 2 * 65536
    path = tmp_path / "long.txt"
    path.write_text(text)
    options = {"limit_tokens": 700, "window": 128, "plugins": ["ln"]}
    same_numbers(survey(model, files=path, **options), survey(model, documents=[text], **options))


def test_shards_limits_and_bos(model, docs, texts):
    for options in (
        {"shard": (2, 3)},
        {"shard": "3/3", "limit_tokens": 90},
        {"limit_tokens": 333},
        {"bos": True, "window": 17},
    ):
        same_numbers(
            survey(model, files=docs, **options), survey(model, documents=texts, **options)
        )


def test_one_document(model):
    corpus = survey(model, documents=["the old man"]).to_dict()["corpus"]
    assert corpus["documents"] == 1 and corpus["windows"] == 1


def test_an_array_of_rows_is_documents(model):
    ids = model.to_tokens(["the old man", "she gave him"])
    assert ids.shape[0] == 2
    whole = survey(model, documents=["the old man", "she gave him"])
    same_numbers(whole, survey(model, documents=[row[row >= 0] for row in ids]))


# --- documents that cannot be read ---------------------------------------------------------------


def test_lone_surrogates_and_ids_out_of_range_are_skipped(model, texts):
    n = model.cfg.d_vocab
    bad = ["abc\ud800def", *texts[1:4], [5, n, 3], texts[4], [7, -1], "\udfff"]
    with pytest.warns(PythiascopeWarning) as notes:
        result = survey(model, documents=bad)
    sentences = [str(note.message) for note in notes]
    assert sentences[0].startswith("document 0 is not UTF-8 at byte 3")
    assert sentences[1].startswith(f"document 4 has the token id {n} at position 1")
    assert sentences[2].startswith("document 6 has the token id -1 at position 1")
    assert len(sentences) == 4
    assert result.to_dict()["corpus"]["documents_skipped"] == 4
    plain = survey(model, documents=texts[1:5])
    for name, array in plain.arrays.items():
        assert array.values.tobytes() == result.arrays[name].values.tobytes(), name
    with pytest.raises(InputError, match="document 0 is not UTF-8 at byte 3"):
        survey(model, documents=bad, strict=True)
    with pytest.raises(InputError, match=f"document 1 has the token id {n}"):
        survey(model, documents=["a", [5, n]], strict=True)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (b"bytes", "document 1 is bytes; decode it to a str"),
        (None, "document 1 is a NoneType; pass a str or a list of token ids"),
        (7, "document 1 is a int; pass a str"),
        ([0.5, 1.5], "document 1 is a list; pass a str"),
        ([[1, 2], [3, 4]], "document 1 is a list; pass a str"),
        ([[1, 2], [3]], "document 1 is a list; pass a str"),
        ([True, False], "document 1 is a list; pass a str"),
        ([1, 2**31], "document 1 has the token id 2147483648 at position 1; ids have 32 bits"),
        ([1, 2**80], "document 1 is a list; pass a str"),
        ({"text": "a"}, "document 1 is a dict; pass a str"),
        (pytest, "document 1 is a module; pass a str"),
    ],
)
def test_what_is_no_document_is_one_sentence(model, document, sentence):
    with pytest.raises(InputError, match=sentence):
        survey(model, documents=["the old man", document])


def test_a_path_among_streamed_documents(model, docs):
    with pytest.raises(InputError, match=r"document 0 is a path; pass files="):
        survey(model, documents=iter([docs]))


# --- exceptions of the iterable ------------------------------------------------------------------


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt, SystemExit, StopAsyncIteration])
@pytest.mark.parametrize("at", [0, 1, 7])
def test_an_exception_of_the_iterable_comes_out_unchanged(model, texts, error, at):
    raised = error("in the iterable")

    def stream():
        for i, text in enumerate(texts):
            if i == at:
                raise raised
            yield text

    with pytest.raises(error) as caught:
        survey(model, documents=stream())
    assert caught.value is raised and raised.args == ("in the iterable",)
    assert "stream" in {entry.name for entry in caught.traceback}
    survey(model, documents=texts[:2])


def test_iterables_that_are_not(model):
    class Broken:
        def __iter__(self):
            raise LookupError("no iterator")

    with pytest.raises(LookupError, match="no iterator"):
        survey(model, documents=Broken())

    class Wrong:
        def __iter__(self):
            return 5

    with pytest.raises(TypeError):
        survey(model, documents=Wrong())


def test_an_iterable_that_runs_the_model(model, texts, whole):
    def stream():
        for text in texts:
            assert model.to_tokens("the old man").shape == (1, 3)
            assert model("the old man").shape[1] == 3
            yield text

    same_numbers(whole, survey(model, documents=stream()))


def test_an_iterable_that_closes_the_model(texts, whole):
    closing = Model(threads=1)

    def stream():
        yield from texts[:2]
        closing.close()
        gc.collect()
        yield from texts[2:]

    same_numbers(whole, survey(closing, documents=stream()))
    with pytest.raises(StateError, match="closed"):
        survey(closing, documents=texts)


def test_progress_over_documents(model, texts):
    calls = []
    survey(model, documents=texts, progress=lambda done, tokens: calls.append(done))
    assert calls[-1] == 1.0 and calls == sorted(calls)
    calls.clear()
    survey(model, documents=iter(texts), progress=lambda done, tokens: calls.append(done))
    assert calls[0] is None and calls[-1] == 1.0
