"""Compares the fast simulation with a real AODSIM file of ten events, with statistical errors.

    python benchmarks/real_file.py FILE [--repeats 20]

FILE is CMS AODSIM of 2011, gg -> H -> ZZ -> 4 leptons at 7 TeV (see docs/physics_validation.md). The same
process is simulated with the numbers of pile-up collisions that the file records for each of its events and
bunch crossings, so both sides have the same pile-up. The last column is the difference in units of its error,
from the scatter of the ten real events and of the simulated ones.
"""

import argparse
import dataclasses

import numpy as np
import uproot

from e2e_jax.detector import geometry, ids
from e2e_jax.events.base import Ragged
from e2e_jax.sources.root.aodsim import CALORIMETERS, PHOTONS, TRACKS
from e2e_jax.sources.simulation import crossings, generator, simulate
from e2e_jax.sources.simulation.pool_files import Shards
from e2e_jax.study.samples import Sample, pythia

HIGGS = Sample(
    "h_4l",
    pythia(
        "Beams:eCM = 7000.",
        *("HiggsSM:gg2H = on", "25:m0 = 125.", "25:onMode = off", "25:onIfMatch = 23 23"),
        *("23:onMode = off", "23:onIfAny = 11 13"),
    ),
)
PILEUP = "PileupSummaryInfos_addPileupInfo__HLT.obj"
RECORDED = (*range(-300, 51, 50),)
"""ns; the crossings whose numbers of collisions the file records, in its order."""
CONE = 0.15
PHOTON_PT = 10.0


@dataclasses.dataclass(frozen=True)
class Side:
    """Events of either side: hits with `cell` and `energy`, tracks, and photons with their shapes."""

    eb: Ragged
    ee: Ragged
    hcal: Ragged
    tracks: Ragged
    photons: Ragged


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="the real AODSIM file")
    parser.add_argument("--repeats", type=int, default=20, help="simulated events for each real one")
    arguments = parser.parse_args()
    real, numbers = read(arguments.file)
    simulated = simulate_like(numbers, arguments.repeats)
    print(f"| quantity | {len(real.eb)} real events | {len(simulated.eb)} simulated | difference / error |")
    print("| --- | ---: | ---: | ---: |")
    others = quantities(simulated)
    for name, values in quantities(real).items():
        (mean, error), (other, scatter) = average(*values), average(*others[name])
        pull = (other - mean) / max(np.hypot(error, scatter), 1e-9)
        print(f"| {name} | {mean:.3g} ± {error:.2g} | {other:.3g} ± {scatter:.2g} | {pull:+.1f} |")


def average(total: np.ndarray, number: np.ndarray) -> tuple[float, float]:
    """Ratio of the sums of `[events]` and its standard error, from the scatter of the events."""
    ratio = total.sum() / max(number.sum(), 1)
    apart = total - ratio * number
    return ratio, np.sqrt((apart**2).sum() * len(apart) / (len(apart) - 1)) / max(number.sum(), 1)


def read(path: str) -> tuple[Side, np.ndarray]:
    """The events of a file, and the numbers of its pile-up collisions, `[crossings, events]`."""
    with uproot.open(f"{path}:Events") as tree:

        def column(name: str) -> tuple[np.ndarray, np.ndarray]:
            array = tree[name].array(library="np")
            return np.array([len(x) for x in array]), np.concatenate([*array])

        parts = {}
        for name, prefix in CALORIMETERS.items():
            counts, identity = column(f"{prefix}id_.id_")
            cell = {"eb": ids.eb_cell, "ee": ids.ee_cell, "hcal": ids.hcal_cell}[name](identity)
            columns = {"cell": cell, "energy": column(f"{prefix}energy_")[1]}
            parts[name] = Ragged.from_counts(counts, columns)
        counts, quality = column(f"{TRACKS}quality_")
        x, y, z = (column(f"{TRACKS}momentum_.fCoordinates.f{axis}")[1] for axis in "XYZ")
        pt = np.hypot(x, y)
        tracks = {"pt": pt, "eta": np.arcsinh(z / pt), "phi": np.arctan2(y, x)}
        tracks = Ragged.from_counts(counts, tracks).filter((quality >> 2) & 1 == 1)
        names = {name: f"{name}_" for name in ("pt", "eta", "phi")}
        names["sigma_ieta_ieta"] = "showerShapeBlock_.sigmaIetaIeta"
        names |= {f"depth{depth}": f"showerShapeBlock_.hcalDepth{depth}OverEcal" for depth in (1, 2)}
        photons = {name: column(PHOTONS + leaf) for name, leaf in names.items()}
        counts = photons["pt"][0]
        photons = {name: values for name, (_, values) in photons.items()}
        photons["hovere"] = photons.pop("depth1") + photons.pop("depth2")
        photons = Ragged.from_counts(counts, photons)
        raw = tree[PILEUP].array(uproot.AsJagged(uproot.AsDtype("u1")), library="np")
    # Of each event: a header of 8 bytes, how many crossings, and the collisions in each.
    numbers = [np.frombuffer(event.tobytes()[8 : 12 + 4 * len(RECORDED)], ">i4") for event in raw]
    if any(event[0] != len(RECORDED) for event in numbers):
        raise SystemExit(f"{path} does not record the {len(RECORDED)} crossings of this file's production.")
    return Side(**parts, tracks=tracks, photons=photons), np.array(numbers)[:, 1:].T


