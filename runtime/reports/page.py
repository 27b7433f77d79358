"""One self-contained HTML page about a model: what was declared, proven, measured, searched and shipped."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from equic.runtime.atomic import write_bytes
from equic.runtime.certify.certificate import Certificate
from equic.runtime.plan import Plan

from .blocks import Section
from .claims import certificate_section, claims_section
from .closing import environment_section, exports_section, notes_section
from .errors import errors_section
from .graphs import graph_section
from .html import Html, h
from .numbers import milli, show
from .parts import differences_section, parts_section
from .physics import dynamics_section, phase_section
from .results import learning_section, parity_section
from .runs import Run, read_run
from .searches import tuning_section
from .style import STYLE


def write_report(
    path: str | Path,
    *,
    title: str,
    runs: Sequence[str | Path | Run] | Mapping[str, str | Path | Run] = (),
    certificates: Certificate | Mapping[str, Any] | None = None,
    plan: Plan | None = None,
    parity: Mapping[str, Any] | None = None,
    tuning: Any = None,
    md: Any = None,
    rollout: Mapping[str, Any] | None = None,
    portrait: Mapping[str, Any] | None = None,
    exports: Sequence[Any] = (),
    environment: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write a report; only what is given appears in it.

    The page needs nothing but itself: style and pictures are inside, nothing is fetched, there is no script. It
    follows the reader's light or dark setting and prints. Everything that comes from the arguments is escaped.

    Args:
        path: the HTML file; written whole or not at all.
        runs: folders of training runs (history.csv, metrics.json, the artifact, graph.svg), or {name: folder}.
        certificates: a `Certificate` or its JSON, or {name: either}; the first is set beside the claims.
        plan: whose claims and units are shown; by default that of the first run that has one.
        parity: {target: (reference, prediction, unit)}, or {set: {target: ...}}.
        tuning: a `TuningResult` or its JSON; `evidence` (the line) and `objective` (a name) may be added to it.
        md: an `MDResult` or its JSON, or {name: either}.
        rollout: {"time": [T], "energy": {name: [T]}, "unit", "x", "caption"}.
        portrait: {"series": {name: (q [T], p [T])}, "x", "y", "caption"}.
        exports: paths of exported files, or mappings with `file`, `dtype`, `isa`, `bytes` and further facts.
        environment: facts beside those of this machine, or in their place: hardware, versions.
        notes: sentences at the end.

    Raises:
        EquicError: a run's folder or an exported file that cannot be read.
        OSError: `path` cannot be written.
    """
    found = _runs(runs)
    papers = _certificates(certificates)
    plan = plan or next((run.plan for run in found if run.plan is not None), None)
    first = next(iter(papers.values()), None)
    dynamics = _dynamics(md)
    search = _document(tuning)
    files = [_export(export) for export in exports]
    parts = [
        claims_section(plan, first),
        graph_section(found),
        errors_section(found, plan),
        differences_section(found),
        parts_section(found, plan),
        parity_section(parity),
        learning_section(found, plan),
        tuning_section(search),
        certificate_section(papers),
        dynamics_section(dynamics),
        phase_section(rollout, portrait),
        exports_section(files),
        notes_section(notes),
        environment_section({**_machine(), **(environment or {})}, plan, found),
    ]
    facts = _facts(found, plan, papers, dynamics, search)
    page = _page(title, _lead(plan), facts, [part for part in parts if part is not None])
    return write_bytes(path, page.encode())


def _page(title: str, lead: str, facts: Sequence[Html], parts: Sequence[Section]) -> str:
    now = datetime.datetime.now().astimezone()
    head = h(
        "head",
        h("meta", charset="utf-8"),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("meta", name="color-scheme", content="light dark"),
        h("meta", name="generator", content=f"equic {_version('equic')}"),
        h("title", title),
        h("style", STYLE),
    )
    links = [h("a", part.name, href=f"#{part.anchor}") for part in parts]
    body = h(
        "body",
        h(
            "header",
            h(
                "div",
                h("p", f"equic report · {now:%-d %B %Y, %H:%M}", class_="brand"),
                h("h1", title),
                h("p", lead, class_="lead") if lead else None,
                h("nav", links, aria_label="Contents"),
            ),
            class_="top",
        ),
        h("main", h("div", facts, class_="facts") if facts else None, [part.html for part in parts]),
        h("footer", f"Written by equic {_version('equic')}. This page loads nothing from elsewhere."),
    )
    return "<!DOCTYPE html>\n" + h("html", head, body, lang="en")


