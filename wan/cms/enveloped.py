"""AuthEnvelopedData of the TR profile (Detailspezifikation v2.0 table 5.5, ``wan.md`` 4.3).

One KeyAgreeRecipientInfo per recipient, each with an ephemeral key of its own. The key-encryption
key is the first 16 octets of SHA-256(Z || 00000001 || SharedInfo), Z the x-coordinate of the
ECKA-EG point. SharedInfo is not named by the text; RFC 5753's form is sent by default and both are
tried on receipt: AES key wrap notices the wrong one (``crypto.md`` 3.2).

* GCM: nonce 12, tag 16 in ``mac``, K wrapped as 24 octets; AAD = authAttrs as SET OF.
* CBC-CMAC: IV 0, PKCS#7 padding, Kenc || Kmac wrapped as 40 octets,
  mac = CMAC(Kmac, C || authAttrs as SET OF), checked before the padding is looked at.

``Source`` says where message keys and ephemeral pairs come from: :class:`ProcessSource`, or the
security module itself, as figure F30 draws it (its strict mode).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from hsm_sim.curves import CURVE_BY_OID, CURVE_OIDS, CURVES, curve_of, point_octets, public_key
from smgw_emu.core import der
from smgw_emu.core.errors import RemoteProtocolError
from wan.cms import oids
from wan.cms.errors import CmsError, Layer
from wan.cms.signed import attribute_values

_NONCE, _TAG, _BLOCK = 12, 16, 16


class Suite(StrEnum):
    """Content encryption suites (``wan.md`` 4.1); the WAN profile chooses."""

    GCM = "CMS_ECKAEG_AES_128_GCM"
    CBC_CMAC = "CMS_ECKAEG_AES_128_CBCCMAC"


class SharedInfo(StrEnum):
    """What the KDF is given beside Z."""

    RFC5753 = "rfc5753"
    NONE = "none"


class KeyAgreement(StrEnum):
    """How the key agreement is named; STANDARD is the name stock OpenSSL knows."""

    ECKA_EG = oids.ECKA_EG_X963_SHA256
    STANDARD = oids.STD_DH_SHA256


# SEQUENCE {AlgorithmIdentifier aes128-wrap, [2] key length in bits} (RFC 5753 7.2)
_SHARED_INFO: dict[SharedInfo, bytes] = {
    SharedInfo.RFC5753: der.sequence(
        der.algorithm(oids.AES128_WRAP), der.explicit(2, der.octet_string(b"\x00\x00\x00\x80"))
    ),
    SharedInfo.NONE: b"",
}


class Source(Protocol):
    """Where random numbers and ephemeral key pairs come from."""

    def random(self, octets: int) -> bytes:
        """Return random octets."""

    def agree_ephemeral(self, peer: ec.EllipticCurvePublicKey) -> tuple[bytes, bytes]:
        """Return (uncompressed ephemeral point, x-coordinate of the shared point)."""


class ProcessSource:
    """Message keys and ephemeral pairs drawn in this process."""

    def random(self, octets: int) -> bytes:
        """Return random octets."""
        return secrets.token_bytes(octets)

    def agree_ephemeral(self, peer: ec.EllipticCurvePublicKey) -> tuple[bytes, bytes]:
        """Return (uncompressed ephemeral point, x-coordinate of the shared point)."""
        key = ec.generate_private_key(CURVES[curve_of(peer)]())
        return point_octets(key.public_key()), key.exchange(ec.ECDH(), peer)


class StrictSource(Source, Protocol):
    """A security module: its own source of keys if it is strict."""

    strict: bool


def source_of(module: StrictSource) -> Source:
    """Return the module itself in strict mode (figure F30), the process otherwise."""
    return module if module.strict else ProcessSource()


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who shall read: subject key identifier and public key of his C_Enc certificate."""

    key_id: bytes
    key: ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Opener:
    """Who reads: key id, curve's public key for the check of the point, and the ECKA function."""

    key_id: bytes
    key: ec.EllipticCurvePublicKey
    agree: Callable[[ec.EllipticCurvePublicKey], bytes]


