"""Example plans, written by hand: what the compiler makes of three specs, for tests that need no compiler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..irreps import Irreps
from ..plan import PLAN_VERSION, Plan

Mode = str | tuple[str, float]

_FOUR_PLANE_VECTORS = "1x1+1x1+1x1+1x1"  # q1, q2, p1, p2, each with its two numbers side by side

_TRAIN: dict[str, Any] = {
    "epochs": 20,
    "batch": 5,
    "learning_rate": 0.01,
    "weight_decay": 0.0,
    "optimizer": "adam",
    "schedule": "constant",
    "ema": None,
    "seed": 1,
    "precision": "float64",
    "clip": 10.0,
    "patience": None,
}


class _Program:
    """Steps as they are written, one call each."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    def add(
        self,
        name: str,
        layer: str,
        inputs: Sequence[str],
        index: str,
        rep: str,
        params: dict[str, Any] | None = None,
        unit: str = "1",
    ) -> str:
        step = {"name": name, "layer": layer, "inputs": list(inputs), "params": params or {}}
        self.steps.append({**step, "index": index, "rep": rep, "unit": unit, "dim": Irreps.parse(rep).dim})
        return name

    def input(self, field: str, index: str, rep: str, unit: str = "1") -> str:
        return self.add(field, "input", [], index, rep, {"field": field}, unit)


def _channels(channels: int, lmax: int) -> str:
    """The natural-parity features up to lmax, e.g. `8x0e+8x1o`."""
    return "+".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(lmax + 1))


def _product_paths(
    left: Irreps, right: Irreps, kinds: set[tuple[int, int]], forbidden: float | None
) -> tuple[str, list[list[Any]]]:
    """All couplings into `kinds`, sorted by kind; those of forbidden parity enter with that scale, if any."""
    found: list[tuple[int, int, int, int, int, float]] = []
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            for l, p in kinds:
                allowed = a.p * b.p == p
                if abs(a.l - b.l) <= l <= a.l + b.l and (allowed or forbidden is not None):
                    found.append((l, -p, i, j, a.mul, 1.0 if allowed else float(forbidden or 0.0)))
    found.sort()
    out = "+".join(f"{mul}x{l}{'e' if p < 0 else 'o'}" for l, p, _, _, mul, _ in found)
    return out, [[i, j, k, scale] for k, (_, _, i, j, _, scale) in enumerate(found)]


def _strength(mode: Mode) -> float | None:
    """How strongly the symmetry may be broken: None where it is hard."""
    if mode == "hard":
        return None
    return 1.0 if mode == "free" else float(mode[1])


def _claim(factor: str, mode: Mode, ops: Sequence[str] = ()) -> dict[str, Any]:
    strength = _strength(mode)
    return {
        "factor": factor,
        "mode": mode if isinstance(mode, str) else mode[0],
        "strength": strength if isinstance(mode, tuple) else None,
        "demanded": "exact" if strength is None else "any",
        "verdict": "exact" if strength is None else "broken",
        "eps": None,
        "ops": [] if strength is None else list(ops),
        "within": None,
    }


