"""Root, CRL signer and Sub-CA of one hierarchy: issuing, requests, revocation, lists.

Curves and hashes follow TR-03116-3 table 5: root on brainpoolP384r1 with SHA-384 (brainpoolP512r1
with SHA-512 after the planned change), Sub-CA on brainpoolP256r1 with SHA-256.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from hsm_sim import Purpose
from smgw_emu.bench.pki import profile
from smgw_emu.bench.pki.lists import Revoked, direct_list, hash_for, indirect_list
from smgw_emu.bench.pki.manufacturer import Manufacturer, new_manufacturer
from smgw_emu.bench.pki.participants import Identity, Participant, der
from smgw_emu.bench.pki.profile import Role
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.ids import MEDIUM_GATEWAY, DeviceId
from wan import requests
from wan.certificates import RevocationLists, common_name, key_id
from wan.cms import Trust
from wan.requests import RequestError

_YEARS = {Role.SMGW: 2, Role.GWA: 2, Role.EMT: 2, Role.GWH: 2}  # DS2 4.2; EMT seen in the field
_SUB_CA_YEARS, _ROOT_YEARS, _LIST_SIGNER_YEARS = 5, 8, 4
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,40}", re.ASCII)


class Hierarchy(StrEnum):
    """The two hierarchies, by their O; both are TEST here."""

    TEST = "SM-Test-PKI-DE"
    WIRK = "SM-PKI-DE"


class RequestRefusedError(RequestError):
    """The PKI does not issue what was asked for."""


class TestPki:
    """One hierarchy with its keys in memory.

    Args:
        now: start of validity; default: the present.
        hierarchy: TEST or WIRK.
        root_curve: brainpoolP384r1, or brainpoolP512r1 after the root change.
        sub_ca_curve: brainpoolP256r1, or brainpoolP384r1 with the larger root.
    """

    manufacturer: Manufacturer  # of the gateways; no part of the hierarchy
    __test__ = False  # not a pytest class
    _lists: Mapping[tuple[datetime, int], RevocationLists] = MappingProxyType({})

    def __init__(
        self,
        now: datetime | None = None,
        hierarchy: Hierarchy = Hierarchy.TEST,
        *,
        root_curve: str = "brainpoolP384r1",
        sub_ca_curve: str = "brainpoolP256r1",
    ) -> None:
        self.hierarchy = hierarchy
        self.now = now if now is not None else datetime.now(UTC)
        self.revoked: list[Revoked] = []
        self.issued: dict[bytes, x509.Certificate] = {}
        self.root_key = ec.generate_private_key(profile.ca_curve(root_curve))
        self.list_key = ec.generate_private_key(profile.ca_curve(root_curve))
        self.sub_ca_key = ec.generate_private_key(profile.ca_curve(sub_ca_curve))
        self.root = self._issue_root()
        self.list_signer = self._issue_list_signer()
        self.sub_ca = self._issue_sub_ca()
        self.manufacturer = new_manufacturer()

    # -- the authorities themselves ----------------------------------------------------------

    @property
    def _root_label(self) -> str:
        return "TEST-SM-Root.CA"

    @property
    def _sub_ca_label(self) -> str:
        return "TEST-EMU.CA"

    def _base(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePublicKey,
        signer: ec.EllipticCurvePrivateKey,
        begin: datetime,
        end: datetime,
    ) -> x509.CertificateBuilder:
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(int.from_bytes(secrets.token_bytes(16), "big") >> 1 | 1 << 120)
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(authority, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(profile.mark(), critical=False)
        )

    @staticmethod
    def _end(begin: datetime, years: int) -> datetime:
        """Return the last second of the day before the anniversary."""
        end = begin + timedelta(days=365 * years)
        return end.replace(hour=23, minute=59, second=59, microsecond=0) - timedelta(days=1)

    def _issue_root(self) -> x509.Certificate:
        subject = profile.name(self._root_label, self.hierarchy)
        builder = self._base(
            subject,
            subject,
            self.root_key.public_key(),
            self.root_key,
            self.now,
            self._end(self.now, _ROOT_YEARS),
        )
        return self._authority(builder, 1).sign(self.root_key, hash_for(self.root_key))

    def _issue_list_signer(self) -> x509.Certificate:
        subject = profile.name(f"{self._root_label}.CRL-S", self.hierarchy)
        builder = self._base(
            subject,
            self.root.subject,
            self.list_key.public_key(),
            self.root_key,
            self.now,
            self._end(self.now, _LIST_SIGNER_YEARS),
        )
        builder = builder.add_extension(profile.list_signer_usage(), critical=True).add_extension(
            x509.BasicConstraints(ca=False, path_length=None), critical=True
        )
        return builder.sign(self.root_key, hash_for(self.root_key))

    def _issue_sub_ca(self) -> x509.Certificate:
        builder = self._base(
            profile.name(self._sub_ca_label, self.hierarchy),
            self.root.subject,
            self.sub_ca_key.public_key(),
            self.root_key,
            self.now,
            self._end(self.now, _SUB_CA_YEARS),
        )
        point = profile.list_point(self._root_label, self.list_signer.subject)
        builder = self._authority(builder, 0).add_extension(point, critical=False)
        return builder.sign(self.root_key, hash_for(self.root_key))

    def _authority(
        self, builder: x509.CertificateBuilder, path_length: int
    ) -> x509.CertificateBuilder:
        return (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), True)
            .add_extension(profile.key_usage(None), critical=True)
            .add_extension(profile.policies(), critical=False)
            .add_extension(profile.issuer_alternative_name(self._root_label), critical=False)
        )

    # -- issuing -----------------------------------------------------------------------------

    def issue(
        self,
        role: Role,
        label: str,
        purpose: Purpose,
        public_key: ec.EllipticCurvePublicKey,
        *,
        unit: str = "",
        serial: str = "1",
        valid_from: datetime | None = None,
        valid_until: datetime | None = None,
    ) -> x509.Certificate:
        """Issue one end-entity certificate.

        Args:
            role: function in the common name.
            label: device id of an SMGW, name of the organisation otherwise.
            purpose: TLS, SIG or ENC.
            public_key: the key to certify.
            unit: market code or GLN (EMT).
            serial: sequence number of the certificate for this holder.
            valid_from: default: the hierarchy's beginning.
            valid_until: default: the profile's lifetime.
        """
        return self._issue(
            profile.name(f"{label}.{role}", self.hierarchy, unit=unit, serial=serial),
            role,
            label,
            purpose,
            public_key,
            valid_from,
            valid_until,
        )

    def _issue(
        self,
        subject: x509.Name,
        role: Role,
        label: str,
        purpose: Purpose,
        public_key: ec.EllipticCurvePublicKey,
        valid_from: datetime | None,
        valid_until: datetime | None,
    ) -> x509.Certificate:
        begin = valid_from or self.now
        end = valid_until or self._end(begin, _YEARS[role])
        builder = self._base(subject, self.sub_ca.subject, public_key, self.sub_ca_key, begin, end)
        builder = (
            builder.add_extension(profile.key_usage(purpose), critical=True)
            .add_extension(profile.policies(), critical=False)
            .add_extension(profile.issuer_alternative_name(self._sub_ca_label), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(profile.list_point(self._sub_ca_label), critical=False)
        )
        if purpose is Purpose.TLS:
            builder = builder.add_extension(profile.tls_usage(), critical=True)
        if role is not Role.SMGW:
            names = profile.alternative_names(label, role, purpose)
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self.sub_ca_key, hash_for(self.sub_ca_key))
        self.issued[key_id(certificate)] = certificate
        return certificate

    def participant(
        self,
        role: Role,
        label: str,
        keys: Mapping[Purpose, ec.EllipticCurvePublicKey] | None = None,
        *,
        unit: str = "",
        serial: str = "1",
        valid_from: datetime | None = None,
        valid_until: datetime | None = None,
    ) -> Participant:
        """Issue a triple; without ``keys`` three pairs are made here.

        Args:
            role: function in the common name.
            label: device id or organisation.
            keys: public keys whose private parts lie elsewhere.
            unit: see :meth:`issue`.
            serial: same.
            valid_from: same.
            valid_until: same.
        """
        check_label(role, label)
        identities = {}
        for purpose in Purpose:
            private = None
            if keys is None:
                private = ec.generate_private_key(ec.BrainpoolP256R1())
                public = private.public_key()
            else:
                public = keys[purpose]
            certificate = self.issue(
                role,
                label,
                purpose,
                public,
                unit=unit,
                serial=serial,
                valid_from=valid_from,
                valid_until=valid_until,
            )
            identities[purpose] = Identity(certificate, (self.sub_ca,), private)
        name = f"{label}.{role}"
        return Participant(
            name, identities[Purpose.TLS], identities[Purpose.SIG], identities[Purpose.ENC]
        )

    # -- requests ----------------------------------------------------------------------------

    def answer(
        self, request: bytes, administrators: Mapping[bytes, Trust] | None = None
    ) -> dict[Purpose, x509.Certificate]:
        """Check a request package and issue what it asks for.

        Renewals must be signed with a SIG key this PKI has certified for the same subject and not
        revoked.

        Args:
            request: initial, signed or authorised package.
            administrators: who may authorise.

        Raises:
            RequestError: with the protocol's code and the reason.
        """
        package = requests.parse(request, self._signers(), administrators)
        subject = package.triple[0].subject
        wanted = requests.subject_text(subject)
        label, _, function = wanted.partition(".")
        try:
            role = Role(function.partition(".")[0])
        except ValueError:
            raise RequestRefusedError(
                "failure_request_not_accepted", f"common name {wanted[:60]!r} has no known function"
            ) from None
        check_label(role, label)
        if package.signers:
            old = self.issued[package.signers[0]]
            if common_name(old) != wanted:
                raise RequestRefusedError("failure_outer_signature", "signed by another subject")
            if self._is_revoked(old):
                raise RequestRefusedError(
                    "failure_outer_signature", "the signing certificate is revoked"
                )
        serial = self.next_serial(wanted)
        return {
            item.purpose: self.issue(role, label, item.purpose, item.public_key, serial=serial)
            for item in package.triple
        }

    def _signers(self) -> dict[bytes, Trust]:
        chain = (der(self.sub_ca),)
        return {key: Trust(der(certificate), chain) for key, certificate in self.issued.items()}

    def next_serial(self, name: str) -> str:
        """Return the next sequence number of a common name, from "1" on."""
        used = [
            int(str(attribute.value))
            for certificate in self.issued.values()
            if common_name(certificate) == name
            for attribute in certificate.subject.get_attributes_for_oid(x509.NameOID.SERIAL_NUMBER)
        ]
        return str(max(used, default=0) + 1)

    # -- revocation --------------------------------------------------------------------------

    def revoke(self, certificate: x509.Certificate, when: datetime | None = None) -> None:
        """Revoke an end entity's certificate, or the Sub-CA's."""
        by_root = certificate.issuer == self.root.subject
        moment = (when or self.now).replace(microsecond=0)
        self.revoked.append(Revoked(certificate.serial_number, moment, by_root))

    def _is_revoked(self, certificate: x509.Certificate) -> bool:
        return any(item.serial == certificate.serial_number for item in self.revoked)

    def crl(self, at: datetime | None = None) -> x509.CertificateRevocationList:
        """Return the Sub-CA's list."""
        return direct_list(self.sub_ca.subject, self.sub_ca_key, self.revoked, at or self.now)

    def root_crl(self, at: datetime | None = None) -> x509.CertificateRevocationList:
        """Return the root's indirect list, signed by the CRL signer."""
        return indirect_list(
            self.list_signer.subject,
            self.root.subject,
            self._root_label,
            self.list_key,
            self.revoked,
            at or self.now,
        )

    def revocation_lists(self, at: datetime | None = None) -> RevocationLists:
        """Return everything a path check with revocation needs; the same within an hour."""
        moment = at or self.now
        key = moment.replace(minute=0, second=0, microsecond=0), len(self.revoked)
        found = self._lists.get(key)
        if found is None:
            found = RevocationLists((self.crl(key[0]), self.root_crl(key[0])), (self.list_signer,))
            self._lists = {key: found}
        return found


def check_label(role: Role, label: str) -> None:
    """Check what stands before the function in a common name; it also names directories.

    Raises:
        RequestRefusedError: no device id of medium E (SMGW), or no plain name.
    """
    good = _LABEL.fullmatch(label) is not None
    if role is Role.SMGW:
        try:
            good = DeviceId.parse(label).medium == MEDIUM_GATEWAY
        except RemoteProtocolError:
            good = False
    if not good:
        raise RequestRefusedError(
            "failure_request_not_accepted", f"{label[:40]!r} cannot name a {role}"
        )
