"""Interventions: changes of a run's values, and what they need before the run.

    change = ablate("L2H3") + scale("0_mlp_out", 0.5)
    model.logits(text, target=" Oz", interventions=change)
    model.effects("the sun rose", interventions=patch("blocks.2.hook_resid_pre", "the moon rose"))

docs/interventions.md defines them. An intervention is checked when it is made; the run checks
whether the model has the place. In a result, `effects` has what they change.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Union, cast

import numpy as np
import numpy.typing as npt

from .._c import structures as c
from .._c.library import SHOWN_AS, library
from ..errors import InputError
from ..runtime.tokens import Tokens, sequences_of
from .options import Heads, Layers, Rows, default_of, option_texts, positions_text
from .tables import builtin_tables

if TYPE_CHECKING:
    from ..runtime.opened import OpenModel
    from ..runtime.session import Session
    from ..runtime.tokens import Input

#: A source prompt: its number from 1 in ``source=``, or the prompt itself: a text or ids.
Source = Union[int, str, Sequence[int], npt.NDArray[Any]]
At = Union[str, Sequence[str]]
KINDS = ("ablate", "scale", "steer", "knockout", "patch", "direction")

_NUMBER = r"(?:\d{1,8}|\*)"
_PLACE = re.compile(rf"embed|L{_NUMBER}[HN]{_NUMBER}|{_NUMBER}_(?:attn|mlp)_out")
_HEAD = re.compile(rf"L{_NUMBER}H{_NUMBER}")
_LATENT = re.compile(rf"(?:L{_NUMBER})?F\d{{1,8}}")
_PROMPTS = ("source", "plus", "minus")


class Intervention:
    """One change of a run; ``ablate``, ``scale``, ``steer`` and the others make it.

    ``kind`` is the name of the plugin that does it, ``options`` are its options as texts. ``+``
    combines interventions; those of one place act in that order.
    """

    def __init__(self, kind: str, at: At, values: Mapping[str, Any]) -> None:
        self.kind = kind
        table = builtin_tables()[kind]
        self.prompts: dict[str, Source] = {}
        rest = dict(values)
        for key in _PROMPTS:
            if key in rest and rest[key] is not None and not isinstance(rest[key], int):
                self.prompts[key] = rest.pop(key)
        given = {k: v for k, v in rest.items() if v is not None}
        given = {k: v for k, v in given.items() if v != default_of(table.option(k))}
        places = _places(kind, at, _LATENT if "sae" in given else None)
        self.options = {"at": places, **option_texts(table, given)}
        self._keep: list[Any] = []  # files that live as long as this

    def __add__(self, other: Interventions) -> Combined:
        return Combined((self,)) + other

    def __radd__(self, other: Interventions) -> Combined:
        return combined(other) + self

    def __repr__(self) -> str:
        options = {**self.options, **self.prompts}
        texts = ", ".join(f"{key}={value!r}" for key, value in options.items() if key != "at")
        return f"{self.kind}({self.options['at']!r}{', ' + texts if texts else ''})"


class Combined(tuple[Intervention, ...]):
    """Interventions in the order in which they act."""

    __slots__ = ()

    def __add__(self, other: Any) -> Combined:
        return Combined((*self, *combined(other)))

    def __radd__(self, other: Any) -> Combined:
        return Combined((*combined(other), *self))

    def __repr__(self) -> str:
        return " + ".join(map(repr, self)) or "no interventions"


Interventions = Union[Intervention, Sequence[Intervention]]


def combined(given: Interventions) -> Combined:
    """One intervention, several, or none, as a Combined; InputError for anything else."""
    if isinstance(given, Intervention):
        return Combined((given,))
    if isinstance(given, (list, tuple)) and all(isinstance(one, Intervention) for one in given):
        return Combined(given)
    raise InputError(
        f"interventions={given!r} is not ablate(...), scale(...), steer(...), knockout(...), "
        "patch(...), direction(...), a sum or a list of them"
    )


# --- the kinds -----------------------------------------------------------------------------------


def ablate(
    at: At,
    by: Literal["zero", "mean", "resample"] = "zero",
    *,
    source: Source | None = None,
    file: str | os.PathLike[str] | None = None,
    tensor: str | None = None,
    rows: Rows = "all",
    layers: Layers = "all",
    heads: Heads = "all",
    sae: str | os.PathLike[str] | None = None,
    point: str | None = None,
) -> Intervention:
    """Sets components to zero, to a mean, or to another prompt's rows.

    Args:
        at: "L0H3", "0_mlp_out", "L0N12", "embed" or a hook point; several as a list or joined by
            +; * is any layer or head.
        by: "zero"; "mean", over the text or of the tensor in file; or "resample": row j becomes
            row j mod T' of the source prompt of T' tokens.
        source: Of "resample": a text or ids, or the prompt's number in source=; default: 1.
        file: Of "mean": a safetensors file, such as the plugin means saves.
        tensor: The tensor in file; default: the hook point's name.
        rows: The rows that are changed: "all", "last", a position or a range.
        layers: Restricts at to these layers.
        heads: Restricts at to these heads.
        sae: The folder of a sparse dictionary, whose latents at names: "L3F12", or "F12".
        point: The dictionary's hook point, if its folder names none; "IN+OUT" of a transcoder.

    Raises:
        InputError: A place or an option does not fit.
    """
    if source is not None and by != "resample":
        raise InputError(f"ablate: source= needs by='resample', not by={by!r}")
    if file is not None and by != "mean":
        raise InputError(f"ablate: file= needs by='mean', not by={by!r}")
    values = {"by": by, "source": source, "file": file, "tensor": tensor, "sae": sae}
    filters = {"point": point, "rows": rows, "layers": layers, "heads": heads}
    return Intervention("ablate", at, {**values, **filters})


def scale(
    at: At,
    alpha: float = 0.5,
    *,
    rows: Rows = "all",
    layers: Layers = "all",
    heads: Heads = "all",
    sae: str | os.PathLike[str] | None = None,
    point: str | None = None,
) -> Intervention:
    """Multiplies components by alpha.

    Args:
        at: "L0H3", "0_mlp_out", "L0N12", "embed" or a hook point; several as a list or joined by
            +; * is any layer or head.
        alpha: The factor.
        rows: The rows that are changed: "all", "last", a position or a range.
        layers: Restricts at to these layers.
        heads: Restricts at to these heads.
        sae: The folder of a sparse dictionary, whose latents at names: "L3F12", or "F12".
        point: The dictionary's hook point, if its folder names none; "IN+OUT" of a transcoder.

    Raises:
        InputError: A place or an option does not fit.
    """
    filters = {"rows": rows, "layers": layers, "heads": heads}
    return Intervention("scale", at, {"alpha": alpha, **filters, "sae": sae, "point": point})


def steer(
    at: At,
    vector: npt.ArrayLike | None = None,
    *,
    alpha: float = 1.0,
    plus: Source | None = None,
    minus: Source | None = None,
    of: Literal["last", "mean"] = "last",
    file: str | os.PathLike[str] | None = None,
    tensor: str | None = None,
    index: int | None = None,
    rows: Rows = "all",
    layers: Layers = "all",
    heads: Heads = "all",
    sae: str | os.PathLike[str] | None = None,
    point: str | None = None,
) -> Intervention:
    """Adds alpha times a vector, a latent's row, or the difference of two source prompts.

    Args:
        at: "L0H3", "0_mlp_out", "L0N12", "embed" or a hook point; several as a list or joined by
            +; * is any layer or head.
        vector: Floats in the shape of the place: [d_model], [heads, d_head] or [d_mlp]; of one head
            [d_head].
        alpha: The factor.
        plus: The source prompt that is added: a text or ids, or its number in source=; default: 1.
        minus: The source prompt that is subtracted; default: 2.
        of: Of source prompts: their "last" rows, or the "mean" of their rows.
        file: A safetensors file with such a vector, or with rows of it.
        tensor: The tensor in file; default: the hook point's name, or the only one.
        index: One row of the tensor or of vector, from 0, such as a feature of a dictionary's
            decoder [features, d_model]; default: the mean of all rows.
        rows: The rows that are changed: "all", "last", a position or a range.
        layers: Restricts at to these layers.
        heads: Restricts at to these heads.
        sae: The folder of a sparse dictionary, whose latents at names: "L3F12", or "F12".
        point: The dictionary's hook point, if its folder names none; "IN+OUT" of a transcoder.

    Raises:
        InputError: A place or an option does not fit.
    """
    prompts = plus is not None or minus is not None
    if (vector is not None) + (file is not None) + (sae is not None) + prompts > 1:
        raise InputError(
            "steer: give a vector, a file, or the prompts plus and minus, or a latent with sae"
        )
    keep = None
    if vector is not None:
        keep = _VectorFile(vector)
        file, tensor = keep.name, "vector"
    values = {"alpha": alpha, "plus": plus, "minus": minus, "of": of, "file": file, "index": index}
    filters = {"tensor": tensor, "rows": rows, "layers": layers, "heads": heads}
    made = Intervention("steer", at, {**values, **filters, "sae": sae, "point": point})
    if keep is not None:
        made._keep.append(keep)
    return made


def knockout(at: At, keys: Rows, *, rows: Rows = "all", layers: Layers = "all") -> Intervention:
    """Cuts the attention of heads from rows to keys: their scores become -inf.

    Args:
        at: Heads, "L0H3" or "L*H*"; several as a list or joined by +.
        keys: A position, a range of positions, or "all". Each row must keep at least one key.
        rows: The rows that no longer attend to them: "all", "last", a position or a range.
        layers: Restricts at to these layers.

    Raises:
        InputError: A place or an option does not fit.
    """
    keys = positions_text("knockout: keys", keys)
    return Intervention("knockout", at, {"keys": keys, "rows": rows, "layers": layers})


def patch(
    at: At,
    source: Source = 1,
    *,
    rows: Rows = "all",
    layers: Layers = "all",
    heads: Heads = "all",
) -> Intervention:
    """Takes components from a source prompt with as many tokens, row by row.

    Args:
        at: "L0H3", "0_mlp_out", "L0N12", "embed" or a hook point; several as a list or joined by
            +; * is any layer or head.
        source: A text or ids, or the prompt's number in source=.
        rows: The rows that are changed: "all", "last", a position or a range.
        layers: Restricts at to these layers.
        heads: Restricts at to these heads.

    Raises:
        InputError: A place or an option does not fit.
    """
    if source is None:
        raise InputError(
            "patch: source is None; pass a text or ids, or the prompt's number in source="
        )
    values = {"source": source, "rows": rows, "layers": layers, "heads": heads}
    return Intervention("patch", at, values)


def direction(
    at: At,
    along: str | Sequence[str] | None = None,
    *,
    do: Literal["out", "set", "add", "swap"] = "out",
    folded: bool = False,
    vector: npt.ArrayLike | None = None,
    file: str | os.PathLike[str] | None = None,
    tensor: str | None = None,
    index: int | str | Sequence[int] | None = None,
    vectors: Literal["rows", "columns"] = "rows",
    plus: Source | Sequence[Source] | None = None,
    minus: Source | Sequence[Source] | None = None,
    of: Literal["last", "mean"] = "last",
    pca: int = 0,
    alpha: float = 1.0,
    value: float | Sequence[float] | Literal["mean"] | None = None,
    mean: str | os.PathLike[str] | None = None,
    source: Source | None = None,
    rows: Rows = "all",
    layers: Layers = "all",
    heads: Heads = "all",
) -> Intervention:
    """Takes directions out of components, sets their coordinates, adds them, or swaps them.

    Args:
        at: "L0H3", "0_mlp_out", "embed" or a hook point; several as a list or joined by +.
        along: Named directions: "L3N12.in", "L3N12.out", "L2H3.O", "W_U:' Paris'",
            "W_U:' a'-' b'", "W_E:#11"; several as a list or joined by +.
        do: "out"; "set" the coordinates to value; "add" alpha times the vectors; "swap" the
            coordinates for those in the source prompt, row by row.
        folded: Take what reads the stream through its LayerNorm.
        vector: Instead of along: floats [width], or [k, width] for k directions.
        file: Instead of along: a safetensors file, such as Model.directions saves.
        tensor: The tensor in file.
        index: Some of its vectors, from 0.
        vectors: Whether they are the tensor's rows or its columns.
        plus: Instead of along: a prompt, or a list of prompts, of the positive set: texts, ids, or
            one number in source=; default: 1.
        minus: The prompts of the negative set; default: 2.
        of: Of these prompts: their "last" rows, or the "mean" of their rows.
        pca: So many first components of the pairs' differences; 0: the difference of means.
        alpha: Of "add": the factor.
        value: Of "set": one number per direction, or "mean": the coordinates of a mean.
        mean: A safetensors file with the point's mean; default: file.
        source: Of "swap": a text or ids, or the prompt's number in source=; default: 1.
        rows: The rows that are changed: "all", "last", a position or a range.
        layers: Restricts at to these layers.
        heads: Restricts at to these heads.

    Raises:
        InputError: A place or an option does not fit.
    """
    prompts = plus is not None or minus is not None
    if sum((along is not None, vector is not None, file is not None, prompts)) > 1:
        raise InputError("direction: give along, a vector, a file, or the prompts plus and minus")
    if source is not None and do != "swap":
        raise InputError(f"direction: source= needs do='swap', not do={do!r}")
    keep = None
    if vector is not None:
        keep = _VectorFile(vector, "direction")
        file, tensor = keep.name, "vector"
    values = {
        "along": along,
        "do": do,
        "folded": folded,
        "file": file,
        "tensor": tensor,
        "index": _joined("index", index, "iu"),
        "vectors": vectors,
        "plus": plus,
        "minus": minus,
        "of": of,
        "pca": pca,
        "alpha": alpha,
        "value": _joined("value", value, "fiu"),
        "mean": mean,
        "source": source,
    }
    made = Intervention("direction", at, {**values, "rows": rows, "layers": layers, "heads": heads})
    if keep is not None:
        made._keep.append(keep)
    return made


def _joined(key: str, given: Any, kinds: str) -> str | None:
    """Numbers joined by +; texts and None as they are. kinds: those of NumPy that are taken."""
    if given is None or isinstance(given, str):
        return given
    array = np.atleast_1d(np.asarray(given))
    if array.dtype.kind not in kinds or array.ndim > 1:
        raise InputError(f"direction: {key}={given!r} is not a number or a list of numbers")
    return "+".join(repr(one) for one in array.tolist())


class _VectorFile:
    """A safetensors file of one tensor, `vector`, that exists as long as this object."""

    def __init__(self, vector: npt.ArrayLike, kind: str = "steer") -> None:
        import tempfile

        given = np.asarray(vector)
        if given.dtype.kind not in "fiu":
            raise InputError(f"{kind}: the vector has values of type {given.dtype}; pass numbers")
        array = np.ascontiguousarray(given, "<f4")
        if array.size == 0 or not np.isfinite(array).all():
            raise InputError(f"{kind}: the vector is empty or has a number that is not finite")
        shape = ", ".join(map(str, array.shape or (1,)))
        head = f'{{"vector":{{"dtype":"F32","shape":[{shape}],"data_offsets":[0,{array.nbytes}]}}}}'
        head += " " * (-len(head) % 8)
        self._file = tempfile.NamedTemporaryFile(suffix=".safetensors")  # noqa: SIM115
        self._file.write(len(head).to_bytes(8, "little") + head.encode() + array.tobytes())
        self._file.flush()
        self.name = self._file.name
        SHOWN_AS[f"file={self.name}: tensor vector"] = "the given vector"

    def __del__(self) -> None:
        SHOWN_AS.pop(f"file={getattr(self, 'name', '')}: tensor vector", None)


def _places(kind: str, at: At, latent: re.Pattern[str] | None) -> str:
    """at= as the plugin takes it: places joined by +; InputError for one that is none.

    latent: the pattern of a dictionary's latents, if they are the places.
    """
    places: Sequence[Any] = at.split("+") if isinstance(at, str) else at
    if not isinstance(places, (list, tuple)):
        places = (at,)
    pattern = latent or (_HEAD if kind == "knockout" else _PLACE)
    for place in places:
        if isinstance(place, str) and (
            pattern.fullmatch(place) or (not latent and _is_point(kind, place))
        ):
            continue
        examples = "L0H3, L0H* or L*H*"
        if latent:
            examples = "L3F12 with sae="
        elif kind != "knockout":
            examples = "L0H3, L0N12, 0_attn_out, 0_mlp_out, embed, or blocks.0.hook_resid_pre"
        raise InputError(f"{kind}: at={place!r} is not a place; write one like {examples}")
    if not places:
        raise InputError(f"{kind}: at is empty; name a place such as L0H3")
    return "+".join(places)


def _is_point(kind: str, name: str) -> bool:
    if kind == "knockout" or "\0" in name:
        return False
    point, layer = ctypes.c_int(), ctypes.c_int32()
    where = ctypes.byref(point), ctypes.byref(layer), name.encode("utf-8", "replace"), None
    return int(library().psc_point_parse(*where)) == c.PSC_OK


# --- in a session --------------------------------------------------------------------------------


class Plan:
    """Interventions and their source prompts, for one session.

    The prompts of ``source=`` have the numbers 1, 2, ...; those that interventions hold follow.
    """

    def __init__(
        self,
        model: OpenModel,
        interventions: Interventions = (),
        source: Any = (),
        prepend_bos: bool = False,
    ) -> None:
        self.interventions = combined(interventions)
        self.prompts: list[Tokens] = []
        self._model, self._bos = model, prepend_bos
        self._numbers: dict[Any, int] = {}
        self.prompts = self._read_sources(source)
        self.options = [self._options(one) for one in self.interventions]

    def __bool__(self) -> bool:
        return bool(self.interventions)

    def __iter__(self) -> Iterator[tuple[str, dict[str, str]]]:
        return zip((one.kind for one in self.interventions), self.options)

    def _read_sources(self, source: Any) -> list[Tokens]:
        if source is None or (isinstance(source, (list, tuple)) and not source):
            return []
        prompts = sequences_of(self._model, source, self._bos)[0]
        for number, prompt in enumerate(prompts, 1):
            self._numbers.setdefault(prompt.rows["id"].tobytes(), number)
        return prompts

    def _options(self, one: Intervention) -> dict[str, str]:
        options = dict(one.options)
        for key, given in one.prompts.items():
            prompts, several = sequences_of(self._model, cast("Input", given), self._bos)
            if several and (one.kind != "direction" or key == "source"):
                raise InputError(f"{one.kind}: {key}= is a list of prompts; give one prompt")
            options[key] = "+".join(str(self._number(prompt)) for prompt in prompts)
        return options

    def _number(self, prompt: Tokens) -> int:
        """The number of a source prompt; a new one is added."""
        name = prompt.rows["id"].tobytes()
        if name not in self._numbers:
            self.prompts.append(prompt)
            self._numbers[name] = len(self.prompts)
        return self._numbers[name]

    @property
    def longest(self) -> int:
        """Tokens of the longest source prompt; 0 without any."""
        return max((len(prompt) for prompt in self.prompts), default=0)

    def load(self, session: Session) -> None:
        """Loads the editors, in their order."""
        for kind, options in self:
            session.plugin(kind, options)

    def run_before(self, session: Session, inputs: Sequence[Tokens], text: bytes | None) -> int:
        """Runs the source prompts and the unchanged prompt, if a plugin compares phases.

        Returns the phase of the next run. InputError for source prompts that nothing uses.
        """
        if self.prompts and not library().psc_session_takes_source(session.pointer):
            raise InputError(
                "source= is not used; it needs ablate(by='resample'), steer, patch, or a plugin "
                "with do='patch'"
            )
        if not library().psc_session_has_phases(session.pointer):
            return c.PSC_PHASE_ONLY
        for number, prompt in enumerate(self.prompts):
            session.run([prompt], text=prompt.text, phase=c.PSC_PHASE_SOURCE, source=number)
        session.run(inputs, text=text, phase=c.PSC_PHASE_BASE)
        return c.PSC_PHASE_CHANGED
