"""smgw pki, gwa wakeup, module, decode cms|wakeup|ntp|request, as a lab types them."""

from __future__ import annotations

import json
import subprocess

import pytest
from support import SMGW, program
from tls_lab import material

from smgw_emu.bench.pki.folder import open_folder, open_participant
from smgw_emu.cli import EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE, run_command
from wan.cms import Suite, seal
from wan.ntp import NtpPacket
from wan.ntp.packet import Timestamp


def told(capfd, *arguments: str, code: int = 0):
    capfd.readouterr()
    assert run_command(list(arguments)) == code, capfd.readouterr()
    return capfd.readouterr().out


@pytest.fixture
def pki(tmp_path, capfd):
    folder = tmp_path / "pki"
    told(capfd, "pki", "init", str(folder))
    return folder


@pytest.mark.req("HSM-09", "HSM-11")
def test_a_pki_on_the_command_line(pki, capfd):
    """init, issue, show, revoke, crl; OpenSSL agrees with each step."""
    for role, name in (("GWA", "gwa1"), ("emt", "emt1"), ("SMGW", "ETHE0399000001"), ("GWH", "h")):
        made = json.loads(told(capfd, "pki", "issue", str(pki), role, name))
        assert made["name"] == f"{name}.{role.upper()}"
    table = json.loads(told(capfd, "pki", "show", str(pki), "--json"))
    assert len(table) == 12
    assert all(row["days_left"] >= 728 for row in table)
    leaf = pki / "issued" / "gwa1.GWA" / "1" / "tls.pem"
    shown = json.loads(told(capfd, "pki", "show", str(leaf)))
    assert shown["curve"] == "brainpoolP256r1"
    told(capfd, "pki", "crl", str(pki))
    chain = pki / "chain.pem"
    lists = b"".join((pki / name).read_bytes() for name in ("sub-ca.crl", "root.crl"))
    chain.write_bytes((pki / "sub-ca.pem").read_bytes() + lists)

    def verify() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["openssl", "verify", "-crl_check", "-CAfile", str(pki / "root.pem"), "-untrusted",
             str(pki / "sub-ca.pem"), "-CRLfile", str(pki / "sub-ca.crl"), str(leaf)],
            capture_output=True)  # fmt: skip

    assert verify().returncode == 0, verify().stderr
    assert "revoked gwa1.GWA" in told(capfd, "pki", "revoke", str(pki), str(leaf))
    assert b"certificate revoked" in verify().stderr
    assert "revoked" in told(capfd, "pki", "show", str(pki))
    again = json.loads(told(capfd, "pki", "issue", str(pki), "GWA", "gwa1", "--days", "30"))
    assert again["directory"].endswith("gwa1.GWA/2")
    table = json.loads(told(capfd, "pki", "show", str(pki), "--json"))
    assert table[0]["days_left"] == 29
    large = pki.parent / "large"
    told(capfd, "pki", "init", str(large), "--hierarchy", "wirk", "--large-root")
    assert open_folder(large).root.public_key().curve.name == "brainpoolP512r1"
    assert "SM-PKI-DE" in told(capfd, "pki", "show", str(large))


