"""The frames of detector images: one panel per image, in the coordinates of the detector.

A panel's axes count cells: the pixel in row r and column c is the unit square around (left + c, bottom + r).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from e2e_jax.detector import geometry, images, projections
from e2e_jax.display.showers import Shower

Ticks = list[tuple[float, str]]
"""Tick positions on an axis and their labels."""


ETA_CIRCLES = (2.0, 2.5)


@dataclasses.dataclass(frozen=True)
class Panel:
    """The frame of one image of a geometry.

    Attributes:
      title: title of the image.
      shape: rows and columns of the image.
      left, bottom: coordinates of the center of the pixel in row 0 and column 0.
      names: labels of the axes: bottom, left, top, right ("" for none).
      ticks: ticks of the bottom, left, top and right axis, as functions of its lowest and highest coordinate.
      locate: (column, row) of a shower's crystal; None if it is in another image.
      wraps: whether the columns are periodic in phi.
      crystals: whether each pixel is part of the detector, bool of `shape`; None if all are.
      circles: radii of dotted circles around the center of the image.
      hcal_factor: factor on the HCAL channel before drawing.
    """

    title: str
    shape: tuple[int, int]
    left: float
    bottom: float
    names: tuple[str, str, str, str]
    ticks: tuple[Callable[[float, float], Ticks], ...]
    locate: Callable[[Shower], tuple[int, int] | None]
    wraps: bool = False
    crystals: Callable[[], np.ndarray] | None = None
    circles: Callable[[], list[float]] = list
    hcal_factor: float = 1.0

    def position(self, shower: Shower) -> tuple[float, float] | None:
        """The center of a shower's crystal in the panel's coordinates; None if it is in another image."""
        place = self.locate(shower)
        return None if place is None else (self.left + place[0], self.bottom + place[1])

    def frame(self, axes: Axes, around: tuple[float, float] | None = None, half_width: float = 15.5) -> None:
        """Sets limits, ticks and labels for the whole image or for a square around a position."""
        rows, columns = self.shape
        x = (self.left - 0.5, self.left + columns - 0.5)
        y = (self.bottom - 0.5, self.bottom + rows - 0.5)
        if around is not None:
            x, y = ((centre - half_width, centre + half_width) for centre in around)
        axes.set(xlim=x, ylim=y, aspect="equal", xlabel=self.names[0], ylabel=self.names[1])
        axes.set_xticks(*_inside(self.ticks[0](*x), x))
        axes.set_yticks(*_inside(self.ticks[1](*y), y))
        if around is None:
            for side, low_high, name, ticks in zip(("top", "right"), (x, y), self.names[2:], self.ticks[2:]):
                if name:
                    other = axes.secondary_xaxis(side) if side == "top" else axes.secondary_yaxis(side)
                    set_ticks = other.set_xticks if side == "top" else other.set_yticks
                    set_ticks(*_inside(ticks(*low_high), low_high))
                    other.set(**{"xlabel" if side == "top" else "ylabel": name})
            middle = (x[0] + x[1]) / 2, (y[0] + y[1]) / 2
            for radius in self.circles():
                circle = Circle(middle, radius, fill=False, edgecolor="#707070", linestyle=":", linewidth=0.8)
                axes.add_patch(circle)


def _inside(ticks: Ticks, low_high: tuple[float, float]) -> tuple[list[float], list[str]]:
    kept = [(place, text) for place, text in ticks if low_high[0] <= place <= low_high[1]]
    return [place for place, _ in kept], [text for _, text in kept]


def _step(low: float, high: float) -> int:
    return 10 if high - low < 60 else 20 if high - low < 200 else 60


def _iphi_ticks(low: float, high: float) -> Ticks:
    """Ticks of iphi, which is periodic from 1 to 360."""
    step = _step(low, high)
    places = np.arange(np.ceil(low / step) * step, high + 1, step)
    whole = [1.0] if high - low >= geometry.EB_COLUMNS else []
    return [(float(p), str(int(p - 1) % geometry.EB_COLUMNS + 1)) for p in (*whole, *places) if p]


def _phi_ticks(low: float, high: float) -> Ticks:
    quarter = geometry.EB_COLUMNS / 4
    zero = 1 - np.rad2deg(geometry.eb_phi_centres()[0])
    return [(zero + k * quarter, text) for k, text in enumerate(("0", "π/2", "±π", "−π/2"))]


def _ieta_ticks(low: float, high: float) -> Ticks:
    """Ticks of ieta. There is no ieta = 0: crystals ±1 meet at 0, and ieta = n is half a crystal closer."""
    ieta = np.arange(-80, 81, min(_step(low, high), 20))
    return [(n - 0.5 * np.sign(n), _signed(n)) for n in ieta if n]


def _barrel_eta_ticks(low: float, high: float) -> Ticks:
    rows = np.arange(geometry.EB_ROWS + 1) - geometry.EB_ROWS / 2
    return [
        (float(np.interp(eta, geometry.eb_eta_edges(), rows)), _signed(eta))
        for eta in (-1.0, -0.5, 0.0, 0.5, 1.0)
    ]


def _signed(number: float) -> str:
    return f"{number:.3g}".replace("-", "−")


def _barrel_place(shower: Shower) -> tuple[int, int] | None:
    if shower.collection != "eb":
        return None
    row, column = divmod(shower.cell, geometry.EB_COLUMNS)
    return column, row


BARREL = Panel(
    title="ECAL barrel",
    shape=(geometry.EB_ROWS, geometry.EB_COLUMNS),
    left=1,
    bottom=0.5 - geometry.EB_ROWS / 2,
    names=("iϕ", "iη", "ϕ [rad]", "η"),
    ticks=(_iphi_ticks, _ieta_ticks, _phi_ticks, _barrel_eta_ticks),
    locate=_barrel_place,
    wraps=True,
)


def _crystal_ticks(low: float, high: float) -> Ticks:
    step = min(_step(low, high), 20)
    whole = [1] if high - low >= geometry.EE_SIDE else []
    return [(float(n), str(n)) for n in (*whole, *range(step, geometry.EE_SIDE + 1, step))]


def _eta_circles() -> list[float]:
    """Radii at which abs(eta) is one of `ETA_CIRCLES` on a disk, in crystals from the beam."""
    crystals = geometry.ee_crystals()
    ix, iy, _ = geometry.ee_coordinates(crystals.cell)
    middle = (geometry.EE_SIDE + 1) / 2
    tangent = 1 / np.sinh(abs(crystals.eta))
    line = np.polynomial.Polynomial.fit(tangent, np.hypot(ix - middle, iy - middle), 1)
    return [float(line(1 / np.sinh(eta))) for eta in ETA_CIRCLES]


def _endcap(side: int) -> Panel:
    def place(shower: Shower) -> tuple[int, int] | None:
        of_side, crystal = divmod(shower.cell, geometry.EE_SIDE**2)
        row, column = divmod(crystal, geometry.EE_SIDE)
        return (column, row) if (shower.collection, of_side) == ("ee", side) else None

    def crystals() -> np.ndarray:
        return geometry.ee_exists().reshape(2, geometry.EE_SIDE, geometry.EE_SIDE)[side]

    # A barrel tower shows its full energy on each of 25 crystals; an endcap tower divides it among about 25.
    return Panel(
        title=f"EE{'−+'[side]}   (HCAL × 25)",
        shape=(geometry.EE_SIDE, geometry.EE_SIDE),
        left=1,
        bottom=1,
        names=(f"ix   (dotted: |η| = {', '.join(f'{eta:g}' for eta in ETA_CIRCLES)})", "iy", "", ""),
        ticks=(_crystal_ticks, _crystal_ticks),
        locate=place,
        crystals=crystals,
        circles=_eta_circles,
        hcal_factor=25.0,
    )


def _tower_ticks(low: float, high: float) -> Ticks:
    """Ticks of HCAL towers of 5 rows each; there is no ieta = 0."""
    last, step = projections.LAST_RING, 1 if high - low < 60 else 5
    ieta = [n for n in range(-last, last + 1) if n and n % step == 0]
    return [(projections.TOWER_SIDE * (n - 0.5 * np.sign(n)), _signed(n)) for n in ieta]


def _full_eta_ticks(low: float, high: float) -> Ticks:
    rings = geometry.HCAL_ETA_EDGES[projections.BARREL_RINGS : projections.LAST_RING]
    endcap = np.array([*rings, geometry.HCAL_ETA_EDGES[-1]])[1:]
    barrel, half = geometry.eb_eta_edges(), geometry.EB_ROWS / 2
    rows = half + projections.TOWER_SIDE * np.arange(1, len(endcap) + 1)
    places = np.concatenate([-rows[::-1], np.arange(len(barrel)) - half, rows])
    eta = np.concatenate([-endcap[::-1], barrel, endcap])
    return [(float(np.interp(n, eta, places)), _signed(n)) for n in (-3, -2, -1.5, -1, 0, 1, 1.5, 2, 3)]


def _full_place(shower: Shower) -> tuple[int, int] | None:
    if not shower.collection:
        return None
    if shower.collection == "eb":
        row, column = divmod(shower.cell, geometry.EB_COLUMNS)
        return column, row + projections.ENDCAP_ROWS
    row, column = divmod(int(projections.stitched_pixels()[shower.cell]), projections.FULL_COLUMNS)
    return column, row


FULL = Panel(
    title="ECAL barrel and endcaps",
    shape=(projections.FULL_ROWS, projections.FULL_COLUMNS),
    left=1,
    bottom=0.5 - projections.FULL_ROWS / 2,
    names=("iϕ", "HCAL iη", "ϕ [rad]", "η"),
    ticks=(_iphi_ticks, _tower_ticks, _phi_ticks, _full_eta_ticks),
    locate=_full_place,
    wraps=True,
)

PANELS: dict[str, dict[str, Panel]] = {
    "barrel": {"barrel": BARREL},
    "ecal_centric": {"barrel": BARREL, "endcap_minus": _endcap(0), "endcap_plus": _endcap(1)},
    "hcal_centric": {"full": FULL},
}
"""The panels of each geometry of `detector.images`: name of the image -> panel."""


def panels(geometry: str) -> dict[str, Panel]:
    """The panels of a geometry's images; registered geometries have plain panels with rows and columns.

    Raises:
      ValueError: the geometry does not exist.
    """
    return PANELS.get(geometry) or {
        name: Panel(
            title=name,
            shape=shape,
            left=0,
            bottom=0,
            names=("column", "row", "", ""),
            ticks=(_plain_ticks, _plain_ticks),
            locate=lambda shower: None,
        )
        for name, shape in images.shapes(geometry).items()
    }


def _plain_ticks(low: float, high: float) -> Ticks:
    return [(float(n), str(n)) for n in range(0, int(high) + 1, _step(low, high))]
