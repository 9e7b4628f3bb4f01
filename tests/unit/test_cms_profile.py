"""What other writers may send and the profile does not allow: refused with layer and reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from smgw_emu.bench.pki import Role, TestPki
from smgw_emu.bench.pki import der as certificate_der
from smgw_emu.core import der
from wan.cms import CmsError, Layer, Suite, oids, sign, unseal, verify
from wan.cms.compressed import compress
from wan.cms.enveloped import ProcessSource, envelope
from wan.cms.message import open_signed

PKI = TestPki()
SMGW, GWA = PKI.participant(Role.SMGW, "ETHE0399000001"), PKI.participant(Role.GWA, "gwa1")
Edit = Callable[[list[bytes]], None]
ZERO = der.integer(0)


def rebuilt(data: bytes, path: tuple[int, ...], edit: Edit) -> bytes:
    """Change the children of the element at ``path`` and put all lengths right again."""
    element = der.parse(data)
    children = [child.raw for child in element.children]
    if path:
        children[path[0]] = rebuilt(children[path[0]], path[1:], edit)
    else:
        edit(children)
    return der.tlv(element.tag, *children)


def put(index: int, value: bytes) -> Edit:
    def edit(children: list[bytes]) -> None:
        children[index : index + 1] = [value]

    return edit


def insert(index: int, value: bytes) -> Edit:
    return lambda children: children.insert(index, value)


def drop(index: int) -> Edit:
    def edit(children: list[bytes]) -> None:
        del children[index]

    return edit


SIGNED = sign(b"content", SMGW.signer(with_certificate=True))
# ContentInfo 1 -> [0] 0 -> SignedData: version, digests, content, [0] certificates, signers
BODY = (1, 0)
SIGNER = (*BODY, 4, 0)


@pytest.mark.req("WAN-N06")
@pytest.mark.parametrize(
    ("path", "edit", "layer", "reason"),
    [
        ((), put(0, der.oid(oids.DATA)), Layer.CONTAINER, "instead of SignedData"),
        ((), insert(2, ZERO), Layer.SIGNATURE, "not expected"),
        (BODY, put(0, der.integer(1)), Layer.SIGNATURE, "version is not 3"),
        (BODY, insert(4, der.explicit(1, ZERO)), Layer.SIGNATURE, "CRLs"),
        ((*BODY, 1), put(0, der.algorithm("1.3.14.3.2.26")), Layer.SIGNATURE, "algorithm"),
        ((*BODY, 1), insert(1, der.algorithm(oids.SHA256)), Layer.SIGNATURE, "not expected"),
        ((*BODY, 4), insert(1, ZERO), Layer.SIGNATURE, "more than one signer"),
        ((*BODY, 4), drop(0), Layer.SIGNATURE, "nothing found"),
        (SIGNER, put(0, der.integer(1)), Layer.SIGNATURE, "SignerInfo version"),
        (SIGNER, put(1, der.sequence()), Layer.SIGNATURE, "subjectKeyIdentifier expected"),
        (SIGNER, put(4, der.algorithm("1.2.840.10045.4.3.3")), Layer.SIGNATURE, "algorithm"),
        (SIGNER, insert(6, der.explicit(1, ZERO)), Layer.SIGNATURE, "unsigned attributes"),
        (SIGNER, drop(3), Layer.SIGNATURE, "signedAttrs expected"),
        ((*SIGNER, 3), drop(0), Layer.SIGNATURE, "nothing else"),
        ((*SIGNER, 3), lambda c: c.reverse(), Layer.SIGNATURE, "not DER"),
        ((*SIGNER, 3), lambda c: c.insert(1, c[0]), Layer.SIGNATURE, "given twice"),
        ((*SIGNER, 3, 0, 1), put(0, der.oid(oids.COMPRESSED_DATA)), Layer.SIGNATURE, "another one"),
        ((*SIGNER, 3, 1, 1), put(0, der.octet_string(bytes(32))), Layer.SIGNATURE, "been changed"),
        ((*BODY, 2, 1), put(0, der.octet_string(b"other")), Layer.SIGNATURE, "been changed"),
        ((*BODY, 3), insert(0, certificate_der(PKI.sub_ca)), Layer.SIGNATURE, None),
    ],
)  # fmt: skip
def test_signed_data_outside_the_profile(path, edit, layer, reason):
    """Each deviation from table 5.6 by its name; a chain certificate that is known may be carried."""
    data = rebuilt(SIGNED, path, edit)
    if reason is None:
        assert verify(data, SMGW.trust()).content == b"content"
        return
    with pytest.raises(CmsError, match=reason) as caught:
        verify(data, SMGW.trust())
    assert caught.value.layer is layer


def made(suite: Suite) -> bytes:
    return envelope(compress(b"content"), oids.COMPRESSED_DATA, [GWA.recipient()], suite,
                    source=ProcessSource())  # fmt: skip


GCM, CBC = made(Suite.GCM), made(Suite.CBC_CMAC)
# version, SET recipients, content info, [1] attributes, mac
KARI = (1, 0)


@pytest.mark.req("WAN-N06")
@pytest.mark.parametrize(
    ("base", "path", "edit", "reason"),
    [
        (GCM, (), put(0, der.integer(1)), "version is not 0"),
        (GCM, (), insert(1, der.explicit(0)), "originatorInfo"),
        (GCM, (), insert(5, der.explicit(2)), "unauthenticated attributes"),
        (GCM, (), drop(3), "attributes are missing"),
        (GCM, (), put(4, der.octet_string(bytes(12))), "MAC is not 16"),
        (CBC, (), put(4, der.octet_string(bytes(16))), "been changed"),
        (GCM, (1,), put(0, der.explicit(2, ZERO)), "key agreement kind"),
        (GCM, (1,), lambda children: children.clear(), "none of the recipients"),
        (GCM, KARI, put(0, der.integer(2)), "version is not 3"),
        (GCM, KARI, insert(2, der.explicit(1, der.octet_string(b"ukm"))), "user keying material"),
        (GCM, (*KARI, 1, 0, 0), put(0, der.oid("1.2.840.113549.1.1.1")), "not an EC key"),
        (GCM, (*KARI, 1, 0, 0), put(1, der.oid("1.2.840.10045.3.1.7")), "another curve"),
        (GCM, (*KARI, 1, 0, 0), put(1, der.integer(5)), "unknown parameters"),
        (GCM, (*KARI, 1, 0), put(1, der.bit_string(b"\x02" + bytes(32))), "not uncompressed"),
        (GCM, (*KARI, 1, 0), put(1, der.bit_string(b"\x04" + bytes(64))), "not a point"),
        (GCM, (*KARI, 2), put(0, der.oid("1.2.3")), "not ecka-eg"),
        (GCM, (*KARI, 2, 1), put(0, der.oid("2.16.840.1.101.3.4.1.45")), "key wrap is not"),
        (GCM, (*KARI, 2, 1), insert(1, der.NULL_VALUE), "no parameters"),
        (GCM, (*KARI, 3, 0), put(0, der.sequence()), "key identifier"),
        (GCM, (*KARI, 3, 0), put(1, der.octet_string(bytes(40))), "instead of 24"),
        (CBC, (*KARI, 3, 0), put(1, der.octet_string(bytes(24))), "instead of 40"),
        (GCM, (*KARI, 3, 0), put(1, der.octet_string(bytes(24))), "cannot be unwrapped"),
        (GCM, (2, 1), put(0, der.oid("2.16.840.1.101.3.4.1.46")), "not one of the profile"),
        (GCM, (2, 1, 1), put(0, der.octet_string(bytes(16))), "nonce 16 and tag 16"),
        (GCM, (2, 1, 1), put(1, der.integer(12)), "nonce 12 and tag 12"),
        (GCM, (2, 1, 1), drop(1), "nonce 12 and tag 12"),
        (CBC, (2, 1), insert(1, der.NULL_VALUE), "no parameters"),
        (GCM, (2,), put(2, der.octet_string(b"x")), "encryptedContent is missing"),
        (GCM, (2,), put(2, der.implicit(0, bytes(40))), "been changed"),
        (GCM, (2,), put(0, der.oid(oids.DATA)), "missing or another"),
        (GCM, (3, 0, 1), put(0, der.oid(oids.DATA)), "missing or another"),
        (GCM, (3,), insert(0, der.sequence(der.oid("1.2.3"), der.set_of(ZERO))), None),
    ],
)
def test_envelopes_outside_the_profile(base, path, edit, reason):
    """Each deviation from table 5.5 by its name; None: only the MAC can tell."""
    data = rebuilt(base, path, edit)
    with pytest.raises(CmsError, match=reason) as caught:
        open_signed(data, b"", GWA.opener())
    assert caught.value.layer is Layer.ENVELOPE


def test_the_originator_may_leave_the_curve_out():
    """Absent parameters mean the curve of the recipient's key; OpenSSL writes NULL."""
    for edit in (drop(1), put(1, der.NULL_VALUE)):
        data = rebuilt(GCM, (*KARI, 1, 0, 0), edit)
        assert open_signed(data, b"", GWA.opener()).content == b"content"


@pytest.mark.parametrize(
    ("path", "edit", "reason"),
    [
        ((), put(0, der.integer(2)), "version is not 0"),
        ((1,), put(0, der.oid("1.2.3")), "not zlib"),
        ((2,), put(0, der.oid(oids.COMPRESSED_DATA)), "not id-data"),
        ((2,), drop(1), "eContent expected"),
    ],
)
def test_compressed_data_outside_the_profile(path, edit, reason):
    """RFC 3274 with zlib over id-data, nothing else."""
    inner = rebuilt(compress(b"content"), path, edit)
    body = envelope(inner, oids.COMPRESSED_DATA, [GWA.recipient()], source=ProcessSource())
    with pytest.raises(CmsError, match=reason) as caught:
        open_signed(body, b"", GWA.opener())
    assert caught.value.layer is Layer.COMPRESSION


def test_another_inner_content_is_refused():
    """Only id-data and id-ct-compressedData may be inside."""
    body = envelope(b"x", oids.SIGNED_DATA, [GWA.recipient()], source=ProcessSource())
    data = sign(body, SMGW.signer(), oids.AUTH_ENVELOPED_DATA)
    with pytest.raises(CmsError, match="not in the profile"):
        unseal(data, SMGW.trust(), GWA.opener())
