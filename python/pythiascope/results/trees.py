"""The trees of `spans` as objects: brackets, units, heads and links.

    tree = model.spans("The old man gave the girl an apple.", heads="causal").tree(2)
    for bracket in tree.brackets:
        print(bracket.text, bracket.strength, bracket.head)

docs/plugins/spans.md defines them. Positions are those of rows; <|endoftext|> is 0 and in no tree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from ..errors import InputError
from .results import Result, Token
from .tree_texts import bracketed, conllu, level_notation, level_xml, nltk_tree

if TYPE_CHECKING:
    from .arrays import Array

#: A level as `levels=` names it: 2, "1+2", "L2H5".
Level = Union[int, str]


class Unit(NamedTuple):
    """A leaf: one token, or with units="words" the tokens of a word."""

    number: int
    """Its place among the sequence's units, from 0."""
    first: int
    last: int
    """Its first and last position."""
    start: int
    end: int
    """Its bytes in the text, of a batch in the texts joined; 0, 0 without a text."""
    text: str
    """Its text, leading space included."""
    bytes: bytes

    def __str__(self) -> str:
        return self.text


class Link(NamedTuple):
    """What the prediction after a unit owes to reading an earlier one, in nats.

    ``kl`` is by knock-outs and ``frozen_kl`` of the frozen network; NaN where it was not computed.
    ``dlogp_next`` is of the token that follows ``target``; NaN after the last.
    """

    source: Unit
    target: Unit
    kl: float
    frozen_kl: float
    dlogp_next: float


class Bracket:
    """A span of two or more units in one level's tree.

    ``first`` and ``last`` are its units' indices, ``strength`` is c of its cut, and ``head`` the
    unit that later rows can least do without (None without `heads=` or without rows after it).
    ``left`` and ``right`` are its parts: brackets or units.
    """

    __slots__ = ("_tree", "first", "index", "last", "left", "parent", "right", "strength")

    def __init__(self, tree: Tree, index: int, first: int, last: int, strength: float) -> None:
        self._tree = tree
        self.index, self.first, self.last, self.strength = index, first, last, strength
        self.parent: Bracket | None = None
        self.left: Bracket | Unit = tree.leaves[first]
        self.right: Bracket | Unit = tree.leaves[last]

    @property
    def leaves(self) -> list[Unit]:
        """Its units."""
        return self._tree.leaves[self.first : self.last + 1]

    @property
    def tokens(self) -> tuple[int, int]:
        """Its first and last position."""
        units = self._tree.leaves
        return units[self.first].first, units[self.last].last

    @property
    def bytes(self) -> tuple[int, int]:
        """Its bytes [start, end) in the text, of a batch in the texts joined; 0, 0 without one."""
        units = self._tree.leaves
        return units[self.first].start, units[self.last].end

    @property
    def text(self) -> str:
        """Its text, leading space included."""
        return b"".join(unit.bytes for unit in self.leaves).decode("utf-8", "replace")

    @property
    def split(self) -> int:
        """The index of the left part's last unit."""
        return self.left.last if isinstance(self.left, Bracket) else self.left.number

    @property
    def depth(self) -> int:
        """Brackets around it."""
        around, n = self.parent, 0
        while around is not None:
            around, n = around.parent, n + 1
        return n

    @property
    def head(self) -> Unit | None:
        """The unit that heads it; None where there is none."""
        return self._tree._unit_at(self.figure("head"))

    @property
    def necessity(self) -> float:
        """Of its head, in nats (heads="causal"); NaN where it was not computed."""
        return self.figure("necessity")

    @property
    def sufficiency(self) -> float:
        """Of its head, in nats (heads="causal"); NaN where it was not computed."""
        return self.figure("sufficiency")

    @property
    def label(self) -> str | None:
        """The UPOS of the word whose yield it is (labels=); None without one."""
        return self._labels.get("label")

    @property
    def function(self) -> str | None:
        """The DEPREL of that word."""
        return self._labels.get("linguistic-function")

    @property
    def operators(self) -> str | None:
        """The grammatical features of that word: "Mood=Ind|Tense=Past"."""
        return self._labels.get("linguistic-operator")

    @property
    def _labels(self) -> Mapping[str, str]:
        return self._tree.labels.get(self.tokens, {})

    def figure(self, name: str) -> float:
        """This bracket's entry of an array [levels, spans]; NaN where the result has none."""
        return self._tree._figure(name, self.index)

    def __repr__(self) -> str:
        first, last = self.tokens
        return f"<Bracket [{first},{last}] {self.text!r}>"


