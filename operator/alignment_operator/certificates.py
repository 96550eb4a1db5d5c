"""TLS of the progress endpoint: a CA for ten years, which the pods trust, and a server certificate for ninety days.

Both live in one Secret, which the chart ships empty. Any replica that finds a certificate missing or old makes a new
one; the resourceVersion decides who was first, and the others read the winner's. The running server takes up a new
one without a restart.
"""

import asyncio
import base64
import logging
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .cluster import ApiError, Cluster
from .resources import SECRETS

log = logging.getLogger(__name__)

CA_DAYS = 3650
LEAF_DAYS = 90
CHECK_SECONDS = 300.0
FILES = ("ca.crt", "ca.key", "tls.crt", "tls.key")


@dataclass(frozen=True, slots=True)
class Bundle:
    """The four files as PEM text; empty text: not made yet."""

    ca_crt: str = ""
    ca_key: str = ""
    tls_crt: str = ""
    tls_key: str = ""


def renewed(bundle: Bundle, host: str, now: datetime) -> Bundle:
    """The bundle with what is missing, damaged, worn, or for another host made anew; the same when all is well."""
    if not _belong(bundle.ca_crt, bundle.ca_key) or _worn(bundle.ca_crt, now):
        bundle = Bundle(*_new_authority(now))
    if not _belong(bundle.tls_crt, bundle.tls_key) or _worn(bundle.tls_crt, now) or not _fits(bundle, host):
        bundle = Bundle(bundle.ca_crt, bundle.ca_key, *_new_leaf(bundle, host, now))
    return bundle


class Certificates:
    """The endpoint's TLS context, kept up to date from the Secret."""

    def __init__(self, cluster: Cluster, namespace: str, secret: str, url: str) -> None:
        self._cluster, self._namespace, self._secret = cluster, namespace, secret
        self._host = urlsplit(url).hostname or "localhost"
        self._bundle = Bundle()
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2

    def authority(self) -> str:
        """The CA's certificate as PEM. Raises RuntimeError before the first `refresh`."""
        if not self._bundle.ca_crt:
            raise RuntimeError("the progress endpoint has no certificate yet")
        return self._bundle.ca_crt

    async def keep(self) -> None:
        """Refresh for ever; a failure is logged and tried again."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self.refresh()
            except Exception:
                log.exception("certificates: tried again in %.0f s", CHECK_SECONDS)

    async def refresh(self) -> None:
        """Read the Secret, renew what needs it, write it back, load it. Raises ApiError."""
        secret = await self._cluster.get(SECRETS, self._namespace, self._secret)
        stored = _read(secret)
        wanted = renewed(stored, self._host, datetime.now(UTC))
        if wanted != stored:
            try:
                await self._write(secret, wanted)
            except ApiError as error:
                if not (error.conflict or error.already_exists):
                    raise
                return await self.refresh()  # another replica was first
        if wanted != self._bundle:
            _load(self.context, wanted)
            self._bundle = wanted
            log.info("certificates: loaded", extra={"host": self._host})
        return None

    async def _write(self, secret: dict | None, bundle: Bundle) -> None:
        texts = (bundle.ca_crt, bundle.ca_key, bundle.tls_crt, bundle.tls_key)
        data = {name: base64.b64encode(text.encode()).decode() for name, text in zip(FILES, texts, strict=True)}
        if secret is None:
            meta = {"namespace": self._namespace, "name": self._secret}
            await self._cluster.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})
        else:
            await self._cluster.replace(SECRETS, {**secret, "data": {**(secret.get("data") or {}), **data}})
        log.info("certificates: renewed", extra={"host": self._host})


def _read(secret: dict | None) -> Bundle:
    data = (secret or {}).get("data") or {}
    return Bundle(*(base64.b64decode(data.get(name, "")).decode(errors="replace") for name in FILES))


def _load(context: ssl.SSLContext, bundle: Bundle) -> None:
    """`load_cert_chain` wants files; these never touch a disk, and the root file system may be read-only."""
    chain, key = _memory_file(bundle.tls_crt + bundle.ca_crt), _memory_file(bundle.tls_key)
    try:
        context.load_cert_chain(f"/proc/self/fd/{chain}", f"/proc/self/fd/{key}")
    finally:
        os.close(chain)
        os.close(key)


def _memory_file(text: str) -> int:
    fd = os.memfd_create("certificate")
    os.write(fd, text.encode())
    return fd


def _belong(crt: str, key: str) -> bool:
    """Whether both are there, can be read, and are of one another."""
    try:
        certificate = x509.load_pem_x509_certificate(crt.encode())
        private = serialization.load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return certificate.public_key() == private.public_key()


def _worn(pem: str, now: datetime) -> bool:
    """Whether less than a third of its life is left."""
    cert = x509.load_pem_x509_certificate(pem.encode())
    life = cert.not_valid_after_utc - cert.not_valid_before_utc
    return now > cert.not_valid_after_utc - life / 3


def _fits(bundle: Bundle, host: str) -> bool:
    leaf, ca = (x509.load_pem_x509_certificate(pem.encode()) for pem in (bundle.tls_crt, bundle.ca_crt))
    try:
        leaf.verify_directly_issued_by(ca)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return _alternative(host) in list(names)


def _new_authority(now: datetime) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"alignment-operator CA {now:%Y-%m-%dT%H:%M:%S}")])
    builder = _builder(name, name, key, now, CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    builder = builder.add_extension(usage, critical=True)
    return _pem(builder.sign(key, hashes.SHA256())), _pem_key(key)


def _new_leaf(bundle: Bundle, host: str, now: datetime) -> tuple[str, str]:
    ca = x509.load_pem_x509_certificate(bundle.ca_crt.encode())
    ca_key = serialization.load_pem_private_key(bundle.ca_key.encode(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    builder = _builder(name, ca.subject, key, now, LEAF_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(host)]), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    builder = builder.add_extension(authority, critical=False)
    return _pem(builder.sign(ca_key, hashes.SHA256())), _pem_key(key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks of nodes differ
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _pem_key(key: ec.EllipticCurvePrivateKey) -> str:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
