"""lm-evaluation-harness: its tasks on a Model.

    from lm_eval import simple_evaluate
    from pythiascope.harness import HarnessLM

    results = simple_evaluate(model=HarnessLM("pythia-160m"), tasks=["lambada_openai", "blimp"])

HarnessLM is made at its first use, because its base class is lm_eval's. The module itself needs
nothing but this package.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import InputError, Unsupported
from .model import Model

__all__ = ["HarnessLM"]

_BLOCK = 4096  # requests of one call of the library


class _Methods:
    """What HarnessLM adds to lm_eval.api.model.TemplateLM.

    Args:
        model: An open Model, a folder or a name as Model takes it; None: the embedded model.
        max_gen_toks: Most tokens that generate_until adds where a task says nothing.
        prepend_bos: Put the beginning-of-text token in front of every context.
        threads: Of a model that is opened here, as of Model.
        **ignored: What the harness passes to every model, such as batch_size and device. Results
            do not depend on them.

    Raises:
        InputError: The model has no tokenizer or no beginning-of-text token.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str] | None = None,
        *,
        max_gen_toks: int = 256,
        prepend_bos: bool = False,
        threads: int = 0,
        **ignored: Any,
    ) -> None:
        super().__init__()
        self.model = model if isinstance(model, Model) else Model(model, threads=threads)
        self.max_gen_toks = int(max_gen_toks)
        self.prepend_bos = bool(prepend_bos)
        if not self.model.has_tokenizer or self.model._opened.bos < 0:
            raise InputError("the harness needs a model with a tokenizer and a beginning token")

    # --- facts ---

    @property
    def max_length(self) -> int:
        """Tokens of the context."""
        return self.model.cfg.n_ctx

    @property
    def eot_token_id(self) -> int:
        """The token before a text that has no context."""
        return self.model._opened.bos

    @property
    def tokenizer_name(self) -> str:
        """By which the harness keeps its requests."""
        return self.model.folder

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **ignored: Any
    ) -> list[int]:
        """The ids of a text."""
        bos = self.prepend_bos if add_special_tokens is None else add_special_tokens
        if not string:
            return [self.eot_token_id] if bos else []
        return [int(i) for i in self.model.to_tokens(string, prepend_bos=bos)[0]]

    def tok_decode(self, tokens: Iterable[int] | int, **ignored: Any) -> str:
        """The text of ids."""
        ids = [tokens] if isinstance(tokens, int) else list(tokens)
        return str(self.model.to_string(ids)) if ids else ""

    # --- scores ---

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **ignored: Any
    ) -> list[tuple[float, bool]]:
        """ln p of each continuation and whether it is greedy; contexts are cut on their left."""
        out: list[tuple[float, bool]] = []
        for block in _blocks(requests):
            pairs = []
            for _, context, continuation in block:
                room = self.max_length + 1 - len(continuation)
                if room < 1 or not continuation:
                    raise InputError(
                        f"a continuation has {len(continuation)} tokens; the model's context takes "
                        f"1 to {self.max_length}"
                    )
                pairs.append((context[-room:], continuation))
            scores = self.model.score(pairs)
            for (key, _, _), score in zip(block, scores):
                answer = (score.sum, score.is_greedy)
                if key is not None:
                    self.cache_hook.add_partial("loglikelihood", key, answer)  # type: ignore[attr-defined]
                out.append(answer)
        return out

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> Any:
        """ln p of whole texts, in windows of the context; every token is predicted once."""
        from lm_eval import utils

        windows: list[tuple[None, list[int], list[int]]] = []
        counts = []
        for request in requests:
            rolling = utils.get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.eot_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            own = [(None, *utils.make_disjoint_window(window)) for window in rolling]
            windows += own
            counts.append(len(own))
        scores = iter(self._loglikelihood_tokens(windows))
        sums = []
        for request, n in zip(requests, counts):
            sums.append(sum(next(scores)[0] for _ in range(n)))
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, sums[-1])  # type: ignore[attr-defined]
        return sums

    # --- generation ---

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Continues contexts until a text of "until", the end token or max_gen_toks.

        Raises:
            Unsupported: A task asks for beams.
        """
        texts = [""] * len(requests)
        for settings, members in _alike(requests):
            for block in _blocks(members, 64):
                contexts = [requests[i].args[0] for i in block]
                for i, text in zip(block, self._continue(contexts, settings)):
                    texts[i] = text
                    self.cache_hook.add_partial("generate_until", requests[i].args, text)  # type: ignore[attr-defined]
        return texts

    def _continue(self, contexts: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
        most = int(settings.get("max_gen_toks") or self.max_gen_toks)
        room = self.max_length - most
        if room < 1:
            raise InputError(
                f"max_gen_toks is {most}; the model's context of {self.max_length} has no room for "
                "a prompt: lower it"
            )
        until = settings.get("until") or []
        draws = bool(settings.get("do_sample")) and settings.get("temperature") != 0
        ids = [(self.tok_encode(text) or [self.eot_token_id])[-room:] for text in contexts]
        parts: list[list[str]] = [[] for _ in ids]
        for step in self.model.generate_steps(
            ids,
            most,
            temperature=float(settings.get("temperature") or 1.0) if draws else 0.0,
            top_k=settings.get("top_k") or None if draws else None,
            top_p=settings.get("top_p") if draws else None,
            min_p=settings.get("min_p") if draws else None,
            stop=[until] if isinstance(until, str) else [text for text in until if text],
        ):
            parts[step.sequence].append(step.text)
        return ["".join(part) for part in parts]


def _blocks(items: Sequence[Any], most: int = _BLOCK) -> Iterator[Sequence[Any]]:
    for begin in range(0, len(items), most):
        yield items[begin : begin + most]


def _alike(requests: Sequence[Any]) -> list[tuple[Mapping[str, Any], list[int]]]:
    """The numbers of requests with equal settings."""
    groups: dict[str, tuple[Mapping[str, Any], list[int]]] = {}
    for i, request in enumerate(requests):
        settings = request.args[1]
        if (settings.get("num_beams") or 1) != 1:
            raise Unsupported("num_beams: beams are not supported; leave it out")
        groups.setdefault(repr(sorted(settings.items())), (settings, []))[1].append(i)
    return list(groups.values())


def _make() -> type:
    """HarnessLM over lm_eval's base class."""
    try:
        from lm_eval.api.model import TemplateLM
        from lm_eval.api.registry import register_model
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"HarnessLM needs the package {error.name}; pip install lm_eval"
        ) from None
    made = type(
        "HarnessLM", (_Methods, TemplateLM), {"__doc__": _Methods.__doc__, "__module__": __name__}
    )
    register_model("pythiascope")(made)
    return made


if TYPE_CHECKING:
    HarnessLM = _Methods
else:

    def __getattr__(name: str) -> Any:
        if name != "HarnessLM":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        made = globals()[name] = _make()
        return made
