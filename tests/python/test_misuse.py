"""Hooks that break the rules: always one clear sentence, never another run's bytes, never a crash.

Tests that may end a process, or that need signals or forks, run in a process of their own with a
limit on its time; it must end with code 0 and write nothing to stderr.
"""

import contextlib
import gc
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import weakref

import neox
import numpy as np
import pytest
from pythiascope import InputError, Model, StateError

IDS = [3, 14, 15, 9, 26, 5, 35]
SHORT = [8, 9, 7]
OPTIONS = ("-X", "faulthandler", "-W", "ignore::DeprecationWarning")  # of fork, since 3.12
KEPT = "the callback kept a view of memory that is valid during the call only"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return neox.write_model(tmp_path_factory.mktemp("misuse") / "model", parallel=False)


@pytest.fixture
def model(folder):
    """A model; after the test it must give the logits that a new model gives."""
    model = Model(folder, cache=False)
    yield model
    if not model.closed:
        model.reset_hooks(including_permanent=True)
        with Model(folder, cache=False) as fresh:
            assert np.array_equal(model(IDS), fresh(IDS))


def in_a_process(code, *arguments, seconds=300):
    """Runs code in a new Python, which must be silent on stderr and succeed; returns its stdout."""
    process = subprocess.run(
        [sys.executable, *OPTIONS, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert process.stderr == ""
    assert process.returncode == 0
    return process.stdout


# --- views that are used after their call --------------------------------------------------------

WAYS_TO_KEEP = {
    "the array": lambda array: array,
    "a row": lambda array: array[0, 0],
    "an element's view": lambda array: array[:1, :1, :1],
    "its transpose": lambda array: array.T,
    "a reshaped view": lambda array: array.reshape(7, 3, 8),
    "a memoryview": memoryview,
    "an iterator": iter,
    "a flat iterator": lambda array: array.flat,
    "its base": lambda array: array.base,
    "another dtype": lambda array: array.view(np.uint32),
    "asarray": np.asarray,
    "a lambda over it": lambda array: lambda: array,
    "a list of views": lambda array: [array[:, i] for i in range(3)],
    "a subclass": lambda array: array.view(np.ma.MaskedArray),
    "a broadcast": lambda array: np.broadcast_to(array, (2, *array.shape)),
    "ctypes": lambda array: array.ctypes,
}


@pytest.mark.parametrize("way", WAYS_TO_KEEP)
def test_a_kept_view_ends_the_pass(model, way):
    kept, copies = [], []

    def keep(array, hook):
        copies.append(array.copy())
        kept.append(WAYS_TO_KEEP[way](array))

    with pytest.raises(StateError) as caught:
        model.run_with_hooks(IDS, fwd_hooks=[("blocks.1.hook_resid_post", keep)])
    sentence = str(caught.value)
    assert KEPT in sentence
    assert "keep at blocks.1.hook_resid_post" in sentence
    assert "keep array.copy() instead" in sentence
    del caught
    for other in ([1, 2, 3, 4, 5, 6, 7], IDS[::-1], IDS):
        model.run_with_hooks(other, fwd_hooks=[("blocks.1.hook_resid_post", lambda a, hook: a * 0)])
    gc.collect()
    if isinstance(kept[0], np.ndarray) and kept[0].shape == copies[0].shape:
        if kept[0].dtype != np.float32:
            copies[0] = copies[0].view(kept[0].dtype)
        assert np.array_equal(kept[0], copies[0])  # no other pass's bytes
        kept[0][...] = 1  # and nothing that another pass reads


def test_a_copy_may_be_kept(model):
    kept = []
    model.run_with_hooks(IDS, fwd_hooks=[("hook_embed", lambda a, hook: kept.append(a.copy()))])
    assert kept[0].shape == (1, 7, 24)


def test_a_view_in_a_cycle_is_not_kept(model):
    def cycle(array, hook):
        holder = [array]
        holder.append(holder)  # only the collector frees it

    expected = model(IDS)
    found = model.run_with_hooks(IDS, fwd_hooks=[(lambda name: "resid_post" in name, cycle)])
    assert np.array_equal(found, expected)


def test_a_view_in_ctx_is_kept(model):
    def keep(array, hook):
        hook.ctx["array"] = array

    with pytest.raises(StateError, match=KEPT):
        model.run_with_hooks(IDS, fwd_hooks=[("blocks.0.attn.hook_pattern", keep)])
    view = model.hook_dict["blocks.0.attn.hook_pattern"].ctx["array"]
    before = view.copy()
    model.run_with_hooks(IDS[::-1], fwd_hooks=[("blocks.0.attn.hook_pattern", lambda a, hook: a)])
    assert np.array_equal(view, before)


def test_a_view_in_a_handled_exception_is_kept(model):
    kept = []

    def keep(array, hook):
        try:
            raise KeyError("x")
        except KeyError as error:
            kept.append(error)  # its traceback holds this frame

    with pytest.raises(StateError, match=KEPT):
        model.run_with_hooks(IDS, fwd_hooks=[("hook_embed", keep)])


def test_a_kept_view_outlives_everything(folder):
    model = Model(folder, cache=False)
    kept, copies = [], []

    def keep(array, hook):
        kept.append(array)
        copies.append(array.copy())

    with pytest.raises(StateError, match=KEPT):
        model.run_with_hooks(IDS, fwd_hooks=[("blocks.2.mlp.hook_post", keep)])
    model.close()
    del model
    gc.collect()
    assert np.array_equal(kept[0], copies[0])
    kept[0][...] = 0


def test_memory_of_kept_views_returns(model):
    from pythiascope.runtime.session import Session

    def sessions():
        gc.collect()
        return sum(isinstance(o, Session) for o in gc.get_objects())

    def keep(array, hook):
        kept.append(array)

    kept = []
    model(IDS)
    before = sessions()
    for _ in range(3):
        with pytest.raises(StateError, match=KEPT):
            model.run_with_hooks(IDS, fwd_hooks=[("hook_embed", keep)])
    assert sessions() == before + 3
    kept.clear()
    assert sessions() <= before + 1


def test_writing_to_a_view_of_a_ragged_batch_later_changes_nothing(model):
    kept = []
    found = model.run_with_hooks(
        [IDS, SHORT], fwd_hooks=[("hook_embed", lambda a, hook: kept.append(a))]
    )
    kept[0][...] = 1e9
    assert np.array_equal(model([IDS, SHORT]), found, equal_nan=True)


# --- exceptions ----------------------------------------------------------------------------------

EVERY_POINT = [
    "hook_embed",
    *(
        f"blocks.{layer}.{name}"
        for layer in (0, 2)
        for name in (
            "hook_resid_pre",
            "ln1.hook_scale",
            "ln1.hook_normalized",
            "attn.hook_q",
            "attn.hook_k",
            "attn.hook_v",
            "attn.hook_rot_q",
            "attn.hook_rot_k",
            "attn.hook_attn_scores",
            "attn.hook_pattern",
            "attn.hook_z",
            "attn.hook_result",
            "hook_attn_out",
            "hook_resid_mid",
            "ln2.hook_scale",
            "ln2.hook_normalized",
            "mlp.hook_pre",
            "mlp.hook_post",
            "hook_mlp_out",
            "hook_resid_post",
        )
    ),
    "ln_final.hook_scale",
    "ln_final.hook_normalized",
    "hook_logits",
]


@pytest.mark.parametrize("name", EVERY_POINT)
@pytest.mark.parametrize("batch", [IDS, [IDS, SHORT]], ids=["one", "ragged"])
def test_an_exception_comes_out_of_every_position(model, name, batch):
    mine = ValueError("mine")
    later = []

    def explode(array, hook):
        raise mine

    names = list(model.hook_dict)
    hooks = [(name, explode)]
    hooks += [(n, lambda a, hook: later.append(1)) for n in names[names.index(name) + 1 :]]
    with pytest.raises(ValueError, match="mine") as caught:
        model.run_with_hooks(batch, fwd_hooks=hooks)
    assert caught.value is mine
    frames = [frame.name for frame in traceback.extract_tb(mine.__traceback__)]
    assert "explode" in frames
    assert not later


@pytest.mark.parametrize(
    "kind", [KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration, MemoryError]
)
def test_every_kind_of_exception_comes_out(model, kind):
    def explode(array, hook):
        raise kind

    with pytest.raises(kind):
        model.run_with_hooks(IDS, fwd_hooks=[("blocks.1.attn.hook_z", explode)])
    with pytest.raises(kind), model.hooks([("blocks.1.attn.hook_z", explode)]):
        model.run_with_cache(IDS)


def test_a_traceback_keeps_its_view_alive_and_unchanged(model):
    def explode(array, hook):
        explode.copy = array.copy()
        raise RuntimeError

    with pytest.raises(RuntimeError) as caught:
        model.run_with_hooks(IDS, fwd_hooks=[("blocks.1.hook_resid_post", explode)])
    frame = caught.tb
    while frame.tb_next is not None:
        frame = frame.tb_next
    array = frame.tb_frame.f_locals["array"]
    for other in (IDS[::-1], SHORT):
        model.run_with_hooks(other, fwd_hooks=[("blocks.1.hook_resid_post", lambda a, hook: a * 0)])
    assert np.array_equal(array, explode.copy)


def test_an_exception_in_progress_comes_out(model):
    calls = []

    def progress(done, what):
        calls.append((done, what))
        if len(calls) == 2:
            raise ValueError("mine")

    sequences, _ = model._sequences(IDS)
    session = model._new_session(chunk=2)
    with pytest.raises(ValueError, match="mine"):
        session.run(sequences, progress=progress)
    assert len(calls) == 2
    session.run(sequences)
    session.close()


def test_an_exception_in_a_filter_or_a_predicate_comes_out(model):
    def explode(name):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        model.run_with_cache(IDS, names_filter=explode)
    with pytest.raises(ValueError, match="mine"):
        model.add_hook(explode, print)


def test_endless_recursion_in_a_hook_comes_out(model):
    def forever(array, hook):
        return forever(array, hook)

    with pytest.raises(RecursionError):
        model.run_with_hooks(IDS, fwd_hooks=[("blocks.0.hook_in", forever)])


# --- what hooks return ---------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [IDS, [IDS, SHORT]], ids=["one", "ragged"])
@pytest.mark.parametrize(
    ("result", "words"),
    [
        (lambda a: a[:, :-1], "[{b}, 6, 24]; it must return None or one of shape [{b}, 7, 24]"),
        (lambda a: a[0], "of shape [7, 24]"),
        (lambda a: 0, "of shape []"),
        (lambda a: a[..., None], "of shape [{b}, 7, 24, 1]"),
        (lambda a: np.zeros((0,)), "of shape [0]"),
        (lambda a: a.astype(complex), "returned complex128 values of type ndarray; it must"),
        (lambda a: a.astype(object), "returned object values"),
        (lambda a: a.astype(str), "values of type ndarray"),
        (lambda a: "text", "values of type str"),
        (lambda a: {"a": 1}, "returned object values of type dict"),
        (lambda a: (x for x in a), "returned object values of type generator"),
        (lambda a: a.astype("datetime64[s]"), "returned datetime64[s] values"),
        (lambda a: object(), "values of type object"),
    ],
)
def test_wrong_results(model, batch, result, words):
    name = "blocks.1.hook_resid_post"
    with pytest.raises(InputError) as caught:
        model.run_with_hooks(batch, fwd_hooks=[(name, lambda a, hook: result(a))])
    assert words.replace("{b}", str(len(np.atleast_2d(batch)) if batch is IDS else 2)) in str(
        caught.value
    )
    assert f"at {name}" in str(caught.value)


def test_a_generator_as_hook(model):
    def generator(array, hook):
        yield array

    async def coroutine(array, hook):
        return array

    for function in (generator, coroutine):
        with pytest.warns(RuntimeWarning) if function is coroutine else contextlib.nullcontext():
            with pytest.raises(InputError, match="returned object values of type"):
                model.run_with_hooks(IDS, fwd_hooks=[("hook_embed", function)])
            gc.collect()


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int8, np.uint64, bool, ">f4"])
def test_results_of_other_real_types_are_taken(model, dtype):
    values = np.arange(7 * 24).reshape(1, 7, 24) % 2
    name = "blocks.1.hook_resid_post"
    expected = model.run_with_hooks(
        IDS, fwd_hooks=[(name, lambda a, hook: values.astype(np.float32))]
    )
    found = model.run_with_hooks(IDS, fwd_hooks=[(name, lambda a, hook: values.astype(dtype))])
    assert np.array_equal(found, expected)