@dataclass(frozen=True, slots=True)
class Content:
    """An opened envelope: inner content type, content, how it was sealed."""

    content_type: str
    content: bytes
    suite: Suite
    shared_info: SharedInfo


def kek(shared: bytes, info: SharedInfo) -> bytes:
    """Return the key-encryption key (TR-03111 4.3.3, X9.63 KDF with SHA-256)."""
    return hashlib.sha256(shared + b"\x00\x00\x00\x01" + _SHARED_INFO[info]).digest()[:16]


# -- sealing ---------------------------------------------------------------------------------


def envelope(
    content: bytes,
    content_type: str,
    recipients: Sequence[Recipient],
    suite: Suite = Suite.GCM,
    *,
    source: Source,
    shared_info: SharedInfo = SharedInfo.RFC5753,
    key_agreement: KeyAgreement = KeyAgreement.ECKA_EG,
) -> bytes:
    """Return AuthEnvelopedData (without ContentInfo).

    Raises:
        CmsError: no recipient.
    """
    if not recipients:
        raise CmsError(Layer.ENVELOPE, "no recipient")
    attributes = b""
    if content_type != oids.DATA:
        kind = der.set_of(der.oid(content_type))
        attributes = der.set_of(der.sequence(der.oid(oids.CONTENT_TYPE), kind))
    if suite is Suite.GCM:
        key = source.random(16)
        nonce = source.random(_NONCE)
        sealed = AESGCM(key).encrypt(nonce, content, attributes)
        cryptogram, mac = sealed[:-_TAG], sealed[-_TAG:]
        parameters = der.sequence(der.octet_string(nonce), der.integer(_TAG))
        algorithm = der.algorithm(oids.AES128_GCM, parameters)
    else:
        key = source.random(16) + source.random(16)
        cryptogram = _cbc(key[:16], _pad(content), encrypt=True)
        mac = _cmac(key[16:], cryptogram + attributes)
        algorithm = der.algorithm(oids.AES128_CBC_CMAC)
    infos = [_recipient_info(item, key, source, shared_info, key_agreement) for item in recipients]
    return der.sequence(
        der.integer(0),
        der.set_of(*infos),
        der.sequence(der.oid(content_type), algorithm, der.implicit(0, cryptogram)),
        b"\xa1" + attributes[1:] if attributes else b"",
        der.octet_string(mac),
    )


def _recipient_info(
    recipient: Recipient, key: bytes, source: Source, info: SharedInfo, named: KeyAgreement
) -> bytes:
    point, shared = source.agree_ephemeral(recipient.key)
    curve = der.oid(CURVE_OIDS[curve_of(recipient.key)])
    originator = der.explicit(1, der.algorithm(oids.EC_PUBLIC_KEY, curve), der.bit_string(point))
    wrapped = aes_key_wrap(kek(shared, info), key)
    rid = der.explicit(0, der.octet_string(recipient.key_id))
    return der.explicit(
        1,
        der.integer(3),
        der.explicit(0, originator),
        der.algorithm(named.value, der.algorithm(oids.AES128_WRAP)),
        der.sequence(der.sequence(rid, der.octet_string(wrapped))),
    )


def _pad(content: bytes) -> bytes:
    count = _BLOCK - len(content) % _BLOCK
    return content + bytes((count,)) * count


def _cbc(key: bytes, data: bytes, *, encrypt: bool) -> bytes:
    # a zero IV is the profile's: each key is used once
    cipher = Cipher(algorithms.AES(key), modes.CBC(bytes(_BLOCK)))
    context = cipher.encryptor() if encrypt else cipher.decryptor()
    return context.update(data) + context.finalize()


def _cmac(key: bytes, data: bytes) -> bytes:
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()


# -- opening ---------------------------------------------------------------------------------


