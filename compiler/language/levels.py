"""The model section at any of its three levels, brought to blocks or to an explicit graph."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from .block_parts import Features
from .blocks import MOST_COPIES, AtomsBlock, RepeatBlock, StateBlock
from .codes import Code
from .diagnostics import Report
from .locate import SchemaWalk
from .nodes import Node, plain
from .presets import fill_preset, find_preset, meant_preset
from .schema import Spec
from .schema_model import AtomsModel, GraphModel, Head, Repulsion, StateModel
from .source import Source
from .spans import Span
from .validation import diagnose
from .wording import clip

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A checked model with, for each block, the place in the spec that it came from.

    `origins[k]` is the path of block k in `source`. What a preset wrote stands in `source`, too: at the parameter that
    the user set and that flows into it, or, where all are defaults, at `anchor`, the line of the architecture.
    """

    model: AtomsModel | StateModel | GraphModel
    anchor: Span
    source: Source
    preset: str | None = None
    cites: tuple[str, ...] = ()
    origins: tuple[Path, ...] = field(default=())

    def span(self, block: int, *keys: str, causes: tuple[Path, ...] = ()) -> Span:
        """The place of a block, or of a key of it.

        In a block that a preset wrote it is the parameter behind the first of `causes` that the user set, if any.
        """
        origin = self.origins[block]
        if self.preset is not None:
            places = (self.source.span((*origin, *path)) for path in (*causes, keys))
            return next((place for place in places if place != self.anchor), self.anchor)
        return self.source.span((*origin, *keys))


def read_model(spec: Spec, source: Source, report: Report) -> ModelSource | None:
    """Find the level of `spec.model`, fill in the preset, unroll repeats, and check the result."""
    model = spec.model
    levels = [key for key in ("architecture", "blocks", "graph") if key in model]
    if len(levels) != 1:
        many = len(levels) > 1
        report.error(
            Code.CONFLICTING_KEYS if many else Code.MISSING_KEY,
            source.span(("model", levels[1]) if many else ("model",), key=True),
            f"`model` has both `{levels[0]}` and `{levels[1]}`" if many else "`model` names no architecture",
            help=_meant_level(model)
            or "a model is one of: `architecture:` (a preset), `features:` with `blocks:`, or `graph:`",
        )
        return None
    if levels[0] == "architecture":
        return _from_preset(spec, source, report)
    if levels[0] == "graph":
        parsed = _validate(GraphModel, model, ("model",), source, report)
        return parsed and ModelSource(parsed, source.span(("model", "graph"), key=True), source)
    return _from_blocks(spec, source, report)


def _meant_level(model: Mapping[str, Any]) -> str | None:
    """`architecture:`, where another program has a class or a name."""
    for key in ("type", "name", "model", "model_type", "_target_"):
        meant = meant_preset(model[key].rpartition(".")[2]) if isinstance(model.get(key), str) else None
        if meant is not None:
            return f"write `architecture: {meant}` in place of `{key}:`"
    return None


def _from_preset(spec: Spec, source: Source, report: Report) -> ModelSource | None:
    kind = spec.system.kind
    preset = find_preset(spec.model["architecture"], kind, source, report)
    if preset is None:
        return None
    given = {key: value for key, value in spec.model.items() if key != "architecture"}
    hamiltonian = spec.constraints.hamiltonian
    condition = "separable" if hamiltonian is not None and hamiltonian.separable else "joint"
    filled = fill_preset(preset, given, frozenset({condition}), source, report)
    if filled is None:
        return None
    anchor = source.span(("model", "architecture"))
    assert isinstance(filled.value, dict)
    blocks: list[Node] = []
    for block in _items(filled.value["blocks"]):
        parts = block.value
        assert isinstance(parts, dict)
        if parts["kind"].value != "repeat":
            blocks.append(block)
            continue
        times = parts["times"]
        assert isinstance(times.value, int)
        if times.value > MOST_COPIES:
            report.error(
                Code.OUT_OF_RANGE,
                times.span,
                f"`{preset.preset}` repeats a block {times.value} times, more than {MOST_COPIES}",
                help="ask for fewer layers",
            )
            return None
        written = {key: node.value for key, node in parts.items()}
        blocks.extend(replace(block, value=one) for one in _unroll(written))
    whole = replace(filled, value={**filled.value, "blocks": Node(tuple(blocks), anchor, anchor)})
    laid = source.with_root(source.root.replaced(("model",), whole))
    shape = _model_class(kind)
    try:
        model = shape.model_validate(plain(whole))
    except ValidationError as error:
        walk = SchemaWalk(shape)
        for one in error.errors():
            message = str(one["msg"]).removeprefix("Value error, ")
            report.error(
                Code.INVALID_VALUE,
                laid.span(("model", *walk.locate(one["loc"]).path)),
                f"these parameters of `{preset.preset}` do not fit: {message}",
                help=f"its parameters are: {', '.join(preset.parameters)}",
            )
        return None
    origins: tuple[Path, ...] = tuple(("model", "blocks", k) for k in range(len(blocks)))
    return ModelSource(model, anchor, laid, preset.preset, preset.cites, origins)


def _items(node: Node) -> tuple[Node, ...]:
    assert isinstance(node.value, tuple)
    return node.value


_ATOMS_KEYS = ("features", "heads", "repulsion")