class Tree:
    """The tree of one level over one sequence.

    ``brackets`` are in pre-order, the whole first: a tree over n units has n - 1. ``leaves`` are
    the units, ``links`` the sequence's links, which are the same in every level.
    """

    def __init__(self, result: SpansResult, level: int, sequence: int, leaves: list[Unit]) -> None:
        self._result, self._level = result, level
        self.level = str(result.levels[level])
        self.sequence = sequence
        self.leaves = leaves
        self._spans = result._places("span_sequence", sequence)
        self.brackets = self._read_brackets()

    def _read_brackets(self) -> list[Bracket]:
        places = self._result["brackets"].values[self._level]
        strength = self._result["strength"].values[self._level]
        index_of = {p: u.number for u in self.leaves for p in (u.first, u.last)}
        brackets: list[Bracket] = []
        around: list[Bracket] = []
        for i in self._spans:
            first, last = index_of[int(places[i][0])], index_of[int(places[i][1])]
            bracket = Bracket(self, i, first, last, float(strength[i]))
            while around and around[-1].last < first:
                around.pop()
            if around:
                parent = bracket.parent = around[-1]
                if first == parent.first:
                    parent.left = bracket
                else:
                    parent.right = bracket
            brackets.append(bracket)
            around.append(bracket)
        return brackets

    @property
    def root(self) -> Bracket | None:
        """The bracket of the whole; None for a single unit."""
        return self.brackets[0] if self.brackets else None

    @property
    def text(self) -> str:
        """The text of all units."""
        return b"".join(unit.bytes for unit in self.leaves).decode("utf-8", "replace")

    @cached_property
    def links(self) -> list[Link]:
        """The links of the sequence, in the order of the arrays; none without links=."""
        return self._result._links(self.sequence, self.leaves)

    @cached_property
    def labels(self) -> dict[tuple[int, int], dict[str, str]]:
        """The labels of spans by first and last position; empty without labels=."""
        return self._result._labels(self._level, self.sequence)

    def find(self, text: str) -> Bracket | None:
        """The first bracket with this text, spaces around it aside; None when there is none."""
        wanted = text.strip()
        return next((b for b in self.brackets if b.text.strip() == wanted), None)

    def governors(self) -> list[int]:
        """For each unit the index of the unit that governs it; -1 for the root.

        Of a bracket's two parts, the one with its head governs the other. A part's own unit is its
        head in turn; without a head, the last unit stands for a bracket.
        """
        chosen: dict[int, int] = {}
        governor = [-1] * len(self.leaves)
        for bracket in reversed(self.brackets):
            parts = [
                chosen[p.index] if isinstance(p, Bracket) else p.number for p in _parts(bracket)
            ]
            head = bracket.head
            left = head is not None and head.number <= bracket.split
            winner, other = parts if left else parts[::-1]
            governor[other] = winner
            chosen[bracket.index] = winner
        return governor

    def _figure(self, name: str, index: int) -> float:
        arrays = self._result.main.arrays
        return float(arrays[name].values[self._level, index]) if name in arrays else math.nan

    def _unit_at(self, last: float) -> Unit | None:
        return next((unit for unit in self.leaves if unit.last == last), None)

    # --- as text -----------------------------------------------------------------------------

    @property
    def notation(self) -> str:
        """The aligned text of docs/plugins/spans_notation.md, of this level."""
        return level_notation(self._result.files["spans.txt"].decode(), self.level, self.sequence)

    def __str__(self) -> str:
        return self.notation

    def __repr__(self) -> str:
        return f"<Tree level {self.level}: {len(self.leaves)} units, {self.text!r}>"

    def to_xml(self) -> str:
        """XML of docs/structure.rng with this level alone."""
        return level_xml(self._result.to_xml(), self._level, self.sequence)

    def bracketed(self) -> str:
        """Brackets as treebanks write them: "(X (X The old) man)"; X where there is no label."""
        return bracketed(self)

    def to_nltk(self) -> Any:
        """An nltk.Tree; needs the package nltk. `bracketed` gives its text without it."""
        return nltk_tree(self)

    def to_conllu(self, sent_id: str = "") -> str:
        """A sentence of a CoNLL-U file: the units as words, with the heads of `governors`.

        The relation of all but the root is "dep". Units of blanks alone are no words. InputError
        when a unit is part of a character, or sent_id has a line break.
        """
        return conllu(self, sent_id)


