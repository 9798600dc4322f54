"""Propagation from the vertex to the calorimeter: straight lines and exact helices in a uniform field."""

import numpy as np

from e2e_jax.sources.simulation.particles import Particles

MAGNETIC_FIELD = 3.8
"""Tesla, along +z (CMS solenoid)."""
PT_PER_CM = 0.299792458e-2 * MAGNETIC_FIELD
"""Transverse momentum (GeV) per unit of charge and of bending radius (cm)."""
ECAL_RADIUS = 129.0
"""Front faces of the barrel crystals, cm."""
ENDCAP_Z = 320.0
"""Front faces of the endcap crystals, cm."""
LARGEST_TURN = 4 * np.pi
"""Radians; a particle that turns more than this before an endcap is lost in the tracker."""


def to_radius(particles: Particles, radius: float | np.ndarray) -> tuple[Particles, np.ndarray]:
    """Move particles outward to a cylinder around the beam.

    A charge q moves on a circle of radius rho = pT / (0.003 B) cm, positive charges clockwise seen
    from +z. The crossing with the cylinder follows from the triangle (beam axis, center of the
    circle, crossing): cos(beta) = (d^2 + rho^2 - R^2) / (2 d rho), d the distance of the center.

    Args:
      particles: `[n]`.
      radius: radius of the cylinder in cm, a number or `[n]`.

    Returns:
      The particles on the cylinder, and bool `[n]`: whether each reaches it before the endcap
      plane (a particle that does not keeps its position, or curls in the tracker).
    """
    moved_position, moved_momentum = particles.position.copy(), particles.momentum.copy()
    reached = np.zeros(len(particles), bool)
    radius = np.broadcast_to(np.asarray(radius, np.float64), len(particles))
    charged = particles.charge != 0
    for kind, move in ((charged, _along_helix), (~charged, _along_line)):
        if kind.any():
            position, momentum, crosses = move(particles[kind], radius[kind])
            moved_position[kind], moved_momentum[kind], reached[kind] = position, momentum, crosses
    reached &= (np.abs(moved_position[:, 2]) < ENDCAP_Z) & (particles.radius <= radius)
    return particles.moved(moved_position, moved_momentum), reached


def to_plane(particles: Particles, z: float | np.ndarray) -> tuple[Particles, np.ndarray]:
    """Move particles to a plane across the beam, on the side to which they fly.

    In a field along the beam, a charge turns by 0.003 B dz / pz.

    Args:
      particles: `[n]`.
      z: distance of the plane from the center in cm, a number or `[n]`.

    Returns:
      The particles on the plane, and bool `[n]`: whether each reaches it. A particle that is already
      past it, or turns more than `LARGEST_TURN`, does not; it keeps its position.
    """
    pz = particles.momentum[:, 2]
    distance = np.sign(pz) * z - particles.position[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = np.abs(PT_PER_CM * distance / pz)
        step = distance / pz
    charged = particles.charge != 0
    reached = (step >= 0) & np.isfinite(step) & ~(charged & (turn > LARGEST_TURN))
    moved_position, moved_momentum = particles.position.copy(), particles.momentum.copy()
    lines = reached & ~charged
    moved_position[lines] += step[lines, None] * particles.momentum[lines]
    helices = reached & charged
    moved_position[helices], moved_momentum[helices] = _turned(particles[helices], turn[helices])
    moved_position[reached, 2] = (np.sign(pz) * z)[reached]  # exact to the last bit
    return particles.moved(moved_position, moved_momentum), reached


def _along_line(particles: Particles, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    position, momentum = particles.position, particles.momentum
    pt2 = np.maximum(particles.pt**2, 1e-18)
    along = (position[:, :2] * momentum[:, :2]).sum(1)
    inside = along**2 + pt2 * (radius**2 - particles.radius**2)
    step = (np.sqrt(np.maximum(inside, 0)) - along) / pt2
    return position + step[:, None] * momentum, momentum, inside >= 0


def _along_helix(particles: Particles, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    (x, y, _), (px, py, _) = particles.position.T, particles.momentum.T
    pt, sign = np.maximum(particles.pt, 1e-9), np.sign(particles.charge)
    rho = pt / PT_PER_CM
    centre_x, centre_y = x + sign * rho * py / pt, y - sign * rho * px / pt
    distance = np.maximum(np.hypot(centre_x, centre_y), 1e-9)
    cos_beta = (distance**2 + rho**2 - radius**2) / (2 * distance * rho)
    beta = np.arccos(np.clip(cos_beta, -1, 1))
    start = np.arctan2(y - centre_y, x - centre_x)
    towards_axis = np.arctan2(-centre_y, -centre_x)
    turns = [np.mod(-sign * (towards_axis + side * beta - start), 2 * np.pi) for side in (1, -1)]
    position, momentum = _turned(particles, np.minimum(*turns))
    return position, momentum, np.abs(cos_beta) <= 1


def _turned(particles: Particles, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions and momenta of charged particles after a turn by an angle `[n]` on their circles."""
    (x, y, z), (px, py, pz) = particles.position.T, particles.momentum.T
    pt, sign = np.maximum(particles.pt, 1e-9), np.sign(particles.charge)
    rho = pt / PT_PER_CM
    centre_x, centre_y = x + sign * rho * py / pt, y - sign * rho * px / pt
    end = np.arctan2(y - centre_y, x - centre_x) - sign * turn
    position = np.stack(
        [centre_x + rho * np.cos(end), centre_y + rho * np.sin(end), z + pz / pt * rho * turn], axis=1
    )
    cos, sin = np.cos(-sign * turn), np.sin(-sign * turn)
    momentum = np.stack([px * cos - py * sin, px * sin + py * cos, pz], axis=1)
    return position, momentum
