"""`equic check --fix`: make the safe changes that diagnostics carry, until none is left."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from equic.runtime.errors import EquicError

if TYPE_CHECKING:
    from equic.compiler.language.diagnostics import Diagnostic, Fix, Span
    from equic.compiler.pipeline import Compilation

_MOST_ROUNDS = 100
_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Fixed:
    """What came out: the texts of changed files before and after, the diagnostics mended, and the last compilation."""

    before: dict[str, str]
    after: dict[str, str]
    mended: tuple[Diagnostic, ...]
    done: Compilation

    def diff(self) -> str:
        """A unified diff of every changed file."""
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for file in self.after
            for line in difflib.unified_diff(
                self.before[file].splitlines(keepends=True),
                self.after[file].splitlines(keepends=True),
                file,
                file,
            )
        )


def fix_spec(spec: str | Path, overrides: Sequence[str] = ()) -> Fixed:
    """Mend a spec, and the files that it extends, in memory.

    Each round makes all safe fixes that do not meet, and compiles. A fix whose place then has another error is
    taken back. Everything else in the files stays, byte for byte.
    """
    from equic.compiler.pipeline import compile_file

    texts: dict[str, str] = {}
    before: dict[str, str] = {}
    mended: list[Diagnostic] = []
    refused: set[tuple[str, Fix]] = set()
    for _ in range(_MOST_ROUNDS):
        done = compile_file(str(spec), overrides, texts=texts)
        usable = [
            one
            for one in done.report.diagnostics
            if _is_usable(one) and (str(one.code), one.fix) not in refused
        ]
        if not usable:
            break
        changed, placed = _round(done, usable)
        after = compile_file(str(spec), overrides, texts={**texts, **changed})
        worse = [one for one, places in placed if any(_has_error(after, place) for place in places)]
        if worse:
            refused |= {(str(one.code), one.fix) for one in worse if one.fix is not None}
            continue
        for file, text in changed.items():
            before.setdefault(file, done.report.texts[file])
            texts[file] = text
        mended += [one for one, _ in placed]
    return Fixed(before, texts, tuple(mended), compile_file(str(spec), overrides, texts=texts))


def write_fixed(fixed: Fixed) -> None:
    """Write the changed files, each in one step; its mode and a byte order mark stay.

    Raises:
        EquicError: a file is no longer what was read.
    """
    from equic.runtime.atomic import write_bytes

    for file, text in fixed.after.items():
        path = Path(os.path.realpath(file))
        now = path.read_bytes().decode("utf-8")
        mark = _MARK if now.startswith(_MARK) else ""
        if now.removeprefix(_MARK) != fixed.before[file]:
            raise EquicError(f"{file} has changed meanwhile", help="run the command again")
        mode = path.stat().st_mode
        write_bytes(path, (mark + text).encode())
        path.chmod(mode)


def _is_usable(one: Diagnostic) -> bool:
    """Safe, and in files: what stands on the command line is not ours to write."""
    return (
        one.fix is not None and one.fix.safe and not any(e.span.file.startswith("<") for e in one.fix.edits)
    )


def _round(
    done: Compilation, usable: Sequence[Diagnostic]
) -> tuple[dict[str, str], list[tuple[Diagnostic, tuple[Span, ...]]]]:
    """The files after one round, and each diagnostic mended with where its edits then stand."""
    from equic.compiler.language.fixes import apply_fixes, moved

    changed: dict[str, str] = {}
    placed: list[tuple[Diagnostic, tuple[Span, ...]]] = []
    for file in dict.fromkeys(one.fix.edits[0].span.file for one in usable if one.fix is not None):
        here = {one.fix: one for one in usable if one.fix is not None and one.fix.edits[0].span.file == file}
        text = done.report.texts[file]
        changed[file], made = apply_fixes(text, here)
        spans = iter(moved(made, text))
        placed += [(here[fix], tuple(next(spans) for _ in fix.edits)) for fix in made]
    return changed, placed


def _has_error(done: Compilation, place: Span) -> bool:
    """Whether an error points into this stretch of a file."""
    return any(
        one.span is not None
        and one.span.file == place.file
        and one.span.start < place.end
        and place.start < one.span.end
        and place.covers(one.span)
        for one in done.report.errors
    )
