"""Models of other programs as artifacts: spec, plan, weights, and a certificate that they answer the same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equic.runtime.certify import Certificate

TARGETS = {
    "energy": {"per": "system", "rep": "0e", "unit": "eV"},
    "forces": {"gradient_of": "energy", "wrt": "positions", "scale": -1, "unit": "eV/Å"},
    "stress": {"gradient_of": "energy", "wrt": "strain", "unit": "eV/Å^3"},
}
_PROGRAMS = {"mace": "mace-torch", "nequip": "nequip", "deepmd": "deepmd-kit"}


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import wrote: the artifact, its spec as text, and what was measured."""

    path: Path
    spec_text: str
    certificate: Certificate


def import_model(
    peer: str,
    source: str | Path,
    out: str | Path,
    *,
    python: str | None = None,
    frames: str | Path | None = None,
    dump: str | Path | None = None,
    dtype: str = "float64",
    head: str | None = None,
) -> Imported:
    """Write the artifact of another program's model, checked against that program's own answers.

    Args:
        peer: `mace`, `nequip` or `deepmd`.
        source: the model's file, or a dump of it (`.npz`), which needs no `python`.
        python: an interpreter that has the program. It reads the model; nothing is unpickled here.
        frames: structures to compare on; random ones if not given.
        dump: where to keep what the program's Python wrote.
        dtype: of the stored weights.
        head: which of several heads of a mace-torch model to import.

    Raises:
        EquicError: the model cannot be read, or uses what our architecture cannot express (which is named), or
            answers other than the original: then nothing is written.
    """
    import torch

    from equic.runtime.artifact import save_artifact
    from equic.runtime.build import build_module
    from equic.runtime.certify import Subject, certify, reproduction_item
    from equic.runtime.errors import EquicError
    from equic.runtime.importing import IMPORTERS, answer_probes, read_dump, run_dump
    from equic.runtime.plan import Plan

    source, out = Path(source), Path(out)
    if dtype not in ("float32", "float64"):
        raise EquicError(f"weights cannot be stored as `{dtype}`", help="write float64 or float32")
    if source.suffix == ".npz":
        arrays: Mapping[str, Any] = read_dump(source)
        _check_head(arrays, head)
    elif python is None:
        raise EquicError(
            f"`{source}` can be read only by the program that wrote it",
            help=f"name a Python that has {_PROGRAMS[peer]}: --python PATH",
        )
    else:
        arrays = run_dump(peer, source, python=python, out=dump, frames=frames, head=head)
    text = spec_text(peer, arrays, _name_of(source))
    plan = Plan.from_json(_plan_of(text))
    model = build_module(plan, seed=0, dtype=torch.float64)
    IMPORTERS[peer].fill(arrays, model)
    probes = answer_probes(arrays, plan, source=_PROGRAMS[peer])
    worst = reproduction_item(Subject(model, "float64"), probes)
    if worst.status != "holds":
        raise EquicError(
            f"the imported model does not answer as the original: {worst.value:.1e} ({worst.measure})",
            help="nothing was written; please report the model's settings",
        )
    model = model.to(getattr(torch, dtype))
    certificate = certify(model, probes=probes)
    save_artifact(out, model, spec_text=text, certificate=certificate, probes=probes)
    return Imported(out, text, certificate)


def _check_head(arrays: Mapping[str, Any], head: str | None) -> None:
    """A dump holds the answers of one head."""
    from equic.runtime.errors import EquicError

    written = json.loads(str(arrays["config"])).get("head") if "config" in arrays else None
    if head is not None and head != written:
        raise EquicError(
            f"the dump holds the answers of the head `{written}`, not of `{head}`",
            help="write it again from the model: `equic import mace MODEL --python PATH --head NAME`",
        )


def spec_text(peer: str, arrays: Mapping[str, Any], name: str) -> str:
    """The spec of an imported model, to be completed by `data` where it is trained further."""
    import yaml

    from equic.runtime.importing import IMPORTERS

    spec = {"equic": 1, "name": name, **IMPORTERS[peer].spec(arrays)}
    spec["symmetry"] = {"O(3)": "hard"}
    spec["targets"] = TARGETS
    order = ("equic", "name", "system", "symmetry", "targets", "model")
    ordered = {key: spec[key] for key in order}
    return yaml.safe_dump(ordered, allow_unicode=True, sort_keys=False, width=110, default_flow_style=None)


def _plan_of(text: str) -> dict[str, Any]:
    from equic.compiler.language.diagnostics import Report
    from equic.compiler.language.source import source_from_text
    from equic.compiler.pipeline import compile_spec

    report = Report()
    source = source_from_text(text, report=report)
    report.raise_if_errors()
    assert source is not None
    done = compile_spec(source, report)
    report.raise_if_errors()
    assert done.plan is not None
    return done.plan


def _name_of(source: Path) -> str:
    return re.sub(r"[^\w.-]+", "-", source.stem).strip("-.") or "imported"
