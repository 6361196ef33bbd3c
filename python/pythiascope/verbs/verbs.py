"""Instruments over labelled sentences, word lists and weights: the program's verbs of those names.

Each runs one plugin over many sequences and reports once. Another model, other sentences or words
alone are sessions of their own, whose sections stand beside the first's: "control.words".
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from .._c import structures as c
from .._c.library import call, library
from ..checks import path_text, whole, yes_or_no
from ..errors import InputError
from ..instruments.entries import given_texts
from ..instruments.tables import builtin_tables
from ..instruments.targets import listed, target_text
from ..results.results import Result
from ..results.sections import Reader, Section
from ..runtime.base import ModelBase
from .beside import ControlledResult
from .form_list import collect_forms, english_forms, read_forms
from .prompt_classes import take_classes
from .sentences import (
    Sentence,
    read_treebank,
    same_file,
    skipped_note,
    take_sequences,
)
from .span_files import is_spans_file, read_spans
from .words_passes import WordsRun, run_pass

if TYPE_CHECKING:
    from ..instruments.running import Instrumented
    from ..instruments.targets import Targets
    from ..runtime.session import Session

Path = Union[str, "os.PathLike[str]"]
Options = Mapping[str, Any]
WINDOW = 4  # sentences


class _Borrowed:
    """Results that still belong to a session, for a reader."""

    def __init__(self, session: Session) -> None:
        self.pointer = ctypes.c_void_p(library().psc_session_results(session.pointer))


class _Beside:
    """The sessions of one result: ``first`` has the results, the others stand beside it.

    ``notes`` collects what the program would print beside them.
    """

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.first: Session | None = None
        self.notes: list[str] = []

    def __enter__(self) -> _Beside:
        return self

    def __exit__(self, *_: object) -> None:
        for session in self.sessions:
            session.close()

    def open(
        self, model: ModelBase, plugin: str, options: Mapping[str, str], **how: Any
    ) -> Session:
        """A session that accumulates, with one plugin."""
        session = model._new_session(accumulate=True, **how)
        self.sessions.append(session)
        self.first = self.first or session
        session.plugin(plugin, options)
        return session

    def report(self, session: Session, prefix: str = "") -> None:
        """Reports; with a prefix the results stand beside those of the first session."""
        session.report()
        if prefix:
            self.adopt(session, prefix)

    def adopt(self, session: Session, prefix: str) -> None:
        """Copies a session's results beside those of the first one."""
        assert self.first is not None
        call("psc_session_adopt", self.first.pointer, session.pointer, prefix.encode())

    def result(self, name: str) -> Result:
        """What the first session has."""
        assert self.first is not None
        kind = Result if len(self.sessions) == 1 else ControlledResult
        return kind(self.first.take_results(), name, tuple(self.notes))


def _texts(name: str, options: Options) -> dict[str, str]:
    return given_texts(builtin_tables()[name], options)


def weights(model: Instrumented, options: Options, token: Targets | None) -> Result:
    """Runs `weights`, which needs no text."""
    with _Beside() as beside:
        session = model._new_session(accumulate=True, capacity=1)
        beside.sessions.append(session)
        beside.first = session
        for target in listed(token):
            text = target_text(target)
            session.target(text if text.startswith("#") else f"text:{text}")
        session.plugin("weights", _texts("weights", options))
        beside.report(session)
        return beside.result("weights")


# --- forms --------------------------------------------------------------------------------------


def forms(
    model: Instrumented,
    options: Options,
    file: Path | None,
    treebank: Path | Sequence[Path],
    control: Any,
    batch: int,
) -> Result:
    """Runs `forms` over a list, or over CoNLL-U files."""
    given = treebank if isinstance(treebank, (list, tuple)) else [treebank]
    banks = [path_text("treebank", bank) for bank in given]
    if file is not None and banks:
        raise InputError("forms: file and treebank are mutually exclusive")
    path = english_forms() if file is None else path_text("file", file)
    with _Beside() as beside:
        for i, one in enumerate(_with_control(model, control)):
            if banks:
                found = collect_forms(one._opened, banks)
            else:
                found = read_forms(one._opened, path)
            how = {"n_sequences": _batch(batch), "capacity": found.longest}
            session = beside.open(one, "forms", _texts("forms", options), **how)
            found.run(session, batch)
            beside.report(session, "control" if i else "")
        return beside.result("forms")


