"""The test SM-PKI: profile, requests with three proofs, refusals by name, revocation."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from fuzz import fuzz
from pyasn1.codec.der import decoder, encoder
from pyasn1.type import univ
from pyasn1_alt_modules import rfc4211, rfc5280, rfc5652

from hsm_sim import Curve, Purpose, SecurityModule
from hsm_sim.certificates import lmn_certificate
from hsm_sim.slots import wan_key
from smgw_emu.bench.pki import Hierarchy, Role, TestPki
from smgw_emu.bench.pki import der as der_of
from smgw_emu.bench.pki.folder import (
    inventory,
    open_folder,
    open_participant,
    save,
    save_participant,
    save_record,
)
from smgw_emu.core import der
from smgw_emu.core.errors import ConfigError
from wan.certificates import CertificateError, Reason, check_path, check_use, load
from wan.requests import (
    AUTHORISED,
    PLAIN,
    SIGNED,
    KeyToCertify,
    RequestError,
    authorise,
    build,
    parse,
    renew,
    subject_name,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PKI = TestPki(NOW)
GWA = PKI.participant(Role.GWA, "gwa1")
LATER = NOW + timedelta(hours=1)
ID = "ETHE0399000001"


def keys() -> dict[Purpose, ec.EllipticCurvePrivateKey]:
    return {purpose: ec.generate_private_key(ec.BrainpoolP256R1()) for purpose in Purpose}


def certifiable(made) -> dict[Purpose, KeyToCertify]:
    def signer(key):
        return lambda digest: key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))

    return {purpose: KeyToCertify(key.public_key(), signer(key)) for purpose, key in made.items()}


def request(made=None, name: str = f"{ID}.SMGW") -> bytes:
    return build(subject_name(name, "SM-Test-PKI-DE"), certifiable(made or keys()))


# -- profile -------------------------------------------------------------------------------------


@pytest.mark.req("HSM-09", "HSM-N02")
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("purpose", Purpose)
def test_the_profile_of_end_entities(role, purpose):
    """crypto.md 2.1, extension by extension: what must be there, what must not, what is critical."""
    label = ID if role is Role.SMGW else "label1"
    who = PKI.participant(role, label, unit="9900000000001" if role is Role.EMT else "")
    certificate = who.identity(purpose).certificate
    names = [(item.oid._name, item.value) for item in certificate.subject]
    expected = [("commonName", f"{label}.{role}"), ("organizationName", "SM-Test-PKI-DE")]
    if role is Role.EMT:
        expected.append(("organizationalUnitName", "9900000000001"))
    assert names == [*expected, ("countryName", "DE"), ("serialNumber", "1")]
    found = {item.oid: item for item in certificate.extensions}
    oid = x509.ExtensionOID
    critical = {oid.KEY_USAGE, oid.BASIC_CONSTRAINTS}
    if purpose is Purpose.TLS:
        critical.add(oid.EXTENDED_KEY_USAGE)
    assert {item for item, extension in found.items() if extension.critical} == critical
    for must in (oid.AUTHORITY_KEY_IDENTIFIER, oid.SUBJECT_KEY_IDENTIFIER, oid.KEY_USAGE,
                 oid.CERTIFICATE_POLICIES, oid.ISSUER_ALTERNATIVE_NAME, oid.BASIC_CONSTRAINTS,
                 oid.CRL_DISTRIBUTION_POINTS):  # fmt: skip
        assert must in found
    assert (oid.SUBJECT_ALTERNATIVE_NAME in found) == (role is not Role.SMGW)
    assert (oid.EXTENDED_KEY_USAGE in found) == (purpose is Purpose.TLS)
    assert x509.ObjectIdentifier("2.5.29.16") not in found  # privateKeyUsagePeriod
    raw, _ = decoder.decode(der_of(certificate), rfc5280.Certificate())
    usage = next(e for e in raw["tbsCertificate"]["extensions"]
                 if str(e["extnID"]) == "2.5.29.15")  # fmt: skip
    bits = "03020328" if purpose is Purpose.ENC else "03020780"
    assert bytes(usage["extnValue"]).hex() == bits
    assert certificate.public_key().curve.name == "brainpoolP256r1"
    assert certificate.serial_number.bit_length() > 112
    assert certificate.not_valid_after_utc.time().isoformat() == "23:59:59"
    assert timedelta(days=728) < certificate.not_valid_after_utc - NOW <= timedelta(days=730)
    if role is not Role.SMGW:
        names = found[oid.SUBJECT_ALTERNATIVE_NAME].value
        assert bool(names.get_values_for_type(x509.DNSName)) == (purpose is Purpose.TLS)
        assert names.get_values_for_type(x509.RFC822Name)
        assert names.get_values_for_type(x509.UniformResourceIdentifier)
    assert b"TEST - smgw-emu" in der_of(certificate)


@pytest.mark.req("HSM-09")
@pytest.mark.parametrize(
    ("curves", "root", "sub"),
    [({}, "sha384", "sha384"),
     ({"root_curve": "brainpoolP512r1", "sub_ca_curve": "brainpoolP384r1"}, "sha512", "sha512")],
)  # fmt: skip
def test_curves_and_hashes_of_the_authorities(curves, root, sub):
    """TR-03116-3 table 5, before and after the change of the root."""
    pki = TestPki(NOW, **curves)
    assert pki.root.signature_hash_algorithm.name == root
    assert pki.sub_ca.signature_hash_algorithm.name == sub
    leaf = pki.participant(Role.GWA, "g").tls.certificate
    assert leaf.signature_hash_algorithm.name == ("sha384" if curves else "sha256")
    constraints = pki.sub_ca.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)
    point = pki.sub_ca.extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0]
    assert point.crl_issuer[0].value == pki.list_signer.subject
    check_path(leaf, (pki.sub_ca,), pki.root, LATER, purpose=Purpose.TLS)


# -- checks --------------------------------------------------------------------------------------


def refused(reason: Reason, *arguments, **more) -> None:
    with pytest.raises(CertificateError) as caught:
        check_path(*arguments, **more)
    assert caught.value.reason is reason


@pytest.mark.req("HSM-10")
def test_an_expired_certificate_is_refused():
    """The last second is good, the next is not."""
    leaf, chain = GWA.tls.certificate, (PKI.sub_ca,)
    check_path(leaf, chain, PKI.root, leaf.not_valid_after_utc)
    refused(Reason.EXPIRED, leaf, chain, PKI.root, leaf.not_valid_after_utc + timedelta(seconds=1))


@pytest.mark.req("HSM-10")
def test_a_certificate_not_yet_valid_is_refused():
    """Beginning in the future."""
    leaf = PKI.participant(Role.EMT, "soon", valid_from=NOW + timedelta(days=1)).tls.certificate
    refused(Reason.NOT_YET_VALID, leaf, (PKI.sub_ca,), PKI.root, LATER)


@pytest.mark.req("HSM-10")
def test_a_revoked_certificate_is_refused():
    """By the Sub-CA's list, and by the indirect list of the root for the Sub-CA itself."""
    pki = TestPki(NOW)
    gwa, emt = pki.participant(Role.GWA, "g"), pki.participant(Role.EMT, "e")
    before = pki.revocation_lists(NOW)
    pki.revoke(emt.tls.certificate)
    lists = pki.revocation_lists(NOW)
    check_path(gwa.tls.certificate, (pki.sub_ca,), pki.root, LATER, lists=lists)
    check_path(emt.tls.certificate, (pki.sub_ca,), pki.root, LATER, lists=before)
    refused(Reason.REVOKED, emt.tls.certificate, (pki.sub_ca,), pki.root, LATER, lists=lists)
    pki.revoke(pki.sub_ca)
    lists = pki.revocation_lists(NOW)
    refused(Reason.REVOKED, gwa.tls.certificate, (pki.sub_ca,), pki.root, LATER, lists=lists)


