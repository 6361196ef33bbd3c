"""run_with_cache and ActivationCache, against a plain NumPy model."""

import gc
import itertools
import threading

import neox
import numpy as np
import pytest
from pythiascope import ActivationCache, InputError, Model, StateError

IDS = [3, 14, 15, 9, 26, 5, 35]
SHORT = [8, 9, 7]
CLOSE = {"rtol": 2e-4, "atol": 2e-4}


@pytest.fixture(scope="module", params=["parallel", "sequential"])
def tiny(request, tmp_path_factory):
    """A model of random weights and its reference."""
    folder = tmp_path_factory.mktemp("cache") / request.param
    neox.write_model(folder, parallel=request.param == "parallel")
    return Model(folder, cache=False), neox.Reference(folder)


@pytest.fixture(scope="module")
def books():
    return Model()


def test_every_entry_is_the_reference(tiny):
    model, reference = tiny
    expected = reference.run(IDS)
    logits, cache = model.run_with_cache(IDS, names_filter=lambda name: True)
    _, results = model.run_with_cache(IDS, names_filter=lambda name: "hook_result" in name)
    found = {**cache.cache_dict, **results.cache_dict}
    assert set(found) == set(expected) == set(model.hook_dict)
    for name, array in found.items():
        assert array.dtype == np.float32
        assert array.flags.writeable
        np.testing.assert_allclose(array, expected[name][None], **CLOSE, err_msg=name)
    np.testing.assert_allclose(logits, expected["hook_logits"][None], **CLOSE)


def test_the_embedded_model_is_the_reference(books):
    text = "The sun rose over the hill."
    ids = books.to_tokens(text)[0]
    expected = neox.Reference(books.folder).run(ids)
    logits, cache = books.run_with_cache(text)
    assert np.array_equal(logits, books(text))
    assert list(cache) == [h.name for h in books.names.filtered(None, False)]
    for name, array in cache.items():
        np.testing.assert_allclose(array, expected[name][None], **CLOSE, err_msg=name)


def test_keys(books):
    _, cache = books.run_with_cache("The sun rose.")
    assert cache["pattern", 3] is cache["blocks.3.attn.hook_pattern"]
    assert cache["z", 3, "attn"] is cache["z", -1]
    assert cache["embed"] is cache["hook_embed"]
    assert cache["blocks.1.hook_out"] is cache["resid_post", 1]
    assert cache["normalized", 2, "ln2"] is cache["blocks.2.ln2.hook_normalized"]
    assert cache["scale"] is cache["ln_final.hook_scale"]
    assert ("z", 0) in cache
    assert "blocks.0.attn.o.hook_in" in cache
    assert ("result", 0) not in cache
    assert 5 not in cache
    assert len(cache) == len(list(cache)) == len(cache.keys()) == len(cache.values()) == 75
    assert dict(cache.items()) == cache.cache_dict
    assert "blocks.0.hook_resid_pre" in repr(cache)
    with pytest.raises(KeyError, match=r"blocks.0.attn.hook_result is not in this cache; the run"):
        cache["result", 0]
    with pytest.raises(KeyError, match=r"did you mean blocks.0.attn.hook_pattern"):
        cache["blocks.0.attn.hook_patern"]
    with pytest.raises(KeyError, match="so it has no middle"):
        cache["resid_mid", 0]
    with pytest.raises(KeyError, match="asks for layer 4"):
        cache["z", 4]


def test_names_filter(tiny):
    model, _ = tiny
    _, everything = model.run_with_cache(IDS)
    for names, expected in (
        ("blocks.1.attn.hook_z", ["blocks.1.attn.hook_z"]),
        (["blocks.2.hook_out", "hook_embed"], ["hook_embed", "blocks.2.hook_resid_post"]),
        (lambda name: name.endswith("pre"), None),
        ([], []),
    ):
        logits, cache = model.run_with_cache(IDS, names_filter=names)
        if expected is not None:
            assert list(cache) == expected
        for name, array in cache.items():
            assert np.array_equal(array, everything[name]), name
        assert np.array_equal(logits, model(IDS))
    with pytest.raises(InputError, match=r"did you mean blocks.1.attn.hook_z"):
        model.run_with_cache(IDS, names_filter=["blocks.1.attn.hook_zz"])


def test_use_attn_result(tiny):
    model, reference = tiny
    other = model.session()
    other.set_use_attn_result(True)
    assert other.use_attn_result
    assert not model.use_attn_result
    _, cache = other.run_with_cache(IDS)
    expected = reference.run(IDS)
    np.testing.assert_allclose(
        cache["result", 1][0], expected["blocks.1.attn.hook_result"], **CLOSE
    )


