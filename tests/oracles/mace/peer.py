"""The peer's side, to be run where mace-torch is installed: its models, its answers, its weights as arrays.

Nothing of equic is imported here, and equic imports nothing of mace: the two only exchange arrays. What
`export` writes is what `equic.runtime.importing.mace` reads.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import mace  # noqa: F401  # isort: skip  # before e3nn: it lets e3nn 0.4.4 read its constants

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from e3nn import o3
from mace import data, modules
from mace.tools import AtomicNumberTable, torch_geometric

Arrays = dict[str, np.ndarray]


def build(
    *,
    numbers: Sequence[int],
    channels: int,
    lmax: int,
    hidden_lmax: int,
    correlation: int,
    layers: int,
    cutoff: float,
    bessel: int,
    envelope: int,
    radial: Sequence[int],
    readout: int,
    neighbors: float,
    seed: int,
    dtype: torch.dtype = torch.float64,
) -> torch.nn.Module:
    """A ScaleShiftMACE with random weights, reference energies, scale and shift."""
    torch.set_default_dtype(dtype)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    return modules.ScaleShiftMACE(
        r_max=cutoff,
        num_bessel=bessel,
        num_polynomial_cutoff=envelope,
        max_ell=lmax,
        interaction_cls=modules.RealAgnosticResidualInteractionBlock,
        interaction_cls_first=modules.RealAgnosticInteractionBlock,
        num_interactions=layers,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps([(channels, (l, (-1) ** l)) for l in range(hidden_lmax + 1)]),
        MLP_irreps=o3.Irreps(f"{readout}x0e"),
        atomic_energies=rng.uniform(-50.0, -5.0, len(numbers)),
        avg_num_neighbors=neighbors,
        atomic_numbers=list(numbers),
        correlation=correlation,
        gate=torch.nn.functional.silu,
        radial_MLP=list(radial),
        atomic_inter_scale=float(rng.uniform(0.5, 1.5)),
        atomic_inter_shift=float(rng.uniform(-0.5, 0.5)),
    )


def batch(model: torch.nn.Module, structures: Sequence[Atoms]) -> dict[str, Any]:
    """Structures through the peer's own neighbour search, as its models take them."""
    table = AtomicNumberTable([int(z) for z in model.atomic_numbers])
    cutoff = float(model.r_max)
    items = [
        data.AtomicData.from_config(data.config_from_atoms(atoms), z_table=table, cutoff=cutoff)
        for atoms in structures
    ]
    loader = torch_geometric.dataloader.DataLoader(items, batch_size=len(items), shuffle=False)
    return next(iter(loader)).to_dict()


def answers(model: torch.nn.Module, structures: Sequence[Atoms]) -> Arrays:
    """Energies [S], forces [N, 3] and stress [S, 3, 3] (of periodic structures alone, else 0)."""
    found = model(batch(model, structures), compute_force=True, compute_stress=True)
    periodic = np.array([all(atoms.pbc) for atoms in structures])
    return {
        "energy": array(found["energy"]),
        "forces": array(found["forces"]),
        "stress": np.where(periodic[:, None, None], array(found["stress"]), 0.0),
    }


def gradients(
    model: torch.nn.Module, structures: Sequence[Atoms], by_energy: np.ndarray, by_forces: np.ndarray
) -> Arrays:
    """d/dw of sum a_s E_s + sum b_i . F_i, a loss that forces enter: a second derivative, for every weight."""
    model.zero_grad(set_to_none=True)
    found = model(batch(model, structures), training=True, compute_force=True)
    loss = (found["energy"] * torch.tensor(by_energy)).sum()
    loss = loss + (found["forces"] * torch.tensor(by_forces)).sum()
    loss.backward()
    return {name: array(value.grad) for name, value in model.named_parameters() if value.grad is not None}


def export(model: torch.nn.Module) -> Arrays:
    """A model as arrays: `config` (JSON), `state/NAME`, `coupling/l1_l2_l3`, `symmetric/L_DEGREE/...`.

    Couplings are measured on the peer's own product, and the bases of its symmetric powers are its buffers, as
    the numbers that are not zero: place in the flat tensor, and value.
    """
    arrays: Arrays = {"config": np.array(json.dumps(config(model)))}
    for name, value in model.named_parameters():
        arrays[f"state/{name}"] = array(value)
    for interaction in model.interactions:
        for name, value in couplings(interaction.conv_tp).items():
            arrays[f"coupling/{name}"] = value
    for product in model.products:
        contractions = product.symmetric_contractions
        for (_, irrep), part in zip(contractions.irreps_out, contractions.contractions, strict=True):
            for degree in range(1, part.correlation + 1):
                basis = array(part.U_tensors(degree))
                basis = basis if irrep.l else basis[None]
                key = f"symmetric/{irrep.l}_{degree}"
                (place,) = np.nonzero(basis.ravel())
                made = {
                    f"{key}/shape": np.array(basis.shape, dtype=np.int64),
                    f"{key}/index": place.astype(np.int32),
                    f"{key}/value": basis.ravel()[place],
                }
                assert all(np.array_equal(arrays.get(name, value), value) for name, value in made.items())
                arrays |= made
    return arrays


