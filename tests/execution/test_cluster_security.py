"""A cluster accepts only clients with its certificates, and unencrypted connections cause a warning."""

import os
import stat

import pytest

pytest.importorskip("distributed", reason="no Dask (pip install 'e2e_jax[cluster]')")

from e2e_jax.errors import ClusterError
from e2e_jax.execution import cluster, cluster_security
from e2e_jax.execution.cluster_security import CA, CA_FILE, CERT, CERT_FILE, KEY, KEY_FILE
from tests.dask_cluster import dask_cluster


@pytest.fixture
def use(monkeypatch):
    """Names the certificates of a folder in the environment."""

    def use(folder):
        for variable, name in {CA: CA_FILE, CERT: CERT_FILE, KEY: KEY_FILE}.items():
            monkeypatch.setenv(variable, str(folder / name))

    return use


@pytest.mark.slow
def test_only_clients_with_the_certificates_are_served(tmp_path, use):
    (tmp_path / "dask").mkdir()
    with dask_cluster(tmp_path / "dask", 1, tmp_path / "certificates") as running:
        assert running.address.startswith("tls://")
        with pytest.raises(ClusterError, match=CA):
            cluster.executor(running.address)
        cluster_security.certificates(tmp_path / "others")
        use(tmp_path / "others")
        with pytest.raises(ClusterError, match="certificates"):
            cluster.executor(running.address, timeout=2)
        use(tmp_path / "certificates")
        with cluster.executor(running.address) as executor:
            assert executor.submit(os.getpid).result() == running.workers[0].pid


def test_certificates_are_readable_by_their_owner_alone(tmp_path):
    for _ in range(2):
        cluster_security.certificates(tmp_path / "new")
    paths = [tmp_path / "new", *(tmp_path / "new").iterdir()]
    assert len(paths) == 4
    assert not any(stat.S_IMODE(path.stat().st_mode) & 0o077 for path in paths)


@pytest.mark.parametrize(
    ("address", "warned"),
    [
        ("tcp://127.0.0.1:8786", False),
        ("tcp://localhost:8786", False),
        ("tcp://[::1]:8786", False),
        ("tcp://192.0.2.1:8786", True),
        ("tcp://login.example:8786", True),
    ],
)
def test_an_unencrypted_connection_to_another_machine_is_warned_of(address, warned, capsys):
    cluster_security.security(address)
    assert (address in capsys.readouterr().err) == warned


def test_certificates_that_do_not_fit_the_address_or_are_no_certificates_are_named(
    tmp_path, use, monkeypatch
):
    cluster_security.certificates(tmp_path)
    use(tmp_path)
    with pytest.raises(ClusterError, match="not encrypted"):
        cluster_security.security("tcp://127.0.0.1:1")
    (tmp_path / KEY_FILE).write_text("no key")
    with pytest.raises(ClusterError, match=KEY):
        cluster_security.security("tls://127.0.0.1:1")
    monkeypatch.delenv(KEY)
    with pytest.raises(ClusterError, match=KEY):
        cluster_security.security("tls://127.0.0.1:1")