def test_logits_in_the_cache_are_the_logits(tiny):
    model, _ = tiny
    logits, cache = model.run_with_cache(IDS, names_filter=["hook_logits"])
    assert np.shares_memory(cache["hook_logits"], logits)
    nothing, cache = model.run_with_cache(IDS, names_filter=["hook_logits"], return_type=None)
    assert nothing is None
    assert np.array_equal(cache["unembed.hook_out"], logits)


@pytest.mark.parametrize(
    "pos_slice", [2, -1, (1, 4), (None, None, 2), [4, 0, 4], np.array([5, 6]), slice(2, 3), (3, 3)]
)
def test_pos_slice(tiny, pos_slice):
    model, _ = tiny
    whole_logits, whole = model.run_with_cache(IDS, names_filter=lambda name: True)
    logits, cache = model.run_with_cache(IDS, names_filter=lambda name: True, pos_slice=pos_slice)
    assert np.array_equal(logits, whole_logits)
    if isinstance(pos_slice, int):
        indices = np.arange(len(IDS))[[pos_slice]]
    else:
        chosen = slice(*pos_slice) if isinstance(pos_slice, tuple) else pos_slice
        indices = np.arange(len(IDS))[chosen]
    for name, array in whole.items():
        axis = 2 if name.endswith(("scores", "pattern")) else 1
        assert np.array_equal(cache[name], np.take(array, indices, axis=axis)), name
        assert cache[name].shape[axis] == len(indices)


def test_a_pos_slice_out_of_range(tiny):
    model, _ = tiny
    for wrong in (7, [0, 7], "x", 1.5, (1, 2, 3, 4)):
        with pytest.raises(InputError, match="slice"):
            model.run_with_cache(IDS, pos_slice=wrong)


def test_a_batch(tiny):
    model, _ = tiny
    logits, cache = model.run_with_cache([IDS, IDS[::-1]])
    for row, ids in enumerate((IDS, IDS[::-1])):
        alone, one = model.run_with_cache(ids)
        assert np.array_equal(logits[row], alone[0])
        for name, array in cache.items():
            assert np.array_equal(array[row], one[name][0]), name


@pytest.mark.parametrize("pos_slice", [None, (1, 5), -1, [6, 1], (2, 3)])
def test_a_ragged_batch_is_padded(tiny, pos_slice):
    model, _ = tiny
    batch = [SHORT, IDS, [1]]
    logits, cache = model.run_with_cache(batch, names_filter=lambda name: True, pos_slice=pos_slice)
    assert np.array_equal(logits, model(batch), equal_nan=True)
    indices = np.arange(7) if pos_slice is None else None
    if indices is None:
        chosen = slice(*pos_slice) if isinstance(pos_slice, tuple) else pos_slice
        indices = np.atleast_1d(np.arange(7)[chosen])
    for row, ids in enumerate(batch):
        _, one = model.run_with_cache(ids, names_filter=lambda name: True)
        for name, array in cache.items():
            keys = name.endswith(("scores", "pattern"))
            axis = 1 if keys else 0
            own = one[name][0]
            if keys:
                absent = -np.inf if name.endswith("scores") else 0
                own = np.pad(own, ((0, 0), (0, 0), (0, 7 - len(ids))), constant_values=absent)
            pad = [(0, 0)] * own.ndim
            pad[axis] = (0, 7 - len(ids))
            own = np.take(np.pad(own, pad, constant_values=np.nan), indices, axis=axis)
            assert np.array_equal(array[row], own, equal_nan=True), name


def test_stop_at_layer(tiny):
    model, _ = tiny
    _, whole = model.run_with_cache(IDS)
    for stop in (0, 1, 2, 3, -1, -3):
        layer = stop % 3 if stop != 3 else 3
        name = f"blocks.{layer - 1}.hook_resid_post" if layer else "hook_embed"
        stream, cache = model.run_with_cache(IDS, stop_at_layer=stop)
        assert np.array_equal(stream, whole[name])
        assert list(cache) == [
            n for n in whole if n == "hook_embed" or 0 <= model.names.find(n).layer < layer
        ]
        for entry, array in cache.items():
            assert np.array_equal(array, whole[entry]), entry
        stream, cache = model.run_with_cache(IDS, stop_at_layer=stop, pos_slice=(1, 3))
        assert np.array_equal(stream, whole[name])
        assert np.array_equal(cache[name], whole[name][:, 1:3])
        assert np.array_equal(model(IDS, stop_at_layer=stop), whole[name])
    assert np.array_equal(model(IDS), model.run_with_cache(IDS)[0])
    nothing, cache = model.run_with_cache(IDS, stop_at_layer=1, return_type=None)
    assert nothing is None
    assert len(cache) > 1
    for wrong in (4, -4, 1.5, "1"):
        with pytest.raises(InputError, match="stop_at_layer is"):
            model.run_with_cache(IDS, stop_at_layer=wrong)
    with pytest.raises(InputError, match=r"blocks.2.attn.hook_z cannot be copied: the run stops"):
        model.run_with_cache(IDS, stop_at_layer=2, names_filter="blocks.2.attn.hook_z")
    with pytest.raises(InputError, match=r"hook_logits cannot be copied: the run stops"):
        model.run_with_cache(IDS, stop_at_layer=2, names_filter="hook_logits")


