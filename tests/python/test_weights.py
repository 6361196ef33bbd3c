"""Weights in the raw form, against the files of models."""

import gc
import weakref

import neox
import numpy as np
import pytest
from pythiascope import InputError, Model, StateError
from pythiascope.runtime import weights

PER_LAYER = [
    "W_Q",
    "W_K",
    "W_V",
    "W_O",
    "W_in",
    "W_out",
    "b_Q",
    "b_K",
    "b_V",
    "b_O",
    "b_in",
    "b_out",
    "ln1_w",
    "ln1_b",
    "ln2_w",
    "ln2_b",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return neox.write_model(tmp_path_factory.mktemp("weights") / "model")


@pytest.fixture
def model(folder):
    return Model(folder, cache=False)


@pytest.mark.parametrize("name", PER_LAYER)
def test_weights_of_a_layer_are_the_files(folder, model, name):
    reference = neox.Reference(folder)
    kind = getattr(model, name)
    for layer in range(3):
        expected = reference.weight(name, layer)
        assert np.array_equal(kind(layer), expected)
        assert kind(layer).dtype == np.float32
        assert kind.shape == (3, *expected.shape)
    assert np.array_equal(kind[-1], kind(2))
    assert np.array_equal(np.asarray(kind), np.stack(list(kind)))
    assert np.array_equal(kind[1:, 0], np.asarray(kind)[1:, 0])
    assert np.array_equal(kind[1, ..., 0], kind(1)[..., 0])
    assert len(kind) == 3
    assert kind.ndim == np.asarray(kind).ndim
    assert name in repr(kind)


@pytest.mark.parametrize("name", ["W_E", "W_U", "ln_final_w", "ln_final_b"])
def test_other_weights_are_the_files(folder, model, name):
    assert np.array_equal(getattr(model, name), neox.Reference(folder).weight(name))


def test_half_precision_is_widened_exactly():
    with Model() as model:
        reference = neox.Reference(model.folder)
        assert np.array_equal(model.W_U, reference.weight("W_U"))
        assert np.array_equal(model.W_O(3), reference.weight("W_O", 3))
        assert not model.b_U.any()
        assert model.b_U.shape == (4096,)


def test_arrays_are_read_only_and_shared(model):
    with pytest.raises(ValueError, match="read-only"):
        model.W_E[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        model.W_Q(0)[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        model.W_U.flags.writeable = True
    assert np.shares_memory(model.W_U, model.W_U)
    assert np.shares_memory(model.W_O(1), model.W_O[-2])


def test_all_layers_are_read_only_unless_they_are_copied(model):
    everything = np.asarray(model.W_Q)
    assert np.array_equal(everything, np.stack([model.W_Q(layer) for layer in range(3)]))
    with pytest.raises(ValueError, match="read-only"):
        everything[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(model.b_in, dtype=np.float64)[0] = 1
    copied = np.array(model.W_Q)
    copied[0] = 1
    assert not np.array_equal(copied, np.asarray(model.W_Q))


@pytest.mark.parametrize("layer", [3, -4])
def test_a_layer_that_does_not_exist(model, layer):
    with pytest.raises(InputError, match=r"W_Q has no layer -?\d; this model has layers 0 to 2"):
        model.W_Q(layer)


def test_a_layer_must_be_a_number(model):
    with pytest.raises(InputError, match="is a whole number, not 'x'"):
        model.b_in("x")
    with pytest.raises(ValueError, match="stacking its layers needs a copy"):
        model.b_in.__array__(copy=False)


def test_unpacked_weights_take_bounded_memory(monkeypatch):
    monkeypatch.setattr(weights, "KEPT", 1000)
    unpacked = weights.Unpacked()
    made = []

    def get(key, floats):
        def make():
            made.append(key)
            return np.zeros(floats, np.float32)

        return unpacked.get(key, make)

    refs = [weakref.ref(get(key, 100)) for key in range(5)]
    gc.collect()
    assert [ref() is not None for ref in refs] == [False, False, False, True, True]
    held = get(0, 100)
    get(3, 100)
    get(4, 100)
    assert get(0, 100) is held  # alive, though 3 and 4 were used later
    assert made == [0, 1, 2, 3, 4, 0, 3, 4]
    large = get("large", 1000)
    ref = weakref.ref(large)
    del large
    assert ref() is None  # never kept: it is larger than all that may be kept


def test_weights_outlive_their_model(folder):
    model = Model(folder, cache=False)
    w_e, w_q = model.W_E, model.W_Q
    kept = w_e.copy()
    model.close()
    gc.collect()
    assert np.array_equal(w_e, kept)
    with pytest.raises(StateError, match="closed"):
        w_q(0)
    with pytest.raises(StateError, match="closed"):
        model.W_E


def test_accumulated_bias(folder, model):
    reference = neox.Reference(folder)
    b_o = [reference.weight("b_O", layer) for layer in range(3)]
    b_out = [reference.weight("b_out", layer) for layer in range(3)]
    close = {"rtol": 1e-6, "atol": 1e-6}
    np.testing.assert_allclose(model.accumulated_bias(0), np.zeros(24))
    np.testing.assert_allclose(model.accumulated_bias(2), sum(b_o[:2]) + sum(b_out[:2]), **close)
    np.testing.assert_allclose(
        model.accumulated_bias(2, mlp_input=True, include_mlp_biases=False), sum(b_o), **close
    )
    for layer, mlp_input in ((4, False), (3, True), (-1, False)):
        with pytest.raises(InputError, match="layer is 0 to"):
            model.accumulated_bias(layer, mlp_input)


def test_directions_of_tokens(folder, model):
    reference = neox.Reference(folder)
    columns = reference.weight("W_U").T * reference.weight("ln_final_w")
    np.testing.assert_allclose(model.tokens_to_residual_directions(7), columns[7], rtol=1e-6)
    ids = np.array([[1, 2, 3], [4, 5, 6]])
    np.testing.assert_allclose(model.tokens_to_residual_directions(ids), columns[ids], rtol=1e-6)
    assert model.tokens_to_residual_directions([3]).shape == (24,)
    for wrong in (50, -1, [], [1, 50]):
        with pytest.raises(InputError, match="0 to 49"):
            model.tokens_to_residual_directions(wrong)
    with pytest.raises(InputError, match="not float64 values"):
        model.tokens_to_residual_directions([0.5, 1.5])


def test_ln_final_and_unembed_are_the_end_of_a_pass(folder, model):
    cache = neox.Reference(folder).run([3, 1, 4, 1, 5])
    rows = model.ln_final(cache["blocks.2.hook_resid_post"])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(model.unembed(rows), cache["hook_logits"], rtol=1e-4, atol=1e-4)
    for call in (model.ln_final, model.unembed):
        with pytest.raises(InputError, match=r"the last axis is d_model, 24"):
            call(np.zeros((2, 23)))


def test_operators_stack_the_layers():
    model = Model()
    ov = model.W_V @ model.W_O
    assert type(ov) is np.ndarray
    assert ov.shape == (4, 8, 256, 256)
    assert (ov[3, 7] == (np.asarray(model.W_V) @ np.asarray(model.W_O))[3, 7]).all()
    assert ((model.b_O - model.b_O) == 0).all()
    assert (np.ones((4, 1), np.float32) * model.b_O == np.asarray(model.b_O)).all()
    assert isinstance(hash(model.W_V), int)
    with pytest.raises(TypeError):
        np.add(np.ones(3), 1, out=model.b_O)
