"""What the methods of instruments share: one run of plugins over a text, as `analyze` does it.

targets -> editors -> effects -> the method's plugin;  source prompts -> unchanged run -> run
"""

from __future__ import annotations

import keyword
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union, cast

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..results.results import Result
from ..runtime.base import ModelBase
from ..runtime.tokens import TOKEN, Tokens
from .interventions import Interventions, Plan
from .options import default_of, option_texts
from .tables import Table, builtin_tables, find_table

if TYPE_CHECKING:
    from ..results.trees import SpansResult
    from ..runtime.opened import OpenModel
    from ..runtime.session import Session
    from ..runtime.tokens import Input

#: What to explain: a text of one token, an id, "next", or "top:K".
Target = Union[str, int]
Targets = Union[Target, Sequence[Target]]
Contrast = tuple[Target, Target]
Contrasts = Union[Contrast, Sequence[Contrast]]

#: The arguments that every method over a text has besides its plugin's options.
SHARED = ("target", "contrast", "interventions", "source", "prepend_bos")
EDITORS = ("ablate", "scale", "steer", "knockout", "patch")
DEFAULT_PLUGINS = ("logits", "ln", "mlp")


class Setting(NamedTuple):
    """The arguments that the methods share."""

    target: Targets | None = None
    contrast: Contrasts | None = None
    interventions: Interventions = ()
    source: Any = ()
    prepend_bos: bool = False


def parameter_of(table: Table, key: str) -> str:
    """The name of an option as a keyword argument: another one where a method has it already."""
    name = key.replace("-", "_")
    if name in (*SHARED, "self", "text", "capture"):
        return f"{table.name.replace('-', '_')}_{name}"
    return name + "_" if keyword.iskeyword(name) else name


class Given:
    """A plugin with its options, before it is loaded into a session."""

    def __init__(self, table: Table, name: str, options: Mapping[str, str]) -> None:
        self.table, self.name, self.options = table, name, dict(options)

    @property
    def needs_bos(self) -> bool:
        """Whether every sequence must begin with the beginning-of-text token."""
        return self.table.needs_bos

    def load(self, session: Session) -> None:
        """Loads the plugin; its section is `table.name`."""
        session.plugin(self.name, self.options)


class Instrument:
    """A plugin of a model, with options. Calling it with a text runs it and returns a Result.

    ``model.plugin("./libmine.so", key=1)`` makes one, and ``model.NAME`` of a built-in plugin that
    has no method yet. Other keyword arguments are target, contrast, interventions, source and
    prepend_bos, as those of every method.
    """

    def __init__(self, model: Instrumented, given: Given) -> None:
        self._model, self._given = model, given

    @property
    def table(self) -> Table:
        """The plugin's name, summary and options."""
        return self._given.table

    def __call__(self, text: Input, **arguments: Any) -> Result:
        """Runs the plugin over a text, ids, or a list of either."""
        shared = {key: arguments.pop(key) for key in SHARED if key in arguments}
        options = {**self._given.options, **_texts(self.table, arguments)}
        given = Given(self.table, self._given.name, options)
        return self._model._run(text, [given], Setting(**shared), main=self.table.name)

    def __repr__(self) -> str:
        options = "".join(f", {key}={value!r}" for key, value in self._given.options.items())
        return f"<Instrument {self.table.name}{options}: {self.table.summary}>"