# --- words --------------------------------------------------------------------------------------


def words(model: Instrumented, options: Options, *given: Any) -> Result:
    """Runs `words` twice per model: over texts, and over words alone."""
    run = WordsRun._make((*given, options.get("words") == "letters"))
    run.check()
    prefixes = ("", "alone", "control", "control-alone")
    with _Beside() as beside:
        for i, one in enumerate(_with_control(model, run.control)):
            for alone in (False, True):

                def open_session(capacity: int, one: ModelBase = one) -> Session:
                    texts = _texts("words", options)
                    how = {"n_sequences": _batch(run.batch), "capacity": capacity}
                    return beside.open(one, "words", texts, **how)

                session, notes = run_pass(run, one._opened, alone, i > 0, open_session)
                beside.notes += notes
                beside.report(session, prefixes[2 * i + alone])
        return beside.result("words")


# --- treebank -----------------------------------------------------------------------------------


def treebank(
    model: Instrumented,
    options: Options,
    file: Path,
    dev: Path | None,
    control: Any,
    windows: bool,
    rows: int | None,
    batch: int,
) -> Result:
    """Runs `treebank` over a file, perhaps with windows, dev sentences and a control."""
    path = path_text("file", file)
    given = _texts("treebank", options)
    level = given.pop("level", "")
    if dev is not None and level:
        raise InputError("treebank: dev chooses the level; leave out level")
    others = None if dev is None else path_text("dev", dev)
    if others is not None and same_file(path, others):
        raise InputError(
            f"dev {others} is the same as the treebank; choose the level on other sentences"
        )
    sentences = read_treebank(path)
    survey = _Survey(given, _rows(rows), _batch(batch), {})
    with _Beside() as beside:
        chooser = None
        if others is not None:
            task = _Task("spans", others, 1, "", read_treebank(others))
            chooser = survey.evaluate(beside, model, task)
            level = _best_level(chooser)
        what = given.get("what", "spans+words+shared")
        main = _Task(what, path, 1, level, sentences)
        wide = _Task("windows", path, WINDOW, "", sentences)
        beside.first = survey.evaluate(beside, model, main)
        if chooser is not None:
            beside.adopt(chooser, "dev")
        if yes_or_no("windows", windows):
            beside.adopt(survey.evaluate(beside, model, wide), "windows")
        for other in _with_control(model, control)[1:]:
            beside.adopt(survey.evaluate(beside, other, main), "control")
            if windows:
                beside.adopt(survey.evaluate(beside, other, wide), "control-windows")
        return beside.result("treebank")


# --- probe --------------------------------------------------------------------------------------


def probe(
    model: Instrumented,
    options: Options,
    train: Path,
    test: Path,
    control: Any,
    window: int,
    rows: int | None,
    batch: int,
) -> Result:
    """Runs `probe`: trains on one file, tests on the other."""
    paths = path_text("train", train), path_text("test", test)
    window, rows = whole("window", window, 1, 1000), _rows(rows)
    if same_file(*paths):
        raise InputError(
            f"test {paths[1]} is the same as the training file; test on other sentences"
        )
    given = _texts("probe", options)
    spans = is_spans_file(paths[0])
    if spans != is_spans_file(paths[1]):
        raise InputError(f"{paths[0]} and {paths[1]}: use two CoNLL-U files or two .jsonl files")
    sentences = [read_treebank(path) for path in paths] if not spans else []
    if spans:
        found, tasks = read_spans(paths[0])
        sentences = [found, read_spans(paths[1])[0]]
        given = {"tasks": "+".join(f"feat:{task}" for task in tasks), **given, "units": "spans"}
    with _Beside() as beside:
        for i, one in enumerate(_with_control(model, control)):
            n_ctx = one._opened.info.n_ctx
            most = min(rows or (n_ctx if window > 1 or spans else 128), n_ctx)
            both = [
                take_sequences(one._opened, path, part, window, most)
                for path, part in zip(paths, sentences)
            ]
            if i == 0:
                for path, part in zip(paths, both):
                    beside.notes += skipped_note(part, path, window, most)
                beside.notes += _repeated_note(*sentences)
            longest = max(part.longest for part in both)
            how = {"n_sequences": _batch(batch), "capacity": longest}
            session = beside.open(one, "probe", given, **how)
            both[0].show_labels(session, 0)
            both[0].run(session, batch, c.PSC_PHASE_SOURCE, 1)
            both[1].run(session, batch)
            beside.report(session, "control" if i else "")
        return beside.result("probe")


