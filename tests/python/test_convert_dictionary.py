"""tools/convert_dictionary_learning.py: layouts of ae.pt and refusals. Skipped without torch."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

HAVE = all(importlib.util.find_spec(name) for name in ("torch", "safetensors"))
torch: Any = importlib.import_module("torch") if HAVE else None
pytestmark = pytest.mark.skipif(not HAVE, reason="needs torch and safetensors")


def converter() -> Any:
    path = ROOT / "tools/convert_dictionary_learning.py"
    spec = importlib.util.spec_from_file_location("convert_dictionary_learning", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def put(folder: Path, config: dict[str, Any] | None) -> Path:
    folder.mkdir(parents=True)
    state = {
        "encoder.weight": torch.ones(6, 4),
        "encoder.bias": torch.zeros(6),
        "decoder.weight": torch.ones(4, 6),
        "bias": torch.zeros(4),
    }
    torch.save(state, folder / "ae.pt")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


TRAINER = {
    "dict_class": "AutoEncoder",
    "activation_dim": 4,
    "dict_size": 6,
    "layer": 3,
    "lm_name": "EleutherAI/pythia-70m-deduped",
    "submodule_name": "resid_post_layer_3",
}


@pytest.mark.parametrize(
    ("place", "config", "hook"),
    [
        ("trainer_0", {"trainer": TRAINER, "buffer": {"io": "out"}}, "blocks.3.hook_resid_post"),
        ("resid_out_layer3/10_32768", None, "blocks.3.hook_resid_post"),
        ("attn_out_layer0/10_32768", {"lr": 1e-4}, "blocks.0.hook_attn_out"),
        ("mlp_out_layer5/10_32768", None, "blocks.5.hook_mlp_out"),
        ("embed/10_32768", None, "hook_embed"),
    ],
)
def test_the_hook_point(
    tmp_path: Path, place: str, config: dict[str, Any] | None, hook: str
) -> None:
    converter().convert(put(tmp_path / place, config), tmp_path / "to")
    cfg = json.loads((tmp_path / "to/cfg.json").read_text())
    assert cfg["metadata"]["hook_name"] == hook
    assert (cfg["architecture"], cfg["d_in"], cfg["d_sae"]) == ("standard", 4, 6)
    assert cfg["apply_b_dec_to_input"] is True


@pytest.mark.parametrize(
    ("config", "point", "words"),
    [
        ({"trainer": TRAINER}, "rubbish", "rubbish is no hook point"),
        ({"trainer": TRAINER}, "blocks.3.hook_foo", "is no hook point"),
        ({"trainer": TRAINER, "buffer": {"io": "in"}}, None, "has io 'in'"),
        ({"trainer": TRAINER | {"layer": None}}, None, 'no whole number "layer"'),
        ({"trainer": TRAINER | {"dict_class": "Other"}}, None, "has the class 'Other'"),
        (None, None, 'no whole number "layer"'),
    ],
)
def test_refusals(
    tmp_path: Path, config: dict[str, Any] | None, point: str | None, words: str
) -> None:
    source = put(tmp_path / "trainer_0", config)
    with pytest.raises(SystemExit, match="convert_dictionary_learning") as caught:
        converter().convert(source, tmp_path / "to", point)
    assert words in str(caught.value)
    assert not (tmp_path / "to").exists()
