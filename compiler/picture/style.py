"""Colours and families of the pictures."""

from __future__ import annotations

from ..ir.types import Verdict

FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif"
PAPER, INK, MUTED, LINE = "#ffffff", "#1c2330", "#667085", "#98a2b3"

# family: fill and outline
FAMILIES: dict[str, tuple[str, str]] = {
    "input": ("#f2f4f7", "#98a2b3"),
    "geometry": ("#d9f4ef", "#2a9d8f"),
    "learned map": ("#dfeafd", "#3b6fd4"),
    "product": ("#ece3fb", "#7e57c2"),
    "nonlinearity": ("#e4f4da", "#5f9e32"),
    "movement": ("#fdeed3", "#d18a1b"),
    "arithmetic": ("#fbfbfc", "#98a2b3"),
    "physics": ("#fde3e1", "#cf4a3f"),
}
_OPS: dict[str, str] = {
    "input": "input",
    "geometry": "relative length radial envelope transform sph distances frame pair_kind",
    "learned map": "embed linear mlp resnet so2 bias",
    "product": "product power density cross inner gram tensor norms weigh",
    "nonlinearity": "act norm normalize saturate dilute",
    "movement": "gather reduce lookup all_species to_frame from_frame sample unsample spread",
    "physics": "grad poisson shift_scale rescale zbl",
}
_OF = {kind: name for name, kinds in _OPS.items() for kind in kinds.split()}
VERDICTS = {Verdict.EXACT: "#2e9e5b", Verdict.APPROXIMATE: "#e0a100", Verdict.BROKEN: "#d1372c"}


def family(kind: str) -> str:
    """The family of an op; what is in none is arithmetic."""
    return _OF.get(kind, "arithmetic")
