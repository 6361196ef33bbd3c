"""Trees as text: the program's notation and XML of one level, brackets, NLTK and CoNLL-U."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from .trees import Bracket, Tree, Unit

_ESCAPES = {"(": "-LRB-", ")": "-RRB-"}


def level_notation(text: str, level: str, sequence: int) -> str:
    """The lines of one level and sequence in spans.txt: positions, tokens, the level's line."""
    blocks = [block.splitlines() for block in text.rstrip("\n").split("\n\n")]
    at, last, wanted = -1, 0, []
    for lines in blocks:
        first = int(lines[0].split()[1])
        at, last = at + (at < 0 or first <= last), first
        if at == sequence:
            mine = [line for line in lines[2:] if line.startswith(f"level {level} ")]
            wanted.append("\n".join([*lines[:2], *mine]))
    return "\n\n".join(wanted)


def level_xml(document: str, level: int, sequence: int) -> str:
    """The document of one level: its lines are those of the whole document."""
    head, _, rest = document.partition("\n")
    texts = re.split(r"(?m)^(?=<discourse units)", rest)[1:]
    opening, _, body = texts[sequence].partition("\n")
    levels = re.split(r"(?m)^(?= <level )", body)[1:]
    end = " </level>\n"
    return f"{head}\n{opening}\n{levels[level].partition(end)[0]}{end}</discourse>\n"


# --- brackets ------------------------------------------------------------------------------------


def _leaf(unit: Unit) -> str:
    """A unit's text as a leaf: without spaces and round brackets."""
    text = "".join(_ESCAPES.get(ch, "_" if ch.isspace() else ch) for ch in unit.text.strip())
    return text or "_"


def _label(bracket: Bracket) -> str:
    return bracket.label or "X"


def bracketed(tree: Tree) -> str:
    """The tree in round brackets, one space between units: "(X (X The old) man)"."""
    opening: dict[int, list[str]] = {}
    closing: dict[int, int] = {}
    for bracket in tree.brackets:
        opening.setdefault(bracket.first, []).append(f"({_label(bracket)}")
        closing[bracket.last] = closing.get(bracket.last, 0) + 1
    if not tree.brackets:
        return f"(X {_leaf(tree.leaves[0])})"
    words = (
        " ".join([*opening.get(u.number, []), _leaf(u)]) + ")" * closing.get(u.number, 0)
        for u in tree.leaves
    )
    return " ".join(words)


def nltk_tree(tree: Tree) -> Any:
    """An nltk.Tree; built from below, so that deep trees need no recursion."""
    try:
        nltk = import_module("nltk")
    except ImportError as error:
        raise ImportError("to_nltk needs the package nltk; install it, or use bracketed") from error
    if not tree.brackets:
        return nltk.Tree("X", [_leaf(tree.leaves[0])])
    made: dict[int, Any] = {}
    for bracket in reversed(tree.brackets):
        parts = [
            _leaf(part) if isinstance(part, tuple) else made[part.index]
            for part in (bracket.left, bracket.right)
        ]
        made[bracket.index] = nltk.Tree(_label(bracket), parts)
    return made[tree.brackets[0].index]


# --- CoNLL-U -------------------------------------------------------------------------------------


def conllu(tree: Tree, sent_id: str) -> str:
    """One sentence; units of blanks alone are no words, so what they govern goes to their head."""
    if len(f"{sent_id}|".splitlines()) > 1:
        raise InputError(f"sent_id={sent_id!r} has a line break; pass one line")
    words = [unit for unit in tree.leaves if unit.text.strip()]
    if not words:
        raise InputError("the tree has no words: its units are blanks")
    for unit in words:
        try:
            unit.bytes.decode()
        except UnicodeDecodeError:
            raise InputError(
                f"the unit at position {unit.first} is part of a character; use units='words'"
            ) from None
    number = {unit.number: i for i, unit in enumerate(words, 1)}
    governors = _among(tree.governors(), number)
    forms = ["_".join(unit.text.split()) for unit in words]
    after = [unit.text[-1:].isspace() for unit in words]
    before = [tree.leaves[u.number - 1].text.isspace() or u.text[:1].isspace() for u in words]
    gaps = [a or b for a, b in zip(after, [*before[1:], False])]
    text = "".join(form + " " * gap for form, gap in zip(forms, gaps)).rstrip(" ")
    lines = [f"# sent_id = {sent_id}"] if sent_id else []
    lines.append(f"# text = {text}")
    for unit, form, gap in zip(words, forms, gaps):
        governor = governors[unit.number]
        relation = "root" if governor < 0 else "dep"
        head = 0 if governor < 0 else number[governor]
        misc = "_" if gap or unit is words[-1] else "SpaceAfter=No"
        columns = (number[unit.number], form, "_", "_", "_", "_", head, relation, "_", misc)
        lines.append("\t".join(map(str, columns)))
    return "\n".join(lines) + "\n\n"


def _among(governors: list[int], words: dict[int, int]) -> dict[int, int]:
    """The governors of the words among themselves: a unit that is no word passes its own on."""
    found = {}
    for index in words:
        above = governors[index]
        while above >= 0 and above not in words:
            above = governors[above]
        found[index] = above
    roots = [index for index, above in found.items() if above < 0]
    for index in roots[1:]:  # the root was no word: the first of what it governed takes its place
        found[index] = roots[0]
    return found