def test_results_that_overlap_the_view(model):
    name = "blocks.1.hook_resid_post"
    expected = model.run_with_hooks(IDS, fwd_hooks=[(name, lambda a, hook: a[:, ::-1].copy())])
    found = model.run_with_hooks(IDS, fwd_hooks=[(name, lambda a, hook: a[:, ::-1])])
    assert np.array_equal(found, expected)
    expected = model(IDS)
    for same in (lambda a: a, lambda a: a[...], lambda a: a.view(), np.asarray):
        assert np.array_equal(
            model.run_with_hooks(IDS, fwd_hooks=[(name, lambda a, hook, same=same: same(a))]),
            expected,
        )


def test_lists_and_strided_results_are_taken(model):
    name = "blocks.1.hook_resid_post"
    expected = model.run_with_hooks(IDS, fwd_hooks=[(name, lambda a, hook: a * 2)])
    for change in (
        lambda a: (a * 2).tolist(),
        lambda a: np.asfortranarray(a * 2),
        lambda a: np.repeat(a * 2, 2, axis=-1)[..., ::2],
    ):
        found = model.run_with_hooks(
            IDS, fwd_hooks=[(name, lambda a, hook, change=change: change(a))]
        )
        assert np.array_equal(found, expected)


def test_not_a_number_passes_through(model):
    name = "blocks.0.hook_resid_post"
    found = model.run_with_hooks(IDS, fwd_hooks=[(name, lambda a, hook: a * np.nan)])
    assert np.isnan(found).all()
    assert np.isfinite(model(IDS)).all()


