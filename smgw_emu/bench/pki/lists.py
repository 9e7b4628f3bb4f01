"""Revocation lists: the Sub-CA's own, and the root's indirect one (``crypto.md`` 2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from smgw_emu.bench.pki.profile import list_location

_LIST_DAYS = 7
_HASHES: dict[int, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    256: hashes.SHA256(),
    384: hashes.SHA384(),
    512: hashes.SHA512(),
}


class Revoked(NamedTuple):
    """One entry of a revocation list."""

    serial: int
    when: datetime
    by_root: bool


def hash_for(
    key: ec.EllipticCurvePrivateKey,
) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    """Return the hash that goes with the size of a signing key."""
    return _HASHES[key.key_size]


def direct_list(
    issuer: x509.Name, key: ec.EllipticCurvePrivateKey, revoked: Sequence[Revoked], at: datetime
) -> x509.CertificateRevocationList:
    """Return the list of an authority over what it issued itself."""
    builder = _builder(issuer, key, revoked, at)
    for item in revoked:
        if not item.by_root:
            builder = builder.add_revoked_certificate(_entry(item).build())
    return builder.sign(key, hash_for(key))


def indirect_list(
    signer: x509.Name,
    root: x509.Name,
    label: str,
    key: ec.EllipticCurvePrivateKey,
    revoked: Sequence[Revoked],
    at: datetime,
) -> x509.CertificateRevocationList:
    """Return the root's list, signed by its CRL signer; entries name the root as issuer."""
    point = x509.IssuingDistributionPoint(
        full_name=[list_location(label)],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=True,
        only_contains_attribute_certs=False,
    )
    builder = _builder(signer, key, revoked, at).add_extension(point, critical=True)
    names = x509.CertificateIssuer([x509.DirectoryName(root)])
    for item in revoked:
        if item.by_root:
            entry = _entry(item).add_extension(names, critical=True)
            builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key, hash_for(key))


def _builder(
    issuer: x509.Name, key: ec.EllipticCurvePrivateKey, revoked: Sequence[Revoked], at: datetime
) -> x509.CertificateRevocationListBuilder:
    moment = at.replace(microsecond=0)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer)
        .last_update(moment)
        .next_update(moment + timedelta(days=_LIST_DAYS))
        .add_extension(authority, critical=False)
        .add_extension(x509.CRLNumber(len(revoked) + 1), critical=False)
    )


def _entry(item: Revoked) -> x509.RevokedCertificateBuilder:
    return x509.RevokedCertificateBuilder().serial_number(item.serial).revocation_date(item.when)
