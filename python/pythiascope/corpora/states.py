"""State files of a corpus: the totals, the place in the corpus, and the setup, as the program's."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Sequence
from typing import Any, Union

from .._c.library import call, take_text
from ..errors import InputError, PythiascopeError
from ..instruments.entries import EDITORS
from ..instruments.interventions import Interventions, combined
from ..instruments.targets import contrasts_of, listed, target_text
from ..plugins.given import Given, as_given, as_plugins
from ..runtime.session import Session

Target = Union[str, tuple[str, str]]

DEFAULT_PLUGINS = ("logits", "ln", "mlp")


def as_targets(target: Any, contrast: Any) -> list[Target]:
    """The targets, then the contrasts, as a state file records them."""
    try:
        targets: list[Target] = [target_text(one) for one in listed(target)]
        for a, b in contrasts_of(contrast):
            targets.append((target_text(a), target_text(b)))
    except TypeError:
        raise InputError(
            f"target={target!r} or contrast={contrast!r} is not a text, an id, a pair, or a list"
        ) from None
    return targets


class Setup:
    """Targets, plugins and interventions: what a session over a corpus is made of."""

    def __init__(
        self, targets: Sequence[Target], plugins: Sequence[Given], edits: Sequence[Given] = ()
    ) -> None:
        self.targets, self.plugins, self.edits = targets, plugins, edits

    def apply(self, session: Session) -> None:
        """Sets a session up; its targets come first."""
        for target in self.targets:
            if isinstance(target, str):
                session.target(target)
            else:
                session.contrast(*target)
        for plugin in (*self.plugins, *self.edits):
            plugin.load(session)

    def json(self) -> str:
        """The setup for a state file; InputError for a text that JSON cannot hold."""
        texts: list[str | tuple[str, str]] = [*self.targets, *(p.text for p in self.plugins)]
        texts += [edit.text for edit in self.edits]
        for text in texts:
            try:
                "".join(text).encode()
            except UnicodeEncodeError:
                raise InputError(
                    f"{text!r} has no UTF-8 form, which a state file needs; leave state= out"
                ) from None
        value: dict[str, Any] = {"targets": self.targets}
        value["plugins"] = [plugin.text for plugin in self.plugins]
        if self.edits:
            value["interventions"] = [_edit_pair(edit.text) for edit in self.edits]
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def as_edits(interventions: Interventions | None, where: str = "a corpus") -> list[Given]:
    """Interventions as plugins to load; InputError for one that takes another prompt's values."""
    if interventions is None:
        return []
    edits = combined(interventions)
    for edit in edits:
        if edit.prompts or edit.kind == "patch":
            raise InputError(f"{edit!r} takes values from a source prompt, which {where} lacks")
    return as_plugins([(edit.kind, edit.options) for edit in edits])


def _edit_pair(text: str) -> tuple[str, str]:
    """The program's form of "ablate:at=L0H3,rows=last": the kind, and "L0H3:rows=last"."""
    kind, _, options = text.partition(":at=")
    return kind, options.replace(",", ":", 1)


def recorded_edits(setup: dict[str, Any]) -> list[Given]:
    """The interventions that a state file recorded."""
    out: list[Given] = []
    for one in setup.get("interventions", ()):
        if not (isinstance(one, list) and len(one) == 2 and all(isinstance(t, str) for t in one)):
            raise InputError("a recorded intervention is not an array of its kind and its place")
        if one[0] not in EDITORS:  # a path here would be loaded
            raise InputError(f"{one[0]!r} is not a kind of intervention")
        out.append(as_given(f"{one[0]}:at={one[1].replace(':', ',', 1)}"))
    return out


def state_error(path: str, error: PythiascopeError) -> PythiascopeError:
    """The same error with the state file in front of its sentence."""
    return type(error)(f"the state file {path}: {error}")


def save(session: Session, path: str, place: bytes, setup: str) -> None:
    """Writes the totals with their place; the file appears whole or not at all."""
    client = b'{"place":' + place + b',"setup":' + setup.encode() + b"}"
    call("psc_session_state_save", session.pointer, os.fsencode(path), client, len(client))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key is given twice")
    return dict(pairs)


def read(path: str) -> tuple[bytes, dict[str, Any]]:
    """The place, as psc_corpus_tell wrote it, and the setup of a state file."""
    client, size = ctypes.c_void_p(), ctypes.c_size_t()
    call("psc_state_client", ctypes.byref(client), ctypes.byref(size), os.fsencode(path))
    raw = take_text(client, size.value)
    try:
        value = json.loads(raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as why:
        raise state_error(
            path, InputError(f"its position and setup are not valid JSON: {why}")
        ) from None
    place = value.get("place") if isinstance(value, dict) else None
    setup = value.get("setup") if isinstance(value, dict) else None
    if not isinstance(place, dict) or not isinstance(setup, dict):
        raise state_error(path, InputError("it has no position in a corpus or no setup"))
    return json.dumps(place, ensure_ascii=False, separators=(",", ":")).encode(), setup


def recorded_targets(setup: dict[str, Any]) -> list[Target]:
    """The targets that a state file recorded."""
    out: list[Target] = []
    for one in setup.get("targets", ()):
        if isinstance(one, str):
            out.append(one)
        elif isinstance(one, list) and len(one) == 2 and all(isinstance(t, str) for t in one):
            out.append((one[0], one[1]))
        else:
            raise InputError("a recorded target is neither a string nor an array of two")
    return out


def recorded_plugins(setup: dict[str, Any]) -> list[str]:
    """The texts of the plugins that a state file recorded."""
    plugins = setup.get("plugins")
    if not isinstance(plugins, list) or not isinstance(setup.get("targets"), list):
        raise InputError("the recorded targets or plugins are not a JSON array")
    if not all(isinstance(one, str) for one in plugins):
        raise InputError("a recorded plugin is not a string")
    return plugins


def load(session: Session, path: str) -> None:
    """Replaces the session's totals by those of a state file."""
    call("psc_session_state_load", session.pointer, os.fsencode(path))
