"""The files of the plugin graph, as others' viewers read them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from pythiascope import Model, Result
from pythiascope.runtime.opened import embedded_folder

TEXT = "Dorothy lived in the midst of the great Kansas prairies. Dorothy lived in the"
GRAPHML = "{http://graphml.graphdrawing.org/xmlns}"
# What a format gives a meaning to, controls, and characters of which a token holds only a part.
HOSTILE = (
    '\\N \\G \\l \\" " \' `x` ]]> <!-- </data> &amp; &#60; & \x00 \x01 \x1b[31m \x7f \u0085 \u202e '
    "\ufffe \U0001f600 \u20ac (p=0.5) {|} // /* <script> <B> \r\n\t end"
)


def graph_of(result: Result) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(result.files["graph.json"])
    return loaded


@pytest.fixture(scope="module")
def result(model: Model) -> Result:
    return model.graph(TEXT)


@pytest.fixture(scope="module")
def graph(result: Result) -> dict[str, Any]:
    return graph_of(result)


# --- graph.json ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"target": " midst"}, " midst"),
        ({"target": 262}, None),
        ({"target": '"'}, "\u201d"),
        ({"target": "next"}, " the"),
        ({}, None),
        ({"contrast": (" he", " she")}, "logit( he) - logit( she)"),
    ],
)
def test_logit_label(model: Model, how: dict[str, Any], text: str | None) -> None:
    """Viewers split the caption at '(p=', and take the text between its quotes as the token."""
    logit = graph_of(model.graph(TEXT, **how))["nodes"][0]
    assert logit["feature_type"] == "logit"
    found = re.fullmatch(r'Output "([^"]*)" \(p=(\d\.\d{3})\)', logit["clerp"])
    assert found, logit["clerp"]
    assert float(found[2]) == pytest.approx(logit["token_prob"], abs=5.1e-4)
    if text is not None:
        assert found[1] == text
    if "contrast" in how:
        assert 0.0 < logit["contrast_token_prob"] < 1.0
    else:
        assert "contrast_token_prob" not in logit


def test_influence_counts_down_from_the_strongest(graph: dict[str, Any]) -> None:
    """A viewer shows a node up to the threshold, so the strongest must be the smallest."""
    logit, *nodes = graph["nodes"]
    threshold = graph["metadata"]["node_threshold"]
    influence = [node["influence"] for node in nodes]
    flows = np.abs([node["activation"] for node in nodes])
    assert logit["influence"] == 0.0
    assert influence == sorted(influence)
    assert influence[-1] == 1.0
    assert np.allclose(influence, np.cumsum(flows) / flows.sum(), atol=1e-7)
    assert influence[int(np.argmax(flows))] == min(influence) <= threshold <= 1.0


@pytest.mark.parametrize("level", ["head", "neuron"])
def test_features(model: Model, level: str) -> None:
    """A component has one number, in its id and in `feature`, that no other component has."""
    graph = graph_of(model.graph(TEXT, level=level, nodes=400, threshold=0.001))
    components: dict[int, str] = {}
    for node in graph["nodes"]:
        layer, feature, row = node["node_id"].split("_")
        assert (layer, int(feature), int(row)) == (node["layer"], node["feature"], node["ctx_idx"])
        if node["feature_type"] in ("logit", "embedding"):
            assert node["feature"] < 10_000
            continue
        name = node["clerp"].split("@")[0]
        assert components.setdefault(node["feature"], name) == name
    assert len(set(components.values())) == len(components) > 20
    assert len({node["node_id"] for node in graph["nodes"]}) == len(graph["nodes"])


def test_metadata(model: Model, graph: dict[str, Any]) -> None:
    metadata = graph["metadata"]
    assert metadata["scan"] == Path(embedded_folder()).name == "books-5m"
    assert metadata["model_hash"] == model.hash
    assert "schema_version" not in metadata  # it would claim features paired by Cantor
    assert re.fullmatch(r"[\w.-]{2,}", metadata["slug"])
    assert "".join(metadata["prompt_tokens"]) == metadata["prompt"] == TEXT


def test_name_in_the_hugging_face_cache(tmp_path: Path) -> None:
    folder = tmp_path / "models--some--org--a model" / "snapshots" / "0123abcd"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(embedded_folder())
    with Model(str(folder)) as model:
        assert graph_of(model.graph(TEXT))["metadata"]["scan"] == "a-model"


# --- why a head looks there ----------------------------------------------------------------------


def components_of(graph: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """The component and the row of every id, in the graph or beside it."""
    described = {node["node_id"]: node for node in graph["nodes"]}
    for name, node in graph["qk_only_nodes"].items():
        assert name == node["node_id"] not in described
        described[name] = node
    return {
        name: (node["clerp"].split("@")[0], node["ctx_idx"]) for name, node in described.items()
    }


def test_traces_are_the_split_of_scores(model: Model, graph: dict[str, Any]) -> None:
    """The largest shares are those of `attention:reader=`, and pairs are of the largest ones."""
    components, checked = components_of(graph), 0
    for node in graph["nodes"]:
        if node["feature_type"] != "attention head":
            assert "qk_tracing_results" not in node
            continue
        trace = node["qk_tracing_results"]
        reader, row = components[node["node_id"]]
        key = components[trace["top_k_marginal_contributors"][0][0]][1]
        split = model.attention(TEXT, reader=reader, row=row, key=key)
        for side, entries in (
            ("query", trace["top_q_marginal_contributors"]),
            ("key", trace["top_k_marginal_contributors"]),
        ):
            scores = split[f"{side}_scores"]
            labels = list(scores.coords[f"{side}_components"])[:-2]  # without beta and the bias
            shares = scores.values.sum(axis=1)[: len(labels), key]
            largest = np.sort(np.abs(shares))[::-1][: len(entries)]
            assert len(entries) == min(8, len(labels))
            assert np.allclose(largest, [abs(share) for _, share in entries], atol=2e-5)
            for name, share in entries:
                component, at = components[name]
                assert at == (row if side == "query" else key)
                assert abs(shares[labels.index(component)] - share) < 2e-5
        for q, k, share in trace["pair_wise_contributors"]:
            pair = split["pair_scores"].sel(
                query_components=components[q][0], key_components=components[k][0]
            )
            assert abs(pair.values.sum() - share) < 2e-5
        checked += 1
    assert checked >= 12


def test_trace_is_of_the_row_that_gives_most(model: Model) -> None:
    """With every node kept, links into a head show from which row its inflow is largest."""
    graph = graph_of(model.graph(TEXT, nodes=2000, threshold=0))
    components = components_of(graph)
    inflow: dict[str, dict[int, float]] = {}
    for link in graph["links"]:
        rows = inflow.setdefault(link["target"], {})
        row = components[link["source"]][1]
        rows[row] = rows.get(row, 0.0) + link["weight"]
    checked = 0
    for node in graph["nodes"]:
        if "qk_tracing_results" not in node:
            continue
        size = sorted(((abs(x), row) for row, x in inflow[node["node_id"]].items()), reverse=True)
        read = components[node["qk_tracing_results"]["top_k_marginal_contributors"][0][0]][1]
        clear = len(size) == 1 or size[0][0] > 1.001 * size[1][0] + 1e-6
        assert not clear or read == size[0][1], node["clerp"]
        checked += clear
    assert checked > 100


# --- circuit-tracer's own page -------------------------------------------------------------------


@pytest.fixture(scope="session")
def page_code() -> Path:
    """The page of circuit-tracer, by version and hash from PyPI; nothing else of it is used."""
    folder = ROOT / "build/python/viewers"
    assets = folder / "circuit_tracer/frontend/assets"
    requirements = ROOT / "tests/python/requirements_viewers.txt"
    stamp = folder / "stamp"
    if stamp.exists() and stamp.read_text() == requirements.read_text():
        return assets
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes"]
    done = subprocess.run(
        [*command, "-r", str(requirements), "-d", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"pip could not download circuit-tracer; connect to the network: {done.stderr}")
    (wheel,) = folder.glob("circuit_tracer-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if n.startswith("circuit_tracer/frontend/assets/")]
        archive.extractall(folder, names)
    stamp.write_text(requirements.read_text())
    return assets


@pytest.fixture
def load_in_page(page_code: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Loads a graph by the page's code in node, perhaps with its slider elsewhere."""
    node = shutil.which("node")
    if not node:
        pytest.fail("node is not installed; run tools/install_dependencies.sh --test")

    def load(result: Result, *pruning: str, name: str = "graph.json") -> dict[str, Any]:
        path = tmp_path / "graph.json"
        path.write_bytes(result.files[name])
        script = Path(__file__).parent / "circuit_tracer_page.js"
        done = subprocess.run(
            [str(node), str(script), str(page_code), str(path), *pruning],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        loaded: dict[str, Any] = json.loads(done.stdout)
        return loaded

    return load


def test_page_shows_every_node(
    load_in_page: Callable[..., dict[str, Any]], result: Result, graph: dict[str, Any]
) -> None:
    page = load_in_page(result)
    nodes = {node["id"]: node for node in page["nodes"]}
    assert set(nodes) == {node["node_id"] for node in graph["nodes"]}
    assert page["features"] == len(nodes)  # head 3 and neuron 3 of a layer are two
    assert all(node["first"] for node in page["nodes"])
    assert page["said"] == []  # it deleted none as too common
    wanted = {(link["source"], link["target"]): link["weight"] for link in graph["links"]}
    assert {(source, target): weight for source, target, weight in page["links"]} == wanted
    for node in page["nodes"]:
        assert node["inputs"] == sum(target == node["id"] for _, target in wanted)
        assert node["outputs"] == sum(source == node["id"] for source, _ in wanted)
        assert node["stream"] == (0 if node["layer"] == "E" else int(node["layer"]) + 1)
    logit = graph["nodes"][0]
    shown = nodes[logit["node_id"]]
    assert shown["type"] == "logit"
    assert shown["layer"] == "4"
    assert shown["percent"] == pytest.approx(logit["token_prob"], abs=5.1e-4)
    assert shown["token"] == logit["clerp"].split('"')[1]


def test_page_keeps_the_strongest(
    load_in_page: Callable[..., dict[str, Any]], result: Result, graph: dict[str, Any]
) -> None:
    """At its default, and the further down its slider is, the more of the weak ones are hidden."""
    others = [n for n in graph["nodes"] if n["feature_type"] not in ("logit", "embedding")]
    others.sort(key=lambda node: -abs(node["activation"]))
    counts = []
    for pruning in ([], ["0.8"], ["0.4"]):
        kept = {node["id"] for node in load_in_page(result, *pruning)["nodes"]}
        strongest = [node["node_id"] in kept for node in others]
        assert strongest[0]
        counts.append(sum(strongest))
        assert strongest == [True] * counts[-1] + [False] * (len(others) - counts[-1])
    assert len(others) == counts[0] > counts[1] > counts[2]


@pytest.mark.parametrize(
    "how",
    [{"contrast": (" he", " she")}, {"target": 262}, {"target": '"'}, {"level": "neuron"}],
)
def test_page_opens_other_targets(
    load_in_page: Callable[..., dict[str, Any]], model: Model, how: dict[str, Any]
) -> None:
    result = model.graph(TEXT, **how)
    page = load_in_page(result)
    assert len(page["nodes"]) == len(graph_of(result)["nodes"])
    (percent,) = [n["percent"] for n in page["nodes"] if n["type"] == "logit"]
    assert 0.0 <= percent <= 1.0


def test_page_opens_hostile_tokens(
    load_in_page: Callable[..., dict[str, Any]], model: Model
) -> None:
    result = model.graph(HOSTILE, target='"')
    assert len(load_in_page(result)["nodes"]) == len(graph_of(result)["nodes"])


# --- GraphML and DOT -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "logit", "percent"),
    [
        ({"target": " the"}, " the", None),
        ({"contrast": (" the", " midst")}, "logit( the) - logit( midst)", None),
        ({"target": '"'}, "\u201d", None),
        ({"metric": "kl"}, "all tokens", 1.0),
    ],
)
def test_page_opens_circuits(
    model: Model,
    load_in_page: Callable[..., dict[str, Any]],
    how: dict[str, Any],
    logit: str,
    percent: float | None,
) -> None:
    """The page shows every component and link, and the target with its probability."""
    source = TEXT.replace("Dorothy", "Kansas", 1)
    result = model.circuit(TEXT, source=source, edges=40, minimal=0, check=0, **how)
    graph = json.loads(result.files["circuit.graph.json"])
    page = load_in_page(result, name="circuit.graph.json")
    assert {node["id"] for node in page["nodes"]} == {node["node_id"] for node in graph["nodes"]}
    assert page["features"] == len(page["nodes"]) > 3
    assert page["said"] == []
    wanted = {(link["source"], link["target"]): link["weight"] for link in graph["links"]}
    assert {(source, target): weight for source, target, weight in page["links"]} == wanted
    (target,) = (node for node in page["nodes"] if node["type"] == "logit")
    assert target["token"] == logit
    if percent is None:
        (node,) = (node for node in graph["nodes"] if node["feature_type"] == "logit")
        percent = node["token_prob"]
        assert 0.0 < percent < 1.0
    assert target["percent"] == pytest.approx(percent, abs=5.1e-4)
    for node in graph["nodes"]:
        ends = node["node_id"].split("_")
        assert ends == [node["layer"], str(node["feature"]), str(node["ctx_idx"])]