def test_changes_of_the_array_object_itself(model):
    expected = model(IDS)

    def reshape(array, hook):
        array.shape = (7, 24)

    def resize(array, hook):
        with pytest.raises(ValueError, match="resize"):
            array.resize((100, 100), refcheck=False)

    def freeze(array, hook):
        array.flags.writeable = False

    def retype(array, hook):
        array.dtype = np.uint32

    def frozen_and_new(array, hook):
        array.flags.writeable = False
        return array.copy()

    import warnings

    for hook in (reshape, resize, freeze, retype, frozen_and_new):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            found = model.run_with_hooks(IDS, fwd_hooks=[("blocks.1.hook_resid_post", hook)])
        assert np.array_equal(found, expected), hook

    def reshaped(array, hook):
        array.shape = (7, 24)
        return array

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with pytest.raises(InputError, match=r"of shape \[7, 24\]"):
            model.run_with_hooks(IDS, fwd_hooks=[("blocks.1.hook_resid_post", reshaped)])


# --- runs, closes and collections inside of a hook -----------------------------------------------


def test_a_run_in_a_hook_is_refused(model):
    calls = {
        "call": lambda: model(SHORT),
        "cache": lambda: model.run_with_cache(SHORT),
        "hooks": lambda: model.run_with_hooks(SHORT, fwd_hooks=[("hook_embed", print)]),
        "generate": lambda: model.generate([1, 2], max_new_tokens=1),
    }
    for what, call in calls.items():
        with pytest.raises(StateError, match="a run cannot start inside a callback") as caught:
            model.run_with_hooks(
                IDS, fwd_hooks=[("blocks.1.hook_in", lambda array, hook, call=call: call())]
            )
        assert "model.session()" in str(caught.value), what