def mace_plan(
    channels: int = 8,
    lmax: int = 2,
    correlation: int = 3,
    layers: int = 2,
    species: Sequence[str] = ("H", "C", "O"),
    cutoff: float = 4.0,
    mode: Mode = "hard",
    stress: bool = True,
    hidden_lmax: int = 1,
    widths: Sequence[int] = (16, 16),
) -> Plan:
    """The MACE architecture: per-element powers of neighbour densities, in layers.

    `mode` holds O(3) "hard", "free", or ("relaxed", s); `hidden_lmax` is the largest l that passes from one
    layer to the next. Reference: batatia2022mace.
    """
    p = _Program()
    n, strength = len(species), _strength(mode)
    dial = None if strength is None else [{"group": "O(3)", "strength": strength}]
    relax = {"relax": dial, "hard": []} if dial else {"relax": None, "hard": ["O(3)"]}
    p.input("positions", "node", "1x1o", "Å")
    p.input("species", "node", "1")
    p.add("v", "relative", ["positions"], "edge", "1x1o", unit="Å")
    p.add("r", "length", ["v"], "edge", "1x0e", unit="Å")
    radial = {"basis": "bessel", "count": 8, "cutoff": cutoff, "envelope": {"polynomial": 5}}
    p.add("b", "radial", ["r"], "edge", "8x0e", radial)
    sphere = _channels(1, lmax)
    p.add("Y", "sph", ["v"], "edge", sphere, {"lmax": lmax})
    h, hidden = "h0", f"{channels}x0e"
    p.add(h, "embed", ["species"], "node", hidden, {"count": n, "out": channels})

    def linear(
        name: str, inputs: Sequence[str], source: str, out: str, per_species: int | None = None
    ) -> str:
        params = {"in": source, "out": out, "species": per_species, "bias": False, **relax}
        return p.add(name, "linear", inputs, "node", out, params)

    readouts, full = [], _channels(channels, lmax)
    for t in range(1, layers + 1):
        last = t == layers
        after = f"{channels}x0e" if last else _channels(channels, min(hidden_lmax, lmax))
        linear(f"up{t}", [h], hidden, hidden)
        p.add(f"x{t}", "gather", [f"up{t}"], "edge", hidden, {"role": "source"})
        kinds = {(l, (-1) ** l) for l in range(lmax + 1)}
        out, paths = _product_paths(Irreps.parse(hidden), Irreps.parse(sphere), kinds, strength)
        weights = Irreps.parse(out).count
        mlp = {"widths": list(widths), "act": "silu", "bias": False, "init": "normal"}
        p.add(f"R{t}", "mlp", ["b"], "edge", f"{weights}x0e", {"in": 8, "out": weights, **mlp})
        product = {"left": hidden, "right": sphere, "out": out, "mode": "uvu", "paths": paths}
        p.add(f"m{t}", "product", [f"x{t}", "Y", f"R{t}"], "edge", out, product)
        average = {"from": "edge", "to": "node", "norm": "average"}
        p.add(f"a{t}", "reduce", [f"m{t}"], "node", out, average)
        density = linear(f"A{t}", [f"a{t}"], out, full)
        if t == 1:
            density = linear(f"As{t}", [density, "species"], full, full, n)
        power = {"in": full, "out": after, "order": correlation, "species": n, "relax": dial}
        p.add(f"B{t}", "power", [density, "species"], "node", after, power)
        message = linear(f"M{t}", [f"B{t}"], after, after)
        if t > 1:
            skip = linear(f"skip{t}", [h, "species"], hidden, after, n)
            message = p.add(f"h{t}", "add", [message, skip], "node", after)
        h, hidden = message, after
        if last:
            head = {"widths": [16], "out": 1, "act": "silu", "bias": False, "init": "normal"}
            readouts.append(p.add(f"e{t}", "mlp", [h], "node", "1x0e", {"in": channels, **head}))
        else:
            readouts.append(linear(f"e{t}", [h], hidden, "1x0e"))
    total = p.add("e", "add", readouts, "node", "1x0e") if len(readouts) > 1 else readouts[0]
    p.add("atomic", "shift_scale", [total, "species"], "node", "1x0e", {"species": n}, "eV")
    to_system = {"from": "node", "to": "system", "norm": "sum"}
    p.add("energy", "reduce", ["atomic"], "system", "1x0e", to_system, "eV")
    force = {"wrt": "positions", "scale": -1.0, "per_volume": False}
    p.add("forces", "grad", ["energy", "positions"], "node", "1x1o", force, "eV/Å")
    outputs = {
        "energy": _output("energy", "system", "0e", "eV", extensive=True),
        "forces": _output("forces", "node", "1o", "eV/Å"),
    }
    if stress:
        strain = {"wrt": "strain", "scale": 1.0, "per_volume": True}
        p.add("stress", "grad", ["energy", "positions"], "system", "0e+2e", strain, "eV/Å^3")
        outputs["stress"] = _output("stress", "system", "0e+2e", "eV/Å^3", form="cartesian")
    broken = [s["name"] for s in p.steps if s["params"].get("relax")]
    loss = {"energy": {"weight": 1.0, "per_atom": True}, "forces": {"weight": 10.0, "per_atom": False}}
    conserved = [
        ("energy", "time translation", True, None),
        ("momentum", "translation", True, None),
        ("angular momentum", "SO(3)", strength is None, None if strength is None else "SO(3) is not hard"),
    ]
    return _plan(
        name="mace example",
        kind="atoms",
        architecture="mace",
        system={
            "species": list(species),
            "cutoff": cutoff,
            "pairs": "within",
            "unit": "Å",
            "periodic_stress": stress,
            "inputs": [],
        },
        steps=p.steps,
        outputs=outputs,
        statistics=["average_neighbors", "atomic_energies", "scale", "shift"],
        claims=[
            _claim("SO(3)", mode, broken),
            _claim("inversion", mode, broken),
            _claim("translation", "hard"),
            _claim("permutation", "hard"),
        ],
        conserved=conserved,
        smoothness={name: 2 if name == "energy" else 1 for name in outputs},
        locality=dict.fromkeys(outputs, cutoff * layers),
        train={**_TRAIN, "loss": loss},
        citations=["batatia2022mace"],
    )


def hnn_plan(dim: int = 2, separable: bool = True, hidden: Sequence[int] = (32, 32)) -> Plan:
    """A Hamiltonian network on a state of `dim` numbers, half coordinates and half momenta.

    z' = (dH/dp, -dH/dq); separable: H = V(q) + T(p), else one network of both.
    Reference: greydanus2019hamiltonian.
    """
    half = dim // 2
    p = _Program()
    p.input("state", "system", str(dim))
    mlp = {"widths": list(hidden), "out": 1, "act": "tanh", "bias": True, "init": "orthogonal"}
    if separable:
        p.add("q", "slice", ["state"], "system", str(half), {"start": 0, "stop": half})
        p.add("p", "slice", ["state"], "system", str(half), {"start": half, "stop": dim})
        p.add("V", "mlp", ["q"], "system", "1", {"in": half, **mlp})
        p.add("T", "mlp", ["p"], "system", "1", {"in": half, **mlp})
        p.add("H", "add", ["V", "T"], "system", "1")
    else:
        p.add("H", "mlp", ["state"], "system", "1", {"in": dim, **mlp})
    p.add("dz", "poisson", ["H", "state"], "system", str(dim), {"dim": dim})
    return _phase_space_plan("hnn example", "hnn", p, dim, separable, "dz", "hamiltonian")


