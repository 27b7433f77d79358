"""Damaged specs: what people mistype, what editors mangle, and what nobody would write.

`seeds()` are sound specs at all three levels of the model section; `Mutator.mutate` damages one in one to four
places. Most damage is done to the data (keys, values, irreps, references, searches), some to the YAML text.
"""

import copy
import random
import re
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equic.compiler.ir.ops import OPS
from equic.compiler.ir.text import render_graph
from equic.compiler.language import block_parts, blocks, schema, schema_model
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.nodes import node_from, plain
from equic.compiler.language.presets import fill_preset, load_preset, preset_names
from equic.compiler.language.source import Source, source_from_text
from equic.compiler.language.spans import Position, Span
from equic.compiler.language.yaml_writer import write_flow, write_yaml
from equic.compiler.pipeline import compile_spec
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parents[1]
NOWHERE = Span("", Position(1, 1), Position(1, 1))
Parent = dict[str, Any] | list[Any]
Slot = tuple[Parent, Any]  # a container, and a key or an index of it

BASES = {
    "atoms": {
        "equic": 1,
        "name": "seed",
        "system": {"kind": "atoms", "species": ["H", "C", "O"], "cutoff": "4.5 Å"},
        "symmetry": {"O(3)": "hard"},
        "targets": {
            "energy": {"per": "system", "rep": "0e", "unit": "eV"},
            "forces": {"gradient_of": "energy", "wrt": "positions", "scale": -1, "unit": "eV/Å"},
        },
    },
    "phase_space": {
        "equic": 1,
        "name": "seed",
        "system": {"kind": "phase_space", "coordinates": {"q1": "1x1", "q2": "1x1"}},
        "symmetry": {"SO(2)": "free", "translation": "free"},
        "constraints": {"hamiltonian": {"separable": False, "masses": [1, 2.0], "integrator": "rk4"}},
        "targets": {"derivatives": {"flow_of": "hamiltonian"}},
    },
}
LEVEL_2 = {
    "gates": {
        "features": {"node": "8x0e", "radial": {"count": 4, "envelope": 5}, "harmonics": 2},
        "blocks": [
            {
                "kind": "repeat",
                "times": 2,
                "block": {
                    "kind": "mp",
                    "carry": "8x0e+4x1o",
                    "message": {"irreps": "8x0e+8x1o+8x2e", "radial": [8], "reduce": "sum"},
                    "act": {"form": "gate", "f": "silu"},
                    "skip": "linear",
                },
                "first": {"skip": "none", "mix": "species"},
            },
            {"kind": "linear", "out": "8x0e+2x1o"},
            {"kind": "act", "form": "norm", "f": "tanh"},
        ],
        "heads": {"energy": {"read": "linear", "last": [4], "activation": "silu"}},
    }
}
MODES: tuple[Any, ...] = (
    "hard", "free", "soft", "augmented", {"relaxed": 0.1}, {"relaxed": 0}, {"relaxed": 1.0}, {"relaxed": -1},
    {"hard": {"within": 1e-6}}, {"hard": {"within": 0}}, {"relaxed": {"search": {"low": 0.0, "high": 1.0}}},
    {"relaxed": 0.1, "hard": {"within": 1e-3}}, {"soft": 0.1}, {},
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2, 7, 9, 64, 1000, 10**6, 10**9, 2**31, 2**63, 10**30, 10**299, -(10**30), 0.0, -0.0, 0.5, 1.5,
    1e-320, 1e-30, 1e308, -1e308, float("nan"), float("inf"), float("-inf"), True, 3.0,
)  # fmt: skip
TEXTS: tuple[str, ...] = (
    "", " ", "yes", "null", "~", "1e-3", "0x10", "1_000", "Ångström", "e\u0301", "名前", "\u202eabc", "🙂" * 5,
    "\u200b", "${channels}", "{{x}}", "a\nb", "\t", "x" * 5000, "9" * 5000, "../../etc/passwd", "!!python/name:os",
    "*anchor", "&anchor", "'", '"', "a: b", "# no", "%", "@", "`", "\\", "\x00", "\u2028", "energy", "forces", "_",
)  # fmt: skip
IRREPS: tuple[str, ...] = (
    "0e", "1o", "0o", "1e", "8x0e", "0x0e", "8x0e+4x1o", "8x(0..2)", "8x(2..0)", "1x(0..99999)", "99999999x0e",
    "8x13e", "1x400o", "1x0", "1x1", "2x1+3x0", "8x0e+", "+8x0e", "8 x 0 e", "8*0e", "-1x0e", "8x-1o", "1.5x0e",
    "8x0f", "0e+1o+2e+3o+4e+5o+6e+7o+8e", "9" * 4400 + "x0e", "1x" + "9" * 4400 + "o", "+".join(["1o"] * 300),
)  # fmt: skip
UNITS: tuple[str, ...] = (
    "eV", "meV", "eV/Å", "eV/A", "Ha/bohr", "kcal/mol", "Å", "5 Å", "5.0Å", "0 Å", "-3 Å", "1e400 Å", "nan Å", "1",
    "eV^2", "eV^99999", "eV^0.5", "(eV", "eV/", "//", "Å^-1", "5 K", "5 furlong", "((((((Å))))))", "eV·Å", "eV" * 300,
    "1e308 km", "1e-320 Å",
)  # fmt: skip
PATHS = (
    "bases.yaml",
    "/dev/null",
    "/dev/full",
    ".",
    "",
    "a\x00b",
    "~/x",
    "spec.yaml",
    "x" * 300,
    ["a.yaml"],
    None,
)
OBJECTIVES = ("validation.energy.rmse", "validation.forces.mae", "test.energy.rmse", "a.b.c", "...", "energy")
SPOILT = "\t \r\n:-?,[]{}#&*!|>'\"%@`~<=\\/.+0159eEoOxÅ\u00a0\u2028\ufeff\x00\x07\x1b🙂"