def open_envelope(
    element: der.Element, opener: Opener, *, accept_standard: bool = False
) -> Content:
    """Open AuthEnvelopedData.

    Args:
        element: the structure.
        opener: the reader's key.
        accept_standard: also take the key agreement under the name OpenSSL gives it.

    Raises:
        CmsError: not for this reader, changed, or not as the profile asks.
        DerError: another structure.
    """
    fields = der.Reader(element, "AuthEnvelopedData")
    if fields.integer("version") != 0:
        raise _refuse("version is not 0")
    if fields.peek() == 0xA0:
        raise _refuse("originatorInfo is not part of the profile")
    infos = fields.take(der.SET, "recipientInfos")
    content_info = fields.sequence("authEncryptedContentInfo")
    attributes = fields.optional(0xA1)
    mac = fields.take(der.OCTET_STRING, "mac").octets()
    if fields.peek() is not None:
        raise _refuse("unauthenticated attributes are not part of the profile")
    content_type = content_info.oid("contentType")
    suite, nonce = _suite(content_info.sequence("contentEncryptionAlgorithm"))
    sealed = content_info.next()
    if sealed.tag not in {0x80, 0xA0}:
        raise _refuse("encryptedContent is missing")
    content_info.end()
    authenticated = _authenticated(attributes, content_type)
    key, info = _message_key(infos, opener, suite, accept_standard=accept_standard)
    cryptogram = sealed.octets()
    if suite is Suite.GCM:
        plain = _open_gcm(key, nonce, cryptogram, mac, authenticated)
    else:
        plain = _open_cbc(key, cryptogram, mac, authenticated)
    return Content(content_type, plain, suite, info)


def _refuse(reason: str) -> CmsError:
    return CmsError(Layer.ENVELOPE, reason)


def _suite(algorithm: der.Reader) -> tuple[Suite, bytes]:
    name = algorithm.oid("algorithm")
    if name == oids.AES128_CBC_CMAC:
        if algorithm.peek() is not None:
            raise _refuse("AES-CBC-CMAC has no parameters in the profile")
        return Suite.CBC_CMAC, b""
    if name != oids.AES128_GCM:
        raise _refuse(f"content encryption {name} is not one of the profile")
    parameters = algorithm.sequence("GCMParameters")
    nonce = parameters.take(der.OCTET_STRING, "nonce").octets()
    size = 12 if parameters.peek() is None else parameters.integer("aes-ICVlen")
    parameters.end()
    algorithm.end()
    if len(nonce) != _NONCE or size != _TAG:
        raise _refuse(f"GCM with nonce {len(nonce)} and tag {size} instead of 12 and 16")
    return Suite.GCM, nonce


def _authenticated(attributes: der.Element | None, content_type: str) -> bytes:
    """Return the attributes as they are authenticated; check them."""
    if attributes is None:
        if content_type != oids.DATA:
            raise _refuse("authenticated attributes are missing")
        return b""
    if attributes.raw != der.tlv(0xA1, *sorted(child.raw for child in attributes.children)):
        raise _refuse("authenticated attributes are not DER")
    found = attribute_values(attributes)
    kind = found.get(oids.CONTENT_TYPE)
    if kind is None or kind.raw != der.oid(content_type):
        raise _refuse("authenticated content type is missing or another one")
    return der.tlv(der.SET, attributes.content)


def _message_key(
    infos: der.Element, opener: Opener, suite: Suite, *, accept_standard: bool
) -> tuple[bytes, SharedInfo]:
    size = 24 if suite is Suite.GCM else 40
    for child in infos.children:
        if child.tag != 0xA1:
            raise _refuse("a recipient is not of the key agreement kind")
        fields = der.Reader(child, "KeyAgreeRecipientInfo", 0xA1)
        if fields.integer("version") != 3:
            raise _refuse("KeyAgreeRecipientInfo version is not 3")
        origin = fields.take(0xA0, "originator")
        if fields.peek() == 0xA1:
            raise _refuse("user keying material is not part of the profile")
        named = fields.sequence("keyEncryptionAlgorithm")
        wrapped = _wrapped_key(fields.sequence("recipientEncryptedKeys"), opener.key_id)
        fields.end()
        if wrapped is None:
            continue
        _key_agreement(named, accept_standard=accept_standard)
        if len(wrapped) != size:
            raise _refuse(f"wrapped key of {len(wrapped)} octets instead of {size}")
        shared = opener.agree(_originator_key(origin, opener))
        return _unwrap(shared, wrapped)
    raise _refuse("none of the recipients is this one")


