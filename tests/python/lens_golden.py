"""Golden arrays of TransformerLens, and the bounds of tests/runtime/test_parity.c."""

import json
import pathlib
import runpy

import numpy as np

TESTS = pathlib.Path(__file__).resolve().parents[1]
PARITY, PYTHON = TESTS / "golden" / "parity", TESTS / "golden" / "python"
CALLS = runpy.run_path(str(TESTS / "tools" / "lens_calls.py"))
# The models whose caches TransformerLens made; those of other activations and scaled rotary
# embeddings have logits of transformers only.
VARIANTS = sorted(
    path.name for path in PARITY.glob("*") if (PYTHON / f"{path.name}.safetensors").exists()
)
TOLERANCE = 2e-4
TYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32}


def arrays_of(path):
    """{name: array} of a safetensors file."""
    raw = pathlib.Path(path).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    found = {}
    for name, entry in json.loads(raw[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            data = raw[8 + size + begin : 8 + size + end]
            found[name] = np.frombuffer(data, TYPES[entry["dtype"]]).reshape(entry["shape"])
    return found


def json_of(name):
    return json.loads((PYTHON / name).read_text(encoding="utf-8"))


def compare(variant, name, got, want):
    """Asserts that got has the shape of want, and its values within the bounds.

    Where scores are near -110,000, float32 itself resolves 0.008: the bound there includes an
    error relative to the value.
    """
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, f"{variant}, {name}: {got.shape}, should be {want.shape}"
    masked = np.isneginf(want)
    assert (np.isneginf(got) == masked).all(), f"{variant}, {name}: other keys are masked"
    allowed = TOLERANCE + (1e-6 * np.abs(want[~masked]) if variant == "large_scores" else 0.0)
    gap = np.abs(got[~masked] - want[~masked])
    assert (gap <= allowed).all(), f"{variant}, {name}: {gap.max()} from TransformerLens's"
