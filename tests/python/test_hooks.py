"""Python functions at hook points: what they see, what they change, and how they come and go."""

import functools

import neox
import numpy as np
import pytest
from pythiascope import HookPoint, InputError, Model, UnknownHook

IDS = [3, 14, 15, 9, 26, 5, 35]
SHORT = [8, 9, 7]
CLOSE = {"rtol": 2e-4, "atol": 2e-4}


@pytest.fixture(scope="module", params=["parallel", "sequential"])
def tiny(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hooks") / request.param
    neox.write_model(folder, parallel=request.param == "parallel")
    return Model(folder, cache=False), neox.Reference(folder)


@pytest.fixture
def model(tiny):
    yield tiny[0]
    tiny[0].reset_hooks(including_permanent=True)


def nothing(array, hook):
    """A hook that changes nothing."""


def test_the_head_of_an_event_is_read_as_the_header_has_it():
    from pythiascope._c import structures as c
    from pythiascope.hooks.calls import _HEAD

    event = c.psc_event(point=7, layer=-1, n_rows=5)
    event.tensor.data, event.tensor.n_axes = 1 << 40, 3
    event.tensor.shape[:] = 5, 3, 8, 0
    event.tensor.stride[:] = 32, 8, 1, 0
    head = _HEAD.unpack_from(event)
    assert head[:4] == (event.struct_size, 7, -1, 5)
    assert head[5:] == (1 << 40, 3, 5, 3, 8, 0, 32, 8, 1, 0)
    assert _HEAD.size == c.psc_event.before.offset


def test_every_hook_sees_the_tensor_once(tiny, model):
    expected = tiny[1].run(IDS)
    seen = {}

    def keep(array, hook):
        assert hook.name not in seen
        assert array.dtype == np.float32
        assert array.flags.writeable
        assert not array.flags.owndata
        seen[hook.name] = array.copy()
        if hook.name.startswith("blocks."):
            assert hook.layer() == int(hook.name.split(".")[1])

    logits = model.run_with_hooks(IDS, fwd_hooks=[(lambda name: True, keep)])
    assert list(seen) == list(model.hook_dict)
    for name, array in seen.items():
        np.testing.assert_allclose(array, expected[name][None], **CLOSE, err_msg=name)
    assert np.array_equal(logits, model(IDS))  # hooks that change nothing change no bit


def test_a_batch_is_seen_whole(model):
    batch = [IDS, IDS[::-1], SHORT + SHORT + [1]]
    _, cache = model.run_with_cache(batch, names_filter=lambda name: True)
    _, results = model.run_with_cache(batch, names_filter=lambda name: "result" in name)
    cache.cache_dict.update(results.cache_dict)
    seen = {}

    def keep(array, hook):
        seen[hook.name] = array.copy()

    model.run_with_hooks(batch, fwd_hooks=[(lambda name: True, keep)])
    for name, array in cache.items():
        assert np.array_equal(seen[name], array), name


def test_a_ragged_batch_is_seen_padded(model):
    batch = [SHORT, IDS, [1]]
    _, cache = model.run_with_cache(batch, names_filter=lambda name: True)
    seen = {}

    def keep(array, hook):
        seen[hook.name] = array  # a copy of the pass's memory, so it may be kept

    logits = model.run_with_hooks(batch, fwd_hooks=[(lambda name: "result" not in name, keep)])
    assert np.array_equal(logits, model(batch), equal_nan=True)
    for name, array in cache.items():
        assert np.array_equal(seen[name], array, equal_nan=True), name


@pytest.mark.parametrize("chunk", [0, 2])
def test_chunks_do_not_show(tiny, chunk):
    model = Model(tiny[0].folder, cache=False, chunk=chunk)
    calls = []
    model.run_with_hooks(
        IDS, fwd_hooks=[("blocks.0.hook_in", lambda array, hook: calls.append(array.shape))]
    )
    assert calls == [(1, 7, 24)]


def changes(name):
    """A change of a tensor, as a function of one sequence's array, and the same as a hook."""
    if name.endswith("scores"):
        return lambda a: np.where(np.isfinite(a), a * 0.5 + 1, a)
    if name.endswith("pattern"):
        return lambda a: np.tril(a * 0.25 + 0.1)
    if name.endswith("scale"):
        return lambda a: a * 2 + 1
    return lambda a: a * 0.5 + np.arange(a.shape[-1]) / 10


POINTS = [
    "hook_embed",
    "blocks.1.hook_resid_pre",
    "blocks.1.ln1.hook_scale",
    "blocks.1.ln1.hook_normalized",
    "blocks.0.attn.hook_q",
    "blocks.1.attn.hook_k",
    "blocks.2.attn.hook_v",
    "blocks.1.attn.hook_rot_q",
    "blocks.1.attn.hook_rot_k",
    "blocks.1.attn.hook_attn_scores",
    "blocks.1.attn.hook_pattern",
    "blocks.1.attn.hook_z",
    "blocks.1.attn.hook_result",
    "blocks.1.hook_attn_out",
    "blocks.1.ln2.hook_scale",
    "blocks.1.ln2.hook_normalized",
    "blocks.0.mlp.hook_pre",
    "blocks.2.mlp.hook_post",
    "blocks.1.hook_mlp_out",
    "blocks.2.hook_resid_post",
    "ln_final.hook_scale",
    "ln_final.hook_normalized",
    "hook_logits",
]


@pytest.mark.parametrize("name", POINTS)
@pytest.mark.parametrize("how", ["return", "write", "ragged"])
def test_an_edit_has_the_reference_effect(tiny, model, name, how):
    change = changes(name)
    batch = [IDS, SHORT] if how == "ragged" else [IDS, IDS[::-1]]

    def hook(array, hook):
        with np.errstate(invalid="ignore"):
            if how == "return":
                return change(array.astype(np.float64))
            array[...] = change(array)
        return None

    logits, cache = None, None
    with model.hooks([(name, hook)]):
        logits, cache = model.run_with_cache(batch)
    again = model.run_with_hooks(batch, fwd_hooks=[(name, hook)])
    assert np.array_equal(logits, again, equal_nan=True)
    plain = model(batch)
    for row, ids in enumerate(batch):
        expected = tiny[1].run(ids, lambda n, a: change(a) if n == name else None)
        n = len(ids)
        np.testing.assert_allclose(logits[row, :n], expected["hook_logits"], **CLOSE)
        for entry, array in cache.items():  # edits are in the cache
            own = array[row, :, :n, :n] if entry.endswith(("scores", "pattern")) else array[row, :n]
            np.testing.assert_allclose(own, expected[entry], **CLOSE, err_msg=entry)
        assert not np.allclose(logits[row, :n], plain[row, :n])


def test_resid_mid_is_edited(tiny, model):
    name = "blocks.1.hook_resid_mid"
    if model.cfg.parallel_attn_mlp:
        with pytest.raises(UnknownHook, match="so it has no middle"):
            model.run_with_hooks(IDS, fwd_hooks=[(name, nothing)])
        return
    change = changes(name)
    logits = model.run_with_hooks(IDS, fwd_hooks=[(name, lambda array, hook: change(array))])
    expected = tiny[1].run(IDS, lambda n, a: change(a) if n == name else None)
    np.testing.assert_allclose(logits[0], expected["hook_logits"], **CLOSE)


def test_several_hooks_run_in_order(model):
    def add(value):
        return lambda array, hook: array + value

    def double(array, hook):
        array *= 2

    seen = []
    name = "blocks.1.hook_resid_post"
    hooks = [
        (name, add(1)),
        (name, double),
        (name, add(-2)),
        (name, lambda a, hook: seen.append(a[0, 0, 0].item())),
    ]
    with model.hooks([(name, lambda a, hook: seen.append(a[0, 0, 0].item()))]):
        model.run_with_hooks(IDS, fwd_hooks=hooks)
    first, last = seen
    np.testing.assert_allclose(last, (first + 1) * 2 - 2, rtol=1e-6)


def test_prepended_hooks_run_first(model):
    order = []
    model.add_hook("hook_embed", lambda a, hook: order.append("second"))
    model.add_hook("hook_embed", lambda a, hook: order.append("third"))
    model.add_hook("hook_embed", lambda a, hook: order.append("first"), prepend=True)
    model(IDS)
    assert order == ["first", "second", "third"]


def test_the_name_is_the_one_that_was_given(model):
    seen = []

    def note(array, hook):
        seen.append((hook.name, hook.layer(), array.shape))
        hook.ctx["n"] = hook.ctx.get("n", 0) + 1

    model.run_with_hooks(
        IDS,
        fwd_hooks=[
            ("blocks.2.attn.o.hook_in", note),
            ("blocks.2.attn.hook_z", note),
            (lambda name: name == "blocks.0.mlp.in.hook_out", note),
        ],
    )
    assert seen == [
        ("blocks.0.mlp.in.hook_out", 0, (1, 7, 40)),
        ("blocks.2.attn.o.hook_in", 2, (1, 7, 3, 8)),
        ("blocks.2.attn.hook_z", 2, (1, 7, 3, 8)),
    ]
    assert model.hook_dict["blocks.2.attn.hook_z"].ctx == {"n": 2}  # one tensor, one ctx
    model.clear_contexts()


def test_contexts_last_until_they_are_cleared(model):
    def count(array, hook):
        hook.ctx["n"] = hook.ctx.get("n", 0) + 1

    hooks = [("blocks.0.hook_resid_pre", count)]
    for _ in range(3):
        model.run_with_hooks(IDS, fwd_hooks=hooks)
    point = model.hook_dict["blocks.0.hook_resid_pre"]
    assert point.ctx == {"n": 3}
    kept = point.ctx
    model.run_with_hooks(IDS, fwd_hooks=hooks, clear_contexts=True)
    assert point.ctx == {}
    assert kept == {"n": 4}
    model.run_with_hooks(IDS, fwd_hooks=hooks)
    model.reset_hooks()
    assert point.ctx == {}


def test_hooks_without_a_layer(model):
    point = model.hook_dict["hook_embed"]
    assert repr(point) == "HookPoint(name='hook_embed')"
    with pytest.raises(InputError, match="hook_embed belongs to no layer"):
        point.layer()
    assert isinstance(model.hook_points()[3], HookPoint)
    assert model.hook_points()[3].layer() == 0


def test_hooks_come_and_go(model):
    calls = []

    def note(what):
        return lambda array, hook: calls.append(what)

    def seen():
        calls.clear()
        model(IDS)
        return list(calls)

    assert seen() == []
    model.add_hook("hook_embed", note("added"))
    model.add_perma_hook("hook_embed", note("permanent"))
    model.add_hook("hook_embed", note("level"), level=3)
    assert seen() == ["added", "permanent", "level"]
    with model.hooks(fwd_hooks=[("hook_embed", note("with"))]) as same:
        assert same is model
        assert seen() == ["added", "permanent", "level", "with"]
        with model.hooks(fwd_hooks=[("hook_embed", note("inner"))]):
            assert seen()[-2:] == ["with", "inner"]
        assert seen()[-1] == "with"
    assert seen() == ["added", "permanent", "level"]
    model.reset_hooks(level=3)
    assert seen() == ["added", "permanent"]
    model.reset_hooks(direction="bwd")
    assert seen() == ["added", "permanent"]
    model.reset_hooks()
    assert seen() == ["permanent"]
    model.run_with_hooks(IDS, fwd_hooks=[("hook_embed", note("kept"))], reset_hooks_end=False)
    assert seen() == ["permanent", "kept"]
    with pytest.raises(ZeroDivisionError), model.hooks([("hook_embed", note("gone"))]):
        1 / 0
    assert seen() == ["permanent", "kept"]
    model.reset_hooks(including_permanent=True)
    assert seen() == []


def test_hooks_that_come_during_a_pass_wait_for_the_next(model):
    calls = []

    def late(array, hook):
        calls.append(hook.name)

    def early(array, hook):
        model.add_hook("blocks.2.hook_resid_post", late)

    def remove(array, hook):
        model.reset_hooks()

    model.run_with_hooks(IDS, fwd_hooks=[("hook_embed", early)])
    assert calls == []
    model.run_with_hooks(IDS, fwd_hooks=[("hook_embed", remove)])
    assert calls == ["blocks.2.hook_resid_post"]  # removed in the middle, and still called
    model(IDS)
    assert len(calls) == 1


def test_how_functions_are_called(model):
    calls = []

    class Callable:
        def __call__(self, array, hook):
            calls.append(hook.name)

        def method(self, array, hook):
            calls.append(hook.name)

    def positional(array, place):
        calls.append(place.name)

    def keyword(array, *, hook):
        calls.append(hook.name)

    def more(array, factor, hook):
        calls.append((hook.name, factor))

    def anything(array, **rest):
        calls.append(rest["hook"].name)

    fwd_hooks = [
        ("hook_embed", function)
        for function in (
            Callable(),
            Callable().method,
            positional,
            keyword,
            functools.partial(more, factor=2),
            anything,
            lambda *arguments: calls.append(arguments[1].name),
        )
    ]
    model.run_with_hooks(IDS, fwd_hooks=fwd_hooks)
    assert calls == ["hook_embed"] * 4 + [("hook_embed", 2)] + ["hook_embed"] * 2


def test_wrong_hooks(model):
    with pytest.raises(UnknownHook, match="did you mean hook_embed"):
        model.run_with_hooks(IDS, fwd_hooks=[("hook_embde", nothing)])
    with pytest.raises(UnknownHook, match="chose no hook"):
        model.add_hook(lambda name: False, nothing)
    for wrong in ([nothing], [("hook_embed", 3)], ["hook_embed"], [("hook_embed",)]):
        with pytest.raises(InputError, match="a hook is a pair"):
            model.run_with_hooks(IDS, fwd_hooks=wrong)
    with pytest.raises(InputError, match="chosen by a name or a function"):
        model.add_hook(3, nothing)
    with pytest.raises(InputError, match="dir is 'fwd' or 'bwd'"):
        model.add_hook("hook_embed", nothing, dir="up")
    with pytest.raises(InputError, match="a hook is a pair"), model.hooks([], [1]):
        pass
    with pytest.raises(InputError, match="direction is 'fwd'"):
        model.reset_hooks(direction="up")
    assert model._entries == ()


def test_options_of_the_model(model):
    hooks = [("hook_embed", lambda array, hook: array * 0)]
    stream = model.run_with_hooks(IDS, fwd_hooks=hooks, stop_at_layer=0)
    assert not stream.any()
    assert model.run_with_hooks(IDS, fwd_hooks=hooks, logits="last").shape == (1, 1, 50)
    assert isinstance(model.run_with_hooks(IDS, fwd_hooks=hooks, return_type="loss"), float)
    calls = []
    model.run_with_hooks(
        IDS,
        fwd_hooks=[(lambda name: True, lambda array, hook: calls.append(hook.name))],
        stop_at_layer=1,
    )
    assert calls == [n for n in model.hook_dict if n == "hook_embed" or n.startswith("blocks.0")]


def test_inputs_of_many_sizes_share_a_model(model):
    rng = np.random.default_rng(0)
    for n, batch in ((1, 1), (60, 1), (7, 4), (64, 9), (2, 20), (64, 1)):
        ids = rng.integers(0, 50, (batch, n))
        found = model.run_with_hooks(ids, fwd_hooks=[("blocks.1.hook_in", nothing)])
        assert np.array_equal(found, model(ids))


def test_other_sessions_have_other_hooks(model):
    other = model.session()
    calls = []
    other.add_hook("hook_embed", lambda array, hook: calls.append(1))
    model(IDS)
    assert not calls
    other(IDS)
    assert calls == [1]
