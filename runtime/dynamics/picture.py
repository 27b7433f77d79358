"""A trajectory's energies and temperature as a picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equic.runtime.atomic import write_bytes

if TYPE_CHECKING:
    from .run import MDResult

_FEW = 1500  # more points are drawn as pixels: as lines they make files of megabytes
_NAMES = {"nve": "total", "npt": "conserved", "npt-flexible": "conserved", "nvt-langevin": "total"}


def draw_run(result: MDResult, path: str | Path) -> Path:
    """Write an SVG picture: what is exchanged, what is kept (each from its start, meV/atom), and the temperature.

    Raises:
        OSError: `path` cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    count = len(result.atoms)
    kept = result.total if result.conserved is None else result.conserved
    look: dict[str, Any] = {"linewidth": 0.8, "rasterized": len(result.time) > _FEW}
    settings: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "equic",
        "font.size": 10,
        "savefig.dpi": 144,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(9.0, 3.0), layout="constrained")
        exchanged, energy, heat = figure.subplots(1, 3)
        for name, values in (("potential", result.potential), ("kinetic", result.kinetic)):
            exchanged.plot(result.time, 1e3 * (values - values[0]) / count, label=name, **look)
        exchanged.legend()
        energy.plot(result.time, 1e3 * (kept - kept[0]) / count, label=_NAMES[result.ensemble], **look)
        if result.shadow is not None and len(result.shadow):
            shadow = 1e3 * (result.shadow - result.shadow[0]) / count
            energy.plot(result.time[1:-1], shadow, label="shadow", **look)
        energy.legend()
        heat.plot(result.time, result.temperature, **look)
        for axes, title in (
            (exchanged, "energies, meV/atom"),
            (energy, "energy kept, meV/atom"),
            (heat, "temperature, K"),
        ):
            axes.set_title(title)
            axes.set_xlabel("time, ps")
            axes.ticklabel_format(useOffset=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return write_bytes(Path(path), buffer.getvalue())