def test_a_refused_run_may_be_handled_in_the_hook(model):
    refused = []

    def hook(array, hook):
        try:
            model(SHORT)
        except StateError as error:
            refused.append(str(error))

    expected = model(IDS)
    assert np.array_equal(model.run_with_hooks(IDS, fwd_hooks=[("hook_embed", hook)]), expected)
    assert len(refused) == 1


def test_another_session_may_run_in_a_hook(model):
    other = model.session()
    expected, inner = model(IDS), model(SHORT)
    found = []
    logits = model.run_with_hooks(
        IDS, fwd_hooks=[("blocks.1.hook_in", lambda a, hook: found.append(other(SHORT)))]
    )
    assert np.array_equal(found[0], inner)
    assert np.array_equal(logits, expected)


def test_weights_and_tokens_are_at_hand_in_a_hook():
    with Model() as books:
        seen = []

        def hook(array, hook):
            seen.append((books.to_string(books.to_tokens(" sun")[0]), books.W_Q(1).shape))

        books.run_with_hooks("The sun", fwd_hooks=[("hook_embed", hook)])
        assert seen == [(" sun", (8, 256, 32))]


def test_a_model_closed_in_a_hook_closes_after_the_pass(folder):
    expected = Model(folder, cache=False)(IDS)
    model = Model(folder, cache=False)
    sessions = []

    def hook(array, hook):
        model.close()
        model.close()
        array *= 1
        sessions.append(model.closed)

    logits = model.run_with_hooks(IDS, fwd_hooks=[(lambda name: "resid_pre" in name, hook)])
    assert sessions == [True] * 3
    assert np.array_equal(logits, expected)
    with pytest.raises(StateError, match="closed"):
        model(IDS)
    assert model._hooked is None