def _from_blocks(spec: Spec, source: Source, report: Report) -> ModelSource | None:
    kind, model = spec.system.kind, spec.model
    before = len(report.errors)
    blocks: list[Any] = []
    origins: list[Path] = []
    adapter = _block_adapter(kind)
    written = model["blocks"]
    if not isinstance(written, list) or not written:
        report.error(
            Code.WRONG_LENGTH if isinstance(written, list) else Code.WRONG_TYPE,
            source.span(("model", "blocks")),
            "`blocks` must be a list of blocks" if written != [] else "`blocks` needs at least one block",
            help="write each block on a line of its own: `- {kind: ...}`",
        )
        return None
    for k, block in enumerate(written):
        path: Path = ("model", "blocks", k)
        if isinstance(block, dict) and block.get("kind") == "repeat":
            if _validate(RepeatBlock, block, path, source, report) is None:
                continue
            copies = _unroll(block)
            other = _validate(adapter, block["block"], (*path, "block"), source, report)
            blocks += [other] * len(copies)
            for which, at in (("first", -len(copies)), ("last", -1)):
                if other is not None and block.get(which):
                    # read from a text in which `first` holds all keys, so that mistakes show where they stand
                    overlaid, place = _overlaid(source, path, which), (*path, which)
                    blocks[at] = _validate(adapter, copies[at], place, overlaid, report)
            origins += [(*path, "block")] * len(copies)
        else:
            blocks.append(_validate(adapter, block, path, source, report))
            origins.append(path)
    rest = {key: value for key, value in model.items() if key != "blocks"}
    parsed: AtomsModel | StateModel | None
    if kind != "phase_space":
        unknown = [key for key in rest if key not in _ATOMS_KEYS]
        for key in unknown:
            report.error(
                Code.UNKNOWN_KEY,
                source.span(("model", key), key=True),
                f"`{key}` is not a key of a model made of blocks",
                help="its keys are: features, blocks, heads, repulsion",
            )
        if "features" not in rest:
            report.error(
                Code.MISSING_KEY,
                source.span(("model",), key=True),
                "a model made of blocks needs `features`",
                help="write `features: {node: 64x0e}`",
            )
        features = _validate(Features, rest.get("features", {}), ("model", "features"), source, report)
        given = rest.get("heads", {})
        heads = _validate(TypeAdapter(dict[str, Head]), given, ("model", "heads"), source, report)
        _check_heads(heads or (), spec, source, report)
        written = rest.get("repulsion", {})
        repulsion = _validate(Repulsion, written, ("model", "repulsion"), source, report)
        if len(report.errors) > before or None in (features, heads, repulsion, *blocks) or not blocks:
            return None
        parsed = AtomsModel(features=features, blocks=tuple(blocks), heads=heads, repulsion=repulsion)
    else:
        for key in rest:
            report.error(
                Code.UNKNOWN_KEY,
                source.span(("model", key), key=True),
                f"`{key}` is not a key of a phase-space model",
                help="its only key is `blocks`",
            )
        if len(report.errors) > before or not blocks or None in blocks:
            return None
        parsed = StateModel(blocks=tuple(blocks))
    return ModelSource(parsed, source.span(("model",), key=True), source, None, (), tuple(origins))


def _check_heads(names: Iterable[str], spec: Spec, source: Source, report: Report) -> None:
    """Every head reads a target that the model computes."""
    computed = [name for name, target in spec.targets.items() if target.is_computed]
    for name in names:
        if name in (*computed, "default"):
            continue
        close = difflib.get_close_matches(name, computed, n=1)
        derived = name in spec.targets
        report.error(
            Code.UNKNOWN_KEY,
            source.span(("model", "heads", name), key=True),
            f"`{name}` is a derivative, and has no head" if derived else f"`heads` has no key `{clip(name)}`",
            help="remove it: it is differentiated, not read"
            if derived
            else f"did you mean `{close[0]}`?"
            if close
            else f"its keys are the targets that are computed: {', '.join([*computed, 'default'])}",
        )


def _unroll(repeat: Mapping[str, Any]) -> list[dict[str, Any]]:
    blocks = [dict(repeat["block"]) for _ in range(int(repeat["times"]))]
    blocks[0] |= repeat.get("first", {})
    blocks[-1] |= repeat.get("last", {})
    return blocks


def _overlaid(source: Source, path: Path, which: str) -> Source:
    """The source with the keys of a repeat's `block` that its `first` or `last` leaves out put into the latter."""
    block, first = source.root.at((*path, "block")), source.root.at((*path, which))
    if (
        block is None
        or first is None
        or not (isinstance(block.value, dict) and isinstance(first.value, dict))
    ):
        return source
    merged = replace(first, value={**block.value, **first.value})
    return source.with_root(source.root.replaced((*path, which), merged))


def _model_class(kind: str) -> type[AtomsModel | StateModel]:
    return StateModel if kind == "phase_space" else AtomsModel


@lru_cache(maxsize=3)
def _block_adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(StateBlock if kind == "phase_space" else AtomsBlock)


def _validate(shape: Any, value: object, path: Path, source: Source, report: Report) -> Any:
    try:
        if isinstance(shape, TypeAdapter):
            return shape.validate_python(value)
        return shape.model_validate(value)
    except ValidationError as error:
        diagnose(error, source, report, prefix=path, model=shape)
        return None
