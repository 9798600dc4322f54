"""Samples of a study: the events of one label, and where they come from."""

from __future__ import annotations

import dataclasses
import math
import re

from e2e_jax.detector import crops, geometry, jet_pixels
from e2e_jax.errors import StudyError
from e2e_jax.study.observables import Observable

PROCESSES: dict[str, tuple[str, ...]] = {
    "diphoton_born": (
        "PromptPhoton:ffbar2gammagamma = on",
        "PhaseSpace:pTHatMin = 25.",
        "PhaseSpace:pTHatMax = 250.",
    ),
    "higgs_to_photons": ("HiggsSM:gg2H = on", "25:m0 = 125.", "25:onMode = off", "25:onIfMatch = 22 22"),
    "photon_jet": (
        "PromptPhoton:qg2qgamma = on",
        "PromptPhoton:qqbar2ggamma = on",
        "PromptPhoton:ffbar2gammagamma = on",
        "PhaseSpace:pTHatMin = 40.",
    ),
}
"""Built-in processes: name -> Pythia settings. photon_jet has the processes of MSEL = 10 in Pythia 6."""

MEAN_PILEUP = 20.0
"""Mean number of additional collisions per bunch crossing in 2012."""

PARTICLES = ("photon", "electron")
"""What a particle gun shoots."""

SHOTS = {"single": 1, "pair": 2}
"""Kind of a gun -> particles per event. Pairs are gamma gamma or e+ e-, each with its own direction."""


@dataclasses.dataclass(frozen=True)
class Era:
    """A data-taking period, as a run-dependent simulation has them.

    Attributes:
      name: the period.
      run: run number of its simulated events.
      share: its events are this number, divided by the sum over the sample's eras.
      pileup: mean number of additional collisions per bunch crossing; not used where there is a profile.
      profile: weights of means of 0, 1, 2, ... additional collisions per bunch crossing, from which the mean
        of each event is drawn.

    Raises:
      StudyError: the profile has a weight below 0, or no other weight than 0.
    """

    name: str = "all"
    run: int = 1
    share: int = 1
    pileup: float = MEAN_PILEUP
    profile: tuple[float, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "profile", tuple(self.profile))
        if self.profile and not (min(self.profile) >= 0 and 0 < sum(self.profile) < math.inf):
            raise StudyError(
                f"The era {self.name!r} cannot have the profile {self.profile}: give weights of 0, 1, 2, ... "
                "collisions, none of them below 0 and not all 0."
            )