@pytest.fixture(scope="module")
def hostile(model: Model) -> Result:
    return model.graph(HOSTILE, threshold=0, nodes=400, target='"')


def test_graphml_of_hostile_tokens(hostile: Result, tmp_path: Path) -> None:
    data, graph = hostile.files["graph.graphml"], graph_of(hostile)
    root = ElementTree.fromstring(data)
    nodes = root.findall(f".//{GRAPHML}node")
    assert len(nodes) == len(graph["nodes"]) == len({node.get("id") for node in nodes})
    tokens = graph["metadata"]["prompt_tokens"]
    for node, wanted in zip(nodes, graph["nodes"], strict=True):
        found = {item.get("key"): item.text for item in node}
        assert found["token"] == tokens[wanted["ctx_idx"]]
        assert float(found["flow"] or "nan") == pytest.approx(wanted["activation"], abs=1e-8)
    assert {"<", "&", "\\\\", '"', "\\r", "\\x00", "\\xef", "]"} <= set(tokens), tokens
    edges = root.findall(f".//{GRAPHML}edge")
    names = {node.get("id") for node in nodes}
    assert len(edges) == len(graph["links"])
    assert {edge.get("source") for edge in edges} | {edge.get("target") for edge in edges} <= names
    if xmllint := shutil.which("xmllint"):
        path = tmp_path / "graph.graphml"
        path.write_bytes(data)
        subprocess.run([xmllint, "--noout", str(path)], check=True)


