"""The host's weights, its mathematics with the forward pass's own bits, and its files."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, NamedTuple, Union

import numpy as np
import numpy.typing as npt

from .._c import structures as c
from .._c.paths import Path, path_bytes
from ..errors import HostCallFailed, InputError
from .host_base import HostBase, address_of, encoded, text_of

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Setting = Union[str, float, bool]

_MATRICES = {
    "W_Q": c.PSC_W_Q,
    "W_K": c.PSC_W_K,
    "W_V": c.PSC_W_V,
    "W_O": c.PSC_W_O,
    "W_in": c.PSC_W_IN,
    "W_out": c.PSC_W_OUT,
    "W_U": c.PSC_W_U,
}
_NORMS = {"ln1": c.PSC_LN1, "ln2": c.PSC_LN2, "ln_final": c.PSC_LN_FINAL}


class Word(NamedTuple):
    """A word of a labelled sentence; start and end are its bytes in the sentence's text."""

    start: int
    end: int
    head: int
    form: str
    lemma: str
    upos: str
    xpos: str
    feats: str
    deprel: str
    misc: str


class Sentence(NamedTuple):
    """A labelled sentence, as psc_sentence; `start`: where it begins in the run's text."""

    id: str
    text: str
    start: int
    words: tuple[Word, ...]
    new_document: bool
    new_paragraph: bool
    line: int


def _pick(name: str, known: Mapping[str, int], what: str) -> int:
    if name not in known:
        raise InputError(f"'{name}' is not {what}; they are {', '.join(known)}")
    return known[name]


def _sentences(first: Any, n: int) -> list[Sentence]:
    out = []
    for raw in first[:n] if first else ():
        words = []
        for word in raw.words[: raw.n]:
            texts = (text_of(getattr(word, name)) for name in Word._fields[3:])
            words.append(Word(word.start, word.end, word.head, *texts))
        out.append(
            Sentence(
                text_of(raw.id),
                text_of(raw.text),
                raw.start,
                tuple(words),
                bool(raw.new_document),
                bool(raw.new_paragraph),
                raw.line,
            )
        )
    return out