def quotas(events: int, eras: tuple[Era, ...]) -> tuple[int, ...]:
    """Events of each era, in proportion to the shares; rounded by largest remainder, so that they add up.

    Raises:
      ValueError: `events` is negative.
    """
    if events < 0:
        raise ValueError(f"A sample cannot have {events} events; ask for 0 or more.")
    total = sum(era.share for era in eras)
    found = [events * era.share // total for era in eras]
    remainders = [events * era.share % total for era in eras]
    by_remainder = sorted(range(len(eras)), key=lambda place: -remainders[place])
    for place in by_remainder[: events - sum(found)]:
        found[place] += 1
    return tuple(found)


@dataclasses.dataclass(frozen=True)
class QuickLook:
    """A filter before the detector is simulated: two clusters of photons and electrons.

    It is looser than the selection, so it saves time and changes no selected event.

    Attributes:
      pt: least transverse momentum of each cluster in GeV.
      eta: largest abs(eta) of each cluster.
      mass: least mass of the pair in GeV.
    """

    pt: float
    eta: float
    mass: float = 80.0


@dataclasses.dataclass(frozen=True)
class Pythia:
    """Collisions that Pythia 8 generates; made by `pythia`.

    Attributes:
      settings: lines of Pythia's settings, such as "HiggsSM:gg2H = on".
    """

    settings: tuple[str, ...]


def pythia(*settings: str) -> Pythia:
    """Collisions that Pythia 8 generates.

    Args:
      settings: settings such as "HiggsSM:gg2H = on", names of `PROCESSES`, or both.

    Raises:
      StudyError: a text is neither, or there is none.
    """
    lines: list[str] = []
    for setting in settings:
        if setting in PROCESSES:
            lines += PROCESSES[setting]
        elif "=" in setting:
            lines.append(setting)
        else:
            raise StudyError(
                f"pythia({setting!r}) is neither a setting such as 'HiggsSM:gg2H = on' nor a process: "
                f"the processes are {', '.join(PROCESSES)}."
            )
    if not lines:
        raise StudyError("pythia() needs settings, such as pythia('HiggsSM:gg2H = on').")
    return Pythia(tuple(lines))


@dataclasses.dataclass(frozen=True)
class Gun:
    """A particle gun in the ECAL barrel; made by `gun`.

    Attributes:
      particle: one of `PARTICLES`.
      kind: key of `SHOTS`.
      pt: GeV, range of the transverse momentum, flat; twice the same for a fixed one.
      max_eta: abs(eta) of the particles is flat below it.
      pileup: mean number of minimum-bias collisions per event, Poisson.
      digis: make samples of the crystals that are read; their energy and time are then fitted to these.
      view: "crop" or "barrel", see `detector.crops`.
    """

    particle: str
    kind: str = "single"
    pt: tuple[float, float] = (50.0, 50.0)
    max_eta: float = 1.4
    pileup: float = 0.0
    digis: bool = False
    view: str = "crop"

    def __post_init__(self):
        object.__setattr__(self, "pt", tuple(map(float, self.pt)))
        for field, known in (("particle", PARTICLES), ("kind", SHOTS), ("view", crops.SHAPES)):
            if getattr(self, field) not in known:
                self._refuse(field, f"there are {', '.join(map(repr, known))}")
        if self.kind == "pair" and self.view == "crop":
            self._refuse("view", "a crop shows one shower; for pairs take view 'barrel'")
        if len(self.pt) != 2 or not 1 <= self.pt[0] <= self.pt[1] < math.inf:
            self._refuse("pt", "give two momenta in GeV, from 1 on and in order")
        if not 0 < self.max_eta <= geometry.EB_MAX_ETA:
            self._refuse("max_eta", f"it is above 0, and the barrel ends at {geometry.EB_MAX_ETA}")
        if not 0 <= self.pileup < math.inf:
            self._refuse("pileup", "give a mean number of collisions, 0 or more")

    @property
    def shots(self) -> int:
        """Particles per event."""
        return SHOTS[self.kind]

    @property
    def observables(self) -> tuple[Observable, ...]:
        """Numbers per event that the gun gives."""
        return ()

    def _refuse(self, field: str, why: str):
        raise StudyError(f"A particle gun cannot shoot with {field} = {getattr(self, field)!r}: {why}.")


def gun(particle: str, **options) -> Gun:
    """A particle gun in the ECAL barrel; `options` are the fields of `Gun`."""
    return Gun(particle, **options)


MASS_A = Observable("mass_a", "GeV", "Mass of a")
PT_A = Observable("pt_a", "GeV", "pT of a")


@dataclasses.dataclass(frozen=True)
class Decay(Gun):
    """A gun of particles a that decay to two photons where they are made; made by `decay`.

    `pt` and `max_eta` are those of the decaying particle.

    Attributes:
      mass: GeV, range of its mass, flat.
    """

    mass: tuple[float, float] = (0.0, 1.2)

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "mass", tuple(map(float, self.mass)))
        if self.particle != "photon" or self.kind != "single":
            self._refuse("particle" if self.kind == "single" else "kind", "a decay gives two photons")
        if len(self.mass) != 2 or not 0 <= self.mass[0] <= self.mass[1] < math.inf:
            self._refuse("mass", "give two masses in GeV, from 0 on and in order")

    @property
    def shots(self) -> int:
        """The two photons."""
        return 2

    @property
    def observables(self) -> tuple[Observable, ...]:
        """Mass and transverse momentum of the decaying particle."""
        return (MASS_A, PT_A)


