"""The rules of report/viewer/: no markup from texts, names, lengths, and the size of the bundle."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from page_files import ROOT, TEXT, Maker

VIEWER = ROOT / "report" / "viewer"
SCRIPTS = sorted(path for path in VIEWER.rglob("*.js") if "node_modules" not in path.parts)
STYLES = sorted(path for path in VIEWER.rglob("*.css") if "node_modules" not in path.parts)
FORBIDDEN = {
    "markup from a text": r"\b(innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment)\b"
    r"|document\.write|DOMParser|srcdoc|\.html\(",
    "code from a text": r"\beval\(|new Function\b|setTimeout\(\s*[\"'`]|javascript:",
    "an inline style or listener": r"setAttribute\(\s*[\"'](style|on\w+)[\"']"
    r"|\.attr\(\s*[\"'](style|on\w+)[\"']",
    "a request": r"\bfetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|import(Scripts)?\(",
    "all of D3": r"from \"d3\"|require\(",
}
D3 = {"array", "axis", "color", "drag", "format", "interpolate", "path", "scale"}
D3 |= {"scale-chromatic", "selection", "shape", "zoom", "hierarchy"}
MOST_BYTES = 420_000  # a third of it in a page, by gzip
MOST_LINES = 400
MOST_COLUMNS = 100
MOST_FUNCTION = 60


def relative(path: Path) -> str:
    """The path below the folder of the viewer."""
    return str(path.relative_to(VIEWER))


def code_of(path: Path) -> str:
    """A script without its comments."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"/\*.*?\*/|(?m:(?<![:\"'`])//.*$)", "", text, flags=re.DOTALL)


def test_the_scripts_are_found() -> None:
    assert {"main.js", "data.js", "parts/frame.js", "figures/index.js"} <= set(
        map(relative, SCRIPTS)
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=relative)
def test_scripts_make_no_markup_from_texts(script: Path) -> None:
    found = {what for what, how in FORBIDDEN.items() if re.search(how, code_of(script))}
    assert found == set()


def test_forbidden_code_would_be_found() -> None:
    for line, what in (
        ('node.innerHTML = "x"', "markup from a text"),
        ('select(n).html("x")', "markup from a text"),
        ('node.setAttribute("style", x)', "an inline style or listener"),
        ('g.attr("onclick", x)', "an inline style or listener"),
        ("eval(x)", "code from a text"),
        ("fetch(x)", "a request"),
        ('import * as d3 from "d3"', "all of D3"),
    ):
        assert re.search(FORBIDDEN[what], line), line


@pytest.mark.parametrize("script", SCRIPTS, ids=relative)
def test_scripts_import_d3_by_its_parts_and_nothing_else(script: Path) -> None:
    for name in re.findall(r"\bfrom\s+\"([^\"]+)\"", code_of(script)):
        local = name.startswith(("./", "../")) and (script.parent / name).is_file()
        assert local or name.removeprefix("d3-") in D3, name


@pytest.mark.parametrize("file", SCRIPTS + STYLES, ids=relative)
def test_lines_and_files_are_short(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES
    assert [line for line in lines if len(line) > MOST_COLUMNS] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=relative)
def test_functions_are_short(script: Path) -> None:
    start = None
    for number, line in enumerate(script.read_text(encoding="utf-8").splitlines(), 1):
        if re.match(r"(export )?(async )?function ", line):
            start = number
        if line == "}" and start is not None:
            assert number - start + 1 <= MOST_FUNCTION, f"line {start}"
            start = None


@pytest.mark.parametrize("script", SCRIPTS, ids=relative)
def test_a_script_begins_with_what_it_is(script: Path) -> None:
    assert script.read_text(encoding="utf-8").startswith("// ")


def test_file_names_are_unique() -> None:
    names = [path.name for path in SCRIPTS + STYLES]
    assert sorted(names) == sorted(set(names))


def test_every_figure_is_listed_and_every_style_imported() -> None:
    index = (VIEWER / "figures" / "index.js").read_text(encoding="utf-8")
    figures = [path for path in VIEWER.glob("figures/*.js") if "\n  match" in path.read_text()]
    assert len(figures) > 5
    assert [path.name for path in figures if f'"./{path.name}"' not in index] == []
    page = (VIEWER / "style" / "page.css").read_text(encoding="utf-8")
    styles = [path.name for path in STYLES if path.name != "page.css"]
    assert [name for name in styles if name not in page] == []


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=relative)
def test_node_accepts_the_syntax(script: Path) -> None:
    command = ["node", "--input-type=module", "--check"]
    text = script.read_text(encoding="utf-8")
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def parts_of(html: str) -> tuple[str, str, str]:
    """The policy, the style and the script of a page, whose script is packed by gzip."""
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    (packed,) = re.findall(r'<script type="text/plain" id="viewer">(.*?)</script>', html, re.DOTALL)
    return policy, style, gzip.decompress(base64.b64decode(packed)).decode()


def test_the_bundle_is_small(made: Maker) -> None:
    _, style, script = parts_of(made("analyze", "--text", TEXT).html.read_text(encoding="utf-8"))
    assert 30_000 < len(script.encode()) + len(style.encode()) <= MOST_BYTES


def test_the_policy_admits_this_script_and_style_only(made: Maker) -> None:
    html = made("analyze", "--text", TEXT).html.read_text(encoding="utf-8")
    policy, style, script = parts_of(html)
    (loader,) = re.findall(r'<script id="loader">(.*?)</script>', html, re.DOTALL)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    def named(text: str) -> str:
        digest = hashlib.sha256(text.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"

    assert rules["default-src"] == "'none'" and rules["img-src"] == "data: blob:"
    assert set(rules["script-src"].split()) == {named(loader), named(script)}
    assert rules["style-src"] == named(style)
    known = {"default-src", "img-src", "script-src", "style-src", "base-uri", "form-action"}
    assert set(rules) <= known
