"""The curves of TR-03116-3 2.2, keys on them, and the raw point arithmetic PACE needs.

Everyday operations use ``cryptography``. The Generic Mapping of PACE multiplies a generator of its
own, which ``cryptography`` cannot do; the ``ecdsa`` library can.
"""

from __future__ import annotations

from enum import StrEnum

import ecdsa.curves
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from ecdsa.ellipticcurve import AbstractPoint, PointJacobi

from smgw_emu.core.errors import RemoteProtocolError, SmgwError


class SecurityModuleError(SmgwError):
    """The module refused: no such slot, slot in use, wrong PIN, or its memory is damaged."""


class Curve(StrEnum):
    """Curves the module works on."""

    BRAINPOOL_P256 = "brainpoolP256r1"
    BRAINPOOL_P384 = "brainpoolP384r1"
    BRAINPOOL_P512 = "brainpoolP512r1"
    P256 = "secp256r1"
    P384 = "secp384r1"


CURVES: dict[Curve, type[ec.EllipticCurve]] = {
    Curve.BRAINPOOL_P256: ec.BrainpoolP256R1,
    Curve.BRAINPOOL_P384: ec.BrainpoolP384R1,
    Curve.BRAINPOOL_P512: ec.BrainpoolP512R1,
    Curve.P256: ec.SECP256R1,
    Curve.P384: ec.SECP384R1,
}
# RFC 5639 3, RFC 5480 2.1.1.1
CURVE_OIDS: dict[Curve, str] = {
    Curve.BRAINPOOL_P256: "1.3.36.3.3.2.8.1.1.7",
    Curve.BRAINPOOL_P384: "1.3.36.3.3.2.8.1.1.11",
    Curve.BRAINPOOL_P512: "1.3.36.3.3.2.8.1.1.13",
    Curve.P256: "1.2.840.10045.3.1.7",
    Curve.P384: "1.3.132.0.34",
}
CURVE_BY_OID = {text: curve for curve, text in CURVE_OIDS.items()}
ORDERS: dict[Curve, int] = {
    Curve.BRAINPOOL_P256: ecdsa.curves.BRAINPOOLP256r1.order,
    Curve.BRAINPOOL_P384: ecdsa.curves.BRAINPOOLP384r1.order,
    Curve.BRAINPOOL_P512: ecdsa.curves.BRAINPOOLP512r1.order,
    Curve.P256: ecdsa.curves.NIST256p.order,
    Curve.P384: ecdsa.curves.NIST384p.order,
}
DIGESTS: dict[int, hashes.HashAlgorithm] = {
    32: hashes.SHA256(),
    48: hashes.SHA384(),
    64: hashes.SHA512(),
}


def curve_of(key: ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey) -> Curve:
    """Return the curve of a key.

    Raises:
        SecurityModuleError: none of ours.
    """
    try:
        return Curve(key.curve.name)
    except ValueError as error:
        raise SecurityModuleError(f"curve {key.curve.name} is not one of TR-03116-3") from error


def point_octets(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the uncompressed point ``04 || x || y``."""
    return key.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )


def public_key(curve: Curve, point: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key of an uncompressed point.

    Raises:
        RemoteProtocolError: not uncompressed, or not on the curve.
    """
    if point[:1] != b"\x04":
        raise RemoteProtocolError("the point is not uncompressed")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(CURVES[curve](), point)
    except ValueError as error:
        raise RemoteProtocolError(f"not a point of {curve}") from error


_PACE = ecdsa.curves.BRAINPOOLP256r1  # TR-03116-3 chapter 10, domain parameter id 13
PACE_FIELD_OCTETS = 32


def pace_point(octets: bytes) -> PointJacobi:
    """Return a point of brainpoolP256r1 for arithmetic.

    Raises:
        RemoteProtocolError: not an uncompressed point of the curve.
    """
    if len(octets) != 65 or octets[0] != 4:
        raise RemoteProtocolError("not an uncompressed point")
    try:
        affine = AbstractPoint.from_bytes(
            _PACE.curve, octets, validate_encoding=True, valid_encodings=("uncompressed",)
        )
    except (ecdsa.errors.MalformedPointError, ValueError) as error:
        raise RemoteProtocolError("not a point of brainpoolP256r1") from error
    x, y = affine
    if not _PACE.curve.contains_point(x, y):  # the library's decoder leaves this to its caller
        raise RemoteProtocolError("not a point of brainpoolP256r1")
    return PointJacobi(_PACE.curve, x, y, 1, _PACE.order)


def pace_octets(point: PointJacobi) -> bytes:
    """Return the uncompressed octets of a point.

    Raises:
        RemoteProtocolError: the point at infinity, which no honest peer reaches.
    """
    if point == ecdsa.ellipticcurve.INFINITY:
        raise RemoteProtocolError("point at infinity")
    octets: bytes = point.to_affine().to_bytes("uncompressed")
    return octets


def pace_generator() -> PointJacobi:
    """Return the standard generator of brainpoolP256r1."""
    return _PACE.generator