def mlp_plan(dim: int = 2, hidden: Sequence[int] = (32, 32)) -> Plan:
    """The structure-free twin of `hnn_plan`: a network that gives the derivatives themselves."""
    p = _Program()
    p.input("state", "system", str(dim))
    mlp = {"widths": list(hidden), "act": "tanh", "bias": True, "init": "orthogonal"}
    p.add("dz", "mlp", ["state"], "system", str(dim), {"in": dim, "out": dim, **mlp})
    return _phase_space_plan("mlp example", "mlp", p, dim, False, "dz", "free")


def pairwise_plan(hidden: Sequence[int] = (32, 32), masses: Sequence[float] = (1.0, 1.0)) -> Plan:
    """Two bodies in the plane: H = sum_i |p_i|^2 / (2 m_i) + V(|q_1 - q_2|^2), state (q1, q2, p1, p2)."""
    p = _Program()
    p.input("state", "system", _FOUR_PLANE_VECTORS)
    for i, name in enumerate(("q1", "q2", "p1", "p2")):
        p.add(name, "slice", ["state"], "system", "1x1", {"start": 2 * i, "stop": 2 * i + 2})
    p.add("d", "difference", ["q1", "q2"], "system", "1x1")
    p.add("d2", "inner", ["d", "d"], "system", "1x0", {"in": "1x1"})
    mlp = {"widths": list(hidden), "out": 1, "act": "tanh", "bias": True, "init": "orthogonal"}
    p.add("V", "mlp", ["d2"], "system", "1x0", {"in": 1, **mlp})
    for i, mass in enumerate(masses, 1):
        p.add(f"p{i}p{i}", "inner", [f"p{i}", f"p{i}"], "system", "1x0", {"in": "1x1"})
        p.add(f"T{i}", "scale", [f"p{i}p{i}"], "system", "1x0", {"by": 0.5 / mass})
    p.add("H", "add", ["T1", "T2", "V"], "system", "1x0")
    p.add("dz", "poisson", ["H", "state"], "system", _FOUR_PLANE_VECTORS, {"dim": 8})
    plan = _phase_space_plan("pairwise example", "pairwise_energy", p, 8, True, "dz", "hamiltonian").to_json()
    plan["system"]["coordinates"] = [{"name": name, "rep": "1x1", "dim": 2} for name in ("q1", "q2")]
    plan["system"]["masses"] = list(masses)
    plan["system"]["swap"] = ["q1", "q2"]
    plan["outputs"]["derivatives"]["rep"] = _FOUR_PLANE_VECTORS
    plan["claims"] = [_claim(factor, "hard") for factor in ("SO(2)", "translation", "permutation")]
    plan["conserved"] += [
        {"quantity": "momentum", "because": "translation", "holds": True, "broken_by": None},
        {"quantity": "angular momentum", "because": "SO(2)", "holds": True, "broken_by": None},
    ]
    return Plan.from_json(plan)


def _phase_space_plan(
    name: str, architecture: str, program: _Program, dim: int, separable: bool, step: str, structure: str
) -> Plan:
    holds = structure == "hamiltonian"
    return _plan(
        name=name,
        kind="phase_space",
        architecture=architecture,
        system={
            "coordinates": [{"name": "q", "rep": str(dim // 2), "dim": dim // 2}],
            "dim": dim,
            "integrator": "leapfrog" if separable else "rk4",
            "separable": separable,
            "structure": structure,
            "masses": None,
            "swap": None,
        },
        steps=program.steps,
        outputs={"derivatives": _output(step, "system", str(dim), "1")},
        statistics=[],
        claims=[],
        conserved=[("energy", "time translation", holds, None if holds else "the flow is free")],
        smoothness={"derivatives": None},
        locality={"derivatives": None},
        train={**_TRAIN, "loss": {"derivatives": {"weight": 1.0, "per_atom": False}}},
        citations=["greydanus2019hamiltonian"],
    )


def _output(
    step: str, index: str, rep: str, unit: str, *, form: str = "irreps", extensive: bool = False
) -> dict[str, Any]:
    return {"step": step, "index": index, "rep": rep, "unit": unit, "form": form, "extensive": extensive}


def _plan(conserved: list[tuple[str, str, bool, str | None]], **parts: Any) -> Plan:
    keys = ("quantity", "because", "holds", "broken_by")
    rest = {
        "data": None,
        "deploy": {"tabulate": None, "radial": []},
        "export": {"targets": ["pt2"], "dtype": "float64"},
        "graph_hash": "",
        "spec_hash": "",
    }
    items = [dict(zip(keys, item, strict=True)) for item in conserved]
    return Plan.from_json({"version": PLAN_VERSION, **rest, **parts, "conserved": items})
