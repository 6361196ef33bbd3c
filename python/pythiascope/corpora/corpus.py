"""Corpora: plugins over many documents, with exact totals; and the merge of their parts."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Union

from .._c.paths import Path, path_bytes
from ..checks import whole, yes_or_no
from ..errors import InputError
from ..runtime.base import ModelBase

if TYPE_CHECKING:
    from ..instruments.interventions import Interventions
    from ..instruments.targets import Contrasts, Targets
    from ..model import Model
    from ..plugins.given import PluginGiven
    from ..results.results import Result
    from .progress import ProgressOption

__all__ = ["Corpora", "merge"]

# One document: a text, or token ids.
Document = Union[str, Sequence[int], Any]

_MOST_SHARDS = 65536


def _shard(given: str | tuple[int, int] | None) -> tuple[int, int]:
    if given is None:
        return 0, 0
    parts: Sequence[Any] = given
    try:
        if isinstance(given, str):
            parts = [int(part) for part in given.split("/")]
        first, n = (operator.index(part) for part in parts)
    except (TypeError, ValueError):
        first, n = 0, 0
    if not 1 <= first <= n <= _MOST_SHARDS:
        raise InputError(
            f'shard is {given!r}; pass (i, n) or "i/n" with i from 1 to n, at most {_MOST_SHARDS}'
        )
    return first, n


def _by_size(given: str) -> bool:
    if given not in ("document", "size"):
        raise InputError(f'shard_by is {given!r}; pass "document" or "size"')
    return given == "size"


def _field(given: str) -> str:
    if not isinstance(given, str) or not given or "\0" in given:
        raise InputError(f"field is {given!r}; pass the name of a field")
    return given


class Corpora(ModelBase):
    """What Model does with corpora."""

    def corpus(
        self,
        documents: Iterable[Document] | os.PathLike[str] | None = None,
        plugins: Iterable[PluginGiven] | None = None,
        *,
        files: Path | Iterable[Path] | None = None,
        target: Targets | None = None,
        contrast: Contrasts | None = None,
        window: int | None = None,
        stride: int | None = None,
        bos: bool = False,
        state: Path | None = None,
        save_seconds: float = 60.0,
        shard: str | tuple[int, int] | None = None,
        shard_by: str = "document",
        limit_tokens: int | None = None,
        sample: int | None = None,
        seed: int = 0,
        interventions: Interventions | None = None,
        batch: int = 4,
        strict: bool = False,
        field: str = "text",
        progress: ProgressOption = True,
    ) -> Result:
        """Runs documents through plugins that accumulate; as `pythiascope corpus`.

        A document is tokenized whole and cut into windows; each window is a sequence of its own.
        The totals do not depend on batch, threads, shards or interruptions, to the bit, and are
        those of the program over the same documents.

        Args:
            documents: An iterable of texts or of token ids, read one at a time. A str is always a
                text, and pathlib.Path objects are always paths: one, or a list of them.
            plugins: As names, "mlp" or "logits:level=head"; (name, options); paths of shared
                objects; Plugin objects or classes; functions with @accumulator. None: logits, ln
                and mlp.
            files: Files and folders, in place of documents: str or Path. A folder means its *.txt,
                *.md and *.jsonl files. Each may be compressed by gzip or zstd (.gz, .zst).
            target: What to explain: a text of one token, an id, "next" or "top:K"; several in a
                list. None: "next".
            contrast: The logit of the first token minus that of the second; several in a list.
            window: Tokens per window; None: 512, or the model's context if that is less.
            stride: Tokens from one window's start to the next, below the window's. Each window then
                repeats the last tokens of the one before it as context, and no token counts twice.
                For plugins that can, such as "loss". None: windows do not overlap.
            bos: Put <|endoftext|> in front of each window. A plugin that needs it has it added.
            state: A file that keeps the totals and the place in the corpus. When it exists, the
                call resumes from it. An iterable is read again up to the place, and compared. The
                file is the program's, too.
            save_seconds: Seconds between writes of the state. It is written at the end, and when
                the run stops by an exception or by Ctrl-C, too.
            shard: (i, n) or "i/n": only part i of n; see merge.
            shard_by: "document": part i has the documents whose number is i - 1 modulo n; "size":
                every part has about as many bytes of the files.
            limit_tokens: Stop after the window that contains this token; a shard counts its own.
            sample: Read this many documents of the files, drawn by seed; exact and uniform, the
                same for every shard and batch.
            seed: Of sample, 0 or more.
            interventions: ablate, scale, steer with a file or vector, knockout, or a sum of them;
                the state records them. Those that take another prompt's values are refused.
            batch: Full windows per pass, or as many tokens of short ones; 1 to 4096. Fewer if
                their keys and values would take more than 1 GiB.
            strict: A document that cannot be read is an error; else it is skipped with a
                PythiascopeWarning, and counted.
            field: The field of a line of *.jsonl that has the text.
            progress: True: a bar of tqdm, or without it a line on a terminal; False: nothing; or a
                function of the share that is done (None: unknown) and the tokens read.

        Returns:
            The results; `result.sections` has one section per plugin.

        Raises:
            InputError: A document, file, plugin or option is wrong, nothing could be read, or the
                state is of another corpus, model or plugins.
            IOFailure: Another run uses the state file, or a file cannot be read or written.
            KeyboardInterrupt: After Ctrl-C, when the batch is done; its message says what was
                saved. What the iterable or a plugin raises comes out unchanged.
        """
        from ..plugins.given import as_plugins
        from ..results.results import Result
        from .reading import Options, find_paths
        from .states import DEFAULT_PLUGINS, Setup, as_edits, as_targets
        from .survey import Plan, Survey

        paths = find_paths(documents, files)
        chosen = DEFAULT_PLUGINS if plugins is None else plugins
        if not save_seconds >= 0:
            raise InputError(f"save_seconds is {save_seconds!r}; pass 0 or more seconds")
        options = Options(
            0 if window is None else whole("window", window, 1, 1 << 20),
            yes_or_no("bos", bos),
            _shard(shard),
            _by_size(shard_by),
            yes_or_no("strict", strict),
            _field(field),
            0 if limit_tokens is None else whole("limit_tokens", limit_tokens, 1, 1 << 50),
            0 if sample is None else whole("sample", sample, 1, 10_000_000),
            whole("seed", seed, 0, (1 << 63) - 1),
            0 if stride is None else whole("stride", stride, 1, 1 << 20),
        )
        plan = Plan(
            options,
            Setup(as_targets(target, contrast), as_plugins(chosen), as_edits(interventions)),
            whole("batch", batch, 1, 4096),
            None if state is None else os.fsdecode(path_bytes(state)),
            float(save_seconds),
            progress,
        )
        return Result(Survey(self, plan).run(paths, documents))


def merge(
    states: Iterable[Path],
    *,
    model: Model | Path | None = None,
    plugins: Iterable[PluginGiven] = (),
) -> Result:
    """Merges the state files of a corpus's parts; as `pythiascope merge`.

    Args:
        states: One file per part, in any order.
        model: The model, or its folder; None: the embedded one.
        plugins: Those of the parts' plugins that are written in Python, and the paths of plugin
            files: a file that a state names is loaded only if it is given here.

    Returns:
        The results of one run over the whole corpus, to the bit.

    Raises:
        InputError: A part is missing, unfinished, given twice, or of another corpus or setup.
    """
    from ..model import Model
    from ..results.results import Result
    from .merging import merge_states

    if isinstance(states, (str, os.PathLike)):
        raise InputError("states is one path; pass a list with one file per part")
    paths = [os.fsdecode(path_bytes(path)) for path in states]
    if not paths:
        raise InputError("no state files; pass one per part")
    opened = model if isinstance(model, Model) else Model(model)
    try:
        return Result(merge_states(paths, opened, plugins))
    finally:
        if opened is not model:
            opened.close()