@pytest.mark.req("HSM-10")
def test_without_a_current_list_nothing_passes():
    """A missing, stale or foreign list is not "not revoked"."""
    from wan.certificates import RevocationLists

    leaf, chain = GWA.tls.certificate, (PKI.sub_ca,)
    good = PKI.revocation_lists(NOW)
    check_path(leaf, chain, PKI.root, LATER, lists=good)
    for lists in (
        RevocationLists(),
        RevocationLists(good.crls),  # the signer of the indirect list is missing
        RevocationLists(good.crls[:1], good.signers),
        PKI.revocation_lists(NOW - timedelta(days=30)),
        PKI.revocation_lists(NOW + timedelta(days=30)),
        TestPki(NOW).revocation_lists(NOW),
    ):
        refused(Reason.NO_CRL, leaf, chain, PKI.root, LATER, lists=lists)


@pytest.mark.req("HSM-10")
def test_a_certificate_of_another_issuer_is_refused():
    """Another PKI with the same names, another hierarchy, a leaf that plays authority."""
    other, wirk = TestPki(NOW), TestPki(NOW, Hierarchy.WIRK)
    stranger = other.participant(Role.GWA, "gwa1").tls.certificate
    refused(Reason.BAD_SIGNATURE, stranger, (PKI.sub_ca,), PKI.root, LATER)
    refused(Reason.BAD_SIGNATURE, stranger, (other.sub_ca,), PKI.root, LATER)
    refused(Reason.WRONG_ISSUER, stranger, (wirk.sub_ca,), wirk.root, LATER)
    refused(Reason.WRONG_ISSUER, stranger, (), PKI.root, LATER)
    fake = TestPki(NOW)
    fake.sub_ca, fake.sub_ca_key = GWA.sig.certificate, GWA.sig.private()
    leaf = fake.participant(Role.EMT, "e").tls.certificate
    refused(Reason.NOT_A_CA, leaf, (GWA.sig.certificate, PKI.sub_ca), PKI.root, LATER)


