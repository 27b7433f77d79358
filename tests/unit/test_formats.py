"""Formats that ASE reads, from files to labels in internal units: the same system in each of them."""

from __future__ import annotations

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from equic.runtime.data import read_frames
from equic.runtime.errors import DataError

LABELS = {name: {"key": name, "factor": 1.0} for name in ("energy", "forces", "stress")}
KILOBAR = 1 / 1602.1766208  # eV/Å^3
CELL = np.array([[0.0, 2.5, 2.5], [2.5, 0.0, 2.5], [2.5, 2.6, 0.0]])
FRAMES = 2
POSITIONS = np.array([[[0.1, 0.2, 0.3], [1.4, 1.3, 1.35]], [[0.0, 0.1, 0.2], [1.5, 1.2, 1.3]]])
ENERGIES = (-10.25, -10.5)
FORCES = np.array([[[0.1, -0.2, 0.3], [-0.1, 0.2, -0.3]], [[0.4, 0.5, -0.6], [-0.4, -0.5, 0.6]]])
# kbar with VASP's sign, which is positive where the cell wants to expand: [3, 3]
PRESSURE = np.array([[10.0, 4.0, 6.0], [4.0, 20.0, 5.0], [6.0, 5.0, 30.0]])
STRESS = -PRESSURE * KILOBAR  # positive under tension


def structures() -> list[Atoms]:
    found = []
    for positions, energy, forces in zip(POSITIONS, ENERGIES, FORCES, strict=True):
        atoms = Atoms("CO", positions, cell=CELL, pbc=True)
        voigt = STRESS[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=voigt)
        found.append(atoms)
    return found


def write_db(path) -> None:
    with ase.db.connect(path) as base:
        for atoms in structures():
            base.write(atoms)


def write_outcar(path) -> None:
    """What ASE takes from an OUTCAR of a relaxation, in VASP's words and columns."""
    lines = [
        " vasp.6.4.2 20Jul23 (build) complex",
        " INCAR:",
        " POTCAR:    PAW_PBE C 08Apr2002",
        " POTCAR:    PAW_PBE O 08Apr2002",
        " POTCAR:    PAW_PBE C 08Apr2002",
        " POTCAR:    PAW_PBE O 08Apr2002",
        "   ISPIN  =      1    spin polarized calculation?",
        "   LNONCOLLINEAR =      F non collinear calculations",
        "   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    NBANDS=      8",
        " k-points in reciprocal lattice and weights: Gamma",
        "   0.00000000  0.00000000  0.00000000       1.000",
        "   ions per type =               1   1",
    ]
    reciprocal = np.linalg.inv(CELL).T
    for positions, energy, forces in zip(POSITIONS, ENERGIES, FORCES, strict=True):
        xx, yy, zz, xy, yz, zx = PRESSURE[[0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]]
        lines += [
            "--------------------------------------- Iteration      1(   1)  ---------------------------------",
            f"  in kB  {xx:11.5f} {yy:11.5f} {zz:11.5f} {xy:11.5f} {yz:11.5f} {zx:11.5f}",
            "      direct lattice vectors                 reciprocal lattice vectors",
            *(
                " ".join(f"{x:15.9f}" for x in (*row, *other))
                for row, other in zip(CELL, reciprocal, strict=True)
            ),
            "",
            " POSITION                                       TOTAL-FORCE (eV/Angst)",
            " " + "-" * 83,
            *(" ".join(f"{x:13.6f}" for x in (*x, *f)) for x, f in zip(positions, forces, strict=True)),
            " " + "-" * 83,
            "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)",
            "  ---------------------------------------------------",
            f"  free  energy   TOTEN  = {energy - 0.5:18.8f} eV",
            "",
            f"  energy  without entropy= {energy:17.8f}  energy(sigma->0) = {energy:17.8f}",
        ]
    path.write_text("\n".join(lines) + "\n")


def write_vasprun(path) -> None:
    def vectors(name: str, rows: np.ndarray) -> str:
        return f'<varray name="{name}">' + "".join(f"<v> {x} {y} {z} </v>" for x, y, z in rows) + "</varray>"

    def structure(positions: np.ndarray, name: str = "") -> str:
        inside = vectors("positions", positions @ np.linalg.inv(CELL))
        return f"<structure{name}><crystal>{vectors('basis', CELL)}</crystal>{inside}</structure>"

    atoms = "".join(f"<rc><c>{symbol} </c><c>{k}</c></rc>" for k, symbol in enumerate("CO", 1))
    parts = [f'<atominfo><array name="atoms"><set>{atoms}</set></array></atominfo>']
    points = vectors("kpointlist", np.zeros((1, 3)))
    parts.append(f'<kpoints>{points}<varray name="weights"><v> 1.0 </v></varray></kpoints>')
    parts.append(structure(POSITIONS[0], ' name="initialpos"'))
    for positions, energy, forces in zip(POSITIONS, ENERGIES, FORCES, strict=True):
        energies = (
            f'<energy><i name="e_fr_energy">{energy - 0.5}</i><i name="e_0_energy">{energy}</i></energy>'
        )
        inside = structure(positions) + vectors("forces", forces) + vectors("stress", PRESSURE)
        parts.append(f"<calculation><scstep>{energies}</scstep>{inside}{energies}</calculation>")
    path.write_text(f'<?xml version="1.0"?><modeling>{"".join(parts)}</modeling>')


WRITERS = {
    "frames.db": write_db,
    "frames.json": write_db,
    "frames.traj": lambda path: ase.io.write(path, structures()),
    "frames.extxyz": lambda path: ase.io.write(path, structures()),
    "OUTCAR": write_outcar,
    "vasprun.xml": write_vasprun,
}


@pytest.mark.parametrize("name", WRITERS)
def test_frames_and_labels(plan, tmp_path, name):
    WRITERS[name](tmp_path / name)
    frames = read_frames(plan, {"path": tmp_path / name, "labels": LABELS})
    assert [frame.source for frame in frames] == [f"{name}:frame {k}" for k in range(FRAMES)]
    for k, frame in enumerate(frames):
        assert [plan.system["species"][place] for place in frame.species] == ["C", "O"]
        assert frame.pbc.all()
        np.testing.assert_allclose(frame.cell, CELL, atol=1e-8)
        np.testing.assert_allclose(frame.positions, POSITIONS[k], atol=1e-7)
        assert frame.labels["energy"] == pytest.approx(ENERGIES[k], abs=1e-7)  # extrapolated to no smearing
        np.testing.assert_allclose(frame.labels["forces"], FORCES[k], atol=1e-7)
        np.testing.assert_allclose(frame.labels["stress"], STRESS, rtol=1e-5)
        assert frame.edges.shape[1] > 0


@pytest.mark.parametrize("name", ["frames.db", "frames.traj", "vasprun.xml"])
def test_damaged_files_are_named(plan, tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=name):
        read_frames(plan, {"path": path, "labels": LABELS})


def test_a_missing_label_of_a_trajectory_is_named(plan, tmp_path):
    frames = structures()
    frames[1].calc = SinglePointCalculator(frames[1], energy=1.0)
    ase.io.write(tmp_path / "a.traj", frames)
    with pytest.raises(DataError, match=r"a\.traj:frame 1 has no `forces`"):
        read_frames(plan, {"path": tmp_path / "a.traj", "labels": LABELS})
