"""Writes the crystal tables of this folder from two text files of crystal positions.

    python e2e_jax/detector/data/make_tables.py EB_ETA.txt EE_XYZ.txt

EB_ETA.txt holds a line `|ieta| eta` for each of the 85 barrel rings; EE_XYZ.txt a line
`ix iy x y z` in mm for each of the 7324 crystals of EE+. Both are centres of crystal front faces,
computed from the published geometry of the CMS ECAL. The endcap is symmetric under x -> -x and
y -> -y, so one quadrant is kept, in units of 0.01 mm.
"""

import argparse
import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent
QUADRANT = 50
"""The kept crystals have ix and iy above 50, x and y above 0."""


def barrel_table(path: str) -> np.ndarray:
    """Reads the ring etas, float64 `[85]`."""
    ring, eta = np.loadtxt(path, unpack=True)
    if not np.array_equal(ring, np.arange(1, 86)) or not (np.diff(eta) > 0).all():
        raise ValueError(f"{path}: expected |ieta| 1 to 85 in order, with rising eta.")
    return eta


def endcap_table(path: str) -> dict[str, np.ndarray]:
    """Reads EE+ and returns its positive quadrant, after a check of the symmetry."""
    ix, iy, *position = np.loadtxt(path, unpack=True)
    ix, iy = ix.astype(int), iy.astype(int)
    x, y, z = np.rint(100 * np.array(position)).astype(np.int32)
    kept = (ix > QUADRANT) & (iy > QUADRANT)
    quadrant = {(ix[i], iy[i]): (x[i], y[i], z[i]) for i in np.flatnonzero(kept)}
    for i in range(len(ix)):
        mirrored = quadrant.get((max(ix[i], 101 - ix[i]), max(iy[i], 101 - iy[i])))
        if mirrored != (abs(x[i]), abs(y[i]), z[i]):
            raise ValueError(f"{path}: crystal ix {ix[i]}, iy {iy[i]} breaks the symmetry of the endcap.")
    if len(ix) != 4 * len(quadrant):
        raise ValueError(f"{path}: {len(ix)} crystals are not four times the {len(quadrant)} of a quadrant.")
    unsigned = {"ix": ix.astype(np.uint8), "iy": iy.astype(np.uint8)}
    return {name: column[kept] for name, column in (unsigned | {"x": x, "y": y, "z": z}).items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("barrel", help="text file: |ieta| eta")
    parser.add_argument("endcap", help="text file: ix iy x y z (mm)")
    args = parser.parse_args()
    np.savez_compressed(FOLDER / "eb_crystals.npz", eta=barrel_table(args.barrel))
    np.savez_compressed(FOLDER / "ee_crystals.npz", **endcap_table(args.endcap))


if __name__ == "__main__":
    main()