@dataclass(frozen=True, slots=True)
class Seed:
    """A sound spec."""

    name: str
    text: str
    data: dict[str, Any]


def seeds() -> list[Seed]:
    """Every example, and every preset at levels 1, 2 and 3 of the model section."""
    found = []
    for path in sorted((ROOT / "examples").glob("*/spec.yaml")):
        text = path.read_text(encoding="utf-8")
        found.append(Seed(path.parent.name, text, _source(text, path.parent).data))
    for name in preset_names():
        found += _levels(name)
    for name, model in LEVEL_2.items():
        found.append(_seed(name, {**BASES["atoms"], "model": model}))
    return found


def _levels(name: str) -> Iterator[Seed]:
    preset = load_preset(name)
    base: dict[str, Any] = copy.deepcopy(BASES[preset.kind])
    if name == "mlp":
        base = {**base, "constraints": {}, "targets": {"derivatives": {"per": "system"}}}
        del base["constraints"], base["targets"]["derivatives"]["per"]
    if name == "pairwise_energy":
        base["constraints"]["hamiltonian"] |= {"separable": True, "integrator": "leapfrog"}
    if name == "facet":  # its networks on spheres keep rotations approximately
        base["symmetry"] = {"O(3)": {"hard": {"within": 1.0}}}
    if name == "equiformer":  # maps about an edge forget mirror images
        base["symmetry"] = {"SO(3)": "hard"}
    if name == "pet":  # it reads components of vectors
        base["symmetry"] = {"O(3)": "free"}
    small = {"channels": 4, "heads": 2, "lmax": 2, "correlation": 2, "hidden": [8], "radial": [8]}
    given = {}
    for key, one in preset.parameters.items():
        usual = list(one.default) if isinstance(one.default, tuple) else one.default
        given[key] = small[key] if type(small.get(key)) is type(usual) else usual
    first = _seed(f"{name} level 1", {**base, "model": {"architecture": name, **given}})
    yield first
    condition = "separable" if name == "pairwise_energy" else "joint"
    filled = fill_preset(preset, given, frozenset({condition}), _source(first.text), Report())
    assert filled is not None
    yield _seed(f"{name} level 2", {**base, "model": plain(filled)})
    done = compile_spec(_source(first.text))
    assert done.graph is not None, f"the seed {first.name} does not compile"
    graph = _source(render_graph(done.graph, types=False)).data
    yield _seed(f"{name} level 3", {**base, **graph})


def _source(text: str, directory: Path | None = None) -> Source:
    source = source_from_text(text, report=(report := Report()), directory=directory)
    report.raise_if_errors()
    assert source is not None
    return source


def _seed(name: str, data: dict[str, Any]) -> Seed:
    return Seed(name, write_yaml(node_from(data, NOWHERE)), data)


