"""Certificate requests of the SM-PKI: CRMF triples, renewal and authorisation wrappers.

``ContentInfo{ 0.4.0.127.0.7.4.1.1.1, CertReqMessages }`` with three messages SIG, ENC, TLS. Each
certTemplate holds subject [5], publicKey [6] and extensions [9]; proof of possession is [1], an
ECDSA signature over the DER CertRequest, for the ENC key too (``crypto.md`` 2.3; RFC 4211). A
renewal wraps the messages in SignedData under the old SIG key, content type ...1.1.2; the
administrator's authorisation wraps that once more, ...1.1.3 (nesting [I] from the names).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hsm_sim import Purpose
from hsm_sim.certificates import (
    ECDSA_WITH,
    extension,
    name_attribute,
    spki,
    subject_key_identifier,
)
from smgw_emu.core import der
from smgw_emu.core.errors import RemoteProtocolError
from wan.cms import CmsError, Signer, Trust, sign, verify

PLAIN = "0.4.0.127.0.7.4.1.1.1"
SIGNED = "0.4.0.127.0.7.4.1.1.2"
AUTHORISED = "0.4.0.127.0.7.4.1.1.3"

_ORDER = (Purpose.SIG, Purpose.ENC, Purpose.TLS)
_COMMON_NAME, _ORGANISATION, _COUNTRY = "2.5.4.3", "2.5.4.10", "2.5.4.6"
_SERIAL = "2.5.4.5"
_SKI, _KEY_USAGE, _SAN, _EKU = "2.5.29.14", "2.5.29.15", "2.5.29.17", "2.5.29.37"
_CLIENT_AUTH, _SERVER_AUTH = "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"
_DIGITAL_SIGNATURE = der.bit_string(b"\x80", 7)
_ENCRYPTION = der.bit_string(b"\x28", 3)  # keyEncipherment + keyAgreement


class RequestError(RemoteProtocolError):
    """A request was refused; ``code`` is the protocol's word for it (TR-03129-4)."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"certificate request refused: {code}: {reason}")
        self.code = code


@dataclass(frozen=True, slots=True)
class KeyToCertify:
    """A new key pair: its public part and a signature function over SHA-256 digests."""

    public_key: ec.EllipticCurvePublicKey
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Requested:
    """One message of a request.

    Attributes:
        purpose: TLS, SIG or ENC, told from its key usage.
        subject: Name in DER.
        public_key: the key to certify.
        alternative_names: SubjectAltName value in DER, b"" if not asked for.
    """

    purpose: Purpose
    subject: bytes
    public_key: ec.EllipticCurvePublicKey
    alternative_names: bytes = b""


@dataclass(frozen=True, slots=True)
class Package:
    """A decoded request: the triple and the key ids of the outer signers, inner one first."""

    triple: tuple[Requested, ...]
    signers: tuple[bytes, ...] = ()


def subject_name(common_name: str, organisation: str, serial: str = "1") -> bytes:
    """Return CN, O, C=DE, serialNumber in the order of real certificates (PrintableString)."""
    tag = der.PRINTABLE_STRING
    return der.sequence(
        name_attribute(_COMMON_NAME, common_name, tag),
        name_attribute(_ORGANISATION, organisation, tag),
        name_attribute(_COUNTRY, "DE", tag),
        name_attribute(_SERIAL, serial, tag),
    )


# -- writing ---------------------------------------------------------------------------------


def build(
    subject: bytes, keys: Mapping[Purpose, KeyToCertify], alternative_names: bytes = b""
) -> bytes:
    """Return an initial request.

    Args:
        subject: Name in DER.
        keys: the three new key pairs.
        alternative_names: SubjectAltName in DER; none for an SMGW.
    """
    messages = [
        _message(number, subject, purpose, keys[purpose], alternative_names)
        for number, purpose in enumerate(_ORDER)
    ]
    return der.sequence(der.oid(PLAIN), der.explicit(0, der.sequence(*messages)))


def _message(
    number: int, subject: bytes, purpose: Purpose, key: KeyToCertify, alternative_names: bytes
) -> bytes:
    extensions = [
        extension(_SKI, der.octet_string(subject_key_identifier(key.public_key))),
        extension(
            _KEY_USAGE, _ENCRYPTION if purpose is Purpose.ENC else _DIGITAL_SIGNATURE, critical=True
        ),
    ]
    if purpose is Purpose.TLS:
        both = der.sequence(der.oid(_CLIENT_AUTH), der.oid(_SERVER_AUTH))
        extensions.append(extension(_EKU, both, critical=True))
    if alternative_names:
        extensions.append(extension(_SAN, alternative_names))
    template = der.sequence(
        der.explicit(5, subject),
        b"\xa6" + spki(key.public_key)[1:],
        der.explicit(9, *extensions),
    )
    request = der.sequence(der.integer(number), template)
    signature = key.sign(hashlib.sha256(request).digest())
    proof = der.explicit(1, der.algorithm(ECDSA_WITH["sha256"]), der.bit_string(signature))
    return der.sequence(request, proof)


def renew(request: bytes, signer: Signer) -> bytes:
    """Wrap an initial request in a signature of the old SIG key."""
    messages = der.parse(request).children[1].content
    return sign(messages, signer, PLAIN, outer_type=SIGNED)


def authorise(renewal: bytes, administrator: Signer) -> bytes:
    """Wrap a renewal in the administrator's signature."""
    return sign(renewal, administrator, SIGNED, outer_type=AUTHORISED)


# -- reading ---------------------------------------------------------------------------------