def _parts(bracket: Bracket) -> tuple[Bracket | Unit, Bracket | Unit]:
    return bracket.left, bracket.right


class SpansResult(Result):
    """The result of `model.spans`: everything of a Result, and the trees as objects."""

    @property
    def levels(self) -> tuple[str, ...]:
        """The names of the levels."""
        return tuple(str(name) for name in self.axes["levels"])

    @property
    def trees(self) -> dict[str, Tree]:
        """The trees of the first sequence, by level."""
        return self.trees_of(0)

    def trees_of(self, sequence: int) -> dict[str, Tree]:
        """The trees of a sequence of a batch, by level."""
        return {name: self.tree(name, sequence) for name in self.levels}

    def tree(self, level: Level | None = None, sequence: int = 0) -> Tree:
        """The tree of a level over a sequence.

        Args:
            level: 2, "1+2", "L2H5"; None where the result has one level only.
            sequence: Of a batch, its place.

        Raises:
            InputError: The result has no such level or sequence.
        """
        levels = self.levels
        if level is None and len(levels) == 1:
            level = levels[0]
        if str(level) not in levels:
            what = "several levels" if level is None else f"no level {level!r}"
            raise InputError(f"the result has {what}; use one of {', '.join(levels)}")
        return Tree(self, levels.index(str(level)), sequence, self._units(sequence))

    def to_xml(self) -> str:
        """The XML of docs/structure.rng, of all sequences and levels, as the program writes it."""
        return self.files["spans.xml"].decode()

    def _places(self, array: str, sequence: int) -> list[int]:
        return [i for i, q in enumerate(self[array].values) if q == sequence]

    def _units(self, sequence: int) -> list[Unit]:
        places = self._places("unit_sequence", sequence)
        if not places:
            raise InputError(f"the result has no sequence {sequence} with units")
        rows = {t.position: t for t in self.tokens if t.sequence == sequence}
        edges = self["units"].values
        return [
            _unit(index, [rows[p] for p in range(int(edges[i][0]), int(edges[i][1]) + 1)])
            for index, i in enumerate(places)
        ]

    def _links(self, sequence: int, units: Sequence[Unit]) -> list[Link]:
        arrays = self.main.arrays
        if "from" not in arrays:
            return []
        begin = sum(self._link_count(q) for q in range(sequence))
        part = slice(begin, begin + self._link_count(sequence))
        by_last = {unit.last: unit for unit in units}
        figures = [_column(arrays, name, part) for name in ("kl", "frozen_kl", "dlogp_next")]
        ends = zip(arrays["from"].values[part], arrays["to"].values[part])
        return [
            Link(by_last[int(a)], by_last[int(b)], *numbers)
            for (a, b), *numbers in zip(ends, *figures)
        ]

    def _link_count(self, sequence: int) -> int:
        n, distance = len(self._places("unit_sequence", sequence)), int(self.options["distance"])
        return sum(min(k, distance) if distance else k for k in range(n))

    def _labels(self, level: int, sequence: int) -> dict[tuple[int, int], dict[str, str]]:
        if not self.options["labels"]:
            return {}
        from xml.etree import ElementTree

        root = ElementTree.fromstring(self.to_xml())
        text = root if root.tag == "discourse" else root[sequence]
        spans = text.findall("level")[level].iter("span")
        names = ("label", "linguistic-function", "linguistic-operator")
        found = {(int(s.get("from", 0)), int(s.get("to", 0))): s.attrib for s in spans}
        return {
            place: {name: attributes[name] for name in names if name in attributes}
            for place, attributes in found.items()
        }


def _column(arrays: Mapping[str, Array], name: str, part: slice) -> Iterator[float]:
    if name in arrays:
        return map(float, arrays[name].values[part])
    return iter([math.nan] * (part.stop - part.start))


def _unit(index: int, tokens: Sequence[Token]) -> Unit:
    raw = b"".join(token.bytes for token in tokens)
    text = raw.decode("utf-8", "replace") if raw else "".join(token.text for token in tokens)
    first, last = tokens[0], tokens[-1]
    return Unit(index, first.position, last.position, first.start, last.end, text, raw)