def read_label(quoted: str) -> str:
    """What Graphviz shows for a label: entities, then \\\\, \\n and \\" and no other escapes."""
    shown = {"\\\\": "\\", "\\n": "\n", '\\"': '"'}
    text = re.sub(r"\\.", lambda found: shown[found[0]], quoted)
    return text.replace("&amp;", "&")


def test_dot_of_hostile_tokens(hostile: Result) -> None:
    text, graph = hostile.files["graph.dot"].decode(), graph_of(hostile)
    tokens = graph["metadata"]["prompt_tokens"]
    string = r'"((?:[^"\\\n]|\\.)*)"'
    first, *lines = text.splitlines()
    assert first == "digraph graph_of_a_logit {"
    assert lines[:2] == ["rankdir=BT;", 'node [shape=box, fontname="Helvetica"];']
    assert lines[-1] == "}"
    names, arrows = [], 0
    for line in lines[2:-1]:
        node = re.fullmatch(string + r" \[label=" + string + r"(?:, color=red)?\];", line)
        arrow = re.fullmatch(
            string
            + " -> "
            + string
            + r" \[penwidth=[\d.]+, label="
            + string
            + r"(, color=red)?\];",
            line,
        )
        assert node or arrow, line
        assert "&" not in line.replace("&amp;", "")
        if node:
            name, token, flow = read_label(node[2]).rsplit("\n", 2)
            assert name == node[1]
            wanted = graph["nodes"][len(names)]
            shown = "'\"'" if wanted["feature_type"] == "logit" else tokens[wanted["ctx_idx"]]
            assert token == shown
            assert float(flow) == pytest.approx(wanted["activation"], abs=5.1e-4)
            names.append(name)
        if arrow:
            assert {arrow[1], arrow[2]} <= set(names)
            arrows += 1
    assert len(names) == len(graph["nodes"])
    assert arrows > 20