def test_losses(tiny):
    model, _ = tiny
    loss, cache = model.run_with_cache(IDS, return_type="loss", names_filter="hook_embed")
    assert loss == model(IDS, "loss")
    assert list(cache) == ["hook_embed"]
    logits, losses = model.run_with_cache(IDS, return_type="both", loss_per_token=True)[0]
    assert np.array_equal(logits, model(IDS))
    assert np.array_equal(losses, model(IDS, "loss", loss_per_token=True))
    with pytest.raises(InputError, match="return_type is 'logit'"):
        model.run_with_cache(IDS, return_type="logit")


def test_batch_dimension(tiny):
    model, _ = tiny
    logits, cache = model.run_with_cache(IDS, remove_batch_dim=True)
    assert logits.shape == (1, 7, 50)
    assert not cache.has_batch_dim
    assert cache["z", 0].shape == (7, 3, 8)
    assert cache["pattern", 0].shape == (3, 7, 7)
    _, other = model.run_with_cache(IDS)
    assert other.remove_batch_dim() is other
    assert other.remove_batch_dim() is other  # a second time changes nothing
    for name, array in cache.items():
        assert np.array_equal(array, other[name]), name
    with pytest.raises(InputError, match="needs a batch of one sequence, not of 2"):
        model.run_with_cache([IDS, IDS], remove_batch_dim=True)
    _, batch = model.run_with_cache([IDS, SHORT])
    with pytest.raises(InputError, match="only a batch of one"):
        batch.remove_batch_dim()
    assert batch["z", 0].shape == (2, 7, 3, 8)
    one = batch.apply_slice_to_batch_dim(0)
    assert not one.has_batch_dim
    assert np.array_equal(one["z", 0], cache["z", 0])
    assert batch.apply_slice_to_batch_dim([1])["z", 0].shape == (1, 7, 3, 8)
    with pytest.raises(InputError, match="no batch axis to slice"):
        one.apply_slice_to_batch_dim(0)


def test_a_dict_instead_of_a_cache(tiny):
    model, _ = tiny
    _, found = model.run_with_cache(IDS, return_cache_object=False)
    assert type(found) is dict
    cache = ActivationCache(found, model)
    assert cache["z", 0] is found["blocks.0.attn.hook_z"]


def test_prepend_bos(books):
    _, cache = books.run_with_cache("The sun rose.", prepend_bos=True, names_filter="hook_embed")
    assert np.array_equal(cache["embed"][0, 0], books.W_E[books.cfg.bos_id])


def test_a_cache_outlives_its_model_and_later_runs(tiny):
    model, _ = tiny
    other = Model(model.folder, cache=False)
    _, cache = other.run_with_cache(IDS)
    kept = {name: array.copy() for name, array in cache.items()}
    for _ in range(3):
        other.run_with_cache(IDS[::-1])
    other.close()
    gc.collect()
    for name, array in cache.items():
        assert np.array_equal(array, kept[name]), name
    with pytest.raises(StateError, match="closed"):
        other.run_with_cache(IDS)
    with pytest.raises(StateError, match="closed"):
        cache.stack_head_results()


def test_caches_do_not_share_memory(tiny):
    model, _ = tiny
    _, first = model.run_with_cache(IDS)
    _, second = model.run_with_cache(IDS)
    for name in first:
        assert not np.shares_memory(first[name], second[name])
    arrays = list(first.values())
    spans = sorted((a.ctypes.data, a.ctypes.data + a.nbytes) for a in arrays)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))


def test_chunks_threads_and_instruction_sets_do_not_show(tiny):
    model, _ = tiny
    _, expected = model.run_with_cache([IDS, SHORT])
    for options in ({"chunk": 3}, {"threads": 1}, {"isa": "reference"}, {"chunk": 1, "threads": 3}):
        other = Model(model.folder, cache=False, **options)
        _, cache = other.run_with_cache([IDS, SHORT])
        for name, array in cache.items():
            assert np.array_equal(array, expected[name], equal_nan=True), (name, options)


def test_threads_of_one_model_take_turns(tiny):
    model, _ = tiny
    expected = {n: model.run_with_cache(IDS[:n])[1]["resid_post", -1] for n in range(1, 8)}
    wrong = []

    def work(n):
        for _ in range(5):
            _, cache = model.run_with_cache(IDS[:n])
            if not np.array_equal(cache["resid_post", -1], expected[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
