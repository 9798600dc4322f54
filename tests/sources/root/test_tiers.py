"""Another tier needs only another table: the same events are read from branches with other names."""

import dataclasses

import numpy as np
import pytest

from e2e_jax.errors import SourceError
from e2e_jax.sources.root import aodsim, remote
from e2e_jax.sources.root.reading import Reading
from e2e_jax.sources.root.tiers import AODSIM
from tests.aodsim_file import branches, random_events, write_aodsim, write_branches

OTHER = dataclasses.replace(
    AODSIM,
    eb="EcalRecHitsSorted_reducedEgamma_reducedEBRecHits_PAT.obj.obj.",
    photons="recoPhotons_gedPhotons__RECO.obj.",
)


def renamed(events):
    """The branches of events with the names of the other tier."""
    for name, lists in branches(events).items():
        for tier, other in ((AODSIM.eb, OTHER.eb), (AODSIM.photons, OTHER.photons)):
            name = name.replace(tier, other)
        yield name, lists


def test_a_file_is_read_as_the_tier_whose_branches_it_has(tmp_path):
    events = random_events(6, 0)
    aod = write_aodsim(tmp_path / "aod.root", events)
    other = write_branches(tmp_path / "other.root", dict(renamed(events)))
    with pytest.raises(SourceError, match=AODSIM.photons) as raised:
        aodsim.read_events(other)
    assert raised.value.reason == "missing_branch"
    expected = aodsim.read_events(aod)
    for path in (aod, other):
        read = aodsim.read_events(path, tiers=(AODSIM, OTHER))
        for one, same in zip(read.examples(), expected.examples(), strict=True):
            np.testing.assert_equal(one, same)
        assert len(aodsim.read_candidates(path, tiers=(AODSIM, OTHER))) == len(expected)
        assert aodsim.read_entries(path, [2], tiers=(AODSIM, OTHER)).event == expected.event[2]


@pytest.mark.parametrize("read", [aodsim.read_events, aodsim.read_candidates])
def test_a_file_of_the_portal_is_opened_in_the_protocol_asked_for(monkeypatch, read):
    def opened(path, *_):
        raise SourceError(path, "network", "")

    monkeypatch.setattr(remote, "open_file", opened)
    with pytest.raises(SourceError) as raised:
        read("root://eospublic.cern.ch//eos/opendata/a.root", reading=Reading(protocol="https"))
    assert raised.value.path == "https://opendata.cern.ch/eos/opendata/a.root"
