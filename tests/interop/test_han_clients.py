"""The HAN interface with curl, httpx, requests and openssl, as users point them at it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
import pytest
import requests
from requests.auth import HTTPDigestAuth
from support import PASSWORD, lab_post

BODY = {"method": "smgw-info"}
SUITES = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA384",
]

pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")


def base(access) -> str:
    return f"https://{access.han.host}:{access.han.port}"


def run(*arguments, text=True, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        arguments,
        capture_output=True,
        text=text,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
        **options,
    )


# -- curl ----------------------------------------------------------------------------------------


def curl(access, *arguments) -> subprocess.CompletedProcess:
    return run("curl", "-sk", "--digest", "-u", f"consumer1:{PASSWORD}", *arguments)


def test_curl_with_digest_follows_the_redirect_to_the_data(live):
    """One curl line from the root: 401, 307, 200 with the POST body carried on."""
    _, access = live
    done = curl(
        access,
        "-L",
        "-H",
        "Content-Type: application/json",
        "-d",
        json.dumps(BODY),
        f"{base(access)}/smgw/m2m",
    )
    assert json.loads(done.stdout)["smgw-info"]["firmware-info"]["version"] == "v3.87.0-cc"


def test_curl_reads_a_days_values(live):
    """96 signed values of the origin list."""
    _, access = live
    body = {
        "method": "readings",
        "usage-point-id": "01005e318027.taf7-1.sm",
        "database": "origin",
        "fromtime": "2026-03-31T10:00:00Z",
        "totime": "2026-04-01T10:00:00Z",
    }
    done = curl(
        access,
        "-H",
        "Content-Type: application/json",
        "-d",
        json.dumps(body),
        f"{base(access)}/smgw/m2m/consumer1.sm/json",
    )
    answer = json.loads(done.stdout)
    assert answer["readings"]["records"] == "96"
    values = [int(row["value"]) for row in answer["readings"]["channels"][0]["readings"]]
    assert values == sorted(values)


@pytest.mark.parametrize("slash", ["", "/"])
def test_curl_sees_a_relative_location(live, slash):
    """307 with a relative Location and an empty body."""
    _, access = live
    done = curl(access, "-D", "-", "-o", "/dev/null", f"{base(access)}/smgw/m2m{slash}")
    assert "HTTP/1.1 307 Temporary Redirect" in done.stdout
    assert "Location: /smgw/m2m/consumer1.sm/json" in done.stdout


def test_curl_with_a_wrong_password_gets_401(live):
    """C05."""
    _, access = live
    done = run(
        "curl",
        "-sk",
        "--digest",
        "-u",
        "consumer1:wrong",
        "-w",
        "%{http_code}",
        f"{base(access)}/smgw/m2m",
    )
    assert done.stdout == "401"


def test_curl_with_a_client_certificate(live):
    """The PKCS#12 of access.json, in the legacy encoding, is enough to log in."""
    _, access = live
    done = run(
        "openssl",
        "pkcs12",
        "-legacy",
        "-in",
        access.han.p12,
        "-passin",
        f"pass:{access.han.p12_password}",
        "-nodes",
    )
    pem = Path(access.han.p12).with_suffix(".pem")
    pem.write_text(done.stdout)
    done = run(
        "curl",
        "-sk",
        "--cert",
        str(pem),
        "-H",
        "Content-Type: application/json",
        "-d",
        json.dumps(BODY),
        f"{base(access)}/smgw/m2m/consumer1.sm/json",
    )
    assert json.loads(done.stdout)["method"] == "smgw-info"


def test_curl_with_the_han_certificate_as_trust_anchor(live):
    """The certificate access.json names is the one the listener shows."""
    _, access = live
    done = run(
        "curl",
        "-s",
        "--cacert",
        access.han.ca,
        "--resolve",
        f"{_name(access)}:{access.han.port}:127.0.0.1",
        "-v",
        f"https://{_name(access)}:{access.han.port}/smgw/m2m",
    )
    assert "SSL certificate verify ok" in done.stderr


def _name(access) -> str:
    subject = run("openssl", "x509", "-in", access.han.ca, "-noout", "-subject").stdout
    return subject.split("CN = ")[1].split(",")[0]


def test_chunked_requests_and_charsets_are_400(live):
    """C12: the field's strictness, seen by a real client."""
    _, access = live
    url = f"{base(access)}/smgw/m2m/consumer1.sm/json"
    for headers in (
        ["-H", "Content-Type: application/json; charset=utf-8"],
        ["-H", "Content-Type: application/json", "-H", "Transfer-Encoding: chunked"],
    ):
        done = curl(
            access, *headers, "-o", "/dev/null", "-w", "%{http_code}", "-d", json.dumps(BODY), url
        )
        assert done.stdout == "400"


