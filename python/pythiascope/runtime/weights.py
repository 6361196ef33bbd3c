"""A model's weights in the raw form, as read-only arrays that are unpacked on demand.

Names and axes are TransformerLens's; nothing is folded. The runtime keeps weights packed for its
kernels, so an array here is a copy, shared by all who hold it. The last ones are kept up to
KEPT bytes; others live as long as an array over them.
"""

from __future__ import annotations

import operator
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import ArrayLike, NDArray

from .._c import structures
from .._c.library import call
from ..errors import InputError
from .text import TextMethods

Floats = NDArray[np.float32]
KEPT = 256 << 20  # most bytes of weights that nothing else holds


class Unpacked:
    """The weights of one model that are unpacked at the moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._alive: weakref.WeakValueDictionary[object, Floats] = weakref.WeakValueDictionary()
        self._kept: OrderedDict[object, Floats] = OrderedDict()
        self._bytes = 0

    def get(self, key: object, make: Callable[[], Floats]) -> Floats:
        """The array of a key; make() unpacks it when it is not there."""
        with self._lock:
            array = self._alive.get(key)
            if array is None:
                array = make()
                array.flags.writeable = False
                self._alive[key] = array
            self._keep(key, array)
            return array

    def _keep(self, key: object, array: Floats) -> None:
        """Keeps the array as the last used one; drops the least recently used beyond KEPT."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return
        if array.nbytes > KEPT:
            return
        self._kept[key] = array
        self._bytes += array.nbytes
        while self._bytes > KEPT:
            _, old = self._kept.popitem(last=False)
            self._bytes -= old.nbytes


