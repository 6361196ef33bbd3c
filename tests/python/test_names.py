"""Hook names: canonical ones, those of TransformerLens 4, shorthand, filters, and errors."""

import pytest
from pythiascope.hooks.names import Names, UnknownHook, get_act_name

PARALLEL, SEQUENTIAL = Names(4, True), Names(4, False)


def test_names_come_in_the_order_of_a_pass():
    names = list(PARALLEL.hooks)
    assert names[:5] == [
        "hook_embed",
        "blocks.0.hook_resid_pre",
        "blocks.0.ln1.hook_scale",
        "blocks.0.ln1.hook_normalized",
        "blocks.0.attn.hook_q",
    ]
    assert names[-3:] == ["ln_final.hook_scale", "ln_final.hook_normalized", "hook_logits"]
    assert names.index("blocks.1.hook_resid_pre") == names.index("blocks.0.hook_resid_post") + 1
    assert len(names) == 4 + 4 * 19
    assert len(SEQUENTIAL.hooks) == 4 + 4 * 20


@pytest.mark.parametrize(
    ("short", "full"),
    [
        (("k", 6, "a"), "blocks.6.attn.hook_k"),
        (("pre", 2), "blocks.2.mlp.hook_pre"),
        (("embed",), "hook_embed"),
        (("normalized", 27, "ln2"), "blocks.27.ln2.hook_normalized"),
        (("k6",), "blocks.6.attn.hook_k"),
        (("scale4ln1",), "blocks.4.ln1.hook_scale"),
        (("pre5",), "blocks.5.mlp.hook_pre"),
        (("scale",), "ln_final.hook_scale"),
        (("normalized",), "ln_final.hook_normalized"),
        (("attn", 3), "blocks.3.attn.hook_pattern"),
        (("attn_logits", 3), "blocks.3.attn.hook_attn_scores"),
        (("resid_post", 0), "blocks.0.hook_resid_post"),
        (("rot_q", 1, "attn"), "blocks.1.attn.hook_rot_q"),
        (("mlp_out", 1), "blocks.1.hook_mlp_out"),
        (("blocks.1.hook_mlp_out",), "blocks.1.hook_mlp_out"),
        (("resid_mid2",), "blocks.2.hook_resid_mid"),
        (("value", 2, "attention"), "blocks.2.attn.hook_v"),
    ],
)
def test_shorthand(short, full):
    assert get_act_name(*short) == full


@pytest.mark.parametrize(
    ("key", "full"),
    [
        ("blocks.3.attn.hook_z", "blocks.3.attn.hook_z"),
        (("pattern", 3), "blocks.3.attn.hook_pattern"),
        (("z", 3, "attn"), "blocks.3.attn.hook_z"),
        (("z", -1), "blocks.3.attn.hook_z"),
        (("resid_pre", -4), "blocks.0.hook_resid_pre"),
        ("embed", "hook_embed"),
        (("scale", None), "ln_final.hook_scale"),
        ("blocks.2.hook_out", "blocks.2.hook_resid_post"),
    ],
)
def test_keys_of_a_cache(key, full):
    assert PARALLEL.key(key) == full
    assert PARALLEL.find(PARALLEL.key(key)).name == full


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("hook_in", "hook_resid_pre"),
        ("hook_out", "hook_resid_post"),
        ("attn.hook_out", "hook_attn_out"),
        ("mlp.hook_out", "hook_mlp_out"),
        ("attn.q.hook_out", "attn.hook_q"),
        ("attn.k.hook_out", "attn.hook_k"),
        ("attn.v.hook_out", "attn.hook_v"),
        ("attn.o.hook_in", "attn.hook_z"),
        ("mlp.in.hook_out", "mlp.hook_pre"),
        ("mlp.out.hook_in", "mlp.hook_post"),
    ],
)
def test_names_of_transformerlens_4(alias, name):
    assert PARALLEL.find(f"blocks.2.{alias}").name == f"blocks.2.{name}"


def test_names_outside_the_layers_of_transformerlens_4():
    assert PARALLEL.find("embed.hook_out").name == "hook_embed"
    assert PARALLEL.find("unembed.hook_out").name == "hook_logits"
    assert SEQUENTIAL.find("blocks.0.ln2.hook_in").name == "blocks.0.hook_resid_mid"