# -- Python clients ------------------------------------------------------------------------------


def test_httpx_follows_the_307_with_its_old_authorization(live):
    """The public scripts' way: POST to the root with slash, header repeated at the target."""
    _, access = live
    with httpx.Client(
        verify=False, auth=httpx.DigestAuth("consumer1", PASSWORD), follow_redirects=True
    ) as client:
        answer = client.post(
            f"{base(access)}/smgw/m2m/", json=BODY, headers={"X-Content-Length": "25"}
        )
    assert answer.status_code == 200
    assert answer.json()["smgw-info"]["smgw-id"].startswith("ethe03")


def test_requests_with_digest(live):
    """Requests drops and recomputes on the redirect; it ends with 200 as well."""
    _, access = live
    answer = requests.post(
        f"{base(access)}/smgw/m2m/",
        json=BODY,
        verify=False,
        timeout=30,
        auth=HTTPDigestAuth("consumer1", PASSWORD),
    )
    assert answer.status_code == 200
    assert answer.json()["version"] == "1.3.0"


def test_requests_keeps_a_session_for_all_six_methods(live):
    """Keep-alive: every method on one connection."""
    _, access = live
    lab_post(access, "clock", {"advance_s": 660})
    point = {"usage-point-id": "01005e318021.taf1-1.sm"}
    with requests.Session() as session:
        session.auth = HTTPDigestAuth("consumer1", PASSWORD)
        session.trust_env = False  # a CA bundle in the environment would overrule verify
        session.verify = False
        for body in (
            BODY,
            {"method": "user-info"},
            {"method": "usage-point-info", **point},
            {"method": "readings", "database": "derived", "last-reading": True, **point},
            {"method": "log"},
            {"method": "self-test"},
        ):
            answer = session.post(
                f"{base(access)}/smgw/m2m/consumer1.sm/json", json=body, timeout=30
            )
            assert answer.status_code == 200, body
            assert answer.json()["method"] == body["method"]
        again = session.post(
            f"{base(access)}/smgw/m2m/consumer1.sm/json", timeout=30, json={"method": "self-test"}
        )
        assert again.status_code == 403


# -- openssl: TLS --------------------------------------------------------------------------------


def s_client(access, *arguments, **options) -> str:
    done = run(
        "openssl",
        "s_client",
        "-connect",
        f"{access.han.host}:{access.han.port}",
        *arguments,
        **options,
    )
    return done.stdout + done.stderr


@pytest.mark.req("HAN-06")
@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_of_the_preset(live, suite):
    """All four suites of TR-03116-3, with secp384r1 and TLS 1.2."""
    _, access = live
    output = s_client(access, "-cipher", suite)
    assert f"Cipher    : {suite}" in output
    assert "Protocol  : TLSv1.2" in output
    assert "Server Temp Key: ECDH, secp384r1" in output or "P-384" in output


