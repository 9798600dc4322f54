"""Encrypted and authenticated connections to a Dask cluster.

Anyone who can reach the port of a Dask scheduler without TLS can run code as the user who started it. With
TLS, every connection needs a certificate signed by the same authority.
"""

from __future__ import annotations

import ipaddress
import os
import pathlib
import sys
import urllib.parse

from e2e_jax.errors import ClusterError

CA, CERT, KEY = "E2E_DASK_CA", "E2E_DASK_CERT", "E2E_DASK_KEY"
"""Environment variables with the PEM files of the authority, the certificate and its key."""

CA_FILE, CERT_FILE, KEY_FILE = "ca.pem", "cert.pem", "key.pem"
"""Names of the files that `certificates` writes."""


def certificates(folder: str | os.PathLike):
    """Make the certificate of a new cluster, for its scheduler, its workers and its clients.

    Writes ca.pem, cert.pem and key.pem into the folder, readable only by their owner. The workers must have
    access to the folder. The files replace earlier ones and are valid for a year.

    Returns:
      A `distributed.Security` for the `security` of a Dask cluster.
    """
    import distributed

    folder = pathlib.Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = distributed.Security.temporary()
    contents = {CA_FILE: made.tls_ca_file, CERT_FILE: made.tls_client_cert, KEY_FILE: made.tls_client_key}
    for name, content in contents.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(content)
    cert, key = str(folder / CERT_FILE), str(folder / KEY_FILE)
    roles = ("scheduler", "worker", "client")
    files = {f"tls_{role}_cert": cert for role in roles} | {f"tls_{role}_key": key for role in roles}
    return distributed.Security(tls_ca_file=str(folder / CA_FILE), require_encryption=True, **files)


def security(address: str):
    """The `distributed.Security` of a client of the scheduler at an address.

    It uses the files that the environment names, or else the configuration of Dask. Warns if a connection
    leaves this machine unencrypted.

    Raises:
      ClusterError: the address and the certificates do not match, or a file cannot be read.
    """
    import distributed

    files = {name: os.environ.get(name) for name in (CA, CERT, KEY)}
    if missing := [name for name, file in files.items() if not file]:
        if len(missing) < len(files):
            raise ClusterError(f"{CA}, {CERT} and {KEY} go together; {' and '.join(missing)} is not set.")
        found = distributed.Security()
    else:
        ca, cert, key = (str(pathlib.Path(file).expanduser()) for file in files.values())
        found = distributed.Security(
            tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key, require_encryption=True
        )
    encrypted = address.startswith(("tls://", "wss://"))
    complete = found.tls_ca_file and found.tls_client_cert and found.tls_client_key
    if encrypted and not complete:
        raise ClusterError(
            f"The Dask scheduler at {address} asks for certificates, and none are given: set {CA}, {CERT} "
            f"and {KEY} to the files that it was started with."
        )
    if found.require_encryption and not encrypted:
        raise ClusterError(
            f"Certificates are given, but the Dask scheduler at {address} is not encrypted. Start it with "
            f"them (its address then begins with tls://), or unset {CA}, {CERT} and {KEY}."
        )
    if not encrypted and not _is_loopback(address):
        print(
            f"Warning: the connection to the Dask scheduler at {address} is neither encrypted nor "
            "authenticated, so whoever reaches that port runs code as you; README.md shows how to use TLS.",
            file=sys.stderr,
        )
    try:
        found.get_connection_args("client")
    except OSError as error:
        raise ClusterError(
            f"The certificates for the Dask scheduler at {address} cannot be read ({error}). Check the files "
            f"that {CA}, {CERT} and {KEY} name."
        ) from error
    return found


def _is_loopback(address: str) -> bool:
    host = urllib.parse.urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
