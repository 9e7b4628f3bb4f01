"""CMS: all layers, both suites, every changed bit, precise refusals, an independent reader."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from fuzz import fuzz
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.der import decoder, encoder
from pyasn1_alt_modules import rfc3274, rfc5083, rfc5084, rfc5480, rfc5652, rfc5753

from hsm_sim import Curve, SecurityModule
from smgw_emu.bench.pki import Role, TestPki
from smgw_emu.core import der
from wan.cms import (
    CmsError,
    KeyAgreement,
    Layer,
    Opener,
    Recipient,
    SharedInfo,
    Signer,
    Suite,
    oids,
    seal,
    sign,
    source_of,
    unseal,
    verify,
)
from wan.cms.compressed import compress, decompress
from wan.cms.enveloped import ProcessSource, envelope, kek

PKI = TestPki()
SMGW = PKI.participant(Role.SMGW, "ETHE0399000001")
GWA = PKI.participant(Role.GWA, "gwa1")
EMT = PKI.participant(Role.EMT, "emt1")
BOTH = [GWA.recipient(), EMT.recipient()]


def sealed(content: bytes = b"<values/>", **more) -> bytes:
    return seal(content, SMGW.signer(), [GWA.recipient()], **more)


@pytest.mark.req("WAN-N06")
@given(
    st.binary(max_size=5000),
    st.sampled_from(Suite),
    st.sampled_from(SharedInfo),
    st.booleans(),
    st.booleans(),
)
def test_what_is_sealed_comes_out(content, suite, info, compressed, carried):
    """Both suites, both SharedInfo variants, with and without compression and certificate."""
    signer = SMGW.signer(with_certificate=carried)
    data = seal(content, signer, BOTH, suite, compressed=compressed, shared_info=info)
    for reader in (GWA, EMT):
        opened = unseal(data, SMGW.trust(), reader.opener())
        assert opened.content == content
        assert (opened.suite, opened.shared_info, opened.compressed) == (suite, info, compressed)
        assert opened.signer == SMGW.signer().key_id


def _names(component) -> str:
    return str(component)


@pytest.mark.req("WAN-N06", "WAN-N07")
@pytest.mark.parametrize("suite", Suite)
def test_the_profile_field_by_field_as_another_library_reads_it(suite):
    """Detailspezifikation v2.0 tables 5.5 and 5.6, read by pyasn1 with the RFC schemas; one kari each."""
    data = seal(b"x" * 300, SMGW.signer(with_certificate=True), BOTH, suite)
    info, rest = decoder.decode(data, rfc5652.ContentInfo())
    assert not rest
    assert encoder.encode(info) == data  # it is DER
    assert _names(info["contentType"]) == oids.SIGNED_DATA
    signed, _ = decoder.decode(info["content"], rfc5652.SignedData())
    assert int(signed["version"]) == 3
    assert [_names(a["algorithm"]) for a in signed["digestAlgorithms"]] == [oids.SHA256]
    assert not signed["crls"].isValue
    (signer,) = signed["signerInfos"]
    assert int(signer["version"]) == 3
    assert bytes(signer["sid"]["subjectKeyIdentifier"]) == SMGW.signer().key_id
    assert {_names(a["attrType"]) for a in signer["signedAttrs"]} == {
        oids.CONTENT_TYPE,
        oids.MESSAGE_DIGEST,
    }
    assert _names(signer["signatureAlgorithm"]["algorithm"]) == oids.ECDSA_WITH_SHA256
    assert not signer["signatureAlgorithm"]["parameters"].isValue
    assert not signer["unsignedAttrs"].isValue
    assert _names(signed["encapContentInfo"]["eContentType"]) == oids.AUTH_ENVELOPED_DATA
    inner = bytes(signed["encapContentInfo"]["eContent"])
    envelope_, _ = decoder.decode(inner, rfc5083.AuthEnvelopedData())
    assert int(envelope_["version"]) == 0
    assert not envelope_["originatorInfo"]["certs"].isValue
    assert not envelope_["originatorInfo"]["crls"].isValue
    assert not envelope_["unauthAttrs"].isValue
    assert len(envelope_["recipientInfos"]) == 2
    points, found = set(), set()
    for item in envelope_["recipientInfos"]:
        kari = item["kari"]
        assert int(kari["version"]) == 3
        assert not kari["ukm"].isValue
        origin = kari["originator"]["originatorKey"]
        assert _names(origin["algorithm"]["algorithm"]) == str(rfc5480.id_ecPublicKey)
        points.add(origin["publicKey"].asOctets())
        named = kari["keyEncryptionAlgorithm"]
        assert _names(named["algorithm"]) == "0.4.0.127.0.7.1.1.5.1.1.3"
        wrap, _ = decoder.decode(named["parameters"], rfc5652.KeyEncryptionAlgorithmIdentifier())
        assert _names(wrap["algorithm"]) == oids.AES128_WRAP
        assert not wrap["parameters"].isValue
        (key,) = kari["recipientEncryptedKeys"]
        found.add(bytes(key["rid"]["rKeyId"]["subjectKeyIdentifier"]))
        assert not key["rid"]["rKeyId"]["date"].isValue
        assert len(bytes(key["encryptedKey"])) == (24 if suite is Suite.GCM else 40)
    assert len(points) == 2  # never the same ephemeral key
    assert all(point[0] == 4 and len(point) == 65 for point in points)
    assert found == {item.key_id for item in BOTH}
    content = envelope_["authEncryptedContentInfo"]
    assert _names(content["contentType"]) == oids.COMPRESSED_DATA
    algorithm = content["contentEncryptionAlgorithm"]
    if suite is Suite.GCM:
        parameters, _ = decoder.decode(algorithm["parameters"], rfc5084.GCMParameters())
        assert len(bytes(parameters["aes-nonce"])) == 12
        assert int(parameters["aes-ICVlen"]) == 16
    else:
        assert _names(algorithm["algorithm"]) == "0.4.0.127.0.7.1.3.1.1.2"
        assert not algorithm["parameters"].isValue
    assert [_names(a["attrType"]) for a in envelope_["authAttrs"]] == [oids.CONTENT_TYPE]
    assert len(bytes(envelope_["mac"])) == 16


@pytest.mark.req("WAN-N06")
@pytest.mark.parametrize("info", SharedInfo)
@pytest.mark.parametrize("suite", Suite)
def test_a_second_reader_opens_both_suites(suite, info):
    """OpenSSL does not know CBC-CMAC: an independent opening from RFC schemas and primitives."""
    data = seal(b"value list " * 30, SMGW.signer(), [GWA.recipient()], suite,
                shared_info=info)  # fmt: skip
    content_info, _ = decoder.decode(data, rfc5652.ContentInfo())
    signed, _ = decoder.decode(content_info["content"], rfc5652.SignedData())
    envelope_, _ = decoder.decode(
        bytes(signed["encapContentInfo"]["eContent"]), rfc5083.AuthEnvelopedData()
    )
    kari = envelope_["recipientInfos"][0]["kari"]
    point = kari["originator"]["originatorKey"]["publicKey"].asOctets()
    peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.BrainpoolP256R1(), point)
    shared = GWA.enc.private().exchange(ec.ECDH(), peer)
    suffix = b""
    if info is SharedInfo.RFC5753:
        record = rfc5753.ECC_CMS_SharedInfo()
        record["keyInfo"]["algorithm"] = oids.AES128_WRAP
        record["suppPubInfo"] = (128).to_bytes(4, "big")
        suffix = encoder.encode(record)
        assert suffix.hex() == "3015300b0609608648016503040105a206040400000080"  # crypto.md 3.2
    key = hashlib.sha256(shared + b"\0\0\0\1" + suffix).digest()[:16]
    keys = aes_key_unwrap(key, bytes(kari["recipientEncryptedKeys"][0]["encryptedKey"]))
    cryptogram = bytes(envelope_["authEncryptedContentInfo"]["encryptedContent"])
    attributes = envelope_["authAttrs"]
    plain_set = rfc5652.SignedAttributes()
    plain_set.extend(attributes)
    authenticated, mac = encoder.encode(plain_set), bytes(envelope_["mac"])
    if suite is Suite.GCM:
        raw = envelope_["authEncryptedContentInfo"]["contentEncryptionAlgorithm"]["parameters"]
        parameters, _ = decoder.decode(raw, rfc5084.GCMParameters())
        nonce = bytes(parameters["aes-nonce"])
        inner = AESGCM(keys).decrypt(nonce, cryptogram + mac, authenticated)
    else:
        check = CMAC(algorithms.AES(keys[16:]))
        check.update(cryptogram + authenticated)
        assert check.finalize() == mac
        cipher = Cipher(algorithms.AES(keys[:16]), modes.CBC(bytes(16))).decryptor()
        padded = cipher.update(cryptogram)
        inner = padded[: -padded[-1]]
    compressed, rest = decoder.decode(inner, rfc3274.CompressedData())
    assert not rest
    assert zlib.decompress(bytes(compressed["encapContentInfo"]["eContent"])) == b"value list " * 30


# -- every changed bit ---------------------------------------------------------------------------


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("suite", Suite)
def test_every_flipped_bit_and_every_truncation_is_refused_by_name(suite, carried):
    """No change anywhere in a message is accepted, carried certificates included."""
    good = seal(b"x" * 40, SMGW.signer(with_certificate=carried), [GWA.recipient()], suite)
    trusted, reader = SMGW.trust(), GWA.opener()
    for position in range(len(good)):
        for bit in range(8):
            changed = bytearray(good)
            changed[position] ^= 1 << bit
            with pytest.raises(CmsError):
                unseal(bytes(changed), trusted, reader)
        with pytest.raises(CmsError):
            unseal(good[:position], trusted, reader)
    with pytest.raises(CmsError):
        unseal(good + b"\x00", trusted, reader)


@pytest.mark.parametrize("suite", Suite)
def test_every_flipped_bit_of_a_bare_envelope_is_refused(suite):
    """Without the signature around it: MAC, AAD and key wrap alone hold."""
    from wan.cms.message import open_signed

    good = envelope(compress(b"y" * 40), oids.COMPRESSED_DATA, [GWA.recipient()], suite,
                    source=ProcessSource())  # fmt: skip
    for position in range(len(good)):
        for bit in range(8):
            changed = bytearray(good)
            changed[position] ^= 1 << bit
            with pytest.raises(CmsError) as caught:
                open_signed(bytes(changed), b"", GWA.opener())
            assert caught.value.layer in {Layer.ENVELOPE, Layer.COMPRESSION}


GOOD = sealed()
SIGNED = sign(b"profile", SMGW.signer())


@fuzz(GOOD, SIGNED, seal(b"x", SMGW.signer(), BOTH, Suite.CBC_CMAC))
def test_arbitrary_bytes_are_refused_by_name(data):
    """10 000 inputs: a CmsError or the unchanged message, nothing else."""
    for work in (
        lambda: unseal(data, SMGW.trust(), GWA.opener()),
        lambda: verify(data, SMGW.trust()),
    ):
        try:
            work()
        except CmsError as error:
            assert error.reason
            assert error.layer in Layer


# -- refusals, one by one ------------------------------------------------------------------------


def refused(layer: Layer, reason: str, work) -> None:
    with pytest.raises(CmsError, match=reason) as caught:
        work()
    assert caught.value.layer is layer


def test_who_may_sign_and_who_may_read():
    """Only configured signers, only recipients; verification is never skipped."""
    data = sealed()
    refused(Layer.SIGNATURE, "not configured", lambda: unseal(data, EMT.trust(), GWA.opener()))
    refused(Layer.SIGNATURE, "not configured", lambda: unseal(data, {}, GWA.opener()))
    refused(
        Layer.ENVELOPE, "none of the recipients", lambda: unseal(data, SMGW.trust(), EMT.opener())
    )
    stolen = Signer(SMGW.signer().key_id, EMT.sig.sign_digest)
    forged = seal(b"x", stolen, [GWA.recipient()])
    refused(
        Layer.SIGNATURE, "signature is wrong", lambda: unseal(forged, SMGW.trust(), GWA.opener())
    )
    foreign = seal(b"x", Signer(SMGW.signer().key_id, SMGW.sig.sign_digest, (EMT.sig.certificate_der,)),
                   [GWA.recipient()])  # fmt: skip
    refused(
        Layer.SIGNATURE, "not the configured one",
        lambda: unseal(foreign, SMGW.trust(), GWA.opener()),
    )  # fmt: skip
    wrong_key = Opener(GWA.opener().key_id, GWA.opener().key, EMT.opener().agree)
    refused(Layer.ENVELOPE, "unwrapped", lambda: unseal(data, SMGW.trust(), wrong_key))
    refused(Layer.ENVELOPE, "no recipient", lambda: seal(b"x", SMGW.signer(), []))


def test_the_detached_form():
    """CMS_ECDSA_SHA256_Detached: content beside the message."""
    data = sign(b"content", SMGW.signer(), detached=True)
    assert verify(data, SMGW.trust(), detached=b"content").content == b"content"
    refused(Layer.SIGNATURE, "missing", lambda: verify(data, SMGW.trust()))
    refused(Layer.SIGNATURE, "been changed", lambda: verify(data, SMGW.trust(), detached=b"other"))
    attached = sign(b"content", SMGW.signer())
    refused(
        Layer.SIGNATURE, "detached", lambda: verify(attached, SMGW.trust(), detached=b"content")
    )
    refused(
        Layer.SIGNATURE, "not an envelope", lambda: unseal(attached, SMGW.trust(), GWA.opener())
    )


def test_a_small_message_cannot_fill_the_memory():
    """A zlib bomb ends at the limit; trailing octets and cut streams are refused."""
    bomb = seal(bytes(3_000_000), SMGW.signer(), [GWA.recipient()])
    assert len(bomb) < 10_000
    refused(
        Layer.COMPRESSION, "more than 1000",
        lambda: unseal(bomb, SMGW.trust(), GWA.opener(), limit=1000),
    )  # fmt: skip
    plain = seal(bytes(2000), SMGW.signer(), [GWA.recipient()], compressed=False)
    refused(
        Layer.ENVELOPE, "more than 1000",
        lambda: unseal(plain, SMGW.trust(), GWA.opener(), limit=1000),
    )  # fmt: skip
    good = der.parse(compress(b"abc"))
    assert decompress(good) == b"abc"

    def changed(stream: bytes) -> der.Element:
        body = der.sequence(der.oid(oids.DATA), der.explicit(0, der.octet_string(stream)))
        return der.parse(der.sequence(der.integer(0), der.algorithm(oids.ZLIB), body))

    for stream, reason in (
        (b"junk", "damaged"),
        (zlib.compress(b"abc")[:-2], "does not end"),
        (zlib.compress(b"abc") + b"x", "does not end"),
    ):
        refused(Layer.COMPRESSION, reason, lambda stream=stream: decompress(changed(stream)))


def test_stock_names_are_accepted_only_when_asked_for():
    """The profile's key agreement has BSI's name; OpenSSL's is a switch."""
    data = sealed(key_agreement=KeyAgreement.STANDARD)
    refused(Layer.ENVELOPE, "ecka-eg", lambda: unseal(data, SMGW.trust(), GWA.opener()))
    opened = unseal(data, SMGW.trust(), GWA.opener(), accept_standard=True)
    assert opened.content == b"<values/>"


