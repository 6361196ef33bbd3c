"""Results of a run: what `pythiascope analyze` writes, as an object.

A Result owns the C runtime's results. Its sections (sections.py) and arrays (arrays.py) are read on
demand.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from .._c import structures as c
from .._c.paths import path_bytes
from .arrays import Array, Coordinate, Ranking, unique_dims
from .facts import ResolvedTarget, Time, read_targets, read_time
from .sections import Completeness, Lazy, MissingName, Reader, Section, Value, read_array, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from ..runtime.session import OwnedResults

# The names of a captured tensor's axes, by the letters of its hook point's shape.
_EXTENTS = {"N": "d_model", "H": "heads", "D": "d_head", "M": "d_mlp", "V": "d_vocab", "K": "keys"}


class Token(NamedTuple):
    """A row of the run. ``start`` and ``end`` are its bytes in the text; 0, 0 without a text.

    The text of a batch is its texts joined, without anything between them.
    """

    id: int
    text: str
    sequence: int
    position: int
    start: int
    end: int
    bytes: bytes


class Run(NamedTuple):
    """What computed the result. The numbers do not depend on isa, threads and chunk.

    model is the folder; name is the model's, such as "EleutherAI/pythia-160m@step3000".
    """

    version: str
    model: str
    hash: str
    isa: str
    threads: int
    chunk: int
    rows: int
    sequences: int
    bos: bool
    sleef: str
    name: str


class Result:
    """What plugins found: arrays with named axes, values, options, tokens, text and files.

    ``result["contributions"]`` is an Array of the method's own plugin, and
    ``result["effects.kl"]`` one of any plugin of the run. ``str(result)`` is the text that the
    program prints; ``save`` writes the files that the program writes, to the byte.

    A result keeps its memory, and the model's texts, for as long as it or an array of it lives.
    """

    def __init__(
        self, owner: OwnedResults, main: str | None = None, notes: tuple[str, ...] = ()
    ) -> None:
        self._reader = Reader(owner)
        self._main = main
        self.notes = notes
        self.sections: Mapping[str, Section] = Lazy("section", self._read_sections)
        self.captures: Mapping[str, Array] = Lazy("capture", self._read_captures)
        self.files: Mapping[str, bytes] = Lazy("file", self._read_files)

    # --- sections ----------------------------------------------------------------------------

    def _read_sections(self) -> dict[str, Section]:
        n = self._reader.count("psc_results_section_count")
        found = (Section(self._reader, i) for i in range(n))
        return {section.name: section for section in found}

    @property
    def main(self) -> Section:
        """The section of the method's own plugin, or the only one."""
        if self._main is not None:
            return self.sections[self._main]
        if len(self.sections) == 1:
            return next(iter(self.sections.values()))
        known = ", ".join(self.sections) or "none"
        raise MissingName(f"the result has several sections; use result.sections[NAME]: {known}")

    @property
    def _has_main(self) -> bool:
        return self._main is not None or len(self.sections) == 1

    def __iter__(self) -> Iterator[str]:
        return iter(self.main.arrays if self._has_main else self.arrays)

    def __getitem__(self, name: str) -> Array:
        if not isinstance(name, str):
            raise MissingName(f"an array is named by a text, not by {name!r}")
        if self._has_main and name in self.main.arrays:
            return self.main.arrays[name]
        if name in self.captures:
            return self.captures[name]
        for section in self.sections.values():
            key = name[len(section.name) + 1 :]
            if name == f"{section.name}.{key}" and key in section.arrays:
                return section.arrays[key]
        having = [s for s in self.sections.values() if name in s.arrays]
        if len(having) == 1:
            return having[0].arrays[name]
        if having:
            names = ", ".join(f"{s.name}.{name}" for s in having)
            raise MissingName(f"several sections have an array {name!r}; use one of {names}")
        if self._has_main:
            return self.main.arrays[name]
        raise MissingName(f"the result has no array {name!r}; it has {', '.join(self.arrays)}")

    def _ipython_key_completions_(self) -> list[str]:
        return list(dict.fromkeys((*self, *self.arrays)))

    def __contains__(self, name: object) -> bool:
        try:
            self[str(name)]
        except MissingName:
            return False
        return True

    @property
    def arrays(self) -> dict[str, Array]:
        """All arrays of all sections, and the captured tensors, by full name."""
        found = {a.name: a for s in self.sections.values() for a in s.arrays.values()}
        return {**found, **self.captures}

    @property
    def options(self) -> Mapping[str, str]:
        """The options of the method's own plugin, as it took them."""
        return self.main.options

    @property
    def values(self) -> Mapping[str, Value]:
        """The named values of the method's own plugin: numbers, texts, and lists of either."""
        return self.main.values

    @property
    def axes(self) -> Mapping[str, Coordinate]:
        """The axes of the method's own plugin: labels or numbers."""
        return self.main.axes

    @property
    def completeness(self) -> Completeness | None:
        """The sum check of the method's own plugin; None when it has none."""
        return self.main.completeness

    def top(self, n: int = 10, name: str | None = None, *, by: str = "abs") -> Ranking:
        """The n largest entries of an array, for each target and row (Array.top, Section.top)."""
        if name is not None and name not in self.main.arrays:
            return self[name].top(n, by=by)
        return self.main.top(n, name, by=by)

    # --- the head ----------------------------------------------------------------------------

    @property
    def run(self) -> Run:
        """The model, and how the result was computed."""
        model = self._reader.get("psc_results_get_model", c.psc_result_model())
        run = self._reader.get("psc_results_get_run", c.psc_result_run())
        return Run(
            text_of(self._reader.library.psc_results_version(self._reader.owner.pointer)),
            os.fsdecode(model.path or b""),
            text_of(model.hash),
            text_of(run.isa),
            run.threads,
            run.chunk,
            run.n_rows,
            run.sequences,
            bool(run.bos),
            text_of(run.sleef),
            os.fsdecode(model.name or b""),
        )

    @property
    def tokens(self) -> list[Token]:
        """The rows of the run, ordered by sequence and position; none over a corpus."""
        out: list[Token] = []
        t = c.psc_result_token()
        for i in range(self._reader.count("psc_results_token_count")):
            self._reader.get("psc_results_token_at", t, i)
            raw = ctypes.string_at(t.bytes, t.n_bytes) if t.bytes else b""
            text = raw.decode("utf-8", "replace") if t.bytes else f"#{t.id}"
            out.append(Token(t.id, text, t.sequence, t.position, t.start, t.end, raw))
        return out

    @property
    def targets(self) -> list[ResolvedTarget]:
        """The targets as they were resolved, by row; none over a corpus, at most 1024."""
        return read_targets(self._reader)

    @property
    def command(self) -> str | None:
        """The command line of a result that read_folder read; None without one."""
        command = self._reader.library.psc_results_command(self._reader.owner.pointer)
        return None if command is None else text_of(command)

    @property
    def time(self) -> Time | None:
        """What --time measured, of a result that read_folder read; None without."""
        return read_time(self._reader)

    @property
    def vocabulary(self) -> dict[int, str]:
        """The texts of the token ids in the result's arrays, by id; ids without a text are missing.

        ``Array.token_ids`` says which arrays hold ids.
        """
        out: dict[int, str] = {}
        id_, text = ctypes.c_int32(), ctypes.c_char_p()
        where = ctypes.byref(id_), ctypes.byref(text), self._reader.owner.pointer
        for i in range(self._reader.count("psc_results_vocabulary_count")):
            self._reader.call("psc_results_vocabulary_at", *where, i)
            out[id_.value] = text_of(text.value)
        return out

    def _read_captures(self) -> dict[str, Array]:
        out: dict[str, Array] = {}
        a = c.psc_array()
        stacked = self.sections.get("checkpoints")  # of results over training steps
        steps = stacked.axes.get("checkpoints") if stacked else None
        for i in range(self._reader.count("psc_results_capture_count")):
            self._reader.get("psc_results_capture_at", a, i)
            shape, name = a.shape[: a.n_axes], text_of(a.name)
            dims = ("checkpoints", *_capture_dims(name, a.n_axes - 1)) if steps is not None else ()
            dims = dims or _capture_dims(name, a.n_axes)
            coords: dict[str, Coordinate] = {d: _numbers(n) for d, n in zip(dims, shape)}
            if steps is not None:
                coords["checkpoints"] = steps
            out[name] = read_array(self._reader, a, dims, coords, {})
        return out

    def _read_files(self) -> dict[str, bytes]:
        out: dict[str, bytes] = {}
        f = c.psc_result_file()
        for i in range(self._reader.count("psc_results_file_count")):
            self._reader.get("psc_results_file_at", f, i)
            out[text_of(f.name)] = ctypes.string_at(f.bytes or 0, f.n) if f.n else b""
        return out

    # --- writing -----------------------------------------------------------------------------

    def text(self, width: int = 80, *, color: bool = False, head: bool = True) -> str:
        """The text for a terminal, as the program prints it.

        Args:
            width: Columns, 40 to 1000.
            color: With the terminal's colors.
            head: False leaves out the first lines: the program, the model and the tokens.
        """
        how = c.PSC_COLOR_ALWAYS if color else c.PSC_COLOR_NEVER
        return self._reader.write(c.PSC_FORMAT_TEXT, width=width, color=how, no_head=int(not head))

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        run = self.run
        rows = f"{run.rows} tokens" if run.rows else "no tokens"
        return f"<Result {', '.join(self.sections)}: {rows}, model {run.hash[:16]}>"

    def _repr_html_(self) -> str:
        from .result_page import notebook_page

        return notebook_page(self)

    @overload
    def to_html(
        self,
        path: None = None,
        *,
        beside: Result | None = None,
        label: str = "",
        beside_label: str = "",
        command: str = "",
        page_bytes: int = 0,
    ) -> str: ...

    @overload
    def to_html(
        self,
        path: str | os.PathLike[str],
        *,
        beside: Result | None = None,
        label: str = "",
        beside_label: str = "",
        command: str = "",
        page_bytes: int = 0,
    ) -> Path: ...

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        beside: Result | None = None,
        label: str = "",
        beside_label: str = "",
        command: str = "",
        page_bytes: int = 0,
    ) -> str | Path:
        """A page for a browser, as the program's ``--html`` writes it: one file, no network.

        Args:
            path: The file to write; it is replaced whole or not at all. None: the page is returned.
            beside: Another result, shown beside this one with their difference.
            label: This result's name on the page; `beside_label` is the other's.
            beside_label: The other result's name on the page.
            command: What made the result; the page's foot shows it.
            page_bytes: About the most bytes of data; 0 is the program's choice. Larger arrays are
                rounded or cut, and the page says which.

        Returns:
            The page, or the path of the file.

        Raises:
            IOFailure: The file cannot be written.
            Unsupported: The library was built without the page.
        """
        from .result_page import page_options, write_page

        options = page_options(beside, label, beside_label, command, page_bytes)
        if path is None:
            return self._reader.write(c.PSC_FORMAT_HTML, **options)
        from pathlib import Path

        write_page(self, path, options)
        return Path(path)

    def to_json(self, *, one_line: bool = False) -> str:
        """results.json as the program writes it: everything except the arrays' elements."""
        return self._reader.write(c.PSC_FORMAT_JSON, one_line=int(one_line))

    def to_dict(self) -> dict[str, Any]:
        """The same as Python objects."""
        import json

        found: dict[str, Any] = json.loads(self.to_json())
        return found

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Writes folder/results.json, folder/tensors.safetensors and the plugins' files.

        Args:
            folder: New or empty; it appears whole or not at all.
            overwrite: The folder may have files. Those of the same names are replaced, others stay.

        Returns:
            Its path.

        Raises:
            IOFailure: The folder cannot be written, or is not empty without overwrite.
        """
        from pathlib import Path

        where = path_bytes(folder)
        if overwrite and os.path.isdir(folder):
            import tempfile

            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                new = self.save(Path(temporary) / "new")
                for path in sorted(new.rglob("*")):
                    place = Path(folder) / path.relative_to(new)
                    if path.is_dir():
                        place.mkdir(exist_ok=True)
                    else:
                        path.replace(place)
            return Path(folder)
        self._reader.call("psc_results_write_folder", self._reader.owner.pointer, where)
        return Path(folder)


def _numbers(n: int) -> Coordinate:
    return np.arange(n, dtype=np.int32)


def _capture_dims(name: str, n_axes: int) -> tuple[str, ...]:
    """The axes of a hook point's tensor: positions first; scores and pattern have heads first."""
    bare = name.rpartition("@")[0] or name
    if bare.startswith("blocks."):
        bare = bare.split(".", 2)[2]
    shape = next((shape for point, shape, _ in c.POINTS if point == bare), "")
    if shape == "HK":
        return ("heads", "rows", "keys")
    names = ["rows", *(_EXTENTS[letter] for letter in shape if letter in _EXTENTS)]
    return unique_dims((names + [f"axis_{i}" for i in range(len(names), n_axes)])[:n_axes])
