"""A portal file has an address in both protocols; a file that is not on disk may be on tape."""

import pytest

from e2e_jax.sources.root import portal
from e2e_jax.sources.root.reading import Reading

ROOT = "root://eospublic.cern.ch//eos/opendata/cms/a.root"
HTTPS = "https://opendata.cern.ch/eos/opendata/cms/a.root"


@pytest.mark.parametrize(
    "listed",
    [
        ROOT,
        HTTPS,
        "root://eospublic.cern.ch:1094//eos/opendata/cms/a.root",
        "http://opendata.cern.ch/eos/opendata/cms/a.root",
        "https://eospublic.cern.ch//eos/opendata/cms/a.root",
    ],
)
def test_a_file_has_one_address_in_each_protocol(listed):
    assert portal.address(listed, "root") == ROOT
    assert portal.address(listed, "https") == HTTPS
    assert portal.address(listed, "") == listed


@pytest.mark.parametrize(
    "other",
    ["a.root", "root://other.cern.ch//eos/opendata/cms/a.root", "https://opendata.cern.ch/record/7687"],
)
def test_other_files_keep_their_address(other):
    assert portal.address(other, "https") == other
    assert portal.absent(other, "404").reason == "vanished"


def test_there_are_two_protocols():
    with pytest.raises(ValueError, match="'ftp'"):
        Reading(protocol="ftp")


@pytest.mark.parametrize("url", [ROOT, HTTPS])
def test_a_file_of_the_portal_that_is_not_on_disk_is_offline_and_stays_on_the_list(url):
    error = portal.absent(url, "404 Not Found")
    assert (error.reason, error.path) == ("offline", url)
    assert "--check" in str(error)
    assert "off the list" not in str(error)