class HostMath(HostBase):
    """Matrices are named "W_Q", "W_K", "W_V", "W_O", "W_in", "W_out" and "W_U" (y = W x)."""

    def _shape(self, matrix: str) -> tuple[int, int]:
        """[outputs, inputs] of a matrix."""
        m = self.model
        n, heads, mlp = m.d_model, m.n_heads * m.d_head, m.d_mlp
        if matrix in ("W_Q", "W_K", "W_V"):
            return heads, n
        shapes = {"W_O": (n, heads), "W_in": (mlp, n), "W_out": (n, mlp), "W_U": (m.d_vocab, n)}
        return shapes[matrix]

    def _copy(self, address: Any, n: int) -> Floats:
        return np.frombuffer(ctypes.string_at(address, 4 * n), np.float32)

    # --- weights ---

    def ln_parameters(self, ln: str, layer: int = -1) -> tuple[Floats, Floats]:
        """gamma and beta [d_model] of "ln1", "ln2" (of a layer) or "ln_final"."""
        gamma, beta = ctypes.c_void_p(), ctypes.c_void_p()
        which = _pick(ln, _NORMS, "a LayerNorm")
        self._check("ln_parameters", which, layer, ctypes.byref(gamma), ctypes.byref(beta))
        n = self.model.d_model
        return self._copy(gamma.value, n), self._copy(beta.value, n)

    def bias(self, matrix: str, layer: int = -1) -> Floats | None:
        """The bias [outputs] of y = W x + b: zeros in a model without biases, None for W_U."""
        number = _pick(matrix, _MATRICES, "a matrix")
        if number == c.PSC_W_U:
            return None
        return self._copy(self._pointer("bias", number, layer), self._shape(matrix)[0])

    def embedding(self, token: int) -> Floats:
        """A token's embedding [d_model]."""
        out = np.empty(self.model.d_model, np.float32)
        self._check("embedding", token, address_of(out))
        return out

    def unembedding(self, token: int) -> Floats:
        """A token's row of W_U [d_model]."""
        out = np.empty(self.model.d_model, np.float32)
        self._check("unembedding", token, address_of(out))
        return out

    def unembedding_mean(self) -> Floats:
        """The mean of W_U's rows [d_model]."""
        return self._copy(self._pointer("unembedding_mean"), self.model.d_model)

    # --- mathematics ---

    def _product(self, call: str, matrix: str, x: npt.ArrayLike, layer: int, side: int) -> Floats:
        number = _pick(matrix, _MATRICES, "a matrix")
        given = np.ascontiguousarray(x, np.float32)
        shape = self._shape(matrix)
        inner, outer = shape[1 - side], shape[side]
        if given.ndim == 0 or given.shape[-1] != inner:
            raise InputError(
                f"host.{call}: the last axis of x has {given.shape[-1:]}, {matrix} needs {inner}"
            )
        out = np.empty((*given.shape[:-1], outer), np.float32)
        n_rows = given.size // inner
        self._check(call, number, layer, address_of(out), address_of(given), n_rows)
        return out

    def apply(self, matrix: str, x: npt.ArrayLike, layer: int = -1) -> Floats:
        """W x of each row, without the bias: x [..., inputs] -> [..., outputs]."""
        return self._product("apply", matrix, x, layer, 0)

    def pullback(self, matrix: str, u: npt.ArrayLike, layer: int = -1) -> Floats:
        """The transpose: u [..., outputs] -> [..., inputs]."""
        return self._product("pullback", matrix, u, layer, 1)

    def _norms(self, call: str, matrix: str, layer: int, centered: bool, side: int) -> Doubles:
        number = _pick(matrix, _MATRICES, "a matrix")
        out = np.empty(self._shape(matrix)[side], np.float64)
        where = out.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
        self._check(call, number, layer, int(centered), where)
        return out

    def row_norms(self, matrix: str, layer: int = -1, *, centered: bool = False) -> Doubles:
        """|W[o, :]| of each output, f64; centered: of each vector minus its own mean."""
        return self._norms("row_norms", matrix, layer, centered, 0)

    def column_norms(self, matrix: str, layer: int = -1, *, centered: bool = False) -> Doubles:
        """|W[:, i]| of each input, f64; centered: of each vector minus its own mean."""
        return self._norms("column_norms", matrix, layer, centered, 1)

    def dot(self, a: npt.ArrayLike, b: npt.ArrayLike) -> float:
        """The striped f32 dot product of two vectors of one length."""
        x, y = np.ascontiguousarray(a, np.float32), np.ascontiguousarray(b, np.float32)
        if x.shape != y.shape:
            raise InputError(f"host.dot: the shapes {x.shape} and {y.shape} differ")
        return float(self._call("dot", x.size, address_of(x), address_of(y)))

    def _map(self, call: str, x: npt.ArrayLike) -> Floats:
        given = np.ascontiguousarray(x, np.float32)
        out = np.empty_like(given)
        self._call(call, given.size, address_of(out), address_of(given))
        return out

    def exp(self, x: npt.ArrayLike) -> Floats:
        """exp of each element, f32."""
        return self._map("exp", x)

    def erf(self, x: npt.ArrayLike) -> Floats:
        """erf of each element, f32."""
        return self._map("erf", x)

    def tanh(self, x: npt.ArrayLike) -> Floats:
        """tanh of each element, f32."""
        return self._map("tanh", x)

    def log(self, x: npt.ArrayLike) -> Doubles:
        """The natural logarithm of each element, f64."""
        given = np.ascontiguousarray(x, np.float64)
        out = np.empty_like(given)
        where = out.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
        self._call("log", given.size, where, address_of(given))
        return out

    def log_sum_exp(self, x: npt.ArrayLike) -> float:
        """log(sum(exp(x))) of one vector, f64."""
        given = np.ascontiguousarray(x, np.float32).reshape(-1)
        return float(self._call("log_sum_exp", given.size, address_of(given)))

    def shares(
        self,
        x: npt.ArrayLike,
        w: npt.ArrayLike | None,
        divisor: float,
        *,
        first: int = 0,
        sums: Doubles | None = None,
    ) -> tuple[Floats, Doubles]:
        """y = x w / divisor (x / divisor where w is None), each step rounded to f32, and sums [32].

        sums[l] += y[i] and sums[16 + l] += |y[i]| in f64, l = (first + i) mod 16; `sums` continues
        those of a call before.
        """
        given = np.ascontiguousarray(x, np.float32)
        weights = None if w is None else np.ascontiguousarray(w, np.float32)
        if weights is not None and weights.shape != given.shape:
            raise InputError(f"host.shares: the shapes {given.shape} and {weights.shape} differ")
        total = np.zeros(32) if sums is None else np.array(sums, np.float64)
        if total.shape != (32,):
            raise InputError(f"host.shares: sums has the shape {total.shape}, not (32,)")
        out = np.empty_like(given)
        second = None if weights is None else address_of(weights)
        place = (given.size, first, divisor)
        self._call("shares", address_of(total), address_of(out), address_of(given), second, *place)
        return out, total

    def keep(
        self,
        logits: npt.ArrayLike,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.0,
        min_p: float = 0.0,
    ) -> tuple[npt.NDArray[np.int32], Doubles]:
        """What a strategy keeps of logits [d_vocab]: ascending ids, and weights in 0..1."""
        given = np.ascontiguousarray(logits, np.float32)
        n = self.model.d_vocab
        if given.shape != (n,):
            raise InputError(f"host.keep: the logits have the shape {given.shape}, not ({n},)")
        values = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
        strategy = c.psc_strategy(**values)
        ids, weights = np.empty(n, np.int32), np.empty(n, np.float64)
        kept = self._call(
            "keep",
            strategy,
            address_of(given),
            ids.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            weights.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
        )
        if kept < 0:
            raise InputError(
                "host.keep: a logit is NaN, none is finite, or the strategy is invalid"
            )
        return ids[:kept].copy(), weights[:kept].copy()

    def rotate(self, x: npt.ArrayLike, position: int, *, inverse: bool = False) -> Floats:
        """One head's q or k [d_head], rotated as the model does at a position, or back."""
        out = np.array(x, np.float32)
        if out.shape != (self.model.d_head,):
            raise InputError(f"host.rotate: x has the shape {out.shape}, not [d_head]")
        self._check("rotate", position, int(inverse), address_of(out))
        return out

    # --- files ---

    def read_tensor(self, path: Path, name: str | None = None) -> Floats:
        """A tensor of a safetensors file as f32; `name` None: the only one."""
        n_axes, shape = ctypes.c_int32(), (ctypes.c_int64 * 8)()
        key = None if name is None else encoded(name, "a tensor's name")
        address = self._pointer(
            "read_tensor", path_bytes(path), key, ctypes.byref(n_axes), ctypes.addressof(shape)
        )
        extents = tuple(shape[: n_axes.value])
        count = int(np.prod(extents, dtype=np.int64))
        return self._copy(address, count).reshape(extents)

    def load_setting(self, folder: Path, key: str) -> Setting | None:
        """An entry of a folder's config.json, or None when it has none."""
        out = c.psc_setting()
        found = self._call("load_setting", path_bytes(folder), encoded(key, "a key"), out)
        if found < 0:
            raise HostCallFailed("host.load_setting failed")
        if found == 0:
            return None
        if out.kind == c.PSC_SETTING_TEXT:
            return text_of(out.text)
        return bool(out.number) if out.kind == c.PSC_SETTING_BOOLEAN else out.number

    def save_folder(
        self, folder: Path, settings: Mapping[str, Setting], tensors: Mapping[str, npt.ArrayLike]
    ) -> None:
        """Writes config.json and params.safetensors (f32, up to four axes) into a new folder.

        The folder appears whole or not at all; without tensors the host only checks that it could.
        """
        entries = (c.psc_setting * max(len(settings), 1))()
        for entry, (key, value) in zip(entries, settings.items()):
            entry.key = encoded(key, "a key")
            if isinstance(value, str):
                entry.kind, entry.text = c.PSC_SETTING_TEXT, encoded(value, key)
            else:
                boolean = isinstance(value, bool)
                entry.kind = c.PSC_SETTING_BOOLEAN if boolean else c.PSC_SETTING_NUMBER
                entry.number = float(value)
        named = (c.psc_named_tensor * max(len(tensors), 1))()
        arrays = [np.ascontiguousarray(value, np.float32) for value in tensors.values()]
        for one, key, array in zip(named, tensors, arrays):
            if array.ndim > 4:
                raise InputError(f"tensor {key} has {array.ndim} axes; 4 are the most")
            one.name, one.n_axes, one.data = encoded(key, "a name"), array.ndim, address_of(array)
            for i, n in enumerate(array.shape):
                one.shape[i] = n
        self._check("save_folder", path_bytes(folder), len(settings), entries, len(arrays), named)

    def save_file(self, path: Path, content: bytes | None) -> None:
        """Writes a file whole or not at all; `content` None: only checks that it could."""
        size = 0 if content is None else len(content)
        self._check("save_file", path_bytes(path), content, size)

    # --- labelled sentences ---

    def sentences(self) -> list[Sentence]:
        """The labels that the caller gave to the run's text; empty when it gave none."""
        n = ctypes.c_int32()
        return _sentences(self._call("sentences", ctypes.byref(n)), n.value)

    def read_sentences(self, path: Path) -> list[Sentence]:
        """The sentences of a CoNLL-U file."""
        n = ctypes.c_int32()
        return _sentences(
            self._pointer("read_sentences", path_bytes(path), ctypes.byref(n)), n.value
        )
