"""CMS against the OpenSSL command line and stock libcrypto, both ways."""

from __future__ import annotations

import _ssl
import ctypes
import subprocess

import pytest

from smgw_emu.bench.pki import Role, TestPki
from smgw_emu.bench.pki.participants import pem
from smgw_emu.core import der
from wan.cms import KeyAgreement, Suite, oids, seal, sign, unseal, verify
from wan.cms.message import open_signed
from wan.cms.signed import Signer

pytestmark = pytest.mark.req("WAN-N06")
PKI = TestPki()
SMGW = PKI.participant(Role.SMGW, "ETHE0399000001")
GWA = PKI.participant(Role.GWA, "gwa1")
TEXT = b"<values>" + b"1234.5 " * 100 + b"</values>"


def openssl(*arguments: str, data: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture
def files(tmp_path):
    for who, name in ((SMGW, "smgw"), (GWA, "gwa")):
        for purpose in ("tls", "sig", "enc"):
            identity = getattr(who, purpose)
            (tmp_path / f"{name}-{purpose}.pem").write_bytes(pem(identity.certificate))
            (tmp_path / f"{name}-{purpose}.key").write_bytes(identity.key_pem())
    (tmp_path / "ca.pem").write_bytes(pem(PKI.root, PKI.sub_ca))
    return tmp_path


def _reads_attributes(info: bytes) -> bool:
    """Tell whether this OpenSSL reads authAttrs as RFC 5083 tags them."""
    done = subprocess.run(
        ["openssl", "cms", "-cmsout", "-print", "-inform", "DER"], input=info, capture_output=True
    )
    if b"Field=mac" in done.stderr:
        return False
    assert done.returncode == 0, done.stderr
    return True


@pytest.mark.parametrize("suite", Suite)
def test_openssl_verifies_our_signature_and_chain(files, suite):
    """Outer SignedData with the signer's certificate, up to the root; the content comes back."""
    data = seal(TEXT, SMGW.signer(with_certificate=True), [GWA.recipient()], suite)
    out = openssl("cms", "-verify", "-inform", "DER", "-binary", "-CAfile", str(files / "ca.pem"),
                  "-purpose", "any", data=data)  # fmt: skip
    opened = open_signed(out, b"", GWA.opener())
    assert opened.content == TEXT


def test_openssl_refuses_what_was_changed(files):
    """The oracle itself notices changes."""
    data = bytearray(sign(TEXT, SMGW.signer(with_certificate=True)))
    data[data.index(b"1234.5")] ^= 1
    done = subprocess.run(
        ["openssl", "cms", "-verify", "-inform", "DER", "-binary", "-CAfile",
         str(files / "ca.pem"), "-purpose", "any"], input=bytes(data), capture_output=True)  # fmt: skip
    assert done.returncode != 0


@pytest.mark.parametrize("compressed", [True, False])
def test_openssl_opens_our_gcm_envelope(files, compressed):
    """Key agreement under the name stock OpenSSL knows; RFC 5753 SharedInfo, SKI, AAD, tag.

    Up to 3.0.19 at least OpenSSL reads authAttrs under a wrong tag ([2] instead of RFC 5083's [1]) and
    so opens only the form without them; test_a_second_reader_... covers the other one everywhere.
    """
    from wan.cms.compressed import compress
    from wan.cms.enveloped import ProcessSource, envelope

    inner = compress(TEXT) if compressed else TEXT
    kind = oids.COMPRESSED_DATA if compressed else oids.DATA
    body = envelope(inner, kind, [GWA.recipient()], Suite.GCM, source=ProcessSource(),
                    key_agreement=KeyAgreement.STANDARD)  # fmt: skip
    info = der.sequence(der.oid(oids.AUTH_ENVELOPED_DATA), der.explicit(0, body))
    if compressed and not _reads_attributes(info):
        return
    out = openssl("cms", "-decrypt", "-inform", "DER", "-binary", "-recip",
                  str(files / "gwa-enc.pem"), "-inkey", str(files / "gwa-enc.key"), data=info)  # fmt: skip
    assert out == inner
    changed = bytearray(info)
    changed[-1] ^= 1
    done = subprocess.run(
        ["openssl", "cms", "-decrypt", "-inform", "DER", "-binary", "-recip",
         str(files / "gwa-enc.pem"), "-inkey", str(files / "gwa-enc.key")],
        input=bytes(changed), capture_output=True)  # fmt: skip
    assert done.returncode != 0


def test_we_open_the_envelope_of_openssl(files):
    """`openssl cms -encrypt` with GCM and the SHA-256 KDF, streamed BER included."""
    for form in ([], ["-stream"]):
        info = openssl("cms", "-encrypt", "-outform", "DER", "-binary", "-aes-128-gcm", "-keyid",
                       *form, "-recip", str(files / "gwa-enc.pem"), "-keyopt",
                       "ecdh_kdf_md:sha256", data=TEXT)  # fmt: skip
        fields = der.Reader(der.parse(info, ber=True), "ContentInfo")
        assert fields.oid("type") == oids.AUTH_ENVELOPED_DATA
        body = fields.sequence("content", 0xA0).next().raw
        opened = open_signed(body, b"", GWA.opener(), accept_standard=True)
        assert opened.content == TEXT
        assert not opened.compressed


def test_we_verify_and_open_what_openssl_signed(files):
    """`openssl cms -sign` around an envelope, named by key id, attributes as the profile asks."""
    envelope_info = seal(TEXT, SMGW.signer(), [GWA.recipient()])
    inner = verify(envelope_info, SMGW.trust()).content
    data = openssl("cms", "-sign", "-outform", "DER", "-binary", "-nodetach", "-keyid", "-nosmimecap",
                   "-nocerts", "-md", "sha256", "-econtent_type", oids.AUTH_ENVELOPED_DATA,
                   "-signer", str(files / "smgw-sig.pem"), "-inkey", str(files / "smgw-sig.key"),
                   data=inner)  # fmt: skip
    # OpenSSL adds signingTime; the profile allows exactly two attributes
    from wan.cms import CmsError

    with pytest.raises(CmsError, match="nothing else"):
        unseal(data, SMGW.trust(), GWA.opener())
    plain = openssl("cms", "-sign", "-outform", "DER", "-binary", "-nodetach", "-keyid", "-noattr",
                    "-signer", str(files / "smgw-sig.pem"), "-inkey", str(files / "smgw-sig.key"),
                    data=TEXT)  # fmt: skip
    with pytest.raises(CmsError):
        verify(plain, SMGW.trust())


def test_openssl_verifies_the_detached_form(files):
    """CMS_ECDSA_SHA256_Detached."""
    (files / "content").write_bytes(TEXT)
    data = sign(TEXT, SMGW.signer(with_certificate=True), detached=True)
    openssl("cms", "-verify", "-inform", "DER", "-binary", "-CAfile", str(files / "ca.pem"),
            "-purpose", "any", "-content", str(files / "content"), data=data)  # fmt: skip


def test_a_signature_made_by_openssl_verifies_here(files):
    """The signature value itself from `openssl pkeyutl`, not from our library."""

    def sign_digest(digest: bytes) -> bytes:
        (files / "digest").write_bytes(digest)
        return openssl("pkeyutl", "-sign", "-inkey", str(files / "smgw-sig.key"), "-in",
                       str(files / "digest"), "-pkeyopt", "digest:sha256")  # fmt: skip

    data = sign(TEXT, Signer(SMGW.signer().key_id, sign_digest))
    assert verify(data, SMGW.trust()).content == TEXT


_REGISTER = """
import _ssl, ctypes, sys
lib = ctypes.CDLL(_ssl.__file__)
p, i, c = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
def f(name, result, *arguments):
    function = getattr(lib, name); function.restype, function.argtypes = result, arguments
    return function
nid = f("OBJ_create", i, c, c, c)(b"0.4.0.127.0.7.1.1.5.1.1.3", b"eckaeg256", b"ecka-eg-X963KDF-SHA256")
sn = f("OBJ_sn2nid", i, c)
assert f("OBJ_add_sigid", i, i, i, i)(nid, sn(b"SHA256"), sn(b"dh-std-kdf")) == 1
bio = f("BIO_new_file", p, c, c)
cms = f("d2i_CMS_bio", p, p, p)(bio(sys.argv[1].encode(), b"rb"), None)
key = f("PEM_read_bio_PrivateKey", p, p, p, p, p)(bio(sys.argv[2].encode(), b"rb"), None, None, None)
cert = f("PEM_read_bio_X509", p, p, p, p, p)(bio(sys.argv[3].encode(), b"rb"), None, None, None)
out = bio(sys.argv[4].encode(), b"wb")
ok = f("CMS_decrypt", i, p, p, p, p, p, ctypes.c_uint)(cms, key, cert, None, out, 0x80)
f("BIO_free", i, p)(out)
sys.exit(0 if ok == 1 else 1)
"""


def test_stock_libcrypto_opens_the_bsi_key_agreement(files, tmp_path):
    """With BSI's object identifier registered (crypto.md 3.4) libcrypto opens our message as it is."""
    import sys

    from wan.cms.enveloped import ProcessSource, envelope

    body = envelope(TEXT, oids.DATA, [GWA.recipient()], Suite.GCM, source=ProcessSource())
    info = der.sequence(der.oid(oids.AUTH_ENVELOPED_DATA), der.explicit(0, body))
    (tmp_path / "message.der").write_bytes(info)
    library = ctypes.CDLL(_ssl.__file__)
    if not hasattr(library, "OBJ_add_sigid"):
        pytest.skip("this libcrypto cannot register signature identifiers")
    done = subprocess.run(
        [sys.executable, "-c", _REGISTER, str(tmp_path / "message.der"),
         str(files / "gwa-enc.key"), str(files / "gwa-enc.pem"), str(tmp_path / "plain")],
        capture_output=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "plain").read_bytes() == TEXT