def test_a_certificate_serves_its_purpose_only():
    """TLS is not SIG is not ENC; the curve is brainpoolP256r1."""
    for purpose in Purpose:
        for other in Purpose:
            certificate = GWA.identity(purpose).certificate
            if purpose is other:
                check_use(certificate, other)
            else:
                with pytest.raises(CertificateError, match="key usage"):
                    check_use(certificate, other)
    nist = ec.generate_private_key(ec.SECP256R1()).public_key()
    wrong = PKI.issue(Role.GWA, "p256", Purpose.SIG, nist)
    refused(Reason.WRONG_CURVE, wrong, (PKI.sub_ca,), PKI.root, LATER, purpose=Purpose.SIG)


GOOD_CERTIFICATE = der_of(GWA.tls.certificate)


@fuzz(GOOD_CERTIFICATE)
def test_arbitrary_certificates_are_refused_by_name(data):
    """10 000 inputs: only the unchanged certificate passes the path check."""
    try:
        found = load(data)
        check_path(found, (PKI.sub_ca,), PKI.root, LATER, purpose=Purpose.TLS)
    except CertificateError as error:
        assert error.reason in Reason
    else:
        assert der_of(found) == GOOD_CERTIFICATE


def test_every_flipped_bit_of_a_certificate_is_refused():
    """Each bit, and each truncation, by a named reason."""
    for position in range(len(GOOD_CERTIFICATE)):
        for bit in range(8):
            changed = bytearray(GOOD_CERTIFICATE)
            changed[position] ^= 1 << bit
            with pytest.raises(CertificateError):
                check_path(load(bytes(changed)), (PKI.sub_ca,), PKI.root, LATER)
        with pytest.raises(CertificateError):
            load(GOOD_CERTIFICATE[:position])