@pytest.mark.req("HSM-05")
def test_a_request_on_the_command_line(pki, tmp_path, capfd):
    """A CRMF package is explained and answered; a changed one is refused by its code."""
    from request_lab import renewal_and_request

    told(capfd, "pki", "issue", str(pki), "SMGW", "ETHE0399000001")
    told(capfd, "pki", "issue", str(pki), "GWA", "gwa1")
    smgw = open_participant(pki / "issued" / "ETHE0399000001.SMGW" / "1")
    gwa = open_participant(pki / "issued" / "gwa1.GWA" / "1")
    first, authorised = renewal_and_request(smgw, gwa)
    (tmp_path / "first.der").write_bytes(first)
    (tmp_path / "authorised.der").write_bytes(authorised)
    shown = json.loads(told(capfd, "decode", "request", str(tmp_path / "first.der")))
    assert [item["purpose"] for item in shown] == ["SIG", "ENC", "TLS"]
    signers = [
        option
        for name in ("ETHE0399000001.SMGW", "gwa1.GWA")
        for option in ("--signer", str(pki / "issued" / name / "1" / "sig.pem"))
    ]
    whole = str(tmp_path / "authorised.der")
    assert len(json.loads(told(capfd, "decode", "request", whole, *signers))) == 3
    told(capfd, "decode", "request", whole, code=EXIT_FAILED)
    made = json.loads(
        told(capfd, "pki", "issue", str(pki), "--request", str(tmp_path / "first.der"))
    )
    assert made["directory"].endswith("/2")
    made = json.loads(
        told(capfd, "pki", "issue", str(pki), "--request", str(tmp_path / "authorised.der"),
             "--administrator", str(pki / "issued" / "gwa1.GWA" / "1"))
    )  # fmt: skip
    assert made["directory"].endswith("/3")
    (tmp_path / "bad.der").write_bytes(first[:-1] + bytes((first[-1] ^ 1,)))
    assert run_command(["pki", "issue", str(pki), "--request", str(tmp_path / "bad.der")]) == 1
    assert "failure_inner_signature" in capfd.readouterr().err
    told(capfd, "decode", "request", str(tmp_path / "bad.der"), code=EXIT_FAILED)


@pytest.mark.parametrize("suite", Suite)
def test_decode_cms(tmp_path, capfd, suite):
    """Verified and opened with --signer and --key; without them the answer says so."""
    made = material()
    folder = tmp_path / "gwa"
    folder.mkdir()
    (folder / "enc.pem").write_bytes(made.administrator.enc.chain_pem)
    (folder / "enc.key").write_bytes(made.administrator.enc.key_pem())
    (folder / "smgw.pem").write_bytes(made.gateway.sig.chain_pem)
    file = folder / "message.der"
    file.write_bytes(
        seal(b"<v>1</v>", made.gateway.signer(), [made.administrator.recipient()], suite)
    )
    plain = json.loads(told(capfd, "decode", "cms", str(file)))
    assert plain["signature"].startswith("NOT VERIFIED")
    assert plain["structure"][0] == "SIGNED_DATA"
    answer = json.loads(
        told(capfd, "decode", "cms", str(file), "--key", str(folder / "enc.key"), "--signer",
             str(folder / "smgw.pem"))
    )  # fmt: skip
    assert answer["content"] == "<v>1</v>"
    assert answer["suite"] == suite.value
    assert answer["signature"].startswith("right")
    pem = folder / "message.pem"
    subprocess.run(["openssl", "cms", "-cmsout", "-inform", "DER", "-outform", "PEM", "-in",
                    str(file), "-out", str(pem)], check=True)  # fmt: skip
    out = folder / "plain"
    told(capfd, "decode", "cms", str(pem), "--key", str(folder / "enc.key"), "--out", str(out))
    assert out.read_bytes() == b"<v>1</v>"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    wrong = json.loads(
        told(capfd, "decode", "cms", str(file), "--signer", str(folder / "smgw.pem"), code=1)
    )
    assert "CMS signature" in wrong["error"]


