"""Specs that once brought the compiler down: each now has a diagnostic, at its place and soon."""

import sys
import time

import pytest
from equic.compiler.language.codes import Code
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec

ATOMS = """\
equic: 1
name: example
system: {kind: atoms, species: [H, C], cutoff: 4.0 Å}
symmetry: {O(3): hard}
targets: {energy: {per: system, rep: 0e, unit: eV}}
"""
STATE = """\
equic: 1
name: example
system: {kind: phase_space, coordinates: {q1: 1x1, q2: 1x1}}
targets: {derivatives: {flow_of: hamiltonian}}
constraints: {hamiltonian: {separable: false, masses: [1, 1]}}
"""
LAYER = "{kind: mp, carry: 8x0e, message: {irreps: 8x0e}}"
NODES = "features: {node: 8x0e}"
CASES = {
    "block with a wrong key": (
        ATOMS + f"model: {{{NODES}, blocks: [{{kind: mp, carry: 8x0e, mesage: {{}}}}]}}",
        {Code.UNKNOWN_KEY},
    ),
    "key that starts like a tag": (ATOMS + "model: {architecture: mace}\n'@': 1", {Code.UNKNOWN_KEY}),
    "heads without a value": (
        ATOMS + f"model:\n  {NODES}\n  blocks: [{LAYER}]\n  heads:\n",
        {Code.WRONG_TYPE},
    ),
    "head without a value": (
        ATOMS + f"model:\n  {NODES}\n  blocks: [{LAYER}]\n  heads: {{energy: }}\n",
        {Code.WRONG_TYPE},
    ),
    "no blocks": (ATOMS + f"model: {{{NODES}, blocks: []}}", {Code.WRONG_LENGTH}),
    "a block that is already reported": (ATOMS + f"model: {{{NODES}, blocks: [*gone]}}", {Code.UNKNOWN_ALIAS}),
    "too many copies": (
        ATOMS + f"model: {{{NODES}, blocks: [{{kind: repeat, times: 1{'0' * 30}, block: {LAYER}}}]}}",
        {Code.OUT_OF_RANGE},
    ),
    "too many layers": (ATOMS + "model: {architecture: mace, layers: 1000000}", {Code.OUT_OF_RANGE}),
    "weights beyond memory": (
        ATOMS + "model: {architecture: mace, channels: 1000000}",
        {Code.IRREPS_TOO_LARGE},
    ),
    "channels that are no number": (ATOMS + "model: {architecture: mace, channels: .nan}", {Code.WRONG_TYPE}),
    "an architecture that is a mapping": (ATOMS + "model: {architecture: {a: 1}}", {Code.UNKNOWN_ARCHITECTURE}),
    "irreps with thousands of digits": (
        ATOMS + f"model: {{features: {{node: {'9' * 4400}x0e}}, blocks: [{LAYER}]}}",
        {Code.IRREPS_TOO_LARGE},
    ),
    "irreps of all degrees": (
        ATOMS + f"model: {{features: {{node: 1x(0..99999999)}}, blocks: [{LAYER}]}}",
        {Code.IRREPS_TOO_LARGE},
    ),
    "irreps of thousands of terms": (
        ATOMS + f"model: {{features: {{node: {'+'.join(['1o'] * 3000)}}}, blocks: [{LAYER}]}}",
        {Code.IRREPS_TOO_LARGE},
    ),
    "irreps without copies": (
        ATOMS + f"model: {{features: {{node: 0x1o}}, blocks: [{LAYER}]}}",
        {Code.BAD_IRREPS},
    ),
    "harmonics of any degree": (
        ATOMS + "model: {graph: {v: {kind: relative, of: positions}, energy: {kind: sph, of: v, lmax: 99999}}}",
        {Code.OUT_OF_RANGE},
    ),
    "sum of nothing": (ATOMS + "model: {graph: {energy: {kind: add, of: []}}}", {Code.WRONG_LENGTH}),
    "network of labels": (
        ATOMS + "model: {graph: {energy: {kind: inner, of: [species, species]}}}",
        {Code.LABELS_NOT_NUMBERS},
    ),
    "gradient that the graph computes": (
        ATOMS.replace("eV}}", "eV}, f: {gradient_of: energy, wrt: strain}}")
        + "model: {graph: {energy: {kind: embed, of: species, out: 1}, f: {kind: embed, of: species, out: 3}}}",
        {Code.NAME_TAKEN},
    ),
    "a cutoff beyond all numbers": (
        (ATOMS + "model: {architecture: mace}").replace("4.0 Å", "1e308 km"),
        {Code.OUT_OF_RANGE},
    ),
    "rate that is no number": (
        ATOMS + "model: {architecture: mace}\ntrain: {learning_rate: .inf}",
        {Code.OUT_OF_RANGE},
    ),
    "a mass too small to divide by": (
        (STATE + "model: {architecture: pairwise_energy}").replace("[1, 1]", "[1, 1e-320]"),
        {Code.OUT_OF_RANGE},
    ),
    "network of no part of the state": (STATE + "model: {blocks: [{kind: mlp, of: []}]}", {Code.WRONG_LENGTH}),
    "the same energy twice": (
        STATE + "model: {blocks: [{kind: kinetic}, {kind: kinetic}]}",
        {Code.TERM_TWICE},
    ),
    "coordinate with the name of a value": (
        (STATE + "model: {architecture: hnn}").replace("{q1: 1x1, q2: 1x1}", "{hamiltonian: 1x1}"),
        {Code.NAME_TAKEN},
    ),
    "coordinates of any size": (
        (STATE + "model: {architecture: hnn}").replace("q2: 1x1", "q2: 9999999999999999999999"),
        {Code.IRREPS_TOO_LARGE},
    ),
    "slice of something else": (
        STATE + "model: {graph: {q: {kind: slice, of: state, start: -1, stop: 99, rep: what, affine: 3}}}",
        {Code.OUT_OF_RANGE, Code.BAD_IRREPS, Code.WRONG_TYPE},
    ),
    "whole numbers beyond doubles": (
        ATOMS + f"model: {{architecture: mace}}\ntrain: {{batch: {{search: {{low: 1, high: 1{'0' * 299}, step: 3}}}}}}",
        {Code.OUT_OF_RANGE},
    ),
    "a file name with a null character": (ATOMS + 'extends: "a\\x00b"', {Code.BAD_EXTENDS}),
    "a file that never ends": (ATOMS + "extends: /dev/zero", {Code.FILE_NOT_READABLE}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_diagnostic_instead_of_a_traceback(name):
    if name == "a file that never ends" and not sys.platform.startswith("linux"):
        pytest.skip("needs /dev/zero")
    text, codes = CASES[name]
    began = time.perf_counter()
    source = source_from_text(text, report=(report := Report()))
    if source is not None:
        compile_spec(source, report)
    assert time.perf_counter() - began < 2
    assert report.has_errors
    assert codes <= {diagnostic.code for diagnostic in report.diagnostics}
    assert all(len(diagnostic.message) <= 300 for diagnostic in report.diagnostics)
    assert all(diagnostic.span is not None for diagnostic in report.diagnostics)


def test_names_of_thousands_of_characters_are_cut_in_messages():
    report = Report()
    report.error(Code.UNKNOWN_KEY, None, f"there is no `{'x' * 9000}`\nat all")
    assert len(report.diagnostics[0].message) == 300
