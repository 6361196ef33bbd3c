"""Caches, decompositions, labels, hooks, weights and tokens against TransformerLens's own.

The golden arrays are of TransformerLens 3.9 and 4.3 (tests/tools/make_python_golden.py,
make_bridge_golden.py); the calls are those of tests/tools/lens_calls.py, on NumPy arrays.
"""

import numpy as np
import pytest
import pythiascope
from lens_golden import CALLS, PARITY, PYTHON, VARIANTS, arrays_of, compare, json_of

BRIDGED = ("parallel_f32", "sequential_f32")
SLICED = ("parallel_f32", "sequential_f32", "odd_sizes")
WEIGHTS = ("parallel_f32", "no_attention_bias", "tied_f32")
# Entries of TransformerLens's caches that are no tensors of ours: ln_final's output, which its
# folding makes equal to hook_normalized, and the logits, which a run returns anyway.
UNEMBED = ("unembed.hook_in", "unembed.hook_out")


class Case:
    """A model, its golden arrays, and the cache of the golden batch."""

    def __init__(self, variant):
        self.variant = variant
        self.model = pythiascope.Model(PARITY / variant, threads=1, cache=False)
        self.golden = arrays_of(PYTHON / f"{variant}.safetensors")
        self.labels = json_of("lens.json")[variant]
        self.ids = self.golden["tokens"].astype(np.int64)
        self.logits, self.cache = self.model.run_with_cache(self.ids)

    def compare(self, name, got, want):
        compare(self.variant, name, got, want)


@pytest.fixture(scope="module")
def case(request):
    opened = Case(request.param)
    yield opened
    opened.model.close()


def of(*variants):
    return pytest.mark.parametrize("case", variants, indirect=True, scope="module")


# --- caches ---


@of(*VARIANTS)
def test_every_entry_of_a_cache(case):
    want = arrays_of(PARITY / case.variant / "golden.safetensors")
    tokens, rows = want.pop("tokens"), want.pop("rows")
    assert rows.tolist() == list(range(len(tokens)))
    names = list(case.model.names.hooks)
    _, cache = case.model.run_with_cache(tokens, names_filter=names)
    assert set(cache) == set(want)
    for name, array in want.items():
        case.compare(name, cache[name][0], array)
    case.compare("logits", case.model(tokens)[0], want["hook_logits"])


def test_the_embedded_model():
    want = arrays_of(PARITY / "embedded.safetensors")
    tokens, rows = want.pop("tokens"), want.pop("rows")
    model = pythiascope.Model(threads=1, cache=False)
    names = [name for name in want if "hook_" in name]
    _, cache = model.run_with_cache(tokens, names_filter=names, remove_batch_dim=True)
    assert set(cache) == set(names) and len(names) > 40
    for name in names:
        keys = name.endswith(("attn_scores", "pattern"))
        compare("embedded", name, cache[name][:, rows] if keys else cache[name][rows], want[name])
    model.close()


@of(*VARIANTS)
def test_a_batch(case):
    case.compare("logits", case.logits, case.golden["logits"])
    case.compare("model(ids)", case.model(case.ids), case.golden["logits"])


@of(*VARIANTS)
def test_names_shapes_and_order_of_runs(case):
    """With pos_slice the rotated q and k have the chosen positions, too, unlike there."""
    for name, options in CALLS["RUNS"].items():
        options = dict(options)
        ids = case.ids[:1] if options.pop("one", False) else case.ids
        out, cache = case.model.run_with_cache(ids, **options)
        output, entries = (case.labels["runs"][name][key] for key in ("output", "entries"))
        entries = {key: shape for key, shape in entries.items() if key not in UNEMBED}
        assert list(out.shape) == output, name
        got = {key: list(array.shape) for key, array in cache.items()}
        if "pos_slice" in options:
            rotated = {key for key in got if not CALLS["without_rotated"](key)}
            assert all(got[key] == got[key.replace("rot_", "")] for key in rotated)
            got = {key: shape for key, shape in got.items() if key not in rotated}
        assert list(got) == list(entries), name
        assert got == entries, name
        if "stop_at_layer" in options:
            case.compare(name, out, case.golden[f"{name}: output"])