def test_a_model_closed_by_another_thread_during_a_pass(folder):
    expected = Model(folder, cache=False)(IDS)
    model = Model(folder, cache=False)

    def hook(array, hook):
        thread = threading.Thread(target=model.close)
        thread.start()
        thread.join(timeout=300)
        assert not thread.is_alive()

    logits = model.run_with_hooks(IDS, fwd_hooks=[("blocks.1.hook_in", hook)])
    assert np.array_equal(logits, expected)
    with pytest.raises(StateError, match="closed"):
        model(IDS)


def test_a_hook_that_drops_the_last_reference_to_its_model(folder):
    holder = [Model(folder, cache=False)]
    expected = holder[0](IDS)
    dead = weakref.ref(holder[0])

    def hook(array, hook):
        holder.clear()
        gc.collect()
        return array * 1

    holder[0].add_hook("blocks.1.hook_resid_post", hook)
    assert np.array_equal(holder[0](IDS), expected)
    gc.collect()
    assert dead() is None


def test_collections_in_a_hook(model):
    def litter():
        """Sessions, results and caches in cycles, for the collector to find during a pass."""
        for _ in range(3):
            other = model.session(threads=1)
            _, cache = other.run_with_cache(SHORT)
            other.hook_dict["hook_embed"].ctx["cycle"] = [other, cache]
            del other, cache

    def collect(array, hook):
        gc.collect()

    expected = model(IDS)
    gc.disable()
    try:
        litter()
        found = model.run_with_hooks(IDS, fwd_hooks=[(lambda name: True, collect)])
    finally:
        gc.enable()
    assert np.array_equal(found, expected)


def test_hooks_of_a_cycle_are_collected(folder):
    model = Model(folder, cache=False)
    dead = weakref.ref(model)
    model.add_hook("hook_embed", lambda array, hook, own=model: None)
    model(IDS)
    del model
    gc.collect()
    assert dead() is None


def test_an_abandoned_context_removes_its_hooks(model):
    calls = []
    context = model.hooks([("hook_embed", lambda a, hook: calls.append(1))])
    context.__enter__()
    model(IDS)
    del context
    gc.collect()
    model(IDS)
    assert calls == [1]


def test_abandoned_streams(model):
    expected = model(IDS)
    for taken in (0, 1, 2):
        stream = iter(model.generate([1, 2, 3], max_new_tokens=5, stream=True))
        for _ in range(taken):
            next(stream)
        del stream
    assert np.array_equal(model(IDS), expected)


def test_a_view_kept_in_a_generation(folder):
    model = Model(folder, cache=False)
    kept, copies = [], []

    def keep(array, hook):
        kept.append(array)
        copies.append(array.copy())

    for batch in ([1, 2, 3], [[1, 2, 3], [4, 5, 6]]):
        kept.clear()
        copies.clear()
        hooks = model.hooks([("blocks.1.hook_resid_post", keep)])
        with hooks, pytest.raises(StateError, match=KEPT):
            model.generate(batch, max_new_tokens=3)
        gc.collect()
        assert np.array_equal(kept[0], copies[0])
        kept[0][...] = 0  # its session is closed for the model, but its memory lives
    model.close()
    assert model.closed


def test_an_exception_in_a_generation_comes_out_at_its_step(model):
    calls = []

    def explode(array, hook):
        calls.append(array.shape[1])
        if len(calls) == 3:
            raise ValueError("mine")

    hooks = model.hooks([("blocks.1.hook_resid_post", explode)])
    with hooks, pytest.raises(ValueError, match="mine"):
        model.generate([1, 2, 3], max_new_tokens=9)
    assert calls == [3, 1, 1]


# --- arrays, models and threads ------------------------------------------------------------------


def test_arrays_outlive_their_model(folder):
    model = Model(folder, cache=False)
    logits, cache = model.run_with_cache(IDS)
    w_u, w_e = model.W_U, model.W_E
    copies = [a.copy() for a in (logits, w_u, w_e, *cache.values())]
    arrays = [logits, w_u, w_e, *cache.values()]
    model.close()
    del model, cache, logits
    gc.collect()
    for array, copy in zip(arrays, copies):
        assert np.array_equal(array, copy)