@pytest.mark.req("HSM-01")
def test_in_strict_mode_the_module_does_its_part(tmp_path):
    """Figure F30: message keys and ephemeral pair from the module, in this order, then the signature."""
    from hsm_sim import Purpose
    from hsm_sim.certificates import subject_key_identifier
    from hsm_sim.log import CMS_SEAL, follows
    from hsm_sim.slots import wan_key

    module = SecurityModule(tmp_path / "hsm", strict=True)
    slots = {purpose: wan_key(purpose) for purpose in Purpose}
    keys = {p: module.generate(slot, Curve.BRAINPOOL_P256) for p, slot in slots.items()}
    gateway = PKI.participant(Role.SMGW, "ETHE0399000002", keys)
    signer = Signer(
        subject_key_identifier(keys[Purpose.SIG]),
        lambda digest: module.sign_digest(slots[Purpose.SIG], digest),
    )
    start = module.log.total
    data = seal(b"strict", signer, [GWA.recipient()], source=source_of(module))
    assert follows(module.log.since(start), CMS_SEAL)
    assert unseal(data, gateway.trust(), GWA.opener()).content == b"strict"
    back = seal(b"order", GWA.signer(), [gateway.recipient()])
    opener = Opener(
        gateway.recipient().key_id,
        keys[Purpose.ENC],
        lambda peer: module.agree(slots[Purpose.ENC], peer),
    )
    assert unseal(back, GWA.trust(), opener).content == b"order"
    module.strict = False
    start = module.log.total
    seal(b"normal", signer, [GWA.recipient()], source=source_of(module))
    assert not follows(module.log.since(start), CMS_SEAL)


def test_the_key_derivation_against_the_standard_library():
    """KEK = first 16 octets of the X9.63 KDF, as cryptography's own KDF computes it."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF

    shared = bytes(range(32))
    info = bytes.fromhex("3015300b0609608648016503040105a206040400000080")
    assert kek(shared, SharedInfo.RFC5753) == X963KDF(hashes.SHA256(), 16, info).derive(shared)
    assert kek(shared, SharedInfo.NONE) == X963KDF(hashes.SHA256(), 16, None).derive(shared)
    assert Recipient(b"", GWA.recipient().key).key_id == b""
