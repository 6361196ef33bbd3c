"""The cross entropy of the next token, -log softmax(z)[next] = logsumexp(z) - z[next], in nats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .tokens import Tokens

__all__ = ["losses_of"]


def losses_of(
    logits: npt.NDArray[np.float32], sequences: Sequence[Tokens]
) -> npt.NDArray[np.float64]:
    """The loss of each row that has a next token.

    Args:
        logits: f32 [batch, pos, d_vocab].
        sequences: The tokens of the batch.

    Returns:
        f64 [batch, pos - 1], summed in f64; NaN on the right of shorter sequences.

    Raises:
        InputError: No sequence has two tokens.
    """
    longest = max(len(tokens) for tokens in sequences)
    if longest < 2:
        raise InputError("a loss needs a sequence of at least two tokens")
    out = np.full((len(sequences), longest - 1), np.nan)
    for losses, rows, tokens in zip(out, logits, sequences):
        for at, following in enumerate(tokens.rows["id"][1:]):
            row = rows[at].astype(np.float64)
            row -= row.max()
            losses[at] = np.log(np.exp(row).sum()) - row[following]
    return out