def test_200_threads_share_a_model(model):
    expected = {n: model(IDS[:n]) for n in range(1, 8)}
    zeroed = {
        n: model.run_with_hooks(IDS[:n], fwd_hooks=[("blocks.1.hook_in", zero)]) for n in expected
    }
    wrong = []

    def work(index):
        n = 1 + index % 7
        try:
            for _ in range(3):
                if not np.array_equal(model(IDS[:n]), expected[n]):
                    wrong.append("plain")
                found = model.run_with_hooks(IDS[:n], fwd_hooks=[("blocks.1.hook_in", zero)])
                if not np.array_equal(found, zeroed[n]):
                    wrong.append("hooked")
                if index % 10 == 0:
                    with pytest.raises(ZeroDivisionError):
                        model.run_with_hooks(IDS, fwd_hooks=[("hook_embed", lambda a, hook: 1 / 0)])
        except BaseException as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def zero(array, hook):
    array[...] = 0


def test_200_threads_with_a_session_each(model):
    expected = model.run_with_hooks(IDS, fwd_hooks=[("blocks.1.hook_in", zero)])
    wrong = []
    ready = threading.Barrier(200)

    def work():
        try:
            other = model.session(threads=1)
            ready.wait(timeout=300)
            found = other.run_with_hooks(IDS, fwd_hooks=[("blocks.1.hook_in", zero)])
            if not np.array_equal(found, expected):
                wrong.append("logits")
        except BaseException as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    assert wrong == []


def test_other_threads_run_while_a_pass_works(model):
    """The lock of Python is free while C works: a counter in another thread goes on."""
    other = model.session(threads=1)
    ids = np.zeros((40, 64), int)
    counted, ended = [0], threading.Event()

    def count():
        while not ended.is_set():
            counted[0] += 1
            time.sleep(0)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        during = []
        while max(during, default=0) <= 5 and len(during) < 50:  # a busy machine may not let it run
            start = counted[0]
            other(ids)
            during.append(counted[0] - start)
        assert max(during) > 5, during
    finally:
        ended.set()
        thread.join()


# --- processes -----------------------------------------------------------------------------------


@pytest.mark.forks_among_threads
def test_a_fork_outside_of_a_pass(folder):
    in_a_process(
        """
        import os, sys, numpy as np
        from pythiascope import Model, StateError
        model = Model(sys.argv[1], cache=False)
        ids = [3, 14, 15]
        logits, cache = model.run_with_cache(ids)
        model.run_with_hooks(ids, fwd_hooks=[("hook_embed", lambda a, hook: None)])
        w_e = model.W_E
        calls = [
            lambda: model(ids),
            lambda: model.run_with_cache(ids),
            lambda: model.run_with_hooks(ids, fwd_hooks=[("hook_embed", print)]),
            lambda: model.W_Q(0),
            lambda: model.W_E,
            lambda: model.session(),
            lambda: model.generate([1], max_new_tokens=1),
        ]
        child = os.fork()
        if child == 0:
            for call in calls:
                try:
                    call()
                    os._exit(1)
                except StateError as error:
                    if f"belongs to process {os.getppid()}; open it again" not in str(error):
                        os._exit(2)
            if not np.array_equal(w_e[3], cache["embed"][0, 0]):
                os._exit(3)
            with Model(sys.argv[1], cache=False) as again:
                if not np.array_equal(again(ids), logits):
                    os._exit(4)
            model.close()
            del model, cache
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status
        assert np.array_equal(model(ids), logits)
        """,
        folder,
    )


@pytest.mark.parametrize("threads", ["1", pytest.param("2", marks=pytest.mark.forks_among_threads)])
@pytest.mark.parametrize("batch", ["[3, 14, 15]", "[[3, 14, 15], [1]]"])
def test_a_fork_inside_of_a_hook(folder, threads, batch):
    """The child's pass ends with an exception; the parent's goes on."""
    in_a_process(
        f"""
        import os, sys, numpy as np
        from pythiascope import Model, StateError
        model = Model(sys.argv[1], cache=False, threads={threads})
        expected = model({batch})
        parent, ends = os.getpid(), []

        def same():
            with Model(sys.argv[1], cache=False) as again:
                return np.array_equal(again({batch}), expected, equal_nan=True)

        def fork(array, hook):
            child = os.fork()
            if child != 0:
                ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            elif hook.layer() == 0:
                raise ValueError("the child's own")
            elif hook.layer() == 2:
                os._exit(5 if same() else 1)

        try:
            logits = model.run_with_hooks(
                {batch}, fwd_hooks=[(lambda name: name.endswith("hook_resid_pre"), fork)]
            )
        except ValueError as error:
            assert str(error) == "the child's own" and os.getpid() != parent
            os._exit(3 if same() else 1)
        except StateError as error:
            assert f"belongs to process {{parent}}; open it again" in str(error), error
            sys.exit(4 if same() else 1)
        assert os.getpid() == parent
        assert ends == [3, 4, 5], ends
        assert np.array_equal(logits, expected, equal_nan=True)
        assert np.array_equal(model({batch}), expected, equal_nan=True)
        """,
        folder,
    )


