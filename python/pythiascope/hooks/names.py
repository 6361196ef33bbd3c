"""Hook names: TransformerLens's own, those of TransformerLens 4, and its shorthand.

The table of points comes from psc_plugin.h. A tensor has one canonical name, as
"blocks.3.attn.hook_z"; every other name of it is turned into that one here.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Union

from .._c import structures
from ..errors import InputError

NamesFilter = Union[None, str, Sequence[str], Callable[[str], bool]]

# TransformerLens 4 names each module's input and output. Of these, the following are one of our
# points, for reading and for editing. Per layer, without "blocks.{l}.":
_LAYER_ALIASES = {
    "hook_in": "hook_resid_pre",
    "hook_out": "hook_resid_post",
    "attn.hook_out": "hook_attn_out",
    "attn.o.hook_out": "hook_attn_out",
    "attn.q.hook_out": "attn.hook_q",
    "attn.k.hook_out": "attn.hook_k",
    "attn.v.hook_out": "attn.hook_v",
    "attn.o.hook_in": "attn.hook_z",
    "mlp.hook_out": "hook_mlp_out",
    "mlp.out.hook_out": "hook_mlp_out",
    "mlp.in.hook_out": "mlp.hook_pre",
    "mlp.out.hook_in": "mlp.hook_post",
}
_MODEL_ALIASES = {
    "embed.hook_out": "hook_embed",
    "unembed.hook_out": "hook_logits",
    "hook_unembed": "hook_logits",
}


def _normalized(ln: str) -> str:
    return f"it is {ln} after gamma and beta; read {ln}.hook_normalized and apply {ln}_w, {ln}_b"


_SPLIT = "pythiascope does not give each head an input of its own; edit hook_resid_pre"
# Names of TransformerLens that are no point of ours, and why.
_ABSENT = {
    "hook_pos_embed": "positions are rotary; see attn.hook_rot_q and attn.hook_rot_k",
    "hook_tokens": "it holds token ids; use model.to_tokens",
    "embed.hook_in": "it holds token ids; use model.to_tokens",
    "ln1.hook_in": "it has the values of hook_resid_pre; use that",
    "ln1.hook_out": _normalized("ln1"),
    "attn.hook_in": _normalized("ln1"),
    "attn.q.hook_in": _normalized("ln1"),
    "attn.k.hook_in": _normalized("ln1"),
    "attn.v.hook_in": _normalized("ln1"),
    "ln2.hook_in": "it has the values of hook_resid_pre; use that",
    "ln2.hook_out": _normalized("ln2"),
    "mlp.hook_in": _normalized("ln2"),
    "mlp.in.hook_in": _normalized("ln2"),
    "ln_final.hook_in": "it has the values of the last layer's hook_resid_post; use that",
    "ln_final.hook_out": _normalized("ln_final"),
    "unembed.hook_in": _normalized("ln_final"),
    "hook_attn_in": _SPLIT,
    "hook_q_input": _SPLIT,
    "hook_k_input": _SPLIT,
    "hook_v_input": _SPLIT,
    "attn.hook_attn_in": _SPLIT,
    "attn.hook_q_input": _SPLIT,
    "attn.hook_k_input": _SPLIT,
    "attn.hook_v_input": _SPLIT,
    "hook_mlp_in": "pythiascope has no copy of the stream for the MLP; edit hook_resid_pre",
    "hook_resid_mid": "this model adds attention and MLP to the same stream, so it has no middle",
}

# TransformerLens's words in a shorthand.
_KINDS = {"a": "attn", "attention": "attn", "m": "mlp", "b": "", "block": "", "blocks": ""}
_WORDS = {
    "attn": "pattern",
    "attn_logits": "attn_scores",
    "key": "k",
    "query": "q",
    "value": "v",
    "mlp_pre": "pre",
    "mlp_post": "post",
}
_IN_ATTENTION = {"q", "k", "v", "z", "rot_q", "rot_k", "result", "pattern", "attn_scores"}
_IN_MLP = {"pre", "post"}
_PACKED = re.compile(r"([a-z_]+?)(\d+)([a-z]?.*)")
_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)", re.DOTALL)


class UnknownHook(InputError, KeyError):
    """A name that is no hook of this model, or an entry that a cache does not hold."""

    __str__ = Exception.__str__


class Hook(NamedTuple):
    """One tensor of a model: a point, and a layer where the point has one."""

    name: str  # canonical: "blocks.3.attn.hook_z"
    point: int  # psc_point
    layer: int  # -1 where there is none
    shape: str  # psc_plugin.h's letters of the axes after [rows]


def get_act_name(name: str, layer: int | str | None = None, layer_type: str | None = None) -> str:
    """Turns TransformerLens's shorthand into a full name; full names stay as they are.

    get_act_name("z", 3) is "blocks.3.attn.hook_z", get_act_name("normalized", 2, "ln2") is
    "blocks.2.ln2.hook_normalized", get_act_name("k6") is "blocks.6.attn.hook_k". The name need
    not be a hook of any model.
    """
    if layer is None and layer_type is None and ("." in name or name.startswith("hook_")):
        return name
    packed = _PACKED.fullmatch(name)
    if packed is not None:
        name, layer, layer_type = packed.groups()
    name = _WORDS.get(name, name)
    if name in _IN_ATTENTION:
        kind = "attn"
    elif name in _IN_MLP:
        kind = "mlp"
    else:
        kind = _KINDS.get(layer_type or "", layer_type or "")
    if name in ("scale", "normalized") and layer is None:
        kind = "ln_final"
    block = "" if layer is None else f"blocks.{layer}."
    return f"{block}{kind}{'.' if kind else ''}hook_{name}"


def position_axis(shape: str) -> int:
    """The axis of positions in a cached tensor of these letters, from the end."""
    return -3 if shape in ("HD", "HN") else -2


class Names:
    """The hooks of one model, in the order in which a pass shows them."""

    def __init__(self, n_layers: int, parallel: bool) -> None:
        """n_layers and parallel (attention and MLP read the same stream) as in the model's cfg."""
        self.n_layers = n_layers
        self.parallel = parallel
        points = [
            (point, name, shape, layered)
            for point, (name, shape, layered) in enumerate(structures.POINTS)
            if not (parallel and name == "hook_resid_mid")
        ]
        first = [p for p, (_, _, _, layered) in enumerate(points) if layered]
        before, after = points[: first[0]], points[first[-1] + 1 :]
        layers = points[first[0] : first[-1] + 1]
        found = [Hook(name, point, -1, shape) for point, name, shape, _ in before]
        for layer in range(n_layers):
            found += [
                Hook(f"blocks.{layer}.{name}", point, layer, shape)
                for point, name, shape, _ in layers
            ]
        found += [Hook(name, point, -1, shape) for point, name, shape, _ in after]
        self.hooks = {hook.name: hook for hook in found}
        self._aliases = dict(_LAYER_ALIASES)
        if not parallel:
            self._aliases["ln2.hook_in"] = "hook_resid_mid"

    def canonical(self, name: str) -> str:
        """A name of TransformerLens 4 under our name; any other name unchanged."""
        match = _BLOCK.fullmatch(name)
        if match is None:
            return _MODEL_ALIASES.get(name, name)
        layer, rest = match.groups()
        return f"blocks.{layer}.{self._aliases[rest]}" if rest in self._aliases else name

    def find(self, name: str) -> Hook:
        """The hook of a full name, under any of its names. UnknownHook lists near ones."""
        if not isinstance(name, str):
            raise InputError(f"a hook name is a str, not {type(name).__name__}")
        hook = self.hooks.get(name) or self.hooks.get(self.canonical(name))
        if hook is None:
            raise UnknownHook(self._unknown(name))
        return hook

    def every(self, name: str) -> list[tuple[str, Hook]]:
        """The hook of a full name; with * as the layer ("blocks.*.hook_in"), that of each layer."""
        if isinstance(name, str) and name.startswith("blocks.*."):
            names = [name.replace("*", str(layer), 1) for layer in range(self.n_layers)]
            return [(of_layer, self.find(of_layer)) for of_layer in names]
        return [(name, self.find(name))]

    def key(self, key: object) -> str:
        """A full name, canonical, from what indexes a cache: a name, a shorthand, or a tuple.

        A tuple is (name, layer) or (name, layer, kind); negative layers count from the end.
        """
        if isinstance(key, str):
            return self.canonical(key if key in self.hooks else get_act_name(key))
        if not isinstance(key, tuple) or not 1 <= len(key) <= 3 or not isinstance(key[0], str):
            raise UnknownHook(f"an entry of a cache is a name or (name, layer, kind), not {key!r}")
        layer = key[1] if len(key) > 1 else None
        kind = key[2] if len(key) > 2 else None
        if kind is not None and not isinstance(kind, str):
            raise UnknownHook(f"the kind in {key!r} is a str as 'attn', 'mlp' or 'ln1', or None")
        if layer is not None:
            layer = self.layer(layer, key)
        return self.canonical(get_act_name(key[0], layer, kind))

    def layer(self, layer: object, where: object) -> int:
        """A layer as 0..n_layers-1; negative ones count from the end. UnknownHook otherwise."""
        try:
            index = operator.index(layer)  # type: ignore[arg-type]
        except TypeError:
            raise UnknownHook(f"the layer in {where!r} is no whole number") from None
        if not -self.n_layers <= index < self.n_layers:
            raise UnknownHook(
                f"{where!r} asks for layer {index}; this model has layers 0 to {self.n_layers - 1}"
            )
        return index % self.n_layers

    def select(self, names: str | Callable[[str], bool]) -> list[tuple[str, Hook]]:
        """The hooks that a name or a predicate chooses, each with the name that it chose.

        A name with * as the layer chooses every layer.
        A predicate is asked for our names; only when it chooses none, for those of
        TransformerLens 4. UnknownHook when it chooses none of those either.
        """
        if isinstance(names, str):
            return self.every(names)
        if not callable(names):
            raise InputError(
                f"hooks are chosen by a name or a function of names, not {type(names).__name__}"
            )
        chosen = [(name, hook) for name, hook in self.hooks.items() if names(name)]
        if not chosen:
            chosen = [(name, self.find(name)) for name in self.aliases() if names(name)]
        if not chosen:
            raise UnknownHook(
                "the function of names chose no hook; model.hook_dict lists the names of this model"
            )
        return chosen

    def aliases(self) -> Iterable[str]:
        """All names of TransformerLens 4 that this model takes."""
        yield from _MODEL_ALIASES
        for layer in range(self.n_layers):
            for name in self._aliases:
                yield f"blocks.{layer}.{name}"

    def filtered(self, names: NamesFilter, use_attn_result: bool) -> list[Hook]:
        """The hooks that run_with_cache keeps for a names_filter, in the order of a pass.

        None: all but attn.hook_result and hook_logits. A str or a sequence of str: exactly those,
        with * as the layer in all layers; shorthand is not taken. A predicate: what it chooses.
        None and predicates get attn.hook_result only when use_attn_result is set, or when a
        predicate chooses nothing else, because it is n_heads times as large as the residual
        stream.
        """
        if names is None:
            return [
                hook
                for hook in self.hooks.values()
                if hook.name != "hook_logits" and (use_attn_result or not _is_result(hook))
            ]
        if callable(names):
            chosen = [hook for _, hook in self.select(names)]
            small = [hook for hook in chosen if not _is_result(hook)]
            return chosen if use_attn_result or not small else small
        if isinstance(names, str):
            names = [names]
        if not isinstance(names, Iterable):
            raise InputError(
                "names_filter is None, a name, a sequence of names or a function of names, not "
                f"{type(names).__name__}"
            )
        chosen_names = {hook.name for name in names for _, hook in self.every(name)}
        return [hook for hook in self.hooks.values() if hook.name in chosen_names]

    def _unknown(self, name: str) -> str:
        """The sentence about a name that is no hook."""
        match = _BLOCK.fullmatch(name)
        layer, rest = match.groups() if match else ("", name)
        if match and int(layer) >= self.n_layers and self._has(rest):
            return f"there is no hook {name}; this model has layers 0 to {self.n_layers - 1}"
        if rest in _ABSENT:
            return f"there is no hook {name}: {_ABSENT[rest]}"
        near = self._near(name)
        if near:
            return f"there is no hook {name}; did you mean {' or '.join(near)}?"
        return f"there is no hook {name}; model.hook_dict lists the names of this model"

    def _has(self, rest: str) -> bool:
        return rest in self._aliases or f"blocks.0.{rest}" in self.hooks

    def _near(self, name: str) -> list[str]:
        """Up to three names that are spelt alike, of the same layer where one is given."""
        import difflib  # rare, and not free to import

        number = re.search(r"\d+", name)
        layer = int(number.group()) if number else 0
        layer = layer if layer < self.n_layers else 0
        prefix = f"blocks.{layer}."
        names = [n for n in self.hooks if n.startswith(prefix) or not n.startswith("blocks.")]
        names += [prefix + rest for rest in self._aliases]
        short = {n.rsplit(".", 1)[-1]: n for n in reversed(names)}
        short.update({n.removeprefix(prefix): n for n in names})
        guesses = [name, re.sub(r"^blocks\.?\d*\.?", "", name), get_act_name(name)]
        last = name.rsplit(".", 1)[-1]
        found = [short[last]] if last in short else []
        for guess in guesses:
            for pool in (dict(zip(names, names)), short):
                for hit in difflib.get_close_matches(guess, pool, n=3, cutoff=0.75):
                    if pool[hit] not in found:
                        found.append(pool[hit])
        return found[:3]


def _is_result(hook: Hook) -> bool:
    return hook.name.endswith("attn.hook_result")
