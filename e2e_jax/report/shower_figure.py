"""The image of a shower: energies of 32 x 32 crystals, and pulses or times of the brightest ones."""

from __future__ import annotations

import dataclasses

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from e2e_jax.detector import crops, geometry
from e2e_jax.events.showers import Showers
from e2e_jax.report.pictures import COLOURS, DASHES, STYLE, header

FAINTEST = 0.05
"""Lower end of the energy scale in GeV."""
SEEN = 0.5
"""Minimum energy in GeV for a meaningful time of a crystal."""
PULSES = 5
"""Number of crystals whose samples are drawn."""
PANEL = 8.2, 7.2
"""Width and height of a panel in inches."""


def draw_shower(showers: Showers, index: int, view: str, origin: str) -> Figure:
    """Draws a shower, or both showers of a pair.

    Args:
      showers: showers in the view "crop" or "barrel".
      index: index of the shower.
      view: view that defines the cell numbers.
      origin: origin of the showers.
    """
    shown = windows(showers[[index]], view)
    digis = bool(shown[0].digis.counts[0])
    with matplotlib.rc_context(STYLE):
        columns = len(shown) + 1
        figure = Figure(figsize=(PANEL[0] * columns, PANEL[1]), layout="constrained")
        panels = figure.subplots(ncols=columns)
        for axes, one in zip(panels, shown):
            _draw_image(axes, pixels(one, "energy"), "Energy [GeV]", _log_norm(shown), "cividis")
        if digis:
            _draw_pulses(panels[-1], shown[0])
        else:
            time = np.where(pixels(shown[0], "energy") >= SEEN, pixels(shown[0], "time"), np.nan)
            _draw_image(panels[-1], time, f"Time of crystals above {SEEN} GeV [ns]", None, "coolwarm")
        header(panels[0], origin)
        header(panels[-1], "", _generated(showers.particles[index]))
    return figure


def windows(shower: Showers, view: str) -> list[Showers]:
    """The crop of a shower (one row), cut out of the barrel if needed; for a pair both, brightest first."""
    if view == "crop":
        return [shower]
    made = [crops.crop(shower)]
    if shower.particles[0, 1, 0] > 0:
        first_row, first_column = (int(first[0]) for first in crops.window(crops.seeds(shower)))
        row, column = np.divmod(shower.crystals.cell.astype(int), geometry.EB_COLUMNS)
        near = (row >= first_row) & (row < first_row + crops.SIDE)
        near &= (column - first_column) % geometry.EB_COLUMNS < crops.SIDE
        rest = dataclasses.replace(shower, crystals=shower.crystals.filter(~near))
        # The two particles may be close together.
        made += [crops.crop(rest)] if len(rest.crystals.cell) else []
    return made


def pixels(shower: Showers, channel: str) -> np.ndarray:
    """The crop of one shower, f4 `[32, 32]`: "energy" in GeV or "time" in ns; 0 for crystals without hit."""
    image = np.zeros(crops.CELLS["crop"], np.float32)
    image[shower.crystals.cell] = shower.crystals.columns[channel]
    return image.reshape(crops.SHAPES["crop"])


def _log_norm(shown):
    highest = max(float(one.crystals.energy.max(initial=0)) for one in shown)
    return LogNorm(FAINTEST, max(highest, 2 * FAINTEST), clip=True)


def _draw_image(axes: Axes, image: np.ndarray, label: str, norm, colours: str) -> None:
    shown = np.ma.masked_invalid(np.where(image > 0, image, np.nan) if norm else image)
    scale = {"norm": norm}
    if norm is None:
        largest = max(float(np.max(np.abs(shown.compressed()), initial=0.5)), 0.5)
        scale = {"vmin": -largest, "vmax": largest}
    drawn = axes.imshow(shown, origin="lower", cmap=colours, interpolation="nearest", **scale)
    axes.figure.colorbar(drawn, ax=axes, pad=0.02).set_label(label)
    axes.set(xlabel=r"Crystals in $\varphi$", ylabel=r"Crystals in $\eta$")
    axes.tick_params(which="both", top=False, right=False)


def _draw_pulses(axes: Axes, shower: Showers) -> None:
    """The samples of the crystals with the highest pulses, in GeV of a pulse's maximum."""
    energy = (shower.digis.samples.astype(float) - crops.PEDESTAL) * crops.GEV_PER_COUNT
    brightest = np.argsort(energy.max(axis=1))[::-1][:PULSES]
    for number, entry in enumerate(brightest):
        row, column = divmod(int(shower.digis.cell[entry]), crops.SIDE)
        style = {"marker": "o", "markersize": 8, "color": COLOURS[number % len(COLOURS)]}
        name = f"row {row}, column {column}"
        axes.plot(energy[entry], DASHES[number % len(DASHES)], label=name, **style)
    axes.set(xlabel="Sample (25 ns)", ylabel="Above the pedestal [GeV]", xticks=range(crops.SAMPLES))
    axes.margins(y=0.12)
    axes.minorticks_off()
    axes.legend(loc="upper left", fontsize=18)


def _generated(particles: np.ndarray) -> str:
    """Description of the generated particles; "" if unknown."""
    known = [(pt, eta) for pt, eta, _ in particles if pt > 0]
    return ", ".join(rf"$p_T$ = {pt:.0f} GeV, $\eta$ = {eta:.2f}" for pt, eta in known)