def parse(
    data: bytes,
    signers: Mapping[bytes, Trust] | None = None,
    administrators: Mapping[bytes, Trust] | None = None,
) -> Package:
    """Read and check a request in any of the three forms.

    Args:
        data: the ContentInfo.
        signers: whose signatures a renewal may carry.
        administrators: whose signatures an authorised request may carry.

    Raises:
        RequestError: malformed, or a proof or signature is wrong.
    """
    try:
        kind = der.Reader(der.parse(data), "ContentInfo").oid("contentType")
    except der.DerError as error:
        raise RequestError("failure_syntax", str(error)) from error
    if kind == AUTHORISED:
        inner, outer = _unwrap(
            data, AUTHORISED, SIGNED, administrators, "failure_authorization_signature"
        )
        package = parse(inner, signers)
        if not package.signers:
            raise RequestError("failure_syntax", "an authorised request must be signed inside")
        return Package(package.triple, (*package.signers, outer))
    if kind == SIGNED:
        messages, signer = _unwrap(data, SIGNED, PLAIN, signers, "failure_outer_signature")
        return Package(_messages(messages), (signer,))
    if kind != PLAIN:
        raise RequestError("failure_syntax", f"content type {kind} is no request")
    try:
        outer_fields = der.Reader(der.parse(data), "ContentInfo")
        outer_fields.oid("contentType")
        content = outer_fields.take(0xA0, "content").content
        outer_fields.end()
    except der.DerError as error:
        raise RequestError("failure_syntax", str(error)) from error
    return Package(_messages(content))


def _unwrap(
    data: bytes, outer: str, inner: str, trusted: Mapping[bytes, Trust] | None, code: str
) -> tuple[bytes, bytes]:
    try:
        verified = verify(data, trusted or {}, outer_type=outer)
    except CmsError as error:
        raise RequestError(code, str(error)) from error
    if verified.content_type != inner:
        raise RequestError("failure_syntax", f"signed content is {verified.content_type}")
    return verified.content, verified.signer


def _messages(data: bytes) -> tuple[Requested, ...]:
    try:
        fields = der.Reader(der.parse(data), "CertReqMessages")
        found = [_read_message(child) for child in fields.rest()]
    except (der.DerError, ValueError, TypeError) as error:
        raise RequestError("failure_syntax", str(error)) from error
    if sorted(item.purpose for item in found) != sorted(Purpose):
        raise RequestError(
            "failure_syntax", "a request holds one message for TLS, SIG and ENC each"
        )
    if len({item.subject for item in found}) != 1:
        raise RequestError("failure_syntax", "the three messages name different subjects")
    if len({spki(item.public_key) for item in found}) != len(found):
        raise RequestError("failure_syntax", "two messages ask for the same key")
    return tuple(found)


def _read_message(element: der.Element) -> Requested:
    message = der.Reader(element, "CertReqMsg")
    request = message.take(der.SEQUENCE, "certReq")
    fields = der.Reader(request, "CertRequest")
    fields.integer("certReqId")
    template = der.Reader(fields.take(der.SEQUENCE, "certTemplate"), "certTemplate")
    fields.end()
    subject_field = der.Reader(template.take(0xA5, "subject"), "subject", 0xA5)
    subject = subject_field.take(der.SEQUENCE, "Name").raw
    subject_field.end()
    key_field = template.take(0xA6, "publicKey")
    extensions = template.take(0xA9, "extensions")
    template.end()
    key = _public_key(b"\x30" + key_field.raw[1:])
    proof = message.sequence("proof of possession", 0xA1)
    message.end()
    if proof.take(der.SEQUENCE, "algorithm").raw != der.algorithm(ECDSA_WITH["sha256"]):
        raise der.DerError("proof of possession is not ecdsa-with-SHA256")
    signature = proof.take(der.BIT_STRING, "signature").bits()
    proof.end()
    try:
        key.verify(signature, request.raw, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise RequestError("failure_inner_signature", "a proof of possession is wrong") from None
    purpose, names = _purpose(extensions.children, key)
    return Requested(purpose, subject, key, names)


def _public_key(data: bytes) -> ec.EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(data)
    except Exception as error:  # the library names several, by version
        raise der.DerError("publicKey cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "brainpoolP256r1":
        raise der.DerError("publicKey is not on brainpoolP256r1")
    return key


def _purpose(
    extensions: Sequence[der.Element], key: ec.EllipticCurvePublicKey
) -> tuple[Purpose, bytes]:
    found: dict[str, bytes] = {}
    for child in extensions:
        fields = der.Reader(child, "extension")
        kind = fields.oid("extnID")
        fields.optional(0x01)
        found[kind] = fields.take(der.OCTET_STRING, "extnValue").octets()
        fields.end()
    expected = der.octet_string(subject_key_identifier(key))
    if found.get(_SKI, expected) != expected:
        raise der.DerError("subject key identifier does not fit the key")
    usage = found.get(_KEY_USAGE)
    names = found.get(_SAN, b"")
    if usage == _ENCRYPTION and _EKU not in found:
        return Purpose.ENC, names
    if usage == _DIGITAL_SIGNATURE:
        return (Purpose.TLS if _EKU in found else Purpose.SIG), names
    raise der.DerError("key usage fits none of TLS, SIG, ENC")


def subject_text(subject: bytes) -> str:
    """Return the common name in a Name, "" if there is none.

    Raises:
        DerError: not a Name.
    """
    for rdn in der.parse(subject).children:
        for pair in rdn.children:
            fields = der.Reader(pair, "AttributeTypeAndValue")
            if fields.oid("type") == _COMMON_NAME:
                return fields.next().content.decode("utf-8", "replace")
    return ""


def organisation(certificate: x509.Certificate) -> str:
    """Return the O of a certificate's subject, "" if there is none."""
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return str(names[0].value) if names else ""