def _texts(table: Table, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Keyword arguments as the options' texts; InputError for one that the plugin lacks."""
    keys = {parameter_of(table, option.key): option.key for option in table.options}
    return option_texts(table, {keys.get(name, name): v for name, v in arguments.items()})


def _instrument(model: Instrumented, given: Given) -> Instrument:
    """An Instrument whose class has the plugin's help, so that help() and ? show it."""
    table = given.table
    methods = {"__doc__": table.help(), "__signature__": _signature(table)}
    made: Instrument = type("Instrument", (Instrument,), methods)(model, given)
    return made


def _signature(table: Table) -> Any:
    import inspect

    kind = inspect.Parameter.KEYWORD_ONLY
    defaults = {parameter_of(table, o.key): default_of(o) for o in table.options}
    defaults.update(Setting()._asdict())
    names = [inspect.Parameter("text", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    names += [inspect.Parameter(name, kind, default=v) for name, v in defaults.items()]
    return inspect.Signature(names)


def given_plugin(entry: Any) -> Any:
    """An entry of plugins=[...], ready to be loaded.

    A name or path, "NAME:key=value,...", (name, options), an Instrument, or a plugin written in
    Python.
    """
    if isinstance(entry, Given):
        return entry
    if isinstance(entry, Instrument):
        return entry._given
    options: Mapping[str, Any] = {}
    if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], Mapping):
        entry, options = entry
    if isinstance(entry, os.PathLike):
        entry = os.fspath(entry)
    if not isinstance(entry, str):
        from ..plugins.plugin import as_plugin

        return as_plugin(entry, options)
    name, text = _split(entry)
    table = find_table(name)
    return Given(table, name, {**parse_options(text), **_texts(table, options)})


def _split(argument: str) -> tuple[str, str]:
    """The name and the options: they start at the first colon that "key=" follows."""
    at = argument.find(":")
    while at >= 0:
        key, equals, _ = argument[at + 1 :].partition("=")
        if equals and key and all(ch.isascii() and (ch.isalnum() or ch in "_-") for ch in key):
            return argument[:at], argument[at + 1 :]
        at = argument.find(":", at + 1)
    if "/" in argument or ":" not in argument:
        return argument, ""
    name, _, rest = argument.partition(":")
    return name, rest


def parse_options(text: str) -> dict[str, str]:
    r"""Options as on the command line: "key=value,key=value"; "\," is a comma, "\\" a backslash."""
    options: dict[str, str] = {}
    items: list[str] = []
    item, i = "", 0
    while i < len(text):
        if text[i] == "\\" and text[i + 1 : i + 2] in (",", "\\"):
            item, i = item + text[i + 1], i + 2
        elif text[i] == ",":
            items, item, i = [*items, item], "", i + 1
        else:
            item, i = item + text[i], i + 1
    for one in [*items, item] if text else []:
        key, equals, value = one.partition("=")
        if not equals or key in options:
            fault = "is given twice" if equals else "is not of the form key=value"
            raise InputError(f"the option {one!r} {fault}; write NAME:key=value,key=value")
        options[key] = value
    return options


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
        name = os.fspath(name_or_path)
        table = find_table(name)
        shared = {key: arguments.pop(key) for key in SHARED if key in arguments}
        made = _instrument(self, Given(table, name, _texts(table, arguments)))
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
            text: A text; ids [pos]; or a batch: a list of either.
            plugins: Names, paths, "logits:level=head", ("logits", {"level": "head"}), or plugins
                written in Python. None: logits, ln and mlp, or effects with interventions.
            target: What to explain: a text of one token, an id, "next", "top:K", or a list of
                those; None: the top prediction.
            contrast: A pair (a, b), or a list of pairs: the logit of a minus that of b.
            interventions: Changes of the run, such as ablate("L0H3").
            source: Source prompts, numbered from 1, for interventions and sweep.
            prepend_bos: Put <|endoftext|> in front; a plugin that needs it has it in any case.
            capture: Hook points to keep as result[NAME], such as "blocks.*.attn.hook_pattern".

        Raises:
            InputError: A text, target, option or hook point does not fit.
            PluginError: A plugin cannot use what it was given; the message says why.
        """
        setting = Setting(target, contrast, interventions, source, prepend_bos)
        edits = bool(interventions)
        if plugins is None:
            plugins = () if edits else DEFAULT_PLUGINS
        if isinstance(plugins, str):
            plugins = [plugins]
        given = [given_plugin(entry) for entry in plugins]
        points = [capture] if isinstance(capture, str) else list(capture)
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
        plan = Plan(model, setting.interventions, setting.source, setting.prepend_bos)
        sequences, _ = self._sequences(text, setting.prepend_bos)
        needing = next((p.table.name for p in plugins if p.needs_bos), None)
        notes: tuple[str, ...] = ()
        if needing is not None:
            before = sum(map(len, sequences))
            sequences = [with_bos(model, s, needing) for s in sequences]
            plan.prompts = [with_bos(model, s, needing) for s in plan.prompts]
            if sum(map(len, sequences)) > before:
                notes = (f"{needing} needs <|endoftext|> in front of the text; it was added",)
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

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        table = builtin_tables().get(name)
        if table is not None and name not in EDITORS:
            return _instrument(self, Given(table, name, {}))
        hint = f"; use pythiascope.{name} and interventions=" if table is not None else ""
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}{hint}")

    def __dir__(self) -> list[str]:
        plugins = (name for name in builtin_tables() if name not in EDITORS)
        return sorted({*super().__dir__(), *plugins})


def given_texts(table: Table, options: Mapping[str, Any]) -> dict[str, str]:
    """The texts of the options that are not the default, so that a result names defaults alike."""
    keys = {parameter_of(table, option.key): option for option in table.options}
    given = {
        keys[name].key: value
        for name, value in options.items()
        if value is not None and not _same(value, default_of(keys[name]))
    }
    return option_texts(table, given)


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)


def _set_up(
    session: Session, plugins: Sequence[Any], setting: Setting, plan: Plan, capture: Sequence[str]
) -> None:
    for target in listed(setting.target):
        session.target(target_text(target))
    for pair in _contrasts(setting.contrast):
        session.contrast(target_text(pair[0]), target_text(pair[1]))
    for point in capture:
        session.capture(point)
    plan.load(session)
    if plan and not any(p.table.name == "effects" for p in plugins):
        session.plugin("effects")
    for plugin in plugins:
        plugin.load(session)


def listed(given: Targets | None) -> list[Any]:
    """One target, several or none, as a list."""
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def target_text(target: Any) -> str:
    """A target as the library takes it; InputError for what is none."""
    if isinstance(target, (int, np.integer)) and not isinstance(target, bool):
        return f"#{int(target)}"
    if isinstance(target, str) and "\0" not in target:
        return target
    raise InputError(f'a target is a text of one token, an id, "next" or "top:K", not {target!r}')


def _contrasts(given: Any) -> list[tuple[Any, Any]]:
    if given is None:
        return []
    listed_pairs = isinstance(given, (list, tuple)) and bool(given)
    single = listed_pairs and isinstance(given[0], (str, int, np.integer))
    pairs = [given] if single else given
    if not listed_pairs or any(
        not isinstance(pair, (list, tuple)) or len(pair) != 2 for pair in pairs
    ):
        raise InputError(f"contrast={given!r} is not a pair of tokens, or a list of pairs")
    return [tuple(pair) for pair in pairs]


def with_bos(model: OpenModel, sequence: Tokens, plugin: str) -> Tokens:
    """The sequence with the beginning-of-text token in front, if it is not there.

    InputError for ids, which stay as they are, and for a sequence that fills the context.
    """
    if model.bos < 0 or sequence.rows["id"][0] == model.bos:
        return sequence
    if sequence.text is None:
        raise InputError(
            f"{plugin} needs the beginning-of-text token in front of the ids; let them begin with "
            f"{model.bos}"
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