# --- directions ----------------------------------------------------------------------------------


def directions(
    model: Instrumented,
    options: Options,
    prompts: Mapping[str, Sequence[str]] | Path,
    held_out: float,
    seed: int,
    prepend_bos: bool,
    batch: int,
) -> Result:
    """Runs `directions`: fits on some of the prompts, tests on the others."""
    if (
        isinstance(held_out, bool)
        or not isinstance(held_out, (int, float))
        or not 0 <= held_out < 1
    ):
        raise InputError(f"directions: held_out={held_out!r} is not a number of 0 to below 1")
    seed = whole("seed", seed, 0, 1000000000)
    bos = yes_or_no("prepend_bos", prepend_bos)
    given = prompts if isinstance(prompts, Mapping) else path_text("prompts", prompts)
    found = take_classes(model._opened, given, held_out, seed, bos)
    recorded = {
        "labels": "\n".join(found.labels),
        "prompts": found.hash,
        "split": f"held out {held_out:g}, seed {seed}",
    }
    with _Beside() as beside:
        how = {"n_sequences": _batch(batch), "capacity": found.longest}
        texts = {**_texts("directions", options), **recorded}
        session = beside.open(model, "directions", texts, **how)
        found.run(session, batch)
        beside.report(session)
        return beside.result("directions")


def _with_control(model: Instrumented, control: Any) -> list[ModelBase]:
    """This model, and the control: a Model, or a folder that is opened."""
    if control is None:
        return [model]
    if isinstance(control, ModelBase):
        return [model, control]
    return [model, type(model)(path_text("control", control), **model._how)]


# --- treebank's sessions -------------------------------------------------------------------------


class _Task(NamedTuple):
    """What one session of `treebank` does."""

    what: str
    path: str
    window: int
    level: str  # the chosen level; "": none
    sentences: list[Sentence]


class _Survey(NamedTuple):
    """The options of all sessions of `treebank`; said: skipped sequences of the last notes."""

    options: Mapping[str, str]
    rows: int | None
    batch: int
    said: dict[bool, int]

    def evaluate(self, beside: _Beside, model: ModelBase, task: _Task) -> Session:
        """Runs a task in a session of its own and reports."""
        n_ctx = model._opened.info.n_ctx
        most = min(self.rows or (n_ctx if task.window > 1 else 128), n_ctx)
        found = take_sequences(model._opened, task.path, task.sentences, task.window, most)
        options = {**self.options, "what": task.what}
        if task.level:
            options["level"] = task.level
        session = beside.open(
            model,
            "treebank",
            options,
            n_sequences=min(len(found.all), self.batch),
            capacity=found.longest,
        )
        if self.said.get(task.window > 1) != found.skipped:
            beside.notes += skipped_note(found, task.path, task.window, most)
            self.said[task.window > 1] = found.skipped
        found.run(session, session.n_sequences)
        session.report()
        return session


def _best_level(session: Session) -> str:
    reader = Reader(_Borrowed(session))  # type: ignore[arg-type]
    return str(Section(reader, 0).values["best_level"])


def _repeated_note(train: Sequence[Sentence], test: Sequence[Sentence]) -> tuple[str, ...]:
    texts = {sentence.text for sentence in train}
    n = sum(sentence.text in texts for sentence in test)
    if not n:
        return ()
    return (f"{n} of {len(test)} test sentences have the text of a training sentence",)


def _rows(rows: int | None) -> int | None:
    return None if rows is None else whole("rows", rows, 2, 1 << 20)


def _batch(batch: int, most: int = 4096) -> int:
    return whole("batch", batch, 1, most)