# -- requests ------------------------------------------------------------------------------------


@pytest.mark.req("HSM-05")
def test_a_first_request_is_answered_with_a_triple():
    """CRMF triple from keys in a security module; the answer fits the keys and the subject."""
    pki = TestPki(NOW)
    made = keys()
    issued = pki.answer(request(made))
    for purpose, certificate in issued.items():
        assert certificate.public_key() == made[purpose].public_key()
        check_path(certificate, (pki.sub_ca,), pki.root, LATER, purpose=purpose)
        assert certificate.subject.rfc4514_string().endswith(f"CN={ID}.SMGW")


@pytest.mark.req("HSM-05")
def test_the_request_as_another_library_reads_it():
    """RFC 4211 schema: three messages, subject, key and extensions in the template, signature POPs."""
    made = keys()
    info, rest = decoder.decode(request(made), rfc5652.ContentInfo())
    assert not rest
    assert str(info["contentType"]) == PLAIN
    messages, rest = decoder.decode(info["content"], rfc4211.CertReqMessages())
    assert not rest
    assert len(messages) == 3
    for message, purpose in zip(messages, (Purpose.SIG, Purpose.ENC, Purpose.TLS), strict=True):
        template = message["certReq"]["certTemplate"]
        assert not template["serialNumber"].isValue
        assert not template["issuer"].isValue
        kinds = [str(item["extnID"]) for item in template["extensions"]]
        assert kinds == ["2.5.29.14", "2.5.29.15"] + (
            ["2.5.29.37"] if purpose is Purpose.TLS else []
        )
        proof = message["popo"]["signature"]
        assert str(proof["algorithmIdentifier"]["algorithm"]) == "1.2.840.10045.4.3.2"
        made[purpose].public_key().verify(
            proof["signature"].asOctets(), encoder.encode(message["certReq"]),
            ec.ECDSA(hashes.SHA256()),
        )  # fmt: skip


def foreign_request(made) -> bytes:
    """The sample form of crypto.md 2.3 written by another library, field by field."""
    messages = rfc4211.CertReqMessages()
    for number, purpose in enumerate((Purpose.SIG, Purpose.ENC, Purpose.TLS)):
        key = made[purpose].public_key()
        spki = key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        wanted = rfc4211.CertRequest()
        wanted["certReqId"] = number
        template = wanted["certTemplate"]
        name, _ = decoder.decode(
            subject_name(f"{ID}.SMGW", "SM-Test-PKI-DE"), rfc5280.RDNSequence()
        )
        template["subject"]["rdnSequence"] = name
        source, _ = decoder.decode(spki, rfc5280.SubjectPublicKeyInfo())
        template["publicKey"]["algorithm"] = source["algorithm"]
        template["publicKey"]["subjectPublicKey"] = source["subjectPublicKey"]
        point = key.public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        values = [
            ("2.5.29.14", False, encoder.encode(univ.OctetString(hashlib.sha1(point).digest()))),
            (
                "2.5.29.15",
                True,
                bytes.fromhex("03020328" if purpose is Purpose.ENC else "03020780"),
            ),
        ]
        if purpose is Purpose.TLS:
            usage = rfc5280.ExtKeyUsageSyntax()
            usage.extend([rfc5280.id_kp_clientAuth, rfc5280.id_kp_serverAuth])
            values.append(("2.5.29.37", True, encoder.encode(usage)))
        for at, (kind, critical, value) in enumerate(values):
            template["extensions"][at]["extnID"] = kind
            template["extensions"][at]["critical"] = critical
            template["extensions"][at]["extnValue"] = value
        message = rfc4211.CertReqMsg()
        message["certReq"] = wanted
        proof = message["popo"]["signature"]
        proof["algorithmIdentifier"]["algorithm"] = "1.2.840.10045.4.3.2"
        signature = made[purpose].sign(encoder.encode(wanted), ec.ECDSA(hashes.SHA256()))
        proof["signature"] = univ.BitString.fromOctetString(signature)
        messages.append(message)
    return der.sequence(der.oid(PLAIN), der.explicit(0, encoder.encode(messages)))


