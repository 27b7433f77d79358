"""`equic check --data`: findings about the data become diagnostics at the lines of the spec that name it. No torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from equic.compiler.language.codes import Code
    from equic.compiler.language.source import Source
    from equic.compiler.language.spans import Span
    from equic.compiler.pipeline import Compilation
    from equic.runtime.data.audit.audit import Audit
    from equic.runtime.data.audit.findings import Kind

Progress = Callable[[str, int], None]


def check_data(done: Compilation, *, progress: Progress | None = None) -> Audit:
    """Read the data of a compiled spec, and add to its report whatever is wrong with them.

    Facts of a file are kept in a cache by its content. A spec that does not compile, or has no data, is left as
    it is; so is one whose data is prepared, which was read and checked when it was written.
    """
    from equic.runtime.data.audit.audit import Audit, audit
    from equic.runtime.plan import Plan

    if done.plan is None or done.spec is None or done.source is None or done.spec.data is None:
        return Audit()
    if done.spec.data.prepared is not None:
        return Audit()
    source, data = done.source, done.spec.data
    names = [
        *(name for name in ("train", "validation", "test") if source.root.at(("data", name))),
        *data.others,
    ]
    places = {name: ("data", *(("others",) if name in data.others else ()), name) for name in names}
    found = audit(Plan.from_json(done.plan), places, progress=progress)
    codes = codes_of_kinds()
    for one in found.findings:
        add = done.report.error if one.error else done.report.warning
        related = tuple((_place(source, path), text) for path, text in one.related)
        add(codes[one.kind], _place(source, one.path), one.message, help=one.help, related=related)
    return found


def _place(source: Source, path: tuple[str | int, ...]) -> Span:
    """The value at a path; where it has its default and is not written, the file of its set."""
    beside = (*path[:-1], "path")
    written = source.root.at(path) is not None or source.root.at(beside) is None
    return source.span(path if written else beside)


def codes_of_kinds() -> dict[Kind, Code]:
    """The diagnostic code of each kind of finding."""
    from equic.compiler.language.codes import Code

    return {
        "file": Code.DATA_FILE,
        "missing": Code.LABEL_MISSING,
        "shape": Code.LABEL_SHAPE,
        "finite": Code.LABEL_NOT_FINITE,
        "species": Code.UNDECLARED_SPECIES,
        "unseen": Code.UNSEEN_SPECIES,
        "unit": Code.UNLIKELY_UNIT,
        "shared": Code.SHARED_STRUCTURES,
        "isolated": Code.NO_ISOLATED_ATOM,
        "binding": Code.UNLIKELY_BINDING,
        "contradiction": Code.LABELS_CONTRADICT,
        "periodic": Code.STRESS_NOT_PERIODIC,
        "constant": Code.CONSTANT_LABEL,
        "split": Code.NOTHING_LEFT,
        "input": Code.INPUT_MISSING,
    }
