"""Jets of simulated collisions: clustering, selection and images."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("pythia8mc")
pytest.importorskip("fastjet")

from e2e_jax.detector import geometry, projections
from e2e_jax.errors import StudyError
from e2e_jax.sources.simulation import jets, pileup
from e2e_jax.sources.simulation.jobs import simulation_jobs
from e2e_jax.studies.jets import PARTONS, STUDIES
from e2e_jax.study import Sample, Study, Task, pythia
from e2e_jax.study import jets as select

NO_TRACKS = {name: np.zeros(0, np.float32) for name in ("pt", "eta", "phi")}


def image_of(*pixels):
    """The stitched image with some (row, column, channel, value)."""
    image = np.zeros((projections.FULL_ROWS, projections.FULL_COLUMNS, 3), np.float32)
    for row, column, channel, value in pixels:
        image[row, column, channel] = value
    return image


def tower(row, column, energy):
    """The pixels of a tower of the HCAL."""
    places = np.mgrid[5 * row : 5 * row + 5, 5 * column : 5 * column + 5].reshape(2, -1).T
    return [(r, c, 2, energy) for r, c in places]


def directions(momenta):
    """pT, eta and phi of (px, py, pz, e)."""
    pt = np.hypot(momenta[:, 0], momenta[:, 1])
    return pt, np.arcsinh(momenta[:, 2] / pt), np.arctan2(momenta[:, 1], momenta[:, 0])


def test_a_tower_is_where_the_geometry_says():
    for ieta, iphi in ((1, 1), (-1, 72), (16, 30), (-20, 41), (28, 7)):
        row = ieta + 27 if ieta > 0 else ieta + 28
        column = (iphi - 1 + projections.PHI_SHIFT) % geometry.HCAL_COLUMNS
        _, eta, phi = directions(jets.objects(image_of(*tower(row, column, 50.0)), NO_TRACKS))
        assert [int(x[0]) for x in geometry.hcal_tower(eta, phi)] == [ieta, iphi]


def test_energy_of_a_tower_is_counted_once_and_that_of_its_track_is_not():
    image = image_of((140, 182, 1, 30.0), *tower(28, 36, 20.0))
    pt, eta, phi = directions(jets.objects(image, NO_TRACKS))
    assert pt * np.cosh(eta) == pytest.approx([50.0], rel=1e-5)
    straight = 40.0
    track = {"pt": np.float32([straight / np.cosh(eta[0])]), "eta": np.float32(eta), "phi": np.float32(phi)}
    momenta = jets.objects(image, track)
    assert momenta[:, 3] == pytest.approx([straight, 50.0 - straight], rel=1e-4)


def test_a_jet_has_the_momentum_and_shapes_of_what_is_in_it():
    angles = np.array([0.0, 0.1, -0.1])
    pt = np.array([60.0, 30.0, 10.0])
    momenta = jets._massless(pt, np.zeros(3), angles)
    found = jets.cluster(
        np.concatenate([momenta, jets._massless(np.array([5.0]), np.zeros(1), np.ones(1) * 3)]), 0.5, 20
    )
    assert len(found["pt"]) == 1
    assert found["multiplicity"][0] == 3
    assert found["pt"][0] == pytest.approx(np.hypot(momenta[:, 0].sum(), momenta[:, 1].sum()))
    mass = momenta.sum(axis=0)
    assert found["m0"][0] == pytest.approx(np.sqrt(mass[3] ** 2 - (mass[:3] ** 2).sum()), rel=1e-4)
    assert found["ptd"][0] == pytest.approx(np.sqrt((pt**2).sum()) / pt.sum(), rel=1e-6)
    axis = found["phi"][0]
    assert found["width"][0] == pytest.approx((pt * abs(angles - axis)).sum() / pt.sum(), rel=1e-3)


def test_a_jet_has_the_label_of_its_nearest_parton_only():
    cuts = select(PARTONS).function
    found = {"eta": np.array([0.0, 1.0, -1.0]), "phi": np.array([3.1, 0.0, 1.0])}
    # A gluon near the first across phi = pi, a quark near the second.
    partons = {"pdg": np.array([21, -2])}
    partons |= {"px": np.array([-9.99, 10.0]), "py": np.array([-0.5, 0.5]), "pz": np.array([0.0, 11.0])}
    assert jets._matched(found, partons, cuts, "gluon").tolist() == [True, False, False]
    assert jets._matched(found, partons, cuts, "quark").tolist() == [False, True, False]


def test_the_window_is_centered_on_the_brightest_tower_and_wraps_in_phi():
    image = image_of(*tower(30, 1, 5.0), *tower(28, 71, 2.0))
    _, eta, phi = directions(jets.objects(image_of(*tower(28, 71, 2.0)), NO_TRACKS))
    center = jets._seed(image, eta[0], phi[0])
    assert center == (30, 1)
    window = jets._window(image, *center)
    assert window.shape == (125, 125, 3)
    assert (window[60:65, 60:65, 2] == 5).all()
    assert (window[50:55, 50:55, 2] == 2).all()
    assert window.sum() == image.sum()


@pytest.mark.slow
def test_a_job_makes_jets_that_pass_and_the_same_each_time():
    study = STUDIES["simulated"].with_pileup(0.0)
    job = simulation_jobs(study, 4, fast=True)[1]
    pool = pileup.simulate_pool(60, 1, endcaps=True)
    made = jets.produce(job, pool).validate(2)
    assert len(made) == 4
    assert set(made.label) == {job.label}
    assert (made.pt > 70).all()
    assert (abs(made.eta) < 1.8).all()
    assert made.pixels.counts.min() > 0
    again = jets.produce(job, pool)
    for name, values in made.arrays().items():
        np.testing.assert_array_equal(values, again.arrays()[name], err_msg=name)


def test_a_sample_without_partons_and_jets_that_cannot_be_are_refused():
    samples = [Sample(name, pythia("HardQCD:all = on")) for name in ("gluon", "charm")]
    with pytest.raises(StudyError, match="charm"):
        Study(samples, Task(signal="gluon"), select=select(PARTONS))
    with pytest.raises(StudyError, match="selects no jet"):
        select(PARTONS, radius=0)
    assert dataclasses.asdict(select(PARTONS).function)["radius"] == 0.5