def config(model: torch.nn.Module) -> dict[str, Any]:
    """What a model is, beside its weights."""
    first, last = model.interactions[0], model.readouts[-1]
    factors = {float(layer.act.cst) for layer in first.conv_tp_weights if layer.act is not None}
    widths = []
    if hasattr(last, "linear_1"):
        (activation,) = last.non_linearity.acts
        factors.add(float(activation.cst))
        widths = [last.hidden_irreps.dim]
    embedding = model.radial_embedding
    return {
        "class": type(model).__name__,
        "species": [chemical_symbols[int(z)] for z in model.atomic_numbers],
        "cutoff": float(model.r_max),
        "bessel": int(embedding.out_dim),
        "envelope": int(embedding.cutoff_fn.p),
        "harmonics": str(model.spherical_harmonics.irreps_out),
        "features": [str(product.linear.irreps_out) for product in model.products],
        "messages": [str(interaction.irreps_out) for interaction in model.interactions],
        "paths": [_paths(interaction.conv_tp) for interaction in model.interactions],
        "correlation": [
            int(product.symmetric_contractions.contractions[0].correlation) for product in model.products
        ],
        "radial": [int(width) for width in first.radial_MLP],
        "readout": widths,
        "readouts": [type(readout).__name__ for readout in model.readouts],
        "interactions": [type(interaction).__name__ for interaction in model.interactions],
        "activation": first.conv_tp_weights.layer0.act.f.__name__,
        "activation_factor": sorted(factors),
        "neighbors": [float(interaction.avg_num_neighbors) for interaction in model.interactions],
        "atomic_energies": array(model.atomic_energies_fn.atomic_energies).ravel().tolist(),
        "scale": float(model.scale_shift.scale),
        "shift": float(model.scale_shift.shift),
        "heads": list(model.heads),
        "radial_basis": type(embedding.bessel_fn).__name__,
        "extras": [
            name
            for name in ("pair_repulsion_fn", "joint_embedding")
            if hasattr(model, name)
        ]
        + (["distance_transform"] if hasattr(embedding, "distance_transform") else [])
        + ([] if getattr(embedding, "apply_cutoff", True) else ["cutoff on the weights"])
        + (["agnostic product"] if any(product.use_agnostic_product for product in model.products) else []),
    }  # fmt: skip


def couplings(product: torch.nn.Module) -> Arrays:
    """c[m1, m2, m3] of each path, as the product computes it for x and y with one 1 and weights 1."""
    left, right, out = product.irreps_in1, product.irreps_in2, product.irreps_out
    x = torch.eye(left.dim).repeat_interleave(right.dim, 0)
    y = torch.eye(right.dim).repeat(left.dim, 1)
    value = product(x, y, torch.ones(len(x), product.weight_numel)).detach()
    value = value.reshape(left.dim, right.dim, out.dim).numpy()
    found = {}
    for path in product.instructions:
        (_, a), (_, b), (_, c) = left[path.i_in1], right[path.i_in2], out[path.i_out]
        # mul_ir: the components of the first channel come first
        i, j, k = (
            irreps.slices()[n].start
            for irreps, n in ((left, path.i_in1), (right, path.i_in2), (out, path.i_out))
        )
        found[f"{a.l}_{b.l}_{c.l}"] = value[i : i + a.dim, j : j + b.dim, k : k + c.dim].copy()
    return found


def _paths(product: torch.nn.Module) -> list[list[int]]:
    left, right, out = product.irreps_in1, product.irreps_in2, product.irreps_out
    return [[left[p.i_in1].ir.l, right[p.i_in2].ir.l, out[p.i_out].ir.l] for p in product.instructions]


def array(value: torch.Tensor) -> np.ndarray:
    """A tensor as numpy."""
    return value.detach().cpu().numpy()


def settings_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`build`'s arguments from plain data; the dtype by name."""
    made = dict(arguments)
    if "dtype" in made:
        made["dtype"] = getattr(torch, made["dtype"])
    return made
