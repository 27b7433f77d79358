"""An Allegro model as arrays: what `nequip_dump.py` calls for models of nequip-allegro.

What `export` writes is what `equic.runtime.importing.allegro` reads. It imports nothing of equic.
"""

import json
from typing import Any

import numpy as np
import torch
from dumping import array

Arrays = dict[str, np.ndarray]


def export(parts: torch.nn.Module, species: list[str]) -> Arrays:
    """A model's modules as arrays: `config` (JSON), `state/NAME`, `coupling/l1_l2_l3`, its radial functions."""
    settings = config(parts, species)
    arrays: Arrays = {"config": np.array(json.dumps(settings))}
    for name, value in parts.named_parameters():
        arrays[f"state/{name}"] = array(value)
    for product in parts.allegro.tps:
        for name, value in couplings(product).items():
            arrays[f"coupling/{name}"] = value
    if "radial functions other than Bessel's" not in settings["extras"]:
        lengths = torch.linspace(0.1, 0.99, 40) * settings["cutoff"]
        encode = parts.radial_chemical_embed.bessel_encode
        x = (lengths / settings["cutoff"])[:, None]
        values = torch.sinc(x * encode.bessel_weights) * encode.bessel_weights * encode.cutoff(x)
        arrays["radial/lengths"], arrays["radial/values"] = array(lengths), array(values)
    return arrays


def config(parts: torch.nn.Module, species: list[str]) -> dict[str, Any]:
    """What a model is, beside its weights."""
    track, embed = parts.allegro, parts.radial_chemical_embed
    scale_shift, norms = parts.per_type_energy_scale_shift, track.avg_num_neighbors_norm.norm_const
    bessel = hasattr(embed, "bessel_encode")
    products = list(track.tps)
    allowed = [str(one.ir) for one in track.tensor_track_allowed_irreps]
    natural = all(one.ir.p == (-1) ** one.ir.l for one in track.tensor_track_allowed_irreps)
    lmax = max(one.ir.l for one in products[0].irreps_in2)
    networks = {
        "start": parts.scalar_embed_mlp.mlp_module,
        "readout": parts.edge_readout.mlp_module,
        "projection": track.first_layer_env_embed_projection,
        "tensor_embed": parts.tensor_embed.env_embed_linear,
        **({"basis": embed.type_embed.basis_linear} if bessel else {}),
    }
    latents = [network(one) for one in track.latents]
    known = {"edge_norm", "radial_chemical_embed", "scalar_embed_mlp", "tensor_embed", "allegro", "edge_readout",
             "edge_eng_sum", "per_type_energy_scale_shift", "total_energy_sum"}  # fmt: skip
    complete = (
        len(allowed) == (lmax + 1) * (1 if natural else 2)
        and max(one.ir.l for one in track.tensor_track_allowed_irreps) == lmax
    )
    acts = {one for net in (*networks.values(), *track.latents) for one in activations(net)}
    extras = {
        **{name: True for name, _ in parts.named_children() if name not in known},
        "radial functions other than Bessel's": not bessel,
        "cutoffs by pair of types": parts.edge_norm._per_edge_type,
        "tensors of these irreps": not complete,
        "one weight for all degrees": not track._env_weighter.weight_individual_irreps,
        "activations other than silu": not acts <= {"SiLU"},
        "networks that are linear": any(
            len(net.dims) > 2 and not net.is_nonlinear for net in networks.values()
        ),
    }
    return {
        "program": "allegro",
        "species": species,
        "cutoff": float(parts.edge_norm.r_max),
        "bessel": int(embed.bessel_encode.num_bessels) if bessel else 0,
        "trainable": bool(embed.bessel_encode.trainable) if bessel else False,
        "envelope": float(embed.bessel_encode.cutoff.p) if bessel else 0.0,
        "channels": int(track.num_tensor_features),
        "scalars": int(track.num_scalar_features),
        "lmax": lmax,
        "parity": "natural" if natural else "both",
        "layers": len(products),
        "embedding": int(networks["start"].dims[0]),
        **{name: network(one) for name, one in networks.items()},
        "latents": latents,
        "latent": latents[0],
        "paths": [
            [
                [str(p.irreps_in1[i].ir), str(p.irreps_in2[j].ir), str(p.irreps_out[k].ir)]
                for i, j, k in paths(p)
            ]
            for p in products
        ],
        "neighbors": [float(one) ** -2 for one in array(norms).ravel()],
        "scales": by_type(scale_shift.scales if scale_shift.has_scales else None, len(species), 1.0),
        "shifts": by_type(scale_shift.shifts if scale_shift.has_shifts else None, len(species), 0.0),
        "extras": [name for name, holds in extras.items() if holds],
    }


def by_type(values: Any, count: int, default: float) -> list[float]:
    """One number for each type."""
    if values is None:
        return [default] * count
    flat = array(values).ravel().tolist()
    return flat * count if len(flat) == 1 else flat


def network(one: torch.nn.Module) -> dict[str, Any]:
    """Hidden widths, and what each matrix is multiplied by."""
    alphas = [float(part.alpha) for part in one.modules() if hasattr(part, "alpha")]
    return {"hidden": [int(width) for width in one.dims[1:-1]], "alphas": alphas}


def activations(one: torch.nn.Module) -> list[str]:
    """The names of a network's activations."""
    holding = (torch.nn.Sequential, type(one))
    return [
        type(part).__name__
        for part in one.modules()
        if not isinstance(part, holding) and not hasattr(part, "alpha") and not list(part.children())
    ]


def paths(product: torch.nn.Module) -> list[tuple[int, int, int]]:
    """(left, right, result) of every path, in the order of the weights."""
    return [
        (i, j, k)
        for k, (_, c) in enumerate(product.irreps_out)
        for i, (_, a) in enumerate(product.irreps_in1)
        for j, (_, b) in enumerate(product.irreps_in2)
        if c in a * b
    ]


def couplings(product: torch.nn.Module) -> Arrays:
    """c[m1, m2, m3] of each path, as the product computes it for x and y with one 1 and one weight 1."""
    left, right, out = product.irreps_in1, product.irreps_in2, product.irreps_out
    made = product.weights.detach().clone()
    x = torch.eye(left.dim).repeat_interleave(right.dim, 0)[:, None].repeat(1, product.mul, 1)
    y = torch.eye(right.dim).repeat(left.dim, 1)[:, None].repeat(1, product.mul, 1)
    found = {}
    with torch.no_grad():
        for n, (i, j, k) in enumerate(paths(product)):
            product.weights.zero_()
            product.weights.view(-1, len(paths(product)))[:, n] = 1.0
            value = product(x, y, torch.arange(len(x)))[:, 0].reshape(left.dim, right.dim, out.dim)
            a, b, c = (irreps.slices()[at] for irreps, at in ((left, i), (right, j), (out, k)))
            name = f"{left[i].ir.l}_{right[j].ir.l}_{out[k].ir.l}"
            found[name] = value[a, b, c].numpy().copy()
        product.weights.copy_(made)
    return found
