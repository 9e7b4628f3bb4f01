"""Every suite and curve of each preset against `openssl s_server` and `openssl s_client`."""

from __future__ import annotations

import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tls_lab import (
    GROUPS,
    NOW,
    PROFILE,
    SUITES,
    identity,
    listening,
    material,
    run_client,
    s_server,
    self_signed,
    wan_client,
)

from smgw_emu.bench.pki.participants import pem
from smgw_emu.transport import tls
from smgw_emu.transport.presets import client_context, server_context

CURVES = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "brainpoolP256r1": ec.BrainpoolP256R1(),
    "brainpoolP384r1": ec.BrainpoolP384R1(),
    "brainpoolP512r1": ec.BrainpoolP512R1(),
}


@pytest.fixture
def files(tmp_path):
    made = material()
    (tmp_path / "gwa.pem").write_bytes(made.administrator.tls.chain_pem)
    (tmp_path / "gwa.key").write_bytes(made.administrator.tls.key_pem())
    (tmp_path / "ca.pem").write_bytes(pem(made.pki.root, made.pki.sub_ca))
    return tmp_path


@pytest.mark.req("WAN-N04")
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("suite", SUITES)
def test_wan_client_with_every_suite_and_curve(files, suite, group):
    """Mutual TLS 1.2 with SM-PKI certificates; OpenSSL checks the gateway's chain to the root."""
    # the list must also name the certificates' curve (crypto.md 5.3)
    groups = group if group == "brainpoolP256r1" else f"{group}:brainpoolP256r1"
    with s_server(files, "-tls1_2", "-cipher", suite, "-groups", groups, "-cert", "gwa.pem",
                  "-key", "gwa.key", "-cert_chain", "gwa.pem", "-Verify", "3",
                  "-verify_return_error", "-CAfile", "ca.pem", "-serverpref") as port:  # fmt: skip
        ours = wan_client(server_name="gwa1.gwa.test.invalid")
        events = run_client(ours, port)
    assert isinstance(events[-1], tls.Established), events
    assert events[-1].certificate == material().administrator.tls.certificate_der
    assert (ours.version, ours.suite) == ("TLSv1.2", suite)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("suite", SUITES)
def test_lmn_client_with_every_suite_and_curve(tmp_path, suite, group):
    """Self-signed certificates on each curve, pinned both ways."""
    meter, gateway = self_signed(CURVES[group], lmn=True), self_signed(CURVES[group], lmn=True)
    (tmp_path / "meter.pem").write_bytes(meter.chain_pem)
    (tmp_path / "meter.key").write_bytes(meter.key_pem())
    (tmp_path / "gateway.pem").write_bytes(gateway.chain_pem)
    with s_server(tmp_path, "-tls1_2", "-cipher", suite, "-groups", group, "-cert", "meter.pem",
                  "-key", "meter.key", "-Verify", "1", "-verify_return_error", "-CAfile",
                  "gateway.pem") as port:  # fmt: skip
        context = client_context("lmn", identity(gateway), [meter.certificate_der]).context
        ours = tls.TlsConnection(context, PROFILE.lmn_tls, NOW, server_side=False)
        events = run_client(ours, port)
    assert isinstance(events[-1], tls.Established), events
    assert ours.suite == suite


def s_client(port: int, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_2", *arguments],
        input=b"Q\n", capture_output=True, timeout=30,
    )  # fmt: skip


SERVERS = [
    ("han-conexa", ["P-384"]),
    ("han-tr2025", list(GROUPS)),
    ("lmn", list(GROUPS)),
]


@pytest.mark.req("HAN-07")
@pytest.mark.parametrize(("preset", "groups"), SERVERS)
def test_servers_with_every_suite_and_curve(tmp_path, preset, groups):
    """What the preset names connects, mutual and with EMS; every other curve is handshake_failure."""
    for group in GROUPS:
        server = self_signed(CURVES[group if group in groups else groups[0]])
        client = self_signed(CURVES[group])
        (tmp_path / "client.pem").write_bytes(client.chain_pem)
        (tmp_path / "client.key").write_bytes(client.key_pem())
        peers = [client.certificate_der] if preset == "lmn" else None
        context = server_context(preset, identity(server), peers=peers).context
        limits = PROFILE.lmn_tls if preset == "lmn" else PROFILE.tls
        with listening(lambda: tls.TlsConnection(context, limits, NOW)) as (port, made):  # noqa: B023
            for suite in SUITES:
                done = s_client(port, "-cipher", suite, "-groups", group, "-cert",
                                str(tmp_path / "client.pem"), "-key", str(tmp_path / "client.key"))  # fmt: skip
                text = done.stdout.decode()
                if group in groups:
                    assert f"Cipher is {suite}" in text, (group, suite, done.stderr)
                    assert "Extended master secret: yes" in text
                    assert made[-1].suite == suite
                else:
                    assert b"alert handshake failure" in done.stderr
                    assert made[-1].over
            hello = made[-1].hello
            assert hello is not None
            assert hello.groups == (GROUPS[group],)


@pytest.mark.req("HSM-01")
@pytest.mark.parametrize("suite", SUITES)
def test_a_strict_handshake_with_openssl(files, tmp_path, suite):
    """Random number, ephemeral pair, signature and verification from the module; OpenSSL agrees."""
    from hsm_sim import Curve, Purpose, SecurityModule
    from hsm_sim.slots import gwa_key, wan_key
    from smgw_emu.bench.pki import Role, der
    from smgw_emu.transport.presets import TlsIdentity
    from smgw_emu.transport.watchers import watcher_of
    from wan.certificates import ec_key

    made = material()
    module = SecurityModule(tmp_path / "hsm", strict=True)
    slot = wan_key(Purpose.TLS)
    key = module.generate(slot, Curve.BRAINPOOL_P256)
    module.import_public_key(gwa_key(Purpose.TLS), ec_key(made.administrator.tls.certificate))
    leaf = der(made.pki.issue(Role.SMGW, "ETHE0399000004", Purpose.TLS, key))
    who = TlsIdentity(leaf, lambda digest: module.sign_digest(slot, digest), lambda: b"",
                      (der(made.pki.sub_ca),))  # fmt: skip
    context = client_context("wan", who, [made.administrator.tls.certificate_der]).context
    with s_server(files, "-tls1_2", "-cipher", suite, "-groups", "brainpoolP384r1:brainpoolP256r1",
                  "-cert", "gwa.pem", "-key", "gwa.key", "-Verify", "3", "-verify_return_error",
                  "-CAfile", "ca.pem") as port:  # fmt: skip
        watcher = watcher_of(module, gwa_key(Purpose.TLS))
        ours = tls.TlsConnection(context, PROFILE.wan_tls, NOW, server_side=False, watcher=watcher)
        events = run_client(ours, port)
    assert isinstance(events[-1], tls.Established), events
    assert watcher.inside
    assert ours.suite == suite


def test_openssl_verifies_what_it_is_shown(files):
    """The oracle refuses a gateway of another PKI: its check above is not a formality."""
    (files / "ca.pem").write_bytes(self_signed(CURVES["P-256"]).chain_pem)
    with s_server(files, "-tls1_2", "-cert", "gwa.pem", "-key", "gwa.key", "-Verify", "3",
                  "-verify_return_error", "-CAfile", "ca.pem", "-groups", "brainpoolP256r1") as port:  # fmt: skip
        events = run_client(wan_client(), port)
    assert isinstance(events[-1], tls.Ended), events
    assert events[-1].reason is tls.TlsEnd.HANDSHAKE_FAILED
