"""A particle gun: records of single particles in the format of the generator."""

import numpy as np

from e2e_jax.events.base import Ragged

MASSES = {22: 0.0, 11: 0.000511, 211: 0.13957, 310: 0.49761, 13: 0.10566}


def shoot(pdg: int, momentum, eta, phi, charge: int = 0) -> Ragged:
    """One particle per event, from the origin; momentum in GeV, arrays `[events]`."""
    momentum, eta, phi = np.broadcast_arrays(momentum, eta, phi)
    pt = momentum / np.cosh(eta)
    energy = np.hypot(momentum, MASSES[abs(pdg)])
    columns = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "e": energy}
    columns |= {axis: np.zeros(len(pt)) for axis in "xyz"}
    columns |= {"pdg": np.full(len(pt), pdg, np.int32), "charge": np.full(len(pt), charge, np.int8)}
    return Ragged.from_counts(np.ones(len(pt), np.int64), columns)