def _lead(plan: Plan | None) -> str:
    if plan is None:
        return ""
    if plan.kind == "atoms":
        where = f"{', '.join(plan.system['species'])} within {show(plan.system['cutoff'])} Å"
    else:
        names = ", ".join(str(item["name"]) for item in plan.system["coordinates"])
        where = f"phase space of {names}, integrated by {plan.system['integrator']}"
    return f"{plan.name} · {plan.architecture} · {where} · predicts {', '.join(plan.outputs)}"


def _facts(
    runs: Sequence[Run],
    plan: Plan | None,
    certificates: Mapping[str, Certificate],
    dynamics: Mapping[str, Mapping[str, Any]],
    search: Mapping[str, Any] | None,
) -> list[Html]:
    """The few numbers that most readers came for."""
    facts = []
    items = [item for certificate in certificates.values() for item in certificate.items]
    judged = [item for item in items if item.status in ("holds", "fails")]
    if judged:
        held = sum(item.status == "holds" for item in judged)
        kind = "good" if held == len(judged) else "bad"
        failing = dict.fromkeys(item.name for item in judged if item.status == "fails")
        words = "measurements within tolerance" + (f"; not: {', '.join(failing)}" if failing else "")
        facts.append(_fact(f"{held} of {len(judged)}", "", words, kind))
    measured = [run for run in runs if run.metrics]
    if measured:
        metrics, which = measured[0].metrics, f", {measured[0].name}" if len(measured) > 1 else ""
        set_name = next((name for name in ("test", "validation") if name in metrics), next(iter(metrics)))
        for target, row in metrics[set_name].items():
            key = "rmse_per_atom" if "rmse_per_atom" in row else "rmse"
            unit = plan.outputs[target].unit if plan is not None and target in plan.outputs else ""
            factor, word = milli(unit)
            word += "/atom" if key == "rmse_per_atom" and word else ""
            if key in row:
                facts.append(_fact(show(factor * row[key]), word, f"{target} RMSE, {set_name}{which}"))
    best = (search or {}).get("best")
    if search and best:
        facts.append(
            _fact(show(best["mean"]), "", f"best {search.get('objective', 'objective')} of the search")
        )
    for name, run in dynamics.items():
        if run["ensemble"] == "nve" and run.get("drift"):
            where = f", {name}" if name else ""
            facts.append(
                _fact(show(1e3 * run["drift"]["slope"], 2), "meV/atom/ps", f"NVE energy drift{where}")
            )
    return facts[:8]


def _fact(number: str, unit: str, words: str, kind: str | None = None) -> Html:
    value = h("b", number, h("small", f" {unit}") if unit else None)
    return h("div", value, h("span", words), class_=f"fact {kind}" if kind else "fact")


def _runs(given: Sequence[str | Path | Run] | Mapping[str, str | Path | Run]) -> list[Run]:
    named = given.items() if isinstance(given, Mapping) else ((None, value) for value in given)
    return [value if isinstance(value, Run) else read_run(value, name) for name, value in named]


def _certificates(given: Any) -> dict[str, Certificate]:
    if given is None:
        return {}
    if isinstance(given, Certificate) or (isinstance(given, Mapping) and "items" in given):
        given = {"": given}
    return {
        str(name): value if isinstance(value, Certificate) else Certificate.from_json(value)
        for name, value in given.items()
    }


def _document(value: Any) -> dict[str, Any] | None:
    """A mapping as it is, anything else through its `to_json`."""
    if value is None:
        return None
    return dict(value) if isinstance(value, Mapping) else dict(value.to_json())


def _dynamics(given: Any) -> dict[str, Mapping[str, Any]]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or "time" in given:
        given = {"": given}
    return {str(name): _document(value) or {} for name, value in given.items()}


def _export(given: Any) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        return given
    from equic.runtime.export import read_metadata

    path = Path(given)
    metadata, _ = read_metadata(path)
    return {
        "file": path.name,
        "dtype": metadata["dtype"],
        "isa": metadata["isa"],
        "bytes": path.stat().st_size,
        "torch": metadata["versions"]["torch"],
    }


def _machine() -> dict[str, str]:
    """This machine, in words."""
    names = ("torch", "numpy", "ase", "e3nn", "optuna", "lightning")
    versions = [f"{name} {_version(name)}" for name in names if _version(name)]
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join([f"equic {_version('equic')}", *versions]),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