@of(*SLICED)
def test_entries_of_three_positions(case):
    _, cache = case.model.run_with_cache(case.ids, **CALLS["RUNS"]["three positions"])
    prefix = "three positions: "
    names = [name.removeprefix(prefix) for name in case.golden if name.startswith(prefix)]
    assert len(names) > 30
    for name in names:
        if name not in UNEMBED:
            case.compare(name, cache[name], case.golden[prefix + name])


# --- decompositions ---


@of(*VARIANTS)
def test_decompositions_and_labels(case):
    for name, function in CALLS["cases"](case.model.names.parallel).items():
        found = function(case.cache, case.ids)
        if isinstance(found, tuple):
            found, labels = found
            assert list(labels) == case.labels[name], name
        else:
            assert name not in case.labels
        case.compare(name, found, case.golden[name])


@of(*VARIANTS)
def test_the_logit_lens_is_that_of_raw_weights(case):
    for name, function in CALLS["RAW"].items():
        found, labels = function(case.cache, case.ids)
        assert list(labels) == case.labels[f"raw/{name}"]
        case.compare(name, found, case.golden[f"raw/{name}"])


# --- hooks ---


@of(*VARIANTS)
def test_logits_after_edits(case):
    for name, hooks in CALLS["EDITS"].items():
        logits = case.model.run_with_hooks(case.ids, fwd_hooks=hooks)
        case.compare(name, logits[:, CALLS["KEPT"]], case.golden[f"{name}: logits"])
    case.compare("no hook is left", case.model(case.ids), case.golden["logits"])


# --- the names of TransformerLens 4 ---


@of(*BRIDGED)
def test_entries_under_the_names_of_transformer_lens_4(case):
    parity = arrays_of(PARITY / case.variant / "golden.safetensors")
    _, cache = case.model.run_with_cache(
        parity["tokens"], names_filter=list(case.model.names.hooks)
    )
    known = json_of("bridge.json")[case.variant]
    taken = [name for name in known if name in cache]
    assert set(taken) >= set(CALLS["BRIDGE_POINTS"])
    for name in taken:
        assert known[name] is not None, f"{name} is taken, and is no tensor of ours there"
        case.compare(name, cache[name][0], parity[known[name]])
    for name in set(known) - set(taken):
        with pytest.raises(KeyError, match="there is no hook"):
            cache[name]


@of(*BRIDGED)
def test_edits_at_the_names_of_transformer_lens_4(case):
    golden = arrays_of(PYTHON / "bridge.safetensors")
    for point in CALLS["BRIDGE_POINTS"]:
        seen = []

        def edit(value, hook, seen=seen):
            seen.append((hook.name, value.copy()))
            CALLS["reverse_row"](value, hook)

        logits = case.model.run_with_hooks(case.ids, fwd_hooks=[(point, edit)])
        assert [name for name, _ in seen] == [point]
        case.compare(point, seen[0][1], golden[f"{case.variant}: {point}"])
        want = golden[f"{case.variant}: {point}: logits"]
        case.compare(f"edit of {point}", logits[:, CALLS["KEPT"]], want)


# --- weights and tokens ---


@of(*WEIGHTS)
def test_weights(case):
    model, golden = case.model, case.golden
    names = [name.removeprefix("raw/") for name in golden if name.startswith("raw/")]
    names = [name for name in names if name not in CALLS["RAW"]]
    assert len(names) == 20
    for name in names:
        if name == "accumulated_bias":
            found = model.accumulated_bias(2)
        elif name in ("W_E", "W_U", "b_U"):
            found = getattr(model, name)
        else:
            found = getattr(model, name)(1)
        case.compare(name, found, golden[f"raw/{name}"])


def test_tokens():
    model, golden = pythiascope.Model(cache=False), json_of("text.json")
    for entry in golden["texts"]:
        text = entry["text"]
        assert model.to_tokens(text).tolist() == entry["to_tokens"]
        assert model.to_tokens(text, prepend_bos=True).tolist() == entry["to_tokens, bos"]
        assert model.to_str_tokens(text) == entry["to_str_tokens"]
        assert model.to_string(entry["to_tokens"][0]) == entry["to_string"]
    for text, token in golden["to_single_token"].items():
        assert model.to_single_token(text) == token
    for token, position, mode in golden["get_token_position"]:
        text = golden["texts"][-1]["text"]
        assert model.get_token_position(token, text, mode=mode) == position
    model.close()
