"""The image of a jet: one panel each for tracks, ECAL and HCAL."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from e2e_jax.detector import jet_pixels, pixels
from e2e_jax.events.jets import Jets
from e2e_jax.report.pictures import STYLE, header

PANEL = 8.2, 7.2
"""Width and height of a panel in inches."""
DECADES = 3
"""Range of the color scale, down from the brightest pixel."""
LABELS = {"tracks": "Tracks, $p_T$", "ecal": "ECAL, energy", "hcal": "HCAL, energy"}


def draw_jet(jets: Jets, index: int, origin: str) -> Figure:
    """Draws a jet.

    Args:
      jets: the jets.
      index: index of the jet.
      origin: origin of the jets.
    """
    hits = {name: getattr(jets, name).event(index) for name in jets.COLLECTIONS}
    image = pixels.draw_event(hits, jet_pixels.JET, tuple(LABELS))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PANEL[0] * len(LABELS), PANEL[1]), layout="constrained")
        panels = figure.subplots(ncols=len(LABELS))
        for number, (axes, label) in enumerate(zip(panels, LABELS.values())):
            channel = image[..., number]
            highest = max(float(channel.max()), 1e-3)
            norm = LogNorm(highest / 10**DECADES, highest, clip=True)
            shown = np.ma.masked_less_equal(channel, 0)
            drawn = axes.imshow(shown, origin="lower", cmap="cividis", interpolation="nearest", norm=norm)
            figure.colorbar(drawn, ax=axes, pad=0.02).set_label(label)
            axes.set(xlabel=r"Crystals in $\varphi$", ylabel=r"Crystals in $\eta$")
            axes.tick_params(which="both", top=False, right=False)
        header(panels[0], origin)
        about = [
            rf"{name} = {jets.observables[name][index]:.1f} GeV"
            for name in ("pt", "m0")
            if name in jets.observables
        ]
        header(panels[-1], "", ", ".join(about))
    return figure