def test_decode_wakeup_and_ntp(capfd):
    """The vector of wan.md 1.5, and a header; nonsense is one line and exit code 1."""
    vector = ("5755010e54484503000010a500f15365000000000b0b0b0b0b0b0b0b0b0b0b0b010a04007f0007010104"
              "0103" + "11" * 64)  # fmt: skip
    shown = json.loads(told(capfd, "decode", "wakeup", vector))
    assert shown["recipient"] == "ETHE0300004261"
    assert shown["time_little_endian"] == "2023-11-14T22:13:20Z"
    assert shown["algorithm"] == "0.4.0.127.0.7.1.1.4.1.3"
    packet = NtpPacket(mode=4, stratum=2, transmit=Timestamp.from_ns(1_800_000_000 * 10**9))
    shown = json.loads(told(capfd, "decode", "ntp", packet.encode().hex()))
    assert (shown["mode"], shown["transmit"]) == (4, "2027-01-15T08:00:00Z")
    for arguments in (["decode", "wakeup", "5755"], ["decode", "ntp", "00"]):
        assert run_command(arguments) == EXIT_FAILED
        assert capfd.readouterr().err.startswith("smgw: ")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["pki", "show", "/nonexistent"], EXIT_USAGE),
        (["pki", "issue", "/nonexistent", "GWA", "x"], EXIT_USAGE),
        (["pki", "issue", "."], EXIT_USAGE),
        (["pki", "revoke", ".", "/nonexistent"], EXIT_USAGE),
        (["pki", "show", "pyproject.toml"], EXIT_USAGE),
        (["gwa", "wakeup", "-d", "/nonexistent"], EXIT_USAGE),
        (["module", "/nonexistent"], EXIT_USAGE),
        (["decode", "wakeup", "xyz"], EXIT_USAGE),
        (["decode", "cms", "pyproject.toml"], EXIT_FAILED),
    ],
)
def test_errors_are_one_clear_line(arguments, code, capfd):
    """No traceback, ever."""
    assert run_command(arguments) == code
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.req("WAN-05", "HSM-01")
def test_wake_up_a_running_gateway_and_look_into_its_module(home, capfd):
    """The administrator's packet arrives; status, module log and log book tell of it."""
    assert run_command(["gwa", "wakeup", "-d", str(home)]) == EXIT_UNREACHABLE
    with program(SMGW, "run", str(home), "--speed", "60", wait_for="ready"):
        out = told(capfd, "gwa", "wakeup", "-d", str(home))
        assert out.startswith("sent 108 octets to 127.0.0.1:")
        address = out.split()[4]
        told(capfd, "gwa", "wakeup", "-d", str(home), "--to", address, "--time", "2001-01-01")
        for _ in range(50):
            status = told(capfd, "status", str(home))
            if "1 valid" in status and "1 refused" in status:
                break
        assert "1 valid" in status
        assert "1 refused" in status
        assert "module        card, operational" in status
        shown = told(capfd, "module", str(home), "--log")
        assert "GW_HAN_TLS_PRV" in shown
        assert "PSO: VERIFY DIGITAL SIGNATURE" in shown
        state = json.loads(told(capfd, "module", str(home), "--json", "--since", "5"))
        assert state["log"][0]["number"] == 6
        assert "GWA_WAN_SIG_CRT" in state["files"]
    packet = told(capfd, "gwa", "wakeup", "-d", str(home), "--print", "--order", "big").strip()
    signer = str(home / "certs" / "gwa-sig.der")
    shown = json.loads(told(capfd, "decode", "wakeup", packet, "--signer", signer))
    assert shown["signature"] == "right"
    wrong = packet[:-2] + f"{int(packet[-2:], 16) ^ 1:02x}"
    assert (
        json.loads(told(capfd, "decode", "wakeup", wrong, "--signer", signer))["signature"]
        == "WRONG"
    )
    for target in ("nonsense", "h:99999", ":1"):
        assert run_command(["gwa", "wakeup", "-d", str(home), "--time", "2026-01-01", "--to", target]) \
            == EXIT_USAGE  # fmt: skip


def test_a_seeded_gateway_says_so(tmp_path, capfd):
    """Two gateways of one seed have the same keys, and status warns."""
    from hsm_sim.curves import point_octets
    from hsm_sim.interface import open_module
    from smgw_emu.core.config import load_config

    points = []
    for name in ("a", "b"):
        told(capfd, "init", str(tmp_path / name), "--seed", "lab 7", "--han-port", "0",
             "--control-port", "0", "--wakeup-port", "0")  # fmt: skip
        module = open_module(load_config(tmp_path / name / "config.toml").security_module,
                             tmp_path / name)  # fmt: skip
        points.append(point_octets(module.public_key("GW_HAN_TLS_PRV")))
    assert points[0] == points[1]
    with program(SMGW, "run", str(tmp_path / "a"), wait_for="ready"):
        assert "REPRODUCIBLE" in told(capfd, "status", str(tmp_path / "a"))
        assert "REPRODUCIBLE" in told(capfd, "module", str(tmp_path / "a"))
