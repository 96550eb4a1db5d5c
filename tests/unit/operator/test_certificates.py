"""Certificates are made when missing, renewed when worn, and take effect in a running server."""

import asyncio
import base64
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from alignment_operator.certificates import CA_DAYS, LEAF_DAYS, Bundle, Certificates, renewed
from alignment_operator.cluster import ApiError

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
HOST = "alignment-operator.alignment-operator.svc"


def days(number: float) -> datetime:
    return NOW + timedelta(days=number)


@pytest.mark.parametrize(
    ("later", "host", "same_ca", "same_leaf"),
    [
        (0, HOST, True, True),
        (LEAF_DAYS * 0.6, HOST, True, True),
        (LEAF_DAYS * 0.7, HOST, True, False),
        (LEAF_DAYS * 2, HOST, True, False),
        (CA_DAYS * 0.6, HOST, True, False),
        (CA_DAYS * 0.7, HOST, False, False),
        (0, "other.svc", True, False),
        (0, "127.0.0.1", True, False),
    ],
)
def test_only_what_is_worn_is_made_anew(later, host, same_ca, same_leaf):
    first = renewed(Bundle(), HOST, NOW)
    then = renewed(first, host, days(later))
    assert (then.ca_crt == first.ca_crt, then.tls_crt == first.tls_crt) == (same_ca, same_leaf)
    assert renewed(then, host, days(later)) == then


@pytest.mark.parametrize("missing", ["ca_crt", "ca_key", "tls_crt", "tls_key"])
def test_a_missing_part_is_made(missing):
    first = renewed(Bundle(), HOST, NOW)
    parts = {name: getattr(first, name) for name in ("ca_crt", "ca_key", "tls_crt", "tls_key")} | {missing: ""}
    assert all(getattr(renewed(Bundle(**parts), HOST, NOW), name) for name in parts)


@pytest.mark.parametrize("of_another", [False, True], ids=["garbage", "of-another"])
@pytest.mark.parametrize("damaged", ["ca_crt", "ca_key", "tls_crt", "tls_key"])
def test_a_damaged_part_is_made_anew(damaged, of_another):
    """An operator that ends at each start would be worse than pods whose reports are refused."""
    first, other = renewed(Bundle(), HOST, NOW), renewed(Bundle(), HOST, NOW)
    then = renewed(replace(first, **{damaged: getattr(other, damaged) if of_another else "no PEM"}), HOST, NOW)
    leaf, ca = (x509.load_pem_x509_certificate(pem.encode()) for pem in (then.tls_crt, then.ca_crt))
    leaf.verify_directly_issued_by(ca)
    for pem, certificate in ((then.tls_key, leaf), (then.ca_key, ca)):
        key = serialization.load_pem_private_key(pem.encode(), None)
        assert key.public_key() == certificate.public_key()
    assert then.ca_crt == first.ca_crt or damaged.startswith("ca_")


@pytest.mark.parametrize("host", [HOST, "127.0.0.1"])
def test_the_certificate_verifies_against_the_ca_and_names_the_host(host):
    bundle = renewed(Bundle(), host, NOW)
    leaf = x509.load_pem_x509_certificate(bundle.tls_crt.encode())
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(bundle.ca_crt.encode()))
    assert host in str(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


class OneSecret:
    """The Secret's part of the cluster; `rival` writes first, once."""

    def __init__(self, rival: Bundle | None = None) -> None:
        self.secret = {"metadata": {"resourceVersion": "1"}}
        self.rival = rival

    async def get(self, *_):
        return dict(self.secret)

    async def replace(self, _, manifest):
        if self.rival:
            texts = (self.rival.ca_crt, self.rival.ca_key, self.rival.tls_crt, self.rival.tls_key)
            names = ("ca.crt", "ca.key", "tls.crt", "tls.key")
            data = {n: base64.b64encode(t.encode()).decode() for n, t in zip(names, texts, strict=True)}
            self.secret, self.rival = {"metadata": {"resourceVersion": "2"}, "data": data}, None
            raise ApiError(409, "Conflict", "changed")
        self.secret = manifest


async def test_the_replica_that_comes_second_takes_the_winners_certificate():
    rival = renewed(Bundle(), HOST, datetime.now(UTC))
    certificates = Certificates(OneSecret(rival), "ns", "tls", f"https://{HOST}:8443")
    await certificates.refresh()
    assert certificates.authority() == rival.ca_crt


async def test_a_running_server_serves_the_new_certificate_without_a_restart():
    cluster = OneSecret()
    certificates = Certificates(cluster, "ns", "tls", "https://127.0.0.1:8443")
    with pytest.raises(RuntimeError):
        certificates.authority()
    await certificates.refresh()
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=certificates.context)
    try:
        address = server.sockets[0].getsockname()
        before = await asyncio.to_thread(ssl.get_server_certificate, address)
        authority = cluster.secret["data"]
        cluster.secret = {"metadata": {}, "data": {name: authority[name] for name in ("ca.crt", "ca.key")}}
        await certificates.refresh()
        context = ssl.create_default_context(cadata=certificates.authority())
        _, writer = await asyncio.open_connection(*address, ssl=context, server_hostname="127.0.0.1")
        after = ssl.DER_cert_to_PEM_cert(writer.get_extra_info("ssl_object").getpeercert(True))
        writer.close()
        assert after != before
    finally:
        server.close()
