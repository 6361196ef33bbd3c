"""What the methods of instruments share: one run of plugins over a text, as `analyze` does it.

targets -> editors -> effects -> the method's plugin;  source prompts -> unchanged run -> run
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..results.results import Result
from ..runtime.base import ModelBase
from ..runtime.pairs import OpenPairs, Pairs
from ..runtime.tokens import TOKEN, Tokens, text_of
from .entries import (
    EDITORS,
    SHARED,
    Given,
    given_plugin,
    given_texts,
    keyword_texts,
    make_instrument,
)
from .interventions import Interventions, Plan, combined
from .tables import builtin_tables, find_table
from .targets import Contrasts, Targets, contrasts_of, listed, target_text

if TYPE_CHECKING:
    from ..results.trees import SpansResult
    from ..runtime.opened import OpenModel
    from ..runtime.session import Session
    from ..runtime.tokens import Input

DEFAULT_PLUGINS = ("logits", "ln", "mlp")


class Setting(NamedTuple):
    """The arguments that the methods share."""

    target: Targets | None = None
    contrast: Contrasts | None = None
    interventions: Interventions = ()
    source: Any = ()
    prepend_bos: bool = False


class Instrumented(ModelBase):
    """The base of Model's instruments: runs plugins and gives their results."""

    def plugin(
        self, name_or_path: str | os.PathLike[str], /, *text: Input, **arguments: Any
    ) -> Any:
        """A plugin by name or path, with options: an Instrument to call with a text.

            mine = model.plugin("./libmine.so", key=3)
            mine("the Emerald City of", target=" Oz")

        Args:
            name_or_path: A built-in plugin, or the path of a shared object.
            text: With a text the plugin runs at once, and its Result is returned.
            arguments: The plugin's options; with a text also target, contrast, interventions,
                source and prepend_bos.

        Raises:
            InputError: The plugin has no such option, or the value does not fit.
            PluginError: The file is not a plugin.
        """
        table = find_table(name_or_path)
        name = os.fspath(name_or_path)
        shared = {key: arguments.pop(key) for key in SHARED if key in arguments}
        made = make_instrument(self, Given(table, name, keyword_texts(table, arguments)))
        if not text:
            if shared:
                raise InputError(f"{', '.join(shared)} belong to a run; pass a text, too")
            return made
        if len(text) > 1:
            raise InputError("plugin takes one text; pass several as a list")
        return made(text[0], **shared)

    def analyze(
        self,
        text: Input,
        plugins: Sequence[Any] | None = None,
        *,
        target: Targets | None = None,
        contrast: Contrasts | None = None,
        interventions: Interventions = (),
        source: Any = (),
        prepend_bos: bool = False,
        capture: str | Sequence[str] = (),
    ) -> Result:
        """Runs several plugins over a text at once, as `pythiascope analyze` does.

        ``result["logits.contributions"]`` names an array of the result.

        Args:
            text: A text; ids [pos]; a batch: a list of either; or a set of Pairs.
            plugins: Names, paths, "logits:level=head", ("logits", {"level": "head"}), or plugins
                written in Python. None: logits, ln and mlp, or effects with interventions.
            target: What to explain: a text of one token, an id, "next", "top:K", or a list of
                those; None: the top prediction.
            contrast: A pair (a, b), or a list of pairs: the logit of a minus that of b.
            interventions: Changes of the run, such as ablate("L0H3").
            source: Source prompts, numbered from 1, for interventions and sweep.
            prepend_bos: Put the beginning token in front; a plugin that needs it always has it.
            capture: Hook points to keep as result[NAME], such as "blocks.*.attn.hook_pattern".

        Raises:
            InputError: A text, target, option or hook point does not fit.
            PluginError: A plugin cannot use what it was given; the message says why.
        """
        edits = combined(interventions)
        setting = Setting(target, contrast, edits, source, prepend_bos)
        if plugins is None:
            plugins = () if edits else DEFAULT_PLUGINS
        entries = [plugins] if isinstance(plugins, str) else plugins
        if not isinstance(entries, (list, tuple)):
            raise InputError(f"plugins={plugins!r} is not a list of plugins")
        given = [given_plugin(entry) for entry in entries]
        points = [capture] if isinstance(capture, str) else capture
        if not isinstance(points, (list, tuple)) or not all(isinstance(p, str) for p in points):
            raise InputError(f"capture={capture!r} is not a hook point, or a list of them")
        return self._run(text, given, setting, capture=points)

    def _change(self, interventions: Interventions, source: Any, prepend_bos: bool) -> Plan | None:
        none = isinstance(source, (list, tuple)) and not source
        if isinstance(interventions, (list, tuple)) and not interventions and none:
            return None
        return Plan(self._opened, interventions, source, prepend_bos)

    def _method(
        self,
        name: str,
        text: Input,
        options: Mapping[str, Any],
        *shared: Any,
    ) -> Result:
        """A generated method: the built-in `name` with options by parameter name."""
        table = builtin_tables()[name]
        given = Given(table, name, given_texts(table, options))
        return self._run(text, [given], Setting(*shared), main=name)

    def _spans(
        self, name: str, text: Input, options: Mapping[str, Any], *shared: Any
    ) -> SpansResult:
        return cast("SpansResult", self._method(name, text, options, *shared))

    def _run_one(self, text: Input, given: Given, shared: Mapping[str, Any]) -> Result:
        """One plugin over a text, with the shared arguments by name."""
        return self._run(text, [given], Setting(**shared), main=given.table.name)

    def _run(
        self,
        text: Input,
        plugins: Sequence[Any],
        setting: Setting,
        *,
        main: str | None = None,
        capture: Sequence[str] = (),
    ) -> Result:
        model = self._opened
        if not isinstance(setting.prepend_bos, bool):
            raise InputError(f"prepend_bos={setting.prepend_bos!r} is not True or False")
        plan = Plan(model, setting.interventions, setting.source, setting.prepend_bos)
        if isinstance(text, Pairs):
            return self._run_pairs(text, plugins, setting, plan, main, capture)
        sequences, _ = self._sequences(text, setting.prepend_bos)
        needing = next((p.table.name for p in plugins if p.needs_bos), None)
        notes: tuple[str, ...] = ()
        if needing is not None:
            before = sum(map(len, sequences))
            sequences = [with_bos(model, s, needing) for s in sequences]
            plan.prompts = [
                with_bos(model, s, needing, f"source prompt {number}: ")
                for number, s in enumerate(plan.prompts, 1)
            ]
            if sum(map(len, sequences)) > before:
                first = text_of(model, model.bos)
                notes = (f"{needing} needs {first} in front of the text; it was added",)
        longest = max(plan.longest, *(len(s) for s in sequences))
        if longest > model.info.n_ctx:
            raise InputError(
                f"a text has {longest} tokens, more than the model's context of {model.info.n_ctx}"
            )
        session = self._new_session(n_sequences=len(sequences), capacity=longest)
        try:
            _set_up(session, plugins, setting, plan, capture)
            joined, whole = join(sequences)
            phase = plan.run_before(session, joined, whole)
            session.run(joined, text=whole, phase=phase, bos=any(s.bos for s in sequences))
            return result_class(main)(session.take_results(), main, notes)
        finally:
            if not session.retired:
                session.close()

    def _run_pairs(
        self,
        pairs: Pairs,
        plugins: Sequence[Any],
        setting: Setting,
        plan: Plan,
        main: str | None,
        capture: Sequence[str],
    ) -> Result:
        """The plugins over a set of pairs, whose corrupt prompts are the source."""
        if plan.prompts:
            raise InputError("a set of pairs has its own source prompts; leave source= out")
        if capture:
            raise InputError("capture= does not go with a set of pairs")
        if setting.target is None and not contrasts_of(setting.contrast):
            setting = setting._replace(target="example")
        bos = setting.prepend_bos or any(p.needs_bos for p in plugins)
        with OpenPairs(self._opened, pairs, bos) as opened:
            session = self._new_session(n_sequences=opened.batch, capacity=opened.longest)
            try:
                _set_up(session, plugins, setting, plan, ())
                return result_class(main)(session.pairs(opened.pointer, opened.options), main)
            finally:
                if not session.retired:
                    session.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        table = builtin_tables().get(name)
        if table is not None and name not in EDITORS:
            return make_instrument(self, Given(table, name, {}))
        from ..habits import hint_of_model  # rare

        hint = f"; use pythiascope.{name} and interventions=" if table is not None else ""
        hint = hint or hint_of_model(name)
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}{hint}")

    def __dir__(self) -> list[str]:
        plugins = (name for name in builtin_tables() if name not in EDITORS)
        return sorted({*super().__dir__(), *plugins})