def test_ctrl_c_at_random_times(folder):
    out = in_a_process(
        """
        import os, random, signal, sys, threading, time, numpy as np
        from pythiascope import Model
        model = Model(sys.argv[1], cache=False)
        ids = np.arange(64) % 50
        batch = [list(range(50)), [1, 2, 3]]
        expected, ragged = model(ids), model(batch)
        def nothing(array, hook): pass
        fwd_hooks = [(lambda name: "resid" in name, nothing)]
        calls = [
            lambda: model(ids),
            lambda: model.run_with_cache(ids)[0],
            lambda: model.run_with_hooks(ids, fwd_hooks=fwd_hooks),
        ]
        random.seed(int(sys.argv[2]))
        ended, armed, interrupts = threading.Event(), threading.Event(), 0

        def interrupt():
            while not ended.is_set():
                armed.wait(1)
                time.sleep(random.random() * 0.01)
                if armed.is_set():
                    armed.clear()
                    os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        start = time.monotonic()
        while time.monotonic() < start + (5 if interrupts > 10 else 120):
            call = random.choice(calls)
            try:
                armed.set()
                for _ in range(1000):
                    call()
            except KeyboardInterrupt:
                interrupts += 1
            assert np.array_equal(model(ids), expected)
            assert np.array_equal(model.run_with_hooks(ids, fwd_hooks=fwd_hooks), expected)
            found = model.run_with_hooks(batch, fwd_hooks=fwd_hooks)
            assert np.array_equal(found, ragged, equal_nan=True)
        armed.clear()
        ended.set()
        thread.join()
        print(interrupts)
        """,
        folder,
        "1",
    )
    assert int(out) > 10


def test_ctrl_c_in_a_long_pass_comes_at_once(folder):
    in_a_process(
        """
        import os, signal, sys, threading, time, numpy as np
        from pythiascope import Model
        model = Model(sys.argv[1], cache=False, threads=1)
        ids = np.zeros((1000, 64), int)
        start = time.process_time()  # which does not count other programs
        model(ids)
        whole = time.process_time() - start

        def interrupt():
            while time.process_time() < start + whole / 10:
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        start = time.process_time()
        thread.start()
        try:
            model(ids)
        except KeyboardInterrupt:
            spent = time.process_time() - start
        else:
            raise SystemExit("no KeyboardInterrupt")
        thread.join()
        assert spent < whole * 0.7, (spent, whole)
        assert model([1, 2]).shape == (1, 2, 50)
        """,
        folder,
    )


def test_exits_are_silent(folder):
    in_a_process(
        """
        import sys, threading
        from pythiascope import Model, StateError
        model = Model(sys.argv[1], cache=False)
        logits, cache = model.run_with_cache([1, 2, 3])
        kept = []
        try:
            model.run_with_hooks([1, 2], fwd_hooks=[("hook_embed", lambda a, hook: kept.append(a))])
        except StateError as error:
            kept.append(error)
        model.add_hook("hook_embed", lambda a, hook, own=model: None)
        model([1, 2])
        other = model.session()
        def nothing(array, hook): pass
        def forever():
            while True:
                other.run_with_hooks([1, 2, 3] * 20, fwd_hooks=[("hook_embed", nothing)])
        thread = threading.Thread(target=forever, daemon=True)
        thread.start()
        """,
        folder,
    )


def test_an_exit_in_a_hook_ends_the_process(folder):
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from pythiascope import Model\n"
            "Model(sys.argv[1], cache=False).run_with_hooks([1, 2], fwd_hooks=["
            "('blocks.1.hook_in', lambda a, hook: sys.exit(5))])",
            folder,
        ],
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 5
    assert process.stderr == b""
