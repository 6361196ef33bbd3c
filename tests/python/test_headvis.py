"""attention over a corpus: the largest contexts of heads, and HeadVis's folder of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from corpus_files import run, same_numbers
from headvis import (
    METRICS,
    check_folder,
    check_sums,
    chosen_of,
    largest_of,
    metrics_of,
    ranked_tokens,
    triples_of,
    windows_of,
)
from neox import Reference, write_model
from pythiascope import InputError, Model, PluginError, merge

WINDOW, KEPT = 12, 6
HOSTILE = (
    '</script><img src=x onerror="alert(1)">\\\' " & \u2028 \x7f \x01 \x00 \t\n'
    "h\u00e9llo \U0001f600 \u202eabc\u202c \ufeff #12 {'a': [1]} "
)

SHORT = "the old man \x00"


def plugin(**options):
    words = {"headvis": "my/own.corpus", "window": WINDOW, "contexts": KEPT, **options}
    return "attention:" + ",".join(f"{key}={value}" for key, value in words.items())


def folder_of(result, name="headvis/my-own.corpus/"):
    """The folder's files, parsed, by their names in it."""
    return {
        path[len(name) :]: json.loads(data)
        for path, data in result.files.items()
        if path.startswith(name)
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(
        tmp_path_factory.mktemp("model") / "some-model", n_layers=2, spread=0.15, seed=5
    )


@pytest.fixture(scope="module")
def documents():
    """Token ids with repetitions: about 1,200 windows, more than either sample keeps."""
    draw = np.random.default_rng(3)
    lengths = draw.integers(1, 60, 380)
    return [draw.integers(0, draw.integers(4, 50), n).tolist() for n in lengths]


def survey(folder, documents, **options):
    given = {"window": WINDOW, "progress": False, "plugins": [plugin()], **options}
    with Model(folder, threads=given.pop("threads", 1)) as model:
        return model.corpus(documents, **given)


@pytest.fixture(scope="module")
def result(folder, documents):
    return survey(folder, documents)


@pytest.fixture(scope="module")
def expected(folder, documents):
    """The windows and their patterns [layers, heads, rows, keys] in float64."""
    reference = Reference(folder)
    windows = list(windows_of(documents, WINDOW))
    patterns = []
    for _, _, ids in windows:
        cache = reference.run(ids)
        patterns.append(np.stack([cache[f"blocks.{i}.attn.hook_pattern"] for i in range(2)]))
    assert len(windows) > 1024
    return windows, patterns


def test_the_folder_has_the_types_that_its_readers_expect(result):
    files = folder_of(result)
    check_folder(files)
    config = files["config.json"]
    assert config["model_name"] == config["np_model_id"] == "some-model"
    assert config["dataset_name"] == "my/own.corpus"
    assert config["pipeline_config"]["seq_len"] == WINDOW
    for name, head in files.items():
        if name.startswith("heads/"):
            check_sums(head, ranked_tokens)


def test_metrics_are_those_of_all_rows(result, expected):
    wanted = metrics_of(*expected)
    rows = folder_of(result)["scatter_data.json"]
    exact = result["attention.headvis_metrics"]
    assert list(exact.coords["metrics"]) == list(METRICS)
    np.testing.assert_allclose(exact.values, wanted, rtol=2e-5, atol=2e-6)
    found = np.array([[row[name] for name in METRICS] for row in rows])
    np.testing.assert_allclose(found, exact.values.reshape(found.shape), rtol=0, atol=5.1e-5)


def test_sequences_are_the_largest_and_a_sample_by_bucket(result, expected):
    windows, patterns = expected
    files = folder_of(result)
    largest = np.stack([largest_of(pattern) for pattern in patterns])
    config = files["config.json"]["pipeline_config"]
    assert config["n_sequences"] == len(windows) and config["samples_per_top_interval"] == KEPT
    numbers = {}
    for layer, head in np.ndindex(2, 3):
        file = files[f"heads/L{layer}H{head}.json"]
        values = largest[:, layer, head]
        wanted = chosen_of(windows, values, KEPT)
        assert len(wanted) == len(file["sequences"]) > 12
        for (interval, i), sequence in zip(wanted, file["sequences"]):
            document, position, ids = windows[i]
            assert (sequence["document"], sequence["position"]) == (document, position)
            assert sequence["interval"] == interval
            assert sequence["tokens"] == [f"#{token}" for token in ids]
            assert abs(sequence["max_activation"] - values[i]) < 6e-5
            triples = triples_of(patterns[i][layer, head])
            assert sequence["attention_indices"] == sorted(triples)
            for index, value in zip(sequence["attention_indices"], sequence["attention_values"]):
                assert abs(value - triples[index]) < 6e-5
            numbers[sequence["sequence_id"]] = (document, position)
        assert sum(file["histogram"]["bin_values"]) == len(windows)
        wanted = np.histogram(values, 50, (0, 1))[0]
        assert np.abs(wanted - file["histogram"]["bin_values"]).sum() <= 2  # values at an edge
        assert abs(file["statistics"]["mean_max_activation"] - values.mean()) < 6e-5
    assert sorted(numbers) == list(range(len(set(numbers.values()))))
    assert [numbers[i] for i in sorted(numbers)] == sorted(numbers.values())


def test_arrays_of_the_largest_contexts(result, expected):
    windows, patterns = expected
    found = {
        name: result[f"attention.context_{name}"].values
        for name in ("value", "document", "position", "key", "tokens")
    }
    for layer, head in np.ndindex(2, 3):
        inner = [pattern[layer, head, 1:, 1:] for pattern in patterns]
        best = sorted(range(len(windows)), key=lambda i: -inner[i].max())[:KEPT]
        for place, i in enumerate(best):
            at = (layer, head, place)
            row, key = np.unravel_index(inner[i].argmax(), inner[i].shape)
            document, position, ids = windows[i]
            assert abs(found["value"][at] - inner[i].max()) < 1e-5
            assert found["document"][at] == document
            assert found["position"][at] == position + row + 1
            assert found["key"][at] == position + key + 1
            assert found["tokens"][at][12] == ids[row + 1]


def test_results_do_not_depend_on_threads_and_batches(folder, documents, result):
    for options in ({"threads": 2, "batch": 7}, {"batch": 1}):
        other = survey(folder, documents, **options)
        same_numbers(result, other)
        assert dict(other.files) == dict(result.files)


def test_shards_and_resumed_runs_give_one_run(folder, documents, result, tmp_path):
    paths = []
    for i in (1, 2, 3):
        paths.append(tmp_path / f"{i}.state")
        survey(folder, documents, shard=(i, 3), state=paths[-1])
    with Model(folder, threads=1) as model:
        whole = merge([paths[2], paths[0], paths[1]], model=model)
    assert dict(whole.files) == dict(result.files)
    for name, array in result.arrays.items():
        assert array.values.tobytes() == whole.arrays[name].values.tobytes(), name
    state = tmp_path / "resumed.state"
    survey(folder, documents, state=state, limit_tokens=2000)
    assert dict(survey(folder, documents, state=state).files) == dict(result.files)


def test_contexts_alone_are_the_folders(folder, documents, result):
    alone = survey(folder, documents, plugins=[f"attention:contexts={KEPT}"])
    assert not alone.files
    for name in ("value", "document", "position", "key", "tokens"):
        name = f"attention.context_{name}"
        assert alone[name].values.tobytes() == result[name].values.tobytes()
    without = survey(folder, documents, plugins=["attention"])
    assert set(without.arrays) < set(alone.arrays)
    for name, array in without.arrays.items():
        assert array.values.tobytes() == alone.arrays[name].values.tobytes(), name


@pytest.mark.parametrize("lengths", [[1], [2], [1, 2, 1, 3]])
def test_few_windows(folder, lengths):
    found = survey(folder, [list(range(n)) for n in lengths])
    files = folder_of(found)
    check_folder(files)
    kept = sum(n > 1 for n in lengths)
    assert files["config.json"]["pipeline_config"]["n_sequences"] == kept
    assert len(files["heads/L1H2.json"]["sequences"]) == kept
    if not kept:
        assert files["scatter_data.json"][0]["qk_distance"] is None


def test_token_texts_are_data(model, tmp_path):
    result = model.corpus(
        [HOSTILE * 3, SHORT],
        plugins=[("attention", {"headvis": '</script>"\\', "model_name": "a/b<i>"})],
        window=64,
        progress=False,
    )
    shown = result["attention.context_tokens"].values
    assert set(result.vocabulary) == set(shown[shown >= 0].tolist())
    files = folder_of(result, "headvis/--script---/")
    check_folder(files)
    config = files["config.json"]
    assert config["dataset_name"] == '</script>"\\'
    assert config["model_name"] == "a/b<i>" and config["np_model_id"] == "b<i>"
    texts = {}
    for sequence in files["heads/L0H0.json"]["sequences"]:
        texts[sequence["document"], sequence["position"]] = sequence["tokens"]
    ids = model.to_tokens(HOSTILE * 3)[0].tolist()
    for (document, position), tokens in texts.items():
        part = ids[position : position + 64] if document == 0 else model.to_tokens(SHORT)[0]
        assert tokens == [model.to_string(int(i)).replace("\0", "\ufffd") for i in part]
    assert (0, 0) in texts and "<" in texts[0, 0] and "\ufffd" in texts[1, 0]
    where = result.save(tmp_path / "new")
    assert json.loads((where / "headvis/--script---/config.json").read_text()) == config
    result.save(where, overwrite=True)
    assert sorted(path.name for path in (where / "headvis/--script---").iterdir()) == [
        "attributions", "config.json", "heads", "scatter_data.json", "server_config.json"
    ]  # fmt: skip


def test_the_program_writes_the_same_folder(model, tmp_path):
    text = "the old man gave the little girl a red apple and the old man walked home"
    (tmp_path / "docs").mkdir()
    for i in range(5):
        (tmp_path / "docs" / f"{i}.txt").write_text(text[: 20 + 12 * i] + ".")
    chosen = plugin(headvis="books")
    mine = model.corpus(
        files=tmp_path / "docs", plugins=[chosen], window=WINDOW, progress=False
    ).save(tmp_path / "mine")
    theirs = tmp_path / "theirs"
    arguments = ["corpus", str(tmp_path / "docs"), "--plugin", chosen, "--window", str(WINDOW)]
    done = run(*arguments, "--out", str(theirs))
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines()[-1].endswith(f"and {theirs}/headvis/")
    names = sorted(p.relative_to(theirs) for p in theirs.rglob("*.json") if "headvis" in str(p))
    assert len(names) == 4 + 32
    for name in names:
        assert (theirs / name).read_bytes() == (mine / name).read_bytes()


def test_refusals(folder, documents):
    def refused(error, *words, **options):
        with pytest.raises(error) as caught:
            survey(folder, documents[:9], **options)
        for word in words:
            assert word in str(caught.value), caught.value

    refused(PluginError, "window=20", "--window 12", window=20)
    refused(PluginError, "MiB", "memory=1", plugins=[plugin(memory=1, window=64)])
    refused(PluginError, "headvis=", plugins=["attention:headvis="])
    refused(PluginError, "headvis=", plugins=["attention:headvis=" + "a" * 101])
    refused(InputError, "contexts", plugins=["attention:contexts=65"])
    with Model(folder, threads=1) as model:
        for options in ({"headvis": "books"}, {"contexts": 2}):
            with pytest.raises(PluginError, match="corpus"):
                model.attention([1, 2, 3], **options)
