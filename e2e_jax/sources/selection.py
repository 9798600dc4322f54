"""The paper's event selection, and its data-taking eras.

An event is kept when it has exactly two reconstructed photons above 20 GeV, both in the fiducial
volume of the category, with a diphoton mass above 90 GeV (Andrews et al., arXiv:1807.11916,
Section 2). Samples share the era proportions of the paper's Table 1 in every class, so that
pile-up and detector conditions tell a classifier nothing about the class.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from e2e_jax.events.base import Ragged

PHOTON_PT = 20.0
"""Least transverse momentum of a selected photon, GeV."""

MASS = 90.0
"""Least diphoton mass, GeV."""

LEADING_PT_OVER_MASS = 1 / 3
"""Least pt / mass of the leading photon, where the optional cuts are asked for."""

PT_OVER_MASS = 1 / 4
"""Least pt / mass of both photons, where the optional cuts are asked for."""

FIDUCIAL = {
    "central": ((0.0, 1.44),),
    "central_forward": ((0.0, 1.44), (1.54, 2.3)),
    "central_forward_157": ((0.0, 1.44), (1.57, 2.3)),
}
"""Category -> intervals of abs(eta) that photons may have, upper edges excluded.

The first two are the paper's; the third has the wider gap of its authors' public code."""


@dataclasses.dataclass(frozen=True)
class Era:
    """A data-taking period of 2012, as the run-dependent simulation names it.

    Attributes:
      name: the period.
      run: run number of its simulated events.
      quotas: category -> events a class in the paper's Table 1, which counts each of its two categories.
      pileup: mean number of additional collisions a bunch crossing.
    """

    name: str
    run: int
    quotas: dict[str, int]
    pileup: float


ERAS = (
    Era("2012AB", 194533, {"central": 16308, "central_forward": 35141}, pileup=18.5),
    Era("2012C", 200519, {"central": 24538, "central_forward": 47885}, pileup=20.5),
    Era("2012D", 206859, {"central": 22206, "central_forward": 52576}, pileup=20.6),
)
"""The eras. Runs and quotas are the paper's Table 1; it gives no pile-up by era, so those means
are our choice: about 20 over the year, lower in its first part, as the luminosity was."""


@dataclasses.dataclass(frozen=True)
class Selection:
    """What `select` finds.

    Attributes:
      selected: bool `[n]`, whether the event passes.
      photons: float32 `[n, 2, 3]`, (pt, eta, phi) of the two photons of highest pt, leading first;
        zeros where the event has fewer than two.
      mass: float32 `[n]`, their mass in GeV; 0 where the event has fewer than two.
    """

    selected: np.ndarray
    photons: np.ndarray
    mass: np.ndarray


def diphoton_mass(photons: np.ndarray) -> np.ndarray:
    """Mass of two massless particles, m^2 = 2 pt1 pt2 (cosh(eta1 - eta2) - cos(phi1 - phi2)).

    Args:
      photons: `[..., 2, 3]`, (pt in GeV, eta, phi) of each.

    Returns:
      float64 `[...]`, the mass in GeV.
    """
    pt, eta, phi = np.moveaxis(np.asarray(photons, np.float64), -1, 0)
    opening = np.cosh(eta[..., 0] - eta[..., 1]) - np.cos(phi[..., 0] - phi[..., 1])
    return np.sqrt(2 * pt[..., 0] * pt[..., 1] * np.maximum(opening, 0.0))


def is_fiducial(eta: np.ndarray, category: str = "central") -> np.ndarray:
    """Whether a photon's pseudorapidity lies in the volume of the category.

    Raises:
      ValueError: the category is not known.
    """
    _check_category(category)
    eta = np.abs(eta)
    return np.logical_or.reduce([(eta >= low) & (eta < high) for low, high in FIDUCIAL[category]])


def select(photons: Ragged, category: str = "central", pt_over_mass_cuts: bool = False) -> Selection:
    """Applies the paper's selection to the reconstructed photons of each event.

    Args:
      photons: reconstructed photons with columns `pt` (GeV), `eta`, `phi`, in any order.
      category: "central" or "central_forward".
      pt_over_mass_cuts: also ask for pt > m/3 of the leading and pt > m/4 of both photons: cuts of
        the authors' code that are not behind the paper's Table 1.

    Raises:
      ValueError: the category is not known.
    """
    _check_category(category)
    hard = photons.filter(photons.pt > PHOTON_PT)
    order = np.lexsort((-photons.pt, photons.event_index))
    columns = {name: column[order] for name, column in photons.columns.items()}
    leading = leading_photons(Ragged(photons.offsets, columns))
    mass = np.where(photons.counts >= 2, diphoton_mass(leading), 0.0).astype(np.float32)

    selected = (hard.counts == 2) & (mass > MASS) & is_fiducial(leading[..., 1], category).all(axis=1)
    if pt_over_mass_cuts:
        pt_over_mass = leading[..., 0] / np.maximum(mass, MASS)[:, None]
        selected &= (pt_over_mass[:, 0] > LEADING_PT_OVER_MASS) & (pt_over_mass > PT_OVER_MASS).all(axis=1)
    return Selection(selected, leading, mass)


def leading_photons(photons: Ragged) -> np.ndarray:
    """The first two photons of each event as (pt, eta, phi), float32 `[n, 2, 3]`; zeros where missing."""
    out = np.zeros((len(photons), 2, 3), np.float32)
    for rank in range(2):
        rows = photons.counts > rank
        entries = photons.offsets[:-1][rows] + rank
        for i, name in enumerate(("pt", "eta", "phi")):
            out[rows, rank, i] = photons.columns[name][entries]
    return out


def era_quotas(events: int, category: str = "central") -> tuple[int, ...]:
    """Events of each of `ERAS` in a sample, in the proportions of the paper's Table 1.

    Fractions are rounded by largest remainder, so the quotas add up to `events`.

    Raises:
      ValueError: the category is not known, or `events` is negative.
    """
    _check_category(category)
    if events < 0:
        raise ValueError(f"A sample cannot have {events} events; ask for 0 or more.")
    column = "central" if category == "central" else "central_forward"
    weights = [era.quotas[column] for era in ERAS]
    total = sum(weights)
    quotas = [events * weight // total for weight in weights]
    remainders = [events * weight % total for weight in weights]
    by_remainder = sorted(range(len(ERAS)), key=lambda era: -remainders[era])
    for era in by_remainder[: events - sum(quotas)]:
        quotas[era] += 1
    return tuple(quotas)


def _check_category(category: str) -> None:
    if category not in FIDUCIAL:
        raise ValueError(f"No category {category!r}; there are {', '.join(FIDUCIAL)}.")
