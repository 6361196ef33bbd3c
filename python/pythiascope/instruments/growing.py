"""Plugins over a text that grows token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .entries import given_plugin
from .running import with_bos
from .targets import contrasts_of, listed, target_text

if TYPE_CHECKING:
    from ..runtime.opened import OpenModel
    from ..runtime.session import Session
    from ..runtime.tokens import Tokens


def growing(
    model: OpenModel, prompts: list[Tokens], plugins: Any, target: Any, contrast: Any
) -> tuple[list[Tokens], Callable[[Session], None] | None]:
    """The prompts, with the beginning-of-text token where a plugin needs it, and what loads.

    Without plugins there is nothing to load. InputError for what is no plugin or target.
    """
    entries: Sequence[Any] = [plugins] if isinstance(plugins, str) else plugins
    if not isinstance(entries, (list, tuple)):
        raise InputError(f"plugins={plugins!r} is not a list of plugins")
    if not entries:
        return prompts, None
    given = [given_plugin(entry) for entry in entries]
    targets = [target_text(one) for one in listed(target)]
    pairs = [tuple(target_text(one) for one in pair) for pair in contrasts_of(contrast)]
    needing = next((plugin.table.name for plugin in given if plugin.needs_bos), None)
    if needing is not None:
        prompts = [with_bos(model, prompt, needing) for prompt in prompts]

    def load(session: Session) -> None:
        for one in targets:
            session.target(one)
        for pair in pairs:
            session.contrast(*pair)
        for plugin in given:
            plugin.load(session)

    return prompts, load
