"""The branches of each CMS data tier that are read.

Support another tier, or a release with other branch names, by adding a `Tier` to `TIERS`.
"""

from __future__ import annotations

import dataclasses
import functools

from e2e_jax.sources.root.root_files import RAW, Types


@dataclasses.dataclass(frozen=True, eq=False)
class Tier:
    """Names of the tree and branches of a tier.

    Attributes:
      tree: the tree of the events.
      auxiliary: the branch with run, luminosity section and event.
      eb, ee, hcal: prefixes of the branches of the rec hits.
      photons, tracks: prefixes of the branches of reconstructed photons and tracks.
    """

    tree: str
    auxiliary: str
    eb: str
    ee: str
    hcal: str
    photons: str
    tracks: str

    @functools.cached_property
    def calorimeters(self) -> dict[str, str]:
        """Collection of `Events` -> prefix of its branches."""
        return {name: getattr(self, name) for name in ("eb", "ee", "hcal")}

    @functools.cached_property
    def skim(self) -> Types:
        """Branches of the first pass."""
        photons = {f"{self.photons}{name}_": ("float32",) for name in ("pt", "eta", "phi")}
        return {self.auxiliary: (RAW,)} | photons

    @functools.cached_property
    def hits(self) -> Types:
        """Branches of the second pass."""
        prefixes = self.calorimeters.values()
        return (
            {f"{prefix}id_.id_": ("uint32",) for prefix in prefixes}
            | {f"{prefix}energy_": ("float32",) for prefix in prefixes}
            | {f"{self.tracks}momentum_.fCoordinates.f{axis}": ("float32",) for axis in "XYZ"}
            | {f"{self.tracks}quality_": ("uint8",)}
        )


AODSIM = Tier(
    tree="Events",
    auxiliary="EventAuxiliary",
    eb="EcalRecHitsSorted_reducedEcalRecHitsEB__RECO.obj.obj.",
    ee="EcalRecHitsSorted_reducedEcalRecHitsEE__RECO.obj.obj.",
    hcal="HBHERecHitsSorted_reducedHcalRecHits_hbhereco_RECO.obj.obj.",
    photons="recoPhotons_photons__RECO.obj.",
    tracks="recoTracks_generalTracks__RECO.obj.",
)
"""AODSIM of CMSSW 5_3: the samples of 2012, and those of 2011 on the portal (Summer11LegDR), which were
reconstructed with the same release. The tests read a file of 2011."""

TIERS = (AODSIM,)
"""The supported tiers; a file is read as the first one whose branches it has."""