def decay(mass: tuple[float, float], **options) -> Decay:
    """A gun of particles of some mass in GeV that decay to two photons; `options` are the fields of `Gun`."""
    return Decay("photon", mass=mass, **options)


@dataclasses.dataclass(frozen=True)
class Files:
    """AODSIM files; made by `files`.

    Attributes:
      paths: paths, patterns such as "*.root", root:// addresses, or text files with one of these per line.
    """

    paths: tuple[str, ...]


def files(*paths: str) -> Files:
    """Events of AODSIM files: paths, patterns, root:// addresses, or .txt files that list them."""
    if not paths:
        raise StudyError("files() needs the files, such as files('higgs/*.root') or files('higgs.txt').")
    return Files(tuple(map(str, paths)))


@dataclasses.dataclass(frozen=True)
class Images:
    """Images of jets in public Parquet or HDF5 files; made by `images`.

    Attributes:
      channels: of the files' images, names of `jet_pixels.CHANNELS`, in order.
      labelled: whether the files have labels.
    """

    channels: tuple[str, ...]
    labelled: bool = True

    def __post_init__(self):
        if unknown := [name for name in self.channels if name not in jet_pixels.CHANNELS]:
            raise StudyError(
                f"Images of jets have no channel {unknown[0]!r}; there are {', '.join(jet_pixels.CHANNELS)}."
            )


def images(*channels: str, labelled: bool = True) -> Images:
    """Images of jets in public files; arguments are the fields of `Images`."""
    return Images(tuple(channels), labelled)


@dataclasses.dataclass(frozen=True)
class Sample:
    """The events of one label.

    Attributes:
      label: name of the label.
      source: `pythia(...)`, `gun(...)`, `decay(...)`, `files(...)` or `images(...)`.
      eras: data-taking periods and their shares; by default one, of run 1 in simulation and of any run in
        files.
      pileup: mean number of additional collisions where no eras are given.
      veto_eta: of a 2 -> 2 process: largest abs(eta) of the two outgoing partons, before showers; 0 for no
        veto.
      pair_mass: of a 2 -> 2 process with a quick look: least mass in GeV of a photon and another parton where
        the evolution has come down to 2 GeV, see `sources.simulation.early_veto`; 0 for no veto.
      quick_look: filter before the detector is simulated.
      em_enriched: apply the double EM enrichment of CMS's photon+jet samples.
      job_events: most events per job.
      cost: time per event relative to other samples: the jobs that take longest start first.
    """

    label: str
    source: Pythia | Gun | Files | Images
    eras: tuple[Era, ...] = ()
    pileup: float = MEAN_PILEUP
    veto_eta: float = 0.0
    pair_mass: float = 0.0
    quick_look: QuickLook | None = None
    em_enriched: bool = False
    job_events: int = 1000
    cost: float = 1.0

    def __post_init__(self):
        if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", self.label):
            raise StudyError(
                f"A sample cannot have the label {self.label!r}: use letters, digits and '_', '-', '+', '.'."
            )
        if not isinstance(self.source, (Pythia, Gun, Files, Images)):
            raise StudyError(
                f"The sample {self.label!r} has the source {self.source!r}; give pythia(...), gun(...), "
                "files(...) or images(...)."
            )
        if self.pair_mass and not (self.quick_look and self.veto_eta):
            raise StudyError(
                f"The sample {self.label!r} has pair_mass={self.pair_mass}; give veto_eta and quick_look "
                "too, which bound the same events."
            )
        object.__setattr__(self, "eras", tuple(self.eras))

    @property
    def periods(self) -> tuple[Era, ...]:
        """The eras; without any, one of run 1 with the sample's pile-up."""
        return self.eras or (Era(pileup=self.pileup),)

    def with_pileup(self, pileup: float) -> Sample:
        """The same sample with another mean number of additional collisions, the same in all events."""
        source = self.source
        if isinstance(source, Gun):
            source = dataclasses.replace(source, pileup=pileup)
        eras = tuple(dataclasses.replace(era, pileup=pileup, profile=()) for era in self.eras)
        return dataclasses.replace(self, source=source, eras=eras, pileup=pileup)
