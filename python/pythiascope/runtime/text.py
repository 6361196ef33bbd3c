"""The methods of Model about texts and tokens."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
import numpy.typing as npt

from ..checks import whole
from ..errors import InputError
from . import tokens as tk
from .base import ModelBase
from .tokens import Ids, Input, Tokens

__all__ = ["TextMethods"]


class TextMethods(ModelBase):
    """Texts to ids and back."""

    @property
    def has_tokenizer(self) -> bool:
        """Whether texts can be tokenized; without it inputs are ids."""
        return self._open.has_tokenizer

    def to_tokens(self, input: Input, prepend_bos: bool = False) -> Ids:
        """The ids of a text or of a list of texts.

        Args:
            input: A text, a list of texts, or ids, which are checked.
            prepend_bos: Put the beginning-of-text token in front.

        Returns:
            int64 [batch, pos], with -1 on the right of shorter texts. A call of the model takes
            these as they are.

        Raises:
            InputError: A text is empty, the model has no tokenizer, or an id is out of range.
        """
        return tk.padded(self._sequences(input, prepend_bos)[0])

    def tokens_with_ranges(self, text: str, prepend_bos: bool = False) -> tuple[Ids, Ids]:
        """The ids of a text, and the bytes of each in its UTF-8 form.

        Returns:
            int64 [pos], and int64 [pos, 2]: begin and end. The ranges tile the text; that of the
            beginning-of-text token is 0, 0.
        """
        tokens = tk.encode(self._opened, text, prepend_bos)
        return tokens.ids, tokens.ranges

    @overload
    def to_str_tokens(self, input: str, prepend_bos: bool = False) -> list[str]: ...
    @overload
    def to_str_tokens(self, input: Input, prepend_bos: bool = False) -> Any: ...
    def to_str_tokens(self, input: Input, prepend_bos: bool = False) -> Any:
        """The text of each token.

        A token that is part of a character has U+FFFD in its place; an id without a text is #ID.

        Returns:
            list[str] of a text or of ids [pos]; list[list[str]] of a batch.
        """
        sequences, batch = self._sequences(input, prepend_bos)
        opened = self._opened
        texts = [[tk.text_of(opened, int(i)) for i in s.rows["id"]] for s in sequences]
        return texts if batch else texts[0]

    @overload
    def to_string(self, tokens: int) -> str: ...
    @overload
    def to_string(self, tokens: Any) -> Any: ...
    def to_string(self, tokens: Any) -> Any:
        """The text of ids; broken UTF-8 becomes U+FFFD, and -1 (padding) is left out.

        Returns:
            str of one id or of ids [pos]; list[str] of [batch, pos] and of a list of rows.
        """
        opened = self._opened
        if isinstance(tokens, (list, tuple)) and tokens and not np.isscalar(tokens[0]):
            if np.ndim(tokens[0]) > 0:
                return [self.to_string(row) for row in tokens]
        ids = np.asarray(tokens)
        if ids.size and ids.dtype.kind not in "iu":
            raise InputError(f"the tokens are {ids.dtype}; pass whole-number ids")
        if ids.ndim > 2:
            raise InputError(f"the tokens have {ids.ndim} axes; pass [pos] or [batch, pos]")
        if ids.ndim == 2:
            return [tk.decode(opened, row) for row in ids]
        return tk.decode(opened, ids.reshape(-1))

    def to_single_token(self, text: str) -> int:
        """The id of a text that is exactly one token.

        Raises:
            InputError: It is several tokens, or none.
        """
        found = tk.encode(self._opened, text)
        if len(found) != 1:
            parts = ", ".join(repr(part) for part in self.to_str_tokens(text)) if text else "none"
            raise InputError(f"{text!r} is {len(found)} tokens ({parts}); pass a text of one token")
        return int(found.rows["id"][0])

    def to_single_str_token(self, token: int) -> str:
        """The text of one id.

        Raises:
            InputError: The id is outside the vocabulary.
        """
        token = whole("the token", token, 0, self._opened.info.d_vocab - 1)
        return self.to_str_tokens([token])[0]  # type: ignore[no-any-return]

    def get_token_position(
        self, token: str | int, input: Input, mode: str = "first", prepend_bos: bool = False
    ) -> int:
        """Where a token stands in a text or in ids [pos].

        Args:
            token: A text of exactly one token, or an id.
            input: The text or ids to search.
            mode: The "first" or the "last" place.
            prepend_bos: Put the beginning-of-text token in front of the text.

        Raises:
            InputError: It does not stand there, or mode is another.
        """
        if mode not in ("first", "last"):
            raise InputError(f'mode is {mode!r}; pass "first" or "last"')
        if isinstance(token, str):
            wanted = self.to_single_token(token)
        else:
            wanted = whole("the token", token, 0, self._opened.info.d_vocab - 1)
        sequences, _ = self._sequences(input, prepend_bos)
        if len(sequences) != 1:
            raise InputError(f"the input has {len(sequences)} sequences; pass one")
        places: npt.NDArray[np.intp] = np.flatnonzero(sequences[0].rows["id"] == wanted)
        if not places.size:
            raise InputError(f"the token {token!r} does not stand in the input")
        return int(places[0 if mode == "first" else -1])

    def _sequence(self, input: Input, prepend_bos: bool = False) -> Tokens:
        """The one sequence that a user means.

        Raises:
            InputError: The input is a batch of several.
        """
        sequences, _ = self._sequences(input, prepend_bos)
        if len(sequences) != 1:
            raise InputError(f"the input has {len(sequences)} sequences; pass one")
        return sequences[0]
