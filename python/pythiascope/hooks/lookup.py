"""The tensors of a pass by name: what a cache is before anything is computed from it."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import TYPE_CHECKING

from .names import UnknownHook
from .stacks import Floats

if TYPE_CHECKING:
    from ..model import Model


class Lookup:
    """A mapping of names to arrays, which takes TransformerLens's shorthand, too."""

    def __init__(
        self, cache_dict: dict[str, Floats], model: Model, has_batch_dim: bool = True
    ) -> None:
        self.cache_dict = cache_dict
        self.model = model
        self.has_batch_dim = has_batch_dim

    def __getitem__(self, key: object) -> Floats:
        """An array. UnknownHook, a KeyError, says what is missing and lists near names."""
        if isinstance(key, str) and key in self.cache_dict:
            return self.cache_dict[key]
        name = self.model.names.key(key)
        if name in self.cache_dict:
            return self.cache_dict[name]
        found = self.model.names.find(name)
        raise UnknownHook(
            f"{found.name} is not in this cache; the run's names_filter, stop_at_layer or "
            "use_attn_result left it out"
        )

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.cache_dict)

    def __contains__(self, key: object) -> bool:
        """Whether the cache holds an entry, under any of its names."""
        if isinstance(key, str) and key in self.cache_dict:
            return True
        try:
            return self.model.names.key(key) in self.cache_dict
        except UnknownHook:
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(self.cache_dict)

    def __len__(self) -> int:
        return len(self.cache_dict)

    def keys(self) -> KeysView[str]:
        """The names, in the order of the pass."""
        return self.cache_dict.keys()

    def values(self) -> ValuesView[Floats]:
        """The arrays, in the order of the pass."""
        return self.cache_dict.values()

    def items(self) -> ItemsView[str, Floats]:
        """Pairs (name, array), in the order of the pass."""
        return self.cache_dict.items()

    def __repr__(self) -> str:
        return f"ActivationCache with keys {list(self.cache_dict)}"
