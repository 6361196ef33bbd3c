"""Every instrument gives what the program writes, to the byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pythiascope
from program import GRIM, TEXT, check_same, run_program, without_command
from pythiascope import Model, Result, ablate, knockout, patch, scale, steer

Case = tuple[str, Callable[[Model], Result], tuple[str, ...]]


@pytest.fixture(scope="module")
def model() -> Model:
    return pythiascope.Model(threads=1)


def plain(name: str, options: dict[str, Any], given: str, text: str = TEXT) -> Case:
    """A case of one plugin with options, and the same for the program."""

    def call(model: Model) -> Result:
        result: Result = getattr(model, name)(text, target=" the", **options)
        return result

    argument = name + (":" + given if given else "")
    return argument, call, ("--text", text, "--target", " the", "--plugin", argument)


PLAIN = [
    plain("logits", {}, ""),
    plain("logits", {"level": "head", "rows": "all"}, "level=head,rows=all"),
    plain("logits", {"level": ["layer", "source"], "centered": True, "top": 5},
          "level=layer+source,centered=yes,top=5"),
    plain("logits", {"rows": range(1, 4)}, "rows=1-3"),
    plain("logits", {"rows": 2}, "rows=2"),
    plain("logits", {"rows": -1}, "rows=last"),
    plain("ln", {}, ""),
    plain("ln", {"rows": slice(2, 4), "target_rows": (1, 2)}, "rows=2-3,target_rows=1-2"),
    plain("mlp", {}, ""),
    plain("mlp", {"arrays": "none", "top": 3, "span": 2}, "arrays=none,top=3,span=2"),
    plain("lens", {"rows": "all", "ln": "final"}, "rows=all,ln=final"),
    plain("lens", {"arrays": {"top", "targets"}}, "arrays=top+targets"),
    plain("sampling", {"temperature": 1.25, "k": 5, "p": 0.5}, "temperature=1.25,k=5,p=0.5"),
    plain("loss", {"late": 8, "early": 2}, "early=2,late=8"),
    plain("sweep", {}, ""),
    plain("sweep", {"over": "heads_by_pos", "metric": "kl"}, "over=heads_by_pos,metric=kl"),
    plain("sweep", {"over": "edges", "do": "cut", "layer": 2}, "over=edges,do=cut,layer=2"),
    plain("gradient", {}, ""),
    plain("gradient", {"baseline": "mean", "error": 0.05, "target_rows": "all"},
          "baseline=mean,error=0.05,target_rows=all"),
    plain("attribution", {}, ""),
    plain("attribution", {"over": "neurons", "do": "mean", "exact": 5, "sample": 9, "seed": 2},
          "over=neurons,do=mean,exact=5,sample=9,seed=2"),
    plain("frozen", {"map": "upto", "layer": 3}, "map=upto,layer=3"),
    plain("frozen", {"token": 5}, "token=5"),
    plain("graph", {}, ""),
    plain("graph", {"level": "neuron", "nodes": 40, "threshold": 0.1},
          "level=neuron,nodes=40,threshold=0.1"),
    plain("edges", {"by": "norm", "carry": True, "top": 4}, "by=norm,carry=yes,top=4"),
    plain("roles", {"roles_target": "given", "angles": [0, 2]}, "target=given,angles=0-2"),
    plain("neurons", {"neuron": ["L3N17", "L2N5"], "geometry": "all"},
          "neuron=L3N17+L2N5,geometry=all"),
    plain("attention", {"reader": "L3H5", "key": 1}, "reader=L3H5,key=1"),
    plain("spans", {}, "", GRIM),
    plain("spans", {"levels": ["1+2", "L2H5"], "units": "words", "prefixes": True},
          "levels=1+2/L2H5,units=words,prefixes=yes", GRIM),
    plain("spans", {"heads": "causal", "links": ["frozen", "causal"], "levels": 2},
          "heads=causal,links=frozen+causal,levels=2", GRIM),
    plain("spans", {"range": range(2, 9), "power": 1.0}, "range=2-8,power=1.0", GRIM),
    plain("partition", {"level": "head", "perturbations": ["frozen_ln"], "alphas": [0, 0.5]},
          "level=head,perturbations=frozen_ln,alphas=0+0.5"),
    plain("partition", {"components": "L1H2+0_mlp_out"}, "components=L1H2+0_mlp_out"),
    plain("effects", {"rows": "all"}, "rows=all"),
]  # fmt: skip


@pytest.mark.parametrize("case", PLAIN, ids=[case[0] for case in PLAIN])
def test_a_method_is_the_program(model: Model, case: Case, tmp_path: Path) -> None:
    _, call, arguments = case
    check_same(call(model), tmp_path, "analyze", *arguments)


def test_targets_and_contrasts(model: Model, tmp_path: Path) -> None:
    result = model.logits(
        TEXT, level="head", target=[" Oz", 281, "next", "top:2"], contrast=(" he", " she")
    )
    given = ["--target", " Oz", "--target", "#281", "--target", "next", "--target", "top:2"]
    given += ["--contrast", " he", " she", "--plugin", "logits:level=head"]
    check_same(result, tmp_path, "analyze", "--text", TEXT, *given)


def test_several_contrasts(model: Model, tmp_path: Path) -> None:
    result = model.lens(TEXT, contrast=[(" he", " she"), (" the", 281)])
    given = ["--contrast", " he", " she", "--contrast", " the", "#281", "--plugin", "lens"]
    check_same(result, tmp_path, "analyze", "--text", TEXT, *given)


def test_ids_and_bos(model: Model, tmp_path: Path) -> None:
    result = model.ln([843, 508, 939], prepend_bos=True)
    check_same(result, tmp_path, "analyze", "--tokens", "843,508,939", "--bos", "--plugin", "ln")


def test_other_machine_settings(tmp_path: Path) -> None:
    model = pythiascope.Model(threads=2, isa="reference", chunk=3)
    given = ["--isa", "reference", "--chunk", "3"]
    check_same(model.mlp(TEXT), tmp_path, "analyze", "--text", TEXT, "--plugin", "mlp", *given)


def test_default_settings(tmp_path: Path) -> None:
    ours = pythiascope.Model().lens(TEXT).save(tmp_path / "ours")
    run_program("analyze", "--text", TEXT, "--plugin", "lens", "--out", str(tmp_path / "theirs"))
    for path in ours.iterdir():
        assert path.read_bytes() == without_command(tmp_path / "theirs" / path.name)


# --- several plugins -----------------------------------------------------------------------------


def test_analyze_of_default_plugins(model: Model, tmp_path: Path) -> None:
    result = model.analyze(TEXT)
    check_same(result, tmp_path, "analyze", "--text", TEXT)
    assert list(result.sections) == ["logits", "ln", "mlp"]


def test_analyze_of_several_plugins(model: Model, tmp_path: Path) -> None:
    result = model.analyze(
        GRIM,
        ["logits:level=head", ("lens", {"rows": "all"}), model.plugin("graph", nodes=30), "lens"],
        capture=["blocks.*.attn.hook_pattern", "hook_embed"],
    )
    given = ["--plugin", "logits:level=head", "--plugin", "lens:rows=all"]
    given += ["--plugin", "graph:nodes=30", "--plugin", "lens"]
    given += ["--capture", "blocks.*.attn.hook_pattern,hook_embed"]
    check_same(result, tmp_path, "analyze", "--text", GRIM, *given)
    assert list(result.sections) == ["logits", "lens", "graph", "lens#2"]
    assert result["lens#2.logit"].name == "lens#2.logit"
    pattern = result["blocks.2.attn.hook_pattern"]
    assert pattern.dims == ("heads", "rows", "keys")
    assert pattern.shape == (8, len(result.tokens), len(result.tokens))


# --- interventions -------------------------------------------------------------------------------

SUN, MOON = "the sun rose", "the moon rose"
EDITED: list[Case] = [
    (
        "ablate",
        lambda m: m.effects(TEXT, interventions=ablate("L2H3")),
        ("--text", TEXT, "--ablate", "L2H3"),
    ),
    (
        "ablate-mean-rows",
        lambda m: m.logits(
            TEXT, level="head",
            interventions=ablate(["L2H3", "1_mlp_out"], by="mean", rows=range(1, 4)),
        ),
        ("--text", TEXT, "--ablate", "L2H3+1_mlp_out:by=mean,rows=1-3",
         "--plugin", "logits:level=head"),
    ),
    (
        "sum",
        lambda m: m.analyze(
            TEXT, target="next",
            interventions=scale("L*H2", 2.0) + knockout("L1H*", 1, rows=(2, 5)) + ablate("L0N12"),
        ),
        ("--text", TEXT, "--target", "next", "--scale", "L*H2:alpha=2.0",
         "--knockout", "L1H*:keys=1,rows=2-5", "--ablate", "L0N12"),
    ),
    (
        "patch",
        lambda m: m.effects(
            SUN, rows="all", interventions=patch("blocks.2.hook_resid_pre", MOON, rows=1)
        ),
        ("--text", SUN, "--source", MOON, "--patch", "blocks.2.hook_resid_pre:rows=1",
         "--plugin", "effects:rows=all"),
    ),
    (
        "steer-two-prompts",
        lambda m: m.effects(
            TEXT, interventions=[steer("1_mlp_out", plus=" good", minus=" bad", alpha=3.0)]
        ),
        ("--text", TEXT, "--source", " good", "--source", " bad",
         "--steer", "1_mlp_out:alpha=3.0,plus=1,minus=2"),
    ),
    (
        "resample-by-number",
        lambda m: m.lens(
            TEXT, source=[SUN, [843, 508]], interventions=ablate("L1H1", "resample", source=2)
        ),
        ("--text", TEXT, "--source", SUN, "--source-tokens", "843,508",
         "--ablate", "L1H1:by=resample,source=2", "--plugin", "lens"),
    ),
    (
        "bos",
        lambda m: m.effects(SUN, prepend_bos=True, interventions=patch("L1H1", MOON)),
        ("--text", SUN, "--bos", "--source", MOON, "--patch", "L1H1"),
    ),
    (
        "spans",
        lambda m: m.spans(SUN, interventions=patch("L1H1", MOON)),
        ("--text", SUN, "--source", MOON, "--patch", "L1H1", "--plugin", "spans"),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", EDITED, ids=[case[0] for case in EDITED])
def test_interventions(model: Model, case: Case, tmp_path: Path) -> None:
    _, call, arguments = case
    result = call(model)
    check_same(result, tmp_path, "analyze", *arguments)
    assert "effects" in result.sections


# --- verbs ---------------------------------------------------------------------------------------


def test_sweep_of_a_source_prompt(model: Model, tmp_path: Path) -> None:
    result = model.sweep(SUN, over="resid_pre", do="patch", source=MOON, target="next", top=3)
    given = ["--source", MOON, "--over", "resid_pre", "--do", "patch", "--target", "next"]
    check_same(result, tmp_path, "sweep", "--text", SUN, *given, "--top", "3")


def test_spans_with_labels(model: Model, tmp_path: Path) -> None:
    rows = [
        "Anna\tAnna\tPROPN\t_\t_\t2\tnsubj",
        "saw\tsee\tVERB\t_\tTense=Past\t0\troot",
        "the\tthe\tDET\t_\tDefinite=Def\t5\tdet",
        "old\told\tADJ\t_\t_\t5\tamod",
        "king\tking\tNOUN\t_\tNumber=Sing\t2\tobj",
    ]
    text = "Anna saw the old king"
    lines = [f"{i}\t{row}\t_\t_" for i, row in enumerate(rows, 1)]
    file = tmp_path / "labels.conllu"
    file.write_text("\n".join([f"# text = {text}", *lines]) + "\n\n")
    xml = tmp_path / "own.xml"
    result = model.spans(text, levels=2, labels=file, xml=xml)
    first = xml.read_bytes()
    given = f"spans:levels=2,labels={file},xml={xml}"
    check_same(result, tmp_path, "analyze", "--text", text, "--plugin", given)
    assert first == xml.read_bytes() == result.files["spans.xml"]