def _key_agreement(named: der.Reader, *, accept_standard: bool) -> None:
    name = named.oid("algorithm")
    if name != oids.ECKA_EG_X963_SHA256 and not (accept_standard and name == oids.STD_DH_SHA256):
        raise _refuse(f"key agreement {name} is not ecka-eg-X963KDF-SHA256")
    wrap = named.sequence("key wrap algorithm")
    if wrap.oid("algorithm") != oids.AES128_WRAP:
        raise _refuse("key wrap is not AES-128")
    if wrap.peek() is not None and not accept_standard:
        raise _refuse("AES-128 wrap has no parameters")
    named.end()


def _wrapped_key(keys: der.Reader, key_id: bytes) -> bytes | None:
    found = None
    for child in keys.rest():
        fields = der.Reader(child, "RecipientEncryptedKey")
        rid = fields.next()
        wrapped = fields.take(der.OCTET_STRING, "encryptedKey").octets()
        fields.end()
        if rid.tag != 0xA0:
            raise _refuse("a recipient is not named by its key identifier")
        name = der.Reader(rid, "rKeyId", 0xA0)
        if name.take(der.OCTET_STRING, "subjectKeyIdentifier").octets() == key_id:
            found = wrapped
        name.end()
    return found


def _originator_key(origin: der.Element, opener: Opener) -> ec.EllipticCurvePublicKey:
    outer = der.Reader(origin, "originator", 0xA0)
    fields = outer.sequence("originatorKey", 0xA1)
    outer.end()
    algorithm = fields.sequence("algorithm")
    if algorithm.oid("algorithm") != oids.EC_PUBLIC_KEY:
        raise _refuse("the originator's key is not an EC key")
    curve = curve_of(opener.key)
    parameters = None if algorithm.peek() is None else algorithm.next()
    algorithm.end()
    # absent: the curve of the recipient's key; OpenSSL writes NULL
    named = parameters is not None and parameters.tag == der.OID
    if named and parameters is not None and CURVE_BY_OID.get(parameters.oid()) != curve:
        raise _refuse("the originator's key is on another curve")
    if parameters is not None and not named and parameters.raw != der.NULL_VALUE:
        raise _refuse("the originator's key has unknown parameters")
    point = fields.take(der.BIT_STRING, "publicKey").bits()
    fields.end()
    try:
        return public_key(curve, point)
    except RemoteProtocolError as error:
        raise _refuse(str(error)) from error


def _unwrap(shared: bytes, wrapped: bytes) -> tuple[bytes, SharedInfo]:
    for info in SharedInfo:
        try:
            return aes_key_unwrap(kek(shared, info), wrapped), info
        except InvalidUnwrap:
            continue
    raise _refuse("the message key cannot be unwrapped (wrong key, or changed)")


def _open_gcm(key: bytes, nonce: bytes, cryptogram: bytes, mac: bytes, aad: bytes) -> bytes:
    if len(mac) != _TAG:
        raise _refuse("the MAC is not 16 octets")
    try:
        return AESGCM(key).decrypt(nonce, cryptogram + mac, aad)
    except InvalidTag:
        raise _refuse("the content has been changed (MAC)") from None


def _open_cbc(key: bytes, cryptogram: bytes, mac: bytes, aad: bytes) -> bytes:
    if not hmac.compare_digest(_cmac(key[16:], cryptogram + aad), mac):
        raise _refuse("the content has been changed (MAC)")
    if not cryptogram or len(cryptogram) % _BLOCK:
        raise _refuse("the cryptogram is not whole blocks")
    padded = _cbc(key[:16], cryptogram, encrypt=False)
    count = padded[-1]
    if not 1 <= count <= _BLOCK or padded[-count:] != bytes((count,)) * count:
        raise _refuse("wrong padding under a right MAC")
    return padded[:-count]