@pytest.mark.req("HAN-N05")
@pytest.mark.req("HAN-N06")
@pytest.mark.parametrize(
    ("arguments", "alert"),
    [
        (["-tls1_1", "-cipher", "ALL@SECLEVEL=0"], 70),
        (["-tls1_3"], 70),
        (["-groups", "P-256"], 40),
        (["-groups", "brainpoolP256r1:brainpoolP512r1"], 40),
        (["-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], 40),
        (["-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], 40),
    ],
)
def test_refused_handshakes_end_with_the_documented_alert(live, arguments, alert):
    """C07, C08: protocol_version for other versions, handshake_failure for other curves, suites."""
    _, access = live
    output = s_client(access, *(["-tls1_2"] if "tls1" not in arguments[0] else []), *arguments)
    assert f"SSL alert number {alert}" in output


def test_a_client_certificate_on_another_curve_is_refused_with_a_listed_alert(live, tmp_path):
    """OpenSSL would say illegal_parameter (47), which a CONEXA never sends: 40 instead."""
    _, access = live
    key, crt = str(tmp_path / "k.pem"), str(tmp_path / "c.pem")
    run(
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        key,
        "-out",
        crt,
        "-subj",
        "/CN=x",
        "-days",
        "1",
    )
    output = s_client(access, "-cert", crt, "-key", key)
    assert "SSL alert number 40" in output


def test_no_session_is_ever_resumed(live, tmp_path):
    """Neither by ticket nor by session id."""
    _, access = live
    session = str(tmp_path / "session.pem")
    first = s_client(access, "-tls1_2", "-sess_out", session, "-reconnect")
    assert first.count("Reused, TLSv1.2") == 0
    assert first.count("New, TLSv1.2") >= 2
    assert "TLS session ticket:" not in first


@pytest.mark.req("HAN-06")
def test_renegotiation_ends_the_connection(live):
    """A request for renegotiation is refused with no_renegotiation and the connection closed."""
    _, access = live
    done = subprocess.run(
        ["openssl", "s_client", "-tls1_2", "-connect", f"{access.han.host}:{access.han.port}"],
        input="R\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    output = done.stdout + done.stderr
    assert "RENEGOTIATING" in output
    assert "no renegotiation" in output.lower() or "alert number 100" in output


@pytest.mark.req("HAN-09")
@pytest.mark.req("HSM-N01")
@pytest.mark.req("HSM-03")
def test_the_han_certificate_as_openssl_reads_it(live):
    """Self-signed, serial 1, names of the field in their order, P-384, marked TEST."""
    home, access = live
    text = run(
        "openssl", "x509", "-in", access.han.ca, "-noout", "-text", "-nameopt", "RFC2253"
    ).stdout
    assert "Serial Number: 1 (0x1)" in text
    assert "NIST CURVE: P-384" in text
    assert "ecdsa-with-SHA256" in text
    assert "TEST - smgw-emu" in text
    names = [line.strip() for line in text.splitlines() if "Issuer:" in line or "Subject:" in line]
    assert names[0].split(": ")[1] == names[1].split(": ")[1]
    assert names[0].endswith(".SMGW")
    assert "O=SMGW,OU=THE,C=DE,CN=ETHE03" in names[0]
    verified = run("openssl", "verify", "-CAfile", access.han.ca, access.han.ca)
    assert verified.stdout.strip().endswith("OK")
    assert (home / "certs" / "han.der").stat().st_size < 600


# -- openssl: CMS and PKI --------------------------------------------------------------------------


@pytest.mark.req("HSM-N04")
def test_openssl_verifies_the_signed_tariff_profile(live, tmp_path):
    """taf-profile is a CMS SignedData with SKI, chained to the test root; its content is the XML."""
    home, access = live
    body = {"method": "usage-point-info", "usage-point-id": "01005e318027.taf7-1.sm"}
    done = curl(
        access,
        "-H",
        "Content-Type: application/json",
        "-d",
        json.dumps(body),
        f"{base(access)}/smgw/m2m/consumer1.sm/json",
    )
    cms = tmp_path / "profile.cms"
    cms.write_bytes(bytes.fromhex(json.loads(done.stdout)["usage-point-info"]["taf-profile"]))
    arguments = [
        "openssl",
        "cms",
        "-verify",
        "-inform",
        "DER",
        "-in",
        str(cms),
        "-CAfile",
        str(home / "certs" / "test-root.pem"),
        "-purpose",
        "any",
        "-binary",
        "-no_check_time",
    ]
    verified = run(*arguments)
    assert "CMS Verification successful" in verified.stderr
    assert "<taf07:logical_name>01005e318027.taf7-1.sm</taf07:logical_name>" in verified.stdout
    printed = run("openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", str(cms)).stdout
    assert "subjectKeyIdentifier" in printed
    assert "ecdsa-with-SHA256" in printed
    damaged = bytearray(cms.read_bytes())
    damaged[damaged.index(b"taf7-1.sm")] ^= 1
    cms.write_bytes(bytes(damaged))
    assert "Verification failure" in run(*arguments).stderr


@pytest.mark.req("HSM-09")
def test_openssl_verifies_the_chain_of_the_signature_certificate(live, tmp_path):
    """Root, Sub-CA, Guetesiegel SIG certificate: names, usage and policy of the SM-PKI profile."""
    home, _ = live
    certs = home / "certs"
    for name in ("wan-sig-0", "wan-sub-ca-0"):
        run(
            "openssl",
            "x509",
            "-inform",
            "DER",
            "-in",
            str(certs / f"{name}.der"),
            "-out",
            str(tmp_path / f"{name}.pem"),
        )
    done = run(
        "openssl",
        "verify",
        "-no_check_time",
        "-CAfile",
        str(certs / "test-root.pem"),
        "-untrusted",
        str(tmp_path / "wan-sub-ca-0.pem"),
        str(tmp_path / "wan-sig-0.pem"),
    )
    assert done.stdout.strip().endswith("OK"), done.stderr
    text = run("openssl", "x509", "-in", str(tmp_path / "wan-sig-0.pem"), "-noout", "-text").stdout
    assert "X509v3 Key Usage: critical\n                Digital Signature" in text
    assert "O = SM-Test-PKI-DE" in text
    assert "0.4.0.127.0.7.3.4.1.1.1" in text
    assert "ASN1 OID: brainpoolP256r1" in text
    assert "Subject Alternative Name" not in text
    assert "TEST - smgw-emu" in text