class LayerWeights(NDArrayOperatorsMixin):
    """One kind of weight in every layer: weights(3) or weights[3] is layer 3's array.

    Negative layers count from the end. weights[2:4] and np.asarray(weights) stack layers, as
    TransformerLens's [n_layers, ...] tensor, in new memory.
    """

    def __init__(
        self, name: str, n_layers: int, shape: tuple[int, ...], layer: Callable[[int], Floats]
    ) -> None:
        """shape: of one layer. layer: the array of a layer, 0..n_layers-1."""
        self.name = name
        self.shape = (n_layers, *shape)
        self._layer = layer

    @property
    def ndim(self) -> int:
        """The number of axes, with that of layers."""
        return len(self.shape)

    def __call__(self, layer: int) -> Floats:
        """A layer's array. InputError for a layer that the model does not have."""
        try:
            index = operator.index(layer)
        except TypeError:
            raise InputError(f"the layer of {self.name} is a whole number, not {layer!r}") from None
        if not -len(self) <= index < len(self):
            raise InputError(
                f"{self.name} has no layer {index}; this model has layers 0 to {len(self) - 1}"
            )
        return self._layer(index % len(self))

    def __getitem__(self, index: Any) -> Floats:
        """An index as of the stacked array: weights[3], weights[3, 0], weights[2:4]."""
        first, rest = (index[0], index[1:]) if isinstance(index, tuple) else (index, ())
        if isinstance(first, (slice, list, np.ndarray)):
            chosen = np.arange(len(self))[first].tolist()
            found, rest = np.stack([self._layer(layer) for layer in chosen]), (slice(None), *rest)
        else:
            found = self(first)
        part: Floats = found[rest] if rest else found
        return part

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Floats]:
        return map(self._layer, range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError(f"{self.name} is not one array; stacking its layers needs a copy")
        stacked = np.stack(list(self))
        if dtype is not None:
            stacked = stacked.astype(dtype, copy=False)
        stacked.flags.writeable = copy is True  # np.array asks for a copy, np.asarray does not
        return stacked

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if any(isinstance(x, LayerWeights) for x in options.get("out", ())):
            return NotImplemented  # weights are read-only
        given = [np.asarray(x) if isinstance(x, LayerWeights) else x for x in inputs]
        return getattr(ufunc, method)(*given, **options)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{self.name}: {len(self)} layers of float32 {list(self.shape[1:])}>"


class Weights(TextMethods):
    """The weights of a model. Model inherits it."""

    def _get(self, key: object, name: str, shape: tuple[int, ...], *arguments: object) -> Floats:
        """The array of a key; name is the function that writes it, with these arguments."""
        pointer = self._opened.pointer
        unpacked: Unpacked = self.__dict__.setdefault("_unpacked", Unpacked())

        def make() -> Floats:
            out = np.empty(shape, dtype=np.float32)
            call(name, out.ctypes.data, out.size, pointer, *arguments)
            return out

        return unpacked.get(key, make)

    def _matrix(self, matrix: int, layer: int, rows: int, columns: int) -> Floats:
        """A matrix as the runtime has it, [outputs, inputs]."""
        return self._get((matrix, layer), "psc_model_matrix", (rows, columns), matrix, layer)

    def _bias(self, matrix: int, layer: int, outputs: int) -> Floats:
        return self._get(("b", matrix, layer), "psc_model_bias", (outputs,), matrix, layer)

    def _ln(self, ln: int, layer: int, beta: bool) -> Floats:
        pointer, n = self._opened.pointer, self.cfg.d_model
        unpacked: Unpacked = self.__dict__.setdefault("_unpacked", Unpacked())

        def make() -> Floats:
            out = np.empty(n, dtype=np.float32)
            gamma_at, beta_at = (None, out.ctypes.data) if beta else (out.ctypes.data, None)
            call("psc_model_ln", gamma_at, beta_at, n, pointer, ln, layer)
            return out

        return unpacked.get(("ln", ln, layer, beta), make)

    def _per_layer(
        self, name: str, shape: tuple[int, ...], layer: Callable[[int], Floats]
    ) -> LayerWeights:
        return LayerWeights(name, self.cfg.n_layers, shape, layer)

    def _reader(self, name: str, matrix: int) -> LayerWeights:
        """W_Q, W_K or W_V."""
        heads, width, d_model = self.cfg.n_heads, self.cfg.d_head, self.cfg.d_model

        def layer(index: int) -> Floats:
            raw = self._matrix(matrix, index, heads * width, d_model)
            shaped: Floats = raw.reshape(heads, width, d_model).transpose(0, 2, 1)
            return shaped

        return self._per_layer(name, (heads, d_model, width), layer)

    def _head_bias(self, name: str, matrix: int) -> LayerWeights:
        heads, width = self.cfg.n_heads, self.cfg.d_head

        def layer(index: int) -> Floats:
            shaped: Floats = self._bias(matrix, index, heads * width).reshape(heads, width)
            return shaped

        return self._per_layer(name, (heads, width), layer)

    def _vectors(self, name: str, matrix: int, outputs: int) -> LayerWeights:
        return self._per_layer(name, (outputs,), lambda at: self._bias(matrix, at, outputs))

    def _norms(self, name: str, ln: int, beta: bool) -> LayerWeights:
        return self._per_layer(name, (self.cfg.d_model,), lambda at: self._ln(ln, at, beta))

    @property
    def W_E(self) -> Floats:
        """The embedding [d_vocab, d_model]."""
        n, d_model = self.cfg.d_vocab, self.cfg.d_model
        return self._get("W_E", "psc_model_embedding", (n, d_model), 0, n)

    @property
    def W_U(self) -> Floats:
        """The unembedding [d_model, d_vocab], without ln_final's gamma."""
        raw = self._matrix(structures.PSC_W_U, -1, self.cfg.d_vocab, self.cfg.d_model)
        transposed: Floats = raw.T
        return transposed

    @property
    def b_U(self) -> Floats:
        """The unembedding's bias [d_vocab]: zeros, because Pythia has none."""
        return self._bias(structures.PSC_W_U, -1, self.cfg.d_vocab)

    @property
    def W_Q(self) -> LayerWeights:
        """W_Q(layer): [n_heads, d_model, d_head]."""
        return self._reader("W_Q", structures.PSC_W_Q)

    @property
    def W_K(self) -> LayerWeights:
        """W_K(layer): [n_heads, d_model, d_head]."""
        return self._reader("W_K", structures.PSC_W_K)

    @property
    def W_V(self) -> LayerWeights:
        """W_V(layer): [n_heads, d_model, d_head]."""
        return self._reader("W_V", structures.PSC_W_V)

    @property
    def W_O(self) -> LayerWeights:
        """W_O(layer): [n_heads, d_head, d_model]."""
        heads, width, d_model = self.cfg.n_heads, self.cfg.d_head, self.cfg.d_model

        def layer(index: int) -> Floats:
            raw = self._matrix(structures.PSC_W_O, index, d_model, heads * width)
            shaped: Floats = raw.reshape(d_model, heads, width).transpose(1, 2, 0)
            return shaped

        return self._per_layer("W_O", (heads, width, d_model), layer)

    @property
    def W_in(self) -> LayerWeights:
        """W_in(layer): [d_model, d_mlp]."""
        shape = (self.cfg.d_model, self.cfg.d_mlp)
        return self._per_layer(
            "W_in", shape, lambda at: self._matrix(structures.PSC_W_IN, at, shape[1], shape[0]).T
        )

    @property
    def W_out(self) -> LayerWeights:
        """W_out(layer): [d_mlp, d_model]."""
        shape = (self.cfg.d_mlp, self.cfg.d_model)
        return self._per_layer(
            "W_out", shape, lambda at: self._matrix(structures.PSC_W_OUT, at, shape[1], shape[0]).T
        )

    @property
    def b_Q(self) -> LayerWeights:
        """b_Q(layer): [n_heads, d_head]."""
        return self._head_bias("b_Q", structures.PSC_W_Q)

    @property
    def b_K(self) -> LayerWeights:
        """b_K(layer): [n_heads, d_head]."""
        return self._head_bias("b_K", structures.PSC_W_K)

    @property
    def b_V(self) -> LayerWeights:
        """b_V(layer): [n_heads, d_head]."""
        return self._head_bias("b_V", structures.PSC_W_V)

    @property
    def b_O(self) -> LayerWeights:
        """b_O(layer): [d_model]."""
        return self._vectors("b_O", structures.PSC_W_O, self.cfg.d_model)

    @property
    def b_in(self) -> LayerWeights:
        """b_in(layer): [d_mlp]."""
        return self._vectors("b_in", structures.PSC_W_IN, self.cfg.d_mlp)

    @property
    def b_out(self) -> LayerWeights:
        """b_out(layer): [d_model]."""
        return self._vectors("b_out", structures.PSC_W_OUT, self.cfg.d_model)

    @property
    def ln1_w(self) -> LayerWeights:
        """ln1_w(layer): gamma of the LayerNorm before attention, [d_model]."""
        return self._norms("ln1_w", structures.PSC_LN1, False)

    @property
    def ln1_b(self) -> LayerWeights:
        """ln1_b(layer): its beta, [d_model]."""
        return self._norms("ln1_b", structures.PSC_LN1, True)

    @property
    def ln2_w(self) -> LayerWeights:
        """ln2_w(layer): gamma of the LayerNorm before the MLP, [d_model]."""
        return self._norms("ln2_w", structures.PSC_LN2, False)

    @property
    def ln2_b(self) -> LayerWeights:
        """ln2_b(layer): its beta, [d_model]."""
        return self._norms("ln2_b", structures.PSC_LN2, True)

    @property
    def ln_final_w(self) -> Floats:
        """gamma of the LayerNorm before the unembedding, [d_model]."""
        return self._ln(structures.PSC_LN_FINAL, -1, False)

    @property
    def ln_final_b(self) -> Floats:
        """beta of the LayerNorm before the unembedding, [d_model]."""
        return self._ln(structures.PSC_LN_FINAL, -1, True)

    def ln_final(self, residual: ArrayLike) -> Floats:
        """The last LayerNorm of a stream [..., d_model], gamma and beta included."""
        wide = np.asarray(residual, dtype=np.float64)
        self._expect_model_axis(wide)
        wide = wide - wide.mean(axis=-1, keepdims=True)
        scale = np.sqrt(np.square(wide).mean(axis=-1, keepdims=True) + self.cfg.eps)
        rows: Floats = (wide / scale * self.ln_final_w + self.ln_final_b).astype(np.float32)
        return rows

    def unembed(self, normalized: ArrayLike) -> Floats:
        """The logits [..., d_vocab] of ln_final's output [..., d_model]: @ W_U + b_U."""
        rows = np.asarray(normalized, dtype=np.float32)
        self._expect_model_axis(rows)
        logits: Floats = rows @ self.W_U + self.b_U
        return logits

    def accumulated_bias(
        self, layer: int, mlp_input: bool = False, include_mlp_biases: bool = True
    ) -> Floats:
        """The sum of the output biases of the layers before `layer`, [d_model].

        mlp_input adds b_O of the layer itself; include_mlp_biases=False leaves out b_out.
        """
        n_layers = self.cfg.n_layers
        if not 0 <= layer <= n_layers - mlp_input:
            raise InputError(f"layer is 0 to {n_layers - mlp_input} here, not {layer}")
        total = np.zeros(self.cfg.d_model)
        for index in range(layer):
            total += self.b_O(index)
            if include_mlp_biases:
                total += self.b_out(index)
        if mlp_input:
            total += self.b_O(layer)
        return total.astype(np.float32)

    def tokens_to_residual_directions(self, tokens: str | int | ArrayLike) -> Floats:
        """The direction of the normalized stream for each token's logit, [..., d_model].

        ln_final's gamma times the token's column of W_U: TransformerLens's answer with
        fold_ln=True. tokens: a text of one token, an id, or an array of ids [...]; an array of
        one id gives [d_model].
        """
        ids = np.asarray(self.to_single_token(tokens) if isinstance(tokens, str) else tokens)
        if ids.dtype.kind not in "iu" and ids.size:
            raise InputError(
                f"tokens are a text of one token, an id or ids, not {ids.dtype.name} values"
            )
        if ids.size == 0 or ids.min() < 0 or ids.max() >= self.cfg.d_vocab:
            raise InputError(f"a token's id is 0 to {self.cfg.d_vocab - 1}, not {tokens!r}")
        columns = self.W_U.T[ids.reshape(-1)[0] if ids.size == 1 else ids]
        directions: Floats = columns * self.ln_final_w
        return directions

    def _expect_model_axis(self, rows: NDArray[Any]) -> None:
        if rows.ndim < 1 or rows.shape[-1] != self.cfg.d_model:
            raise InputError(
                f"the last axis is d_model, {self.cfg.d_model}, not a shape {list(rows.shape)}"
            )