@pytest.mark.req("HSM-05")
def test_a_request_written_by_another_library_parses():
    """All three proofs verify, purposes are told apart, and the PKI answers."""
    made = keys()
    data = foreign_request(made)
    package = parse(data)
    assert [item.purpose for item in package.triple] == [Purpose.SIG, Purpose.ENC, Purpose.TLS]
    assert all(item.public_key == made[item.purpose].public_key() for item in package.triple)
    assert TestPki(NOW).answer(data)


@pytest.mark.req("HSM-05", "HSM-02")
def test_renewal_and_authorisation():
    """The old SIG key signs, the administrator authorises; the sequence number goes on."""
    pki = TestPki(NOW)
    gwa = pki.participant(Role.GWA, "gwa1")
    smgw = pki.participant(Role.SMGW, ID)
    renewal = renew(request(), smgw.signer(with_certificate=True))
    authorised = authorise(renewal, gwa.signer())
    for data, kind in ((renewal, SIGNED), (authorised, AUTHORISED)):
        assert der.Reader(der.parse(data), "").oid("type") == kind
    first = pki.answer(renewal)
    second = pki.answer(authorised, gwa.trust())
    numbers = [
        item[Purpose.TLS].subject.get_attributes_for_oid(x509.NameOID.SERIAL_NUMBER)[0].value
        for item in (first, second)
    ]
    assert numbers == ["2", "3"]
    wrapped = authorise(renewal, smgw.signer())
    for data, code, trust in (
        (authorised, "failure_authorization_signature", None),
        (wrapped, "failure_authorization_signature", gwa.trust()),
        (renew(request(), GWA.signer()), "failure_outer_signature", None),
        (
            renew(request(name="ETHE0399000002.SMGW"), smgw.signer()),
            "failure_outer_signature",
            None,
        ),
        (request(name="nonsense"), "failure_request_not_accepted", None),
        (request(name="x.XYZ"), "failure_request_not_accepted", None),
        (request(name="../../etc.SMGW"), "failure_request_not_accepted", None),
        (request(name="1EMH0004911613.SMGW"), "failure_request_not_accepted", None),
        (request(name="a/b.GWA"), "failure_request_not_accepted", None),
    ):
        with pytest.raises(RequestError) as caught:
            pki.answer(data, trust)
        assert caught.value.code == code
    pki.revoke(smgw.sig.certificate)
    with pytest.raises(RequestError, match="revoked"):
        pki.answer(renewal)


def test_what_is_wrong_with_a_request_is_named():
    """A wrong proof, one key twice, two messages, another curve, another order of nesting."""
    made = keys()
    wrong = certifiable(made)
    wrong[Purpose.ENC] = KeyToCertify(made[Purpose.ENC].public_key(), wrong[Purpose.SIG].sign)
    twice = certifiable(dict.fromkeys(Purpose, made[Purpose.SIG]))
    nist = certifiable({**made, Purpose.TLS: ec.generate_private_key(ec.SECP256R1())})
    name = subject_name(f"{ID}.SMGW", "SM-Test-PKI-DE")
    for used, code, reason in (
        (wrong, "failure_inner_signature", "proof of possession"),
        (twice, "failure_syntax", "same key"),
        (nist, "failure_syntax", "brainpoolP256r1"),
    ):
        with pytest.raises(RequestError, match=reason) as caught:
            parse(build(name, used))
        assert caught.value.code == code
    two = der.parse(request()).children[1].children[0].children[:2]
    short = der.sequence(der.oid(PLAIN), der.explicit(0, der.sequence(*(item.raw for item in two))))
    with pytest.raises(RequestError, match="holds one message"):
        parse(short)


GOOD_REQUEST = request()


