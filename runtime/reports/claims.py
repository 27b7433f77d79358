"""What was declared, proven and measured; and the certificate, item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from equic.runtime.certify.certificate import Certificate, Item
from equic.runtime.plan import Claim, Plan

from .blocks import Section, pill, section
from .charts import Rung, ladder_chart
from .html import Html, h, join, table
from .numbers import pretty_unit, show, show_error


def claims_section(plan: Plan | None, certificate: Certificate | None) -> Section | None:
    """What the spec declared, what the compiler proved of it, and what was measured."""
    if plan is None or not (plan.claims or plan.conserved):
        return None
    claims = [
        (claim.factor, _declared(claim), _proven(claim), _measured(_items_of(certificate, claim.factor)))
        for claim in plan.claims
    ]
    conserved = [
        (
            item.quantity,
            item.because,
            pill("holds", "✓ follows") if item.holds else pill("reported", "● broken"),
            item.broken_by or "–",
            _measured(_items_about(certificate, item.quantity)),
        )
        for item in plan.conserved
    ]
    conserved_head = ("conserved quantity", "follows from", "by construction", "broken by", "measured")
    return section(
        "claims",
        "Claims",
        "What was declared, proven and measured",
        "Proven is what the type checker inferred from the graph alone. Measured is the certificate, on the "
        "finished numbers: the worst of its items.",
        table(("symmetry", "declared", "proven", "measured"), claims) if claims else None,
        table(conserved_head, conserved) if conserved else None,
    )


def _declared(claim: Claim) -> str:
    text = claim.mode if claim.strength is None else f"{claim.mode}, strength {show(claim.strength)}"
    return text if claim.within is None else f"{text}, within {show_error(claim.within)}"


def _proven(claim: Claim) -> Html:
    if claim.verdict == "exact":
        return pill("holds", "✓ exact")
    if claim.verdict == "approximate":
        eps = "" if claim.eps is None else f" to {show_error(claim.eps)}"
        return pill("reported", f"● approximate{eps}")
    names = ", ".join(claim.ops[:4]) + (", …" if len(claim.ops) > 4 else "")
    where = f"by {len(claim.ops)} operation{'s' if len(claim.ops) != 1 else ''}: {names}"
    return join([pill("reported", "● broken"), h("small", where, class_="block") if claim.ops else None])


def _items_of(certificate: Certificate | None, factor: str) -> list[Item]:
    """The items that measure a factor: their names begin with it."""
    items = () if certificate is None else certificate.items
    return [item for item in items if item.name == factor or item.name.startswith(f"{factor} ")]


def _items_about(certificate: Certificate | None, quantity: str) -> list[Item]:
    """The items that measure a conserved quantity."""
    names = (f"conserved {quantity}", f"NVE {quantity}", f"NVE {quantity} drift")
    return [] if certificate is None else [item for item in certificate.items if item.name in names]


def _measured(items: Sequence[Item]) -> Html:
    """The worst of these items in each dtype."""
    lines = []
    order = ("fails", "reported", "holds")
    for dtype in dict.fromkeys(item.dtype for item in items):
        measured = [item for item in items if item.dtype == dtype and item.value is not None]
        if not measured:
            continue
        worst = min(measured, key=lambda item: (order.index(item.status), -_size(item)))
        unit = pretty_unit(worst.unit)
        number = f"{show_error(_size(worst))} {unit}".strip()
        lines.append(
            h("div", pill(worst.status), " ", number, " ", h("small", worst.dtype), class_="measure")
        )
    return join(lines) if lines else h("small", "not measured")


def _size(item: Item) -> float:
    return float("inf") if item.value is None else float(item.value)


def certificate_section(certificates: Mapping[str, Certificate]) -> Section | None:
    """Every item, its value beside its tolerance in each dtype, and why it was not judged where it was not."""
    if not certificates:
        return None
    body: list[object] = []
    for name, certificate in certificates.items():
        meta = certificate.meta
        facts = [str(meta[key]) for key in ("name", "measured_on", "device") if meta.get(key)]
        words = " · ".join(facts)
        body += [
            h("h3", name) if name else None,
            h("p", f"Measured on: {words}", class_="intro") if facts else None,
        ]
        body += [_ladder(certificate, name), _items_table(certificate)]
    return section(
        "certificate",
        "Certificate",
        "Certificate",
        "Each claim, measured on the finished model. It holds where the measured error is within its tolerance; "
        "what nothing claims is reported.",
        body,
    )


def _ladder(certificate: Certificate, name: str) -> Html | None:
    rungs = [
        Rung(item.name, item.dtype, float(item.value), item.tolerance, item.status)
        for item in certificate.items
        if item.value is not None and np.isfinite(item.value)
    ]
    if not rungs:
        return None
    of = f" of {name}" if name else ""
    return ladder_chart(
        rungs,
        title="measured and allowed",
        label=f"Measured errors{of} and their tolerances in {' and '.join(certificate.dtypes)}",
        caption="Dot: measured. Bar: tolerance; a dot to its left holds. Without a bar the value is only reported.",
    )


def _items_table(certificate: Certificate) -> Html:
    found = {(item.name, item.dtype): item for item in certificate.items}
    rows = []
    for name in certificate.names:
        items = [found.get((name, dtype)) for dtype in certificate.dtypes]
        present = [item for item in items if item is not None]
        about = dict.fromkeys(text for item in present for text in (item.measure, item.reason) if text)
        notes = [h("small", text, class_="block") for text in about]
        rows.append([join([name, notes]), *(_cell(item) for item in items)])
    return table(("property", *certificate.dtypes), rows)


def _cell(item: Item | None) -> Html:
    if item is None:
        return Html("")
    if item.value is None:
        return pill(item.status)
    number = f"{show_error(item.value)} {pretty_unit(item.unit)}".strip()
    limit = None
    if item.tolerance is not None:
        limit = h("small", f"{'≤' if item.status == 'holds' else '>'} {show_error(item.tolerance)}")
    return h("div", pill(item.status), " ", number, " ", limit, class_="measure")