def simulate_like(numbers: np.ndarray, repeats: int) -> Side:
    """Simulated events with these numbers of pile-up collisions, each `repeats` times."""
    numbers = np.repeat(numbers, repeats, axis=1)
    rng, pool = np.random.default_rng(1), Shards("real_file", endcaps=True).open(0)
    generation = generator.generate(HIGGS, 1, chunk=simulate.BATCH)
    beside = numbers[[RECORDED.index(time) for time in crossings.NEIGHBORS]]
    in_time, parts = numbers[RECORDED.index(0)], []
    for record, first in zip(
        simulate.batches(generation, simulate.BATCH), range(0, len(in_time), simulate.BATCH), strict=False
    ):
        some = slice(first, first + simulate.BATCH)
        record = record[: len(in_time[some])]
        parts.append(simulate.detect(record, pool, in_time[some], beside[:, some], rng, endcaps=True))
    names = ("eb", "ee", "hcal", "tracks")
    columns = {name: Ragged.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Side(**columns, photons=Ragged.concatenate([part.barrel for part in parts]))


def quantities(sample: Side) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> (sum, number) of each event: the number is 1 for means of events, that of hits for theirs."""
    events = len(sample.eb)
    one = np.ones(events)

    def total(items: Ragged, weight: np.ndarray) -> np.ndarray:
        return np.bincount(items.event_index, weight, events)

    def of_each(items: Ragged, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return total(items, value), items.counts

    made = {}
    for name, hits in (("EB", sample.eb), ("EE", sample.ee)):
        made[f"{name} hits"] = hits.counts, one
        made[f"{name} energy, GeV"] = total(hits, hits.energy), one
        made[f"{name} hits over 1 GeV, share"] = of_each(hits, hits.energy > 1)
    ieta, _, depth = geometry.hcal_coordinates(sample.hcal.cell)
    barrel = np.abs(ieta) <= 16
    hb, ieta = sample.hcal.filter(barrel), np.abs(ieta[barrel])
    made |= {
        "HB hits": (hb.counts, one),
        "HE hits": (sample.hcal.counts - hb.counts, one),
        "HB energy, GeV": (total(hb, hb.energy), one),
        "energy of an HB hit, GeV": of_each(hb, hb.energy),
        "HB hits below 0.2 GeV, share": of_each(hb, hb.energy < 0.2),
        "HB hits over 2 GeV, share": of_each(hb, hb.energy > 2),
        "abs(ieta) of an HB hit": of_each(hb, ieta),
        "HB hits with depth 2, share": of_each(hb, depth[barrel] > 1),
        "events with an HBHE hit of depth > 1": (total(sample.hcal, depth > 1) > 0, one),
        "HB hits near a barrel photon, share": near(hb, sample.photons),
    }
    tracks = sample.tracks.filter(np.abs(sample.tracks.eta) < 2.5)
    tracks = tracks.filter(tracks.pt > 0.3)
    photons = sample.photons.filter((sample.photons.pt > PHOTON_PT) & (np.abs(sample.photons.eta) < 1.44))
    made |= {
        "tracks": (tracks.counts, one),
        "sum of track pT, GeV": (total(tracks, tracks.pt), one),
        "pT of a track, GeV (up to 5)": of_each(tracks, np.minimum(tracks.pt, 5)),
        "barrel photons over 10 GeV": (photons.counts, one),
        "sigma_ieta_ieta of one": of_each(photons, photons.sigma_ieta_ieta),
        "H/E of one": of_each(photons, photons.hovere),
    }
    return {name: (np.asarray(some, float), np.asarray(of, float)) for name, (some, of) in made.items()}


def near(hits: Ragged, photons: Ragged) -> tuple[np.ndarray, np.ndarray]:
    """Hits of each event within `CONE` of a photon, and all hits, in events with a photon."""
    photons = photons.filter((photons.pt > PHOTON_PT) & (np.abs(photons.eta) < 1.44))
    hits = hits.filter((photons.counts > 0)[hits.event_index])
    ieta, iphi, _ = geometry.hcal_coordinates(hits.cell)
    eta, phi = np.sign(ieta) * (np.abs(ieta) - 0.5) * 0.087, np.radians(5 * iphi - 2.5)
    found = np.zeros(len(eta), bool)
    for owner, p_eta, p_phi in zip(photons.event_index, photons.eta, photons.phi, strict=True):
        distance = np.hypot(eta - p_eta, geometry.delta_phi(phi, p_phi))
        found |= (hits.event_index == owner) & (distance < CONE)
    return np.bincount(hits.event_index, found, len(hits)), hits.counts


if __name__ == "__main__":
    main()