def vocabulary() -> list[str]:
    """Every key and kind of the language, sorted."""
    models = [
        one
        for module in (schema, schema_model, blocks, block_parts)
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, BaseModel)
    ]
    names = {name for model in (*models, *OPS) for name in model.model_fields}
    kinds = {str(op.model_fields["kind"].default) for op in OPS}
    return sorted(
        names | kinds | set(preset_names()) | {"search", "low", "high", "log", "step", "choices", "extends"}
    )


class Mutator:
    """Damages specs; everything is drawn from one seeded generator."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.seeds = seeds()
        self.words = vocabulary()
        self.kinds = sorted({str(op.model_fields["kind"].default) for op in OPS})
        self.kinds += ["mp", "act", "linear", "repeat", "mlp", "kinetic", "pairs", "atoms", "phase_space"]

    def mutate(self) -> tuple[str, str]:
        """The name of a seed, and its damaged text."""
        seed = self.draw.choice(self.seeds)
        text = seed.text
        if self.draw.random() < 0.8:
            data = copy.deepcopy(seed.data)
            for _ in range(self._few()):
                self.draw.choice(self._data_damage())(data)
            node = node_from(data, NOWHERE)
            text = write_flow(node) if self.draw.random() < 0.1 else write_yaml(node)
        if text == seed.text or self.draw.random() < 0.15:
            for _ in range(self._few()):
                text = self.draw.choice(self._text_damage())(text)
        return seed.name, text

    def _few(self) -> int:
        return self.draw.choice((1, 1, 1, 1, 2, 2, 3, 4))

    # --- damage to the data ---

    def _data_damage(self) -> tuple[Callable[[dict[str, Any]], None], ...]:
        return (
            self.drop, self.rename, self.replace_value, self.replace_value, self.retype, self.exchange, self.wrap,
            self.add_key, self.search, self.respell, self.respell, self.change_kind, self.reference, self.reference,
            self.repeat_item, self.mode, self.move, self.typo,
        )  # fmt: skip

    def slots(self, data: Parent, *, keep: Callable[[Any], bool] = lambda value: True) -> list[Slot]:
        """Every place of the tree whose value satisfies `keep`."""
        found: list[Slot] = []
        stack: list[Parent] = [data]
        while stack:
            parent = stack.pop()
            for key, value in list(parent.items()) if isinstance(parent, dict) else list(enumerate(parent)):
                if keep(value):
                    found.append((parent, key))
                if isinstance(value, (dict, list)):
                    stack.append(value)
        return found

    def some(self, data: Parent, keep: Callable[[Any], bool] = lambda value: True) -> Slot | None:
        found = self.slots(data, keep=keep)
        return self.draw.choice(found) if found else None

    def drop(self, data: dict[str, Any]) -> None:
        if slot := self.some(data):
            del slot[0][slot[1]]

    def rename(self, data: dict[str, Any]) -> None:
        slot = self.some(data)
        if slot and isinstance(slot[0], dict):
            new = self.draw.choice((self.draw.choice(self.words), self.draw.choice(TEXTS), slot[1] + "s"))
            slot[0][new] = slot[0].pop(slot[1])

    def typo(self, data: dict[str, Any]) -> None:
        slot = self.some(data)
        if slot and isinstance(slot[0], dict) and slot[1]:
            at = self.draw.randrange(len(slot[1]))
            new = (
                slot[1][:at]
                + self.draw.choice(("", self.draw.choice(string.ascii_letters)))
                + slot[1][at + 1 :]
            )
            slot[0][new] = slot[0].pop(slot[1])

    def replace_value(self, data: dict[str, Any]) -> None:
        if slot := self.some(data, lambda value: not isinstance(value, (dict, list))):
            slot[0][slot[1]] = self._like(slot[0][slot[1]])

    def _like(self, value: Any) -> Any:
        if isinstance(value, (int, float)):
            return self.draw.choice(NUMBERS)
        text = str(value)
        if re.search(r"\d[eo]|x\(|\dx\d", text):
            return self.draw.choice(IRREPS)
        if "Å" in text or text == "eV":
            return self.draw.choice(UNITS)
        if "/" in text or text.endswith((".xyz", ".npz")):
            return self.draw.choice(PATHS)
        return self.draw.choice(
            (self.draw.choice(self.words), self.draw.choice(TEXTS), self.draw.choice(OBJECTIVES))
        )

    def retype(self, data: dict[str, Any]) -> None:
        if slot := self.some(data):
            pool = (
                None, True, [], {}, [[]], [None], {"": None}, "text", self.draw.choice(NUMBERS),
                self.draw.choice(TEXTS), self.draw.choice(IRREPS), self.draw.choice(UNITS), [1, "a", {}],
                {"kind": self.draw.choice(self.kinds)}, list(range(2000)),
            )  # fmt: skip
            slot[0][slot[1]] = copy.deepcopy(self.draw.choice(pool))

    def exchange(self, data: dict[str, Any]) -> None:
        a, b = self.some(data), self.some(data)
        if a and b:
            first, second = copy.deepcopy(a[0][a[1]]), copy.deepcopy(b[0][b[1]])
            a[0][a[1]], b[0][b[1]] = second, first

    def move(self, data: dict[str, Any]) -> None:
        """A key goes to another mapping, as with a wrong indentation."""
        slot, home = self.some(data), self.some(data, lambda value: isinstance(value, dict))
        if slot and home and isinstance(slot[0], dict):
            target = home[0][home[1]]
            target[slot[1]] = copy.deepcopy(slot[0].pop(slot[1]))

    def wrap(self, data: dict[str, Any]) -> None:
        """A mapping becomes a list, a list a mapping, a scalar either."""
        if slot := self.some(data):
            value = slot[0][slot[1]]
            if isinstance(value, dict):
                choices: tuple[Any, ...] = ([value], list(value.values()), [{k: v} for k, v in value.items()])
            elif isinstance(value, list):
                choices = ({str(k): one for k, one in enumerate(value)}, value[:1], value * 3, [value], ())
            else:
                choices = ([value], {"value": value}, {str(value): value}, [value, value])
            choice = self.draw.choice(choices)
            slot[0][slot[1]] = list(choice) if isinstance(choice, tuple) else copy.deepcopy(choice)

    def add_key(self, data: dict[str, Any]) -> None:
        homes = [data, *(p[k] for p, k in self.slots(data, keep=lambda value: isinstance(value, dict)))]
        value = self.draw.choice(
            (self.draw.choice(NUMBERS), self.draw.choice(self.words), {}, [], None, *MODES)
        )
        self.draw.choice(homes)[self.draw.choice(self.words)] = copy.deepcopy(value)
        if self.draw.random() < 0.1:
            data["extends"] = copy.deepcopy(self.draw.choice(PATHS))

    def repeat_item(self, data: dict[str, Any]) -> None:
        if slot := self.some(data, lambda value: isinstance(value, list) and bool(value)):
            items = slot[0][slot[1]]
            item = copy.deepcopy(self.draw.choice(items))
            many = 300 if self.draw.random() < 0.1 else 1
            items[(at := self.draw.randrange(len(items) + 1)) : at] = [
                copy.deepcopy(item) for _ in range(many)
            ]

    def search(self, data: dict[str, Any]) -> None:
        if slot := self.some(data):
            value = slot[0][slot[1]]
            other = self._like(value)
            pool = (
                {"low": value, "high": other}, {"low": other, "high": value, "log": True}, [value, other], [value],
                [], {"low": 0, "high": 1}, {"low": 1e-4, "high": 1.0, "log": True, "default": value},
                {"low": 1, "high": 8, "step": self.draw.choice(NUMBERS)}, {"choices": [value, other], "default": other},
                {"search": [value, other]}, [{"search": [value, other]}, value], other,
            )  # fmt: skip
            slot[0][slot[1]] = {"search": copy.deepcopy(self.draw.choice(pool))}

    def respell(self, data: dict[str, Any]) -> None:
        """Other irreps, units or small changes of them, where there are some."""
        slot = self.some(
            data, lambda value: isinstance(value, str) and bool(re.search(r"\d[eo]?|Å|eV", value))
        )
        if not slot:
            return
        text = slot[0][slot[1]]
        at = self.draw.randrange(len(text))
        near = text[:at] + self.draw.choice(("", *"eox+.(0123469)Å /^-")) + text[at + 1 :]
        slot[0][slot[1]] = self.draw.choice(
            (near, near, near, self._like(text), f"{text}+{self._like('0e')}")
        )

    def change_kind(self, data: dict[str, Any]) -> None:
        key = self.draw.choice(
            ("kind", "architecture", "integrator", "form", "read", "wrt", "init", "role", "to")
        )
        homes = [p for p, k in self.slots(data) if k == key]
        if homes:
            self.draw.choice(homes)[key] = self.draw.choice(
                (*self.kinds, *preset_names(), "hegnn", "gate", "norm")
            )

    def reference(self, data: dict[str, Any]) -> None:
        """Graphs: a port reads another value (maybe its own), or one that does not exist."""
        model = data.get("model")
        graph = model.get("graph") if isinstance(model, dict) else None
        if not isinstance(graph, dict) or not graph:
            return
        names = [*graph, "positions", "species", "state", "nowhere", ""]
        ops = [op for op in graph.values() if isinstance(op, dict)]
        if not ops:
            return
        op = self.draw.choice(ops)
        port = self.draw.choice([key for key in op if key != "kind"] or ["of"])
        several = [self.draw.choice(names) for _ in range(self.draw.choice((0, 1, 2, 2, 3)))]
        op[port] = several if isinstance(op.get(port), list) else self.draw.choice(names)

    def mode(self, data: dict[str, Any]) -> None:
        group = self.draw.choice(
            ("O(3)", "SO(3)", "inversion", "SO(2)", "translation", "permutation", "SO(4)", "")
        )
        symmetry = data.setdefault("symmetry", {})
        if isinstance(symmetry, dict):
            symmetry[group] = copy.deepcopy(self.draw.choice(MODES))

    # --- damage to the text ---

    def _text_damage(self) -> tuple[Callable[[str], str], ...]:
        return (
            self.indent, self.character, self.character, self.cut, self.line_twice, self.line_away, self.lines_swapped,
            self.bracket, self.anchor, self.bomb, self.depth, self.ending, self.insert, self.long,
        )  # fmt: skip

    def _line(self, text: str, change: Callable[[str], list[str]]) -> str:
        lines = text.split("\n")
        k = self.draw.randrange(len(lines))
        return "\n".join([*lines[:k], *change(lines[k]), *lines[k + 1 :]])

    def indent(self, text: str) -> str:
        return self._line(
            text, lambda line: [self.draw.choice((" ", "  ", "\t", " \t", "\u00a0", "- ")) + line]
        )

    def line_twice(self, text: str) -> str:
        return self._line(text, lambda line: [line, line])

    def line_away(self, text: str) -> str:
        return self._line(text, lambda line: [])

    def lines_swapped(self, text: str) -> str:
        lines = text.split("\n")
        a, b = self.draw.randrange(len(lines)), self.draw.randrange(len(lines))
        lines[a], lines[b] = lines[b], lines[a]
        return "\n".join(lines)

    def character(self, text: str) -> str:
        at = self.draw.randrange(len(text) + 1)
        return (
            text[:at]
            + self.draw.choice(("", self.draw.choice(SPOILT)))
            + text[at + self.draw.choice((0, 1, 1)) :]
        )

    def cut(self, text: str) -> str:
        at = self.draw.randrange(len(text) + 1)
        return self.draw.choice((text[:at], text[at:], text[:at] + text[at + self.draw.randrange(40) :]))

    def bracket(self, text: str) -> str:
        places = [match.start() for match in re.finditer(r"[\[\]{},:'\"]", text)] or [0]
        at = self.draw.choice(places)
        return text[:at] + self.draw.choice(("", *"[]{},:'\"")) + text[at + 1 :]

    def anchor(self, text: str) -> str:
        return re.sub(
            r": (?=\S)",
            self.draw.choice((": &a ", ": *a #", ": !!str ", ": !x ", ": <<: *a ", ": ? ")),
            text,
            count=1,
        )

    def bomb(self, text: str) -> str:
        lines = ["a0: &a0 [x, x]"]
        lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12)]
        return "\n".join([*lines[: self.draw.randrange(1, 13)], text])

    def depth(self, text: str) -> str:
        deep = self.draw.choice((10, 60, 64, 65, 200, 5000))
        opening, closing = self.draw.choice((("[", "]"), ("{a: ", "}"), ("- ", "")))
        return text + "\ndeep: " + opening * deep + "x" + closing * deep + "\n"

    def ending(self, text: str) -> str:
        return self.draw.choice(
            (text.replace("\n", "\r\n"), text.replace("\n", "\r"), text.rstrip("\n"), "\ufeff" + text, text + "\n---\n",
             "---\n" + text, text + "\n...\n", "%YAML 1.1\n---\n" + text, text.replace(" ", "\u00a0"), text + text)
        )  # fmt: skip

    def insert(self, text: str) -> str:
        at = self.draw.randrange(len(text) + 1)
        return text[:at] + self.draw.choice(TEXTS) + text[at:]

    def long(self, text: str) -> str:
        many = self.draw.choice((100, 10_000))
        return text + "x: [" + "1, " * many + "1]\n"