@fuzz(GOOD_REQUEST, renew(GOOD_REQUEST, GWA.signer()), authorise(b"x", GWA.signer()))
def test_arbitrary_requests_are_refused_by_name(data):
    """10 000 inputs: a RequestError with a code, or the request itself."""
    try:
        parse(data, GWA.trust(), GWA.trust())
    except RequestError as error:
        assert error.code.startswith("failure_")


def test_every_flipped_bit_of_a_request_is_refused():
    """Every bit lies under a proof of possession or in a checked structure."""
    renewal = renew(GOOD_REQUEST, GWA.signer())
    authorised = authorise(renewal, GWA.signer())
    for good in (GOOD_REQUEST, renewal, authorised):
        for position in range(len(good)):
            for bit in range(8):
                changed = bytearray(good)
                changed[position] ^= 1 << bit
                with pytest.raises(RequestError):
                    parse(bytes(changed), GWA.trust(), GWA.trust())
            with pytest.raises(RequestError):
                parse(good[:position], GWA.trust(), GWA.trust())


# -- folder, LMN certificates --------------------------------------------------------------------


@pytest.mark.req("HSM-11")
def test_a_pki_survives_in_its_folder(tmp_path):
    """Save, open, issue, revoke, inventory with remaining lifetime."""
    pki = TestPki(NOW)
    emt = pki.participant(Role.EMT, "emt1")
    save(pki, tmp_path / "pki")
    place = save_participant(tmp_path / "pki", emt)
    again = open_folder(tmp_path / "pki")
    assert der_of(again.root) == der_of(pki.root)
    rows = inventory(again)
    assert [row.purpose for row in rows] == ["ENC", "SIG", "TLS"]
    assert rows[0].days_left(NOW) == 729
    loaded = open_participant(place)
    assert loaded.name == "emt1.EMT"
    assert loaded.tls.private().private_numbers() == emt.tls.private().private_numbers()
    again.revoke(loaded.tls.certificate, NOW)
    save_record(again, tmp_path / "pki")
    assert sum(row.revoked for row in inventory(open_folder(tmp_path / "pki"))) == 1
    assert (tmp_path / "pki" / "root.key").stat().st_mode & 0o077 == 0
    assert "PRIVATE" not in repr(loaded.tls)
    (tmp_path / "pki" / "pki.json").write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        open_folder(tmp_path / "pki")
    with pytest.raises(ConfigError, match="no PKI"):
        open_folder(tmp_path)
    with pytest.raises(ConfigError):
        open_participant(tmp_path)


def test_lmn_certificates_in_both_forms(tmp_path):
    """TR-03109-1 v1.0 Annex B (empty names, otherName) and Detailspezifikation v2.0 (CN, KeyUsage)."""
    module = SecurityModule(tmp_path / "hsm")
    key = module.generate(wan_key(Purpose.TLS), Curve.BRAINPOOL_P256)

    def sign(digest: bytes) -> bytes:
        return module.sign_digest(wan_key(Purpose.TLS), digest)

    device = bytes.fromhex("0e54484503000010a5")
    old = load(lmn_certificate(device, key, sign, NOW))
    new = load(lmn_certificate(device, key, sign, NOW, "ethe0300004261.sm"))
    for certificate in (old, new):
        assert certificate.subject == certificate.issuer
        key.verify(
            certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256())
        )
        assert len(der_of(certificate)) <= 600
    assert old.serial_number.bit_length() <= 64
    assert 64 <= new.serial_number.bit_length() <= 160
    uses = new.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {use.dotted_string for use in uses} == {"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"}
    names = new.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["ethe0300004261.sm"]
    assert not list(old.subject)
    (extension,) = old.extensions
    (name,) = extension.value
    assert isinstance(name, x509.OtherName)
    assert name.value.endswith(device)
    assert new.subject.rfc4514_string() == "CN=ethe0300004261.sm"
    assert new.extensions.get_extension_for_class(x509.KeyUsage).critical
