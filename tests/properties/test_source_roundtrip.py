"""What is written reads back: values, spans, search choices, units."""

import math
from fractions import Fraction

import yaml
from equic.compiler.language import yaml_loader
from equic.compiler.language.diagnostics import Position, Report, Span
from equic.compiler.language.nodes import node_from, parse_path, path_text, same_data
from equic.compiler.language.overrides import apply_overrides
from equic.compiler.language.render import render_full
from equic.compiler.language.scalars import write_scalar
from equic.compiler.language.search import extract_search, substitute
from equic.compiler.language.search_text import write_choices
from equic.compiler.language.source import source_from_text
from equic.compiler.language.yaml_writer import write_flow, write_yaml
from equic.compiler.symmetry.unit_table import ALIASES, PREFIXES, UNITS
from equic.compiler.symmetry.units import Unit, UnitError, conversion_factor
from hypothesis import assume, given, settings
from hypothesis import strategies as st

FEW = settings(max_examples=150, deadline=None)
HERE = Span("spec.yaml", Position(1, 1), Position(1, 1))

# characters that YAML gives a meaning, words of the language, and the rest of Unicode
awkward = st.text(alphabet="abn01.~:#-+*&!|>'\"%@`{}[],?= \n\t\\eExX", max_size=12)
texts = st.one_of(
    awkward,
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.sampled_from(
        [
            "null",
            "~",
            "true",
            "No",
            "1e3",
            "0x1F",
            "0o7",
            ".inf",
            "-",
            "---",
            "<<",
            "=",
            "16x0e+8x1o",
            "5.0 Å",
        ]
    ),
    st.from_regex(r"[-+]?[0-9]{0,3}\.?[0-9]{0,3}(e[-+]?[0-9]{1,2})?", fullmatch=True),
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts)
keys = texts.filter(lambda key: key != "search")
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=12,
)
specs = st.dictionaries(keys.filter(lambda key: key != "extends"), values, min_size=1, max_size=4)


def read(text):
    report = Report()
    source = source_from_text(text, report=report)
    assert not report.diagnostics, [render_full(d, report.texts) for d in report.diagnostics]
    return source


@FEW
@given(scalars)
def test_scalars_read_back_in_block_and_flow(value):
    text = write_scalar(value)
    source = read(f"a: {text}\nb: [{text}, {{c: {text}}}]\n")
    assert same_data(source.data, {"a": value, "b": [value, {"c": value}]})


@FEW
@given(specs)
def test_documents_read_back_from_one_line_and_from_blocks(data):
    node = node_from(data, HERE)
    assert same_data(read(write_flow(node)).data, data)
    assert same_data(read(write_yaml(node)).data, data)


@FEW
@given(specs)
def test_both_parsers_of_pyyaml_give_the_same_source(data):
    text = write_yaml(node_from(data, HERE))
    parser = yaml_loader._Parser
    try:
        yaml_loader._Parser = yaml.SafeLoader
        plain = read(text)
    finally:
        yaml_loader._Parser = parser
    fast = read(text)
    assert same_data(plain.data, fast.data)
    assert list(_places(plain.root)) == list(_places(fast.root))


def _places(node):
    yield node.span, node.key
    children = node.value.values() if isinstance(node.value, dict) else node.value
    if isinstance(node.value, (dict, tuple)):
        for child in children:
            yield from _places(child)


@FEW
@given(specs)
def test_every_span_covers_the_text_of_its_value(data):
    source = read(write_yaml(node_from(data, HERE)))

    def check(node, value):
        # a block has one line per entry, so only a block of one entry lies on one line, and that reads alone
        if isinstance(value, dict) and node.span.start.line != node.span.end.line:
            for key in value:
                check(node.value[key], value[key])
        elif node.span.start.line == node.span.end.line:
            covered = source.text.split("\n")[node.span.start.line - 1]
            covered = covered[node.span.start.column - 1 : node.span.end.column - 1]
            assert same_data(read(f"x:\n  {covered}").data["x"], value)

    check(source.root, source.data)


@FEW
@given(st.text(max_size=60) | awkward | st.text(alphabet="ab:{}[]-,&*! \n'\"|>?#%", max_size=40))
def test_no_text_ends_in_a_traceback(text):
    report = Report()
    source = source_from_text(text, report=report)
    assert source is not None or report.has_errors
    for diagnostic in report.diagnostics:
        assert diagnostic.span is None or diagnostic.span.start <= diagnostic.span.end
        assert render_full(diagnostic, report.texts)
    if source is not None:
        extract_search(source, report)


@FEW
@given(st.lists(st.one_of(texts, st.integers(0, 99)), min_size=1, max_size=4))
def test_paths_read_back(path):
    assert parse_path(path_text(tuple(path))) == tuple(path)


@FEW
@given(specs, st.lists(keys, min_size=1, max_size=3), scalars)
def test_overrides_put_the_value_where_they_say(data, path, value):
    assume(path[0] not in data and path[0] != "extends")
    override = f"{path_text(tuple(path))}={write_scalar(value)}"
    assume("\n" not in override and "\r" not in override)
    report = Report()
    source = apply_overrides(read(write_yaml(node_from(data, HERE))), [override], report)
    assert not report.diagnostics
    found = source.data
    for part in path:
        found = found[part]
    assert same_data(found, value)


# --- search ---