def test_every_alias_is_found():
    for names in (PARALLEL, SEQUENTIAL):
        for alias in names.aliases():
            assert names.find(alias).name in names.hooks


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("blocks.1.hook_resid_pots", "did you mean blocks.1.hook_resid_post"),
        ("blocks.1.attn.hook_patern", "did you mean blocks.1.attn.hook_pattern"),
        ("blocks.2.hook_z", "did you mean blocks.2.attn.hook_z"),
        ("hook_embd", "did you mean hook_embed"),
        ("z", "blocks.0.attn.hook_z"),
        ("blocks.4.attn.hook_z", "this model has layers 0 to 3"),
        ("blocks.0.hook_resid_mid", "so it has no middle"),
        ("blocks.0.attn.hook_in", "it is ln1 after gamma and beta"),
        ("blocks.0.hook_q_input", "edit hook_resid_pre"),
        ("hook_pos_embed", "positions are rotary"),
        ("completely different", "model.hook_dict lists"),
        ("", "there is no hook"),
    ],
)
def test_an_unknown_name_says_what_is_near(name, words):
    with pytest.raises(UnknownHook) as caught:
        PARALLEL.find(name)
    assert words in str(caught.value)
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (("z", 4), "asks for layer 4; this model has layers 0 to 3"),
        (("z", -5), "asks for layer -5"),
        (("z", "one"), "is no whole number"),
        (("z", 1, 3), "the kind in"),
        (7, "not 7"),
        ((), "not ()"),
        (("z", 1, "attn", 4), "not ('z', 1, 'attn', 4)"),
    ],
)
def test_a_wrong_key_says_what_is_wrong(key, words):
    with pytest.raises(UnknownHook) as caught:
        PARALLEL.key(key)
    assert words in str(caught.value)


def test_a_name_must_be_a_str():
    with pytest.raises(ValueError, match="a hook name is a str, not int"):
        PARALLEL.find(3)


def test_select_by_predicate_asks_for_our_names_first():
    chosen = PARALLEL.select(lambda name: not name.endswith("hook_z"))
    assert len(chosen) == len(PARALLEL.hooks) - 4  # and no alias of hook_z
    chosen = PARALLEL.select(lambda name: name.endswith("attn.o.hook_in"))
    assert [(name, hook.name) for name, hook in chosen][:2] == [
        ("blocks.0.attn.o.hook_in", "blocks.0.attn.hook_z"),
        ("blocks.1.attn.o.hook_in", "blocks.1.attn.hook_z"),
    ]
    with pytest.raises(UnknownHook, match="chose no hook"):
        PARALLEL.select(lambda name: False)
    with pytest.raises(ValueError, match="not int"):
        PARALLEL.select(5)


def test_the_default_cache_lacks_results_and_logits():
    names = [hook.name for hook in PARALLEL.filtered(None, False)]
    assert len(names) == 3 + 4 * 18
    assert "hook_logits" not in names
    assert not any("hook_result" in name for name in names)
    assert "blocks.2.attn.hook_result" in [h.name for h in PARALLEL.filtered(None, True)]


def test_filters():
    def of(names_filter, use=False):
        return [hook.name for hook in PARALLEL.filtered(names_filter, use)]

    assert of("blocks.1.hook_out") == ["blocks.1.hook_resid_post"]
    every = [f"blocks.{layer}.attn.hook_z" for layer in range(4)]
    assert of("blocks.*.attn.hook_z") == of(["blocks.*.attn.o.hook_in", every[1]]) == every
    with pytest.raises(UnknownHook, match=r"no hook blocks\.0\.hook_outt"):
        of("blocks.*.hook_outt")
    assert of(["hook_logits", "hook_embed", "hook_embed"]) == ["hook_embed", "hook_logits"]
    assert of("blocks.0.attn.hook_result") == ["blocks.0.attn.hook_result"]
    assert len(of(lambda name: True)) == len(PARALLEL.hooks) - 4
    assert len(of(lambda name: True, use=True)) == len(PARALLEL.hooks)
    assert len(of(lambda name: "result" in name)) == 4
    with pytest.raises(UnknownHook, match="did you mean"):
        of(["hook_embd"])
    with pytest.raises(ValueError, match="names_filter is None, a name"):
        of(3)