def _set_up(
    session: Session, plugins: Sequence[Any], setting: Setting, plan: Plan, capture: Sequence[str]
) -> None:
    for target in listed(setting.target):
        session.target(target_text(target))
    for pair in contrasts_of(setting.contrast):
        session.contrast(target_text(pair[0]), target_text(pair[1]))
    for point in capture:
        session.capture(point)
    plan.load(session)
    if plan and not any(p.table.name == "effects" for p in plugins):
        session.plugin("effects")
    for plugin in plugins:
        plugin.load(session)


def with_bos(model: OpenModel, sequence: Tokens, plugin: str, where: str = "") -> Tokens:
    """The sequence with the beginning-of-text token in front, if it is not there.

    InputError for ids, which stay as they are, and for a sequence that fills the context. Its
    message begins with `where`.
    """
    if model.bos < 0 or sequence.rows["id"][0] == model.bos:
        return sequence
    if sequence.text is None:
        raise InputError(
            f"{where}{plugin} needs the beginning-of-text token in front of the ids; let them "
            f"begin with {model.bos}"
        )
    front = np.zeros(1, TOKEN)
    front["id"] = model.bos
    return Tokens(np.concatenate([front, sequence.rows]), sequence.text, True)


def join(sequences: Sequence[Tokens]) -> tuple[list[Tokens], bytes | None]:
    """Sequences over one text, the concatenation of theirs; None if one has no text."""
    if any(s.text is None for s in sequences):
        return [Tokens(_without_ranges(s.rows)) for s in sequences], None
    if len(sequences) == 1:
        return list(sequences), sequences[0].text
    out, whole = [], b""
    for s in sequences:
        text, rows = s.text or b"", s.rows.copy()
        ranged = rows["end"] > rows["start"]  # the beginning-of-text token has no range
        rows["start"][ranged] += len(whole)
        rows["end"][ranged] += len(whole)
        out.append(Tokens(rows, s.text, s.bos))
        whole += text
    return out, whole


def _without_ranges(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    bare: npt.NDArray[Any] = rows.copy()
    bare["start"] = bare["end"] = 0
    return bare


def result_class(main: str | None) -> Callable[..., Result]:
    """The class of a method's result; spans has trees."""
    if main == "spans":
        from ..results.trees import SpansResult

        return SpansResult
    return Result
