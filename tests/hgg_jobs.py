"""Jobs of the built-in study of H -> gamma gamma."""

from e2e_jax.sources.simulation.jobs import SimulationJob, simulation_jobs
from e2e_jax.studies import hgg


def job(label, era=1, seed=1, events=1, category="central", **options):
    """A job of one label and era, given by their indices."""
    study = hgg.STUDIES[category]
    sample = study.samples[label]
    options = {"endcaps": study.endcaps, "fast": True, **options}
    return SimulationJob(sample, label, sample.eras[era], seed, events, study.select, **options)


def jobs(events, seed, split="train", category="central"):
    """The jobs of a split."""
    return simulation_jobs(hgg.STUDIES[category], events, split, seed=seed)