finite = st.floats(-1e6, 1e6).map(lambda value: round(value, 4))
ranges = st.one_of(
    st.tuples(st.integers(-50, 50), st.integers(1, 50)).map(lambda t: {"low": t[0], "high": t[0] + t[1]}),
    st.tuples(finite, st.floats(0.5, 100)).map(lambda t: {"low": t[0], "high": t[0] + t[1]}),
    st.tuples(st.floats(1e-6, 1), st.floats(2, 100)).map(lambda t: {"low": t[0], "high": t[1], "log": True}),
)
choices = st.lists(
    st.one_of(scalars, st.dictionaries(keys, scalars, max_size=2)), min_size=2, max_size=4, unique_by=repr
).filter(lambda items: not any(same_data(a, b) for k, a in enumerate(items) for b in items[:k]))
searches = st.one_of(ranges, choices).map(lambda inner: {"search": inner})


@st.composite
def searched_specs(draw):
    """Data with searches in it, some of them at the top, some deep."""
    data = draw(specs)
    for name in draw(
        st.lists(st.sampled_from(["model", "a b", "O(3)", "x.y"]), min_size=1, max_size=3, unique=True)
    ):
        search = draw(searches)
        wrap = draw(st.sampled_from(["plain", "map", "list"]))
        data[name] = {"plain": search, "map": {"k": search, "z": 1}, "list": [0, search]}[wrap]
    return data


def _block(data, indent=0):
    """A plain block style with comments, to test edits where layout matters."""
    margin = " " * indent
    for key, value in data.items():
        head = f"{margin}{write_scalar(key)}:"
        if isinstance(value, dict) and value:
            yield f"{head}  # {indent}" if indent % 4 else head
            yield from _block(value, indent + 2)
        else:
            yield f"{head} {write_flow(node_from(value, HERE))}  # note"


@FEW
@given(searched_specs(), st.sampled_from(["flow", "yaml", "block"]), st.data())
def test_chosen_values_written_into_the_text_read_as_substituted(data, style, draws):
    node = node_from(data, HERE)
    text = {"flow": write_flow(node), "yaml": write_yaml(node), "block": "\n".join(_block(data))}[style]
    source = read(text)
    report = Report()
    fixed, spaces = extract_search(source, report)
    assert not report.has_errors
    assert spaces
    chosen = {space.name: draws.draw(st.sampled_from(space.candidates_to_check())) for space in spaces}
    target = substitute(fixed, chosen, spaces)
    written = write_choices(text, source, spaces, chosen)
    assert same_data(read(written).data, target.data)
    for space in spaces:
        assert same_data(_follow(target.data, space.path), chosen[space.name])
        assert same_data(_follow(fixed.data, space.path), space.default)
    if style == "block":
        assert written.count("# note") == text.count("# note") - _inside_search(data)


def _inside_search(data):
    """Comments that stand within a search, which go with it, except the one behind its last line."""
    if not isinstance(data, dict):
        return 0
    if "search" in data:
        inner = data["search"]
        return max(len(inner), 1) - 1 if isinstance(inner, dict) else 0
    return sum(_inside_search(value) for value in data.values())


def _follow(data, path):
    for part in path:
        data = data[part]
    return data


@FEW
@given(searches)
def test_defaults_lie_within_their_space(search):
    source = read(write_flow(node_from({"a": search}, HERE)))
    _, (space,) = extract_search(source, Report())
    if space.kind == "choice":
        assert any(same_data(space.default, choice) for choice in space.choices)
    else:
        assert space.low <= space.default <= space.high
        assert isinstance(space.default, int if space.kind == "int" else float)


# --- units ---

names = st.one_of(
    st.sampled_from(sorted(UNITS)),
    st.sampled_from(sorted(ALIASES)),
    st.builds(
        str.__add__,
        st.sampled_from(sorted(PREFIXES)),
        st.sampled_from(sorted(name for name in UNITS if UNITS[name][2])),
    ),
)
powers = st.fractions(-2, 2, max_denominator=3)  # a gram is 1e26 of our units: powers of it end soon
units = st.lists(st.tuples(names, powers), max_size=2)


def build(terms):
    unit = Unit()
    for name, power in terms:
        unit = unit * Unit.parse(name) ** power
    return unit


@FEW
@given(units)
def test_units_read_back(terms):
    unit = build(terms)
    again = Unit.parse(str(unit))
    assert again == unit
    assert hash(again) == hash(unit)
    assert again.dimension == unit.dimension


@FEW
@given(units, units)
def test_units_form_a_group(left, right):
    a, b = build(left), build(right)
    assert a * b == b * a
    assert a * b / b == a
    assert (a * b) ** 2 == a**2 * b**2
    assert (a**2) ** Fraction(1, 2) == a
    assert math.isclose((a * b).factor, a.factor * b.factor, rel_tol=1e-9)


def of_the_same_dimension(first):
    """A second unit that the first converts to; itself, at least."""
    unit = Unit.parse(first)
    return names.filter(lambda name: Unit.parse(name).same_dimension(unit)) | st.just(first)


@FEW
@given(st.data())
def test_conversions_are_consistent(data):
    first = data.draw(names)
    second = data.draw(of_the_same_dimension(first))
    a, b = Unit.parse(first), Unit.parse(second)
    assert math.isclose(conversion_factor(a, b) * conversion_factor(b, a), 1, rel_tol=1e-12)


@FEW
@given(st.text(max_size=20) | st.text(alphabet="eVÅ1 */^()-23·", max_size=20))
def test_any_text_is_a_unit_or_a_unit_error(text):
    try:
        unit = Unit.parse(text)
    except UnitError:
        return
    assert Unit.parse(str(unit)) == unit
