"""A SoftHSM2 token as security module: keys stay in it, the gateway runs on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARIES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
)

_CHECK = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric import ec
from hsm_sim import Curve, Purpose, SecurityModuleError
from hsm_sim.curves import public_key
from hsm_sim.slots import wan_key
from hsm_sim.token import TokenModule
home = Path(sys.argv[1])
module = TokenModule(sys.argv[2], "smgw", home / "hsm.pin", home / "files", strict=True)
slots = {purpose: wan_key(purpose) for purpose in Purpose}
keys = {purpose: module.generate(slot, Curve.BRAINPOOL_P256) for purpose, slot in slots.items()}
module.generate("GW_HAN_TLS_PRV", Curve.P384)
module.check((*slots.values(), "GW_HAN_TLS_PRV"))
assert len(module.random(48)) == 48
assert len(module.sign_plain(slots[Purpose.SIG], b"x")) == 64
other = ec.generate_private_key(ec.BrainpoolP256R1())
assert module.agree(slots[Purpose.ENC], other.public_key()) == other.exchange(
    ec.ECDH(), keys[Purpose.ENC])
point, shared = module.agree_ephemeral(other.public_key())
assert shared == other.exchange(ec.ECDH(), public_key(Curve.BRAINPOOL_P256, point))
module.import_public_key("GWA_WAN_SIG_PUB", keys[Purpose.SIG])
digest = b"d" * 32
signature = module.sign_digest(slots[Purpose.SIG], digest)
assert module.verify("GWA_WAN_SIG_PUB", digest, signature)
assert not module.verify("GWA_WAN_SIG_PUB", b"e" * 32, signature)
for wrong in (lambda: module.generate(slots[Purpose.SIG], Curve.P256),
              lambda: module.sign_digest("NOTHING", digest),
              lambda: module.private_key_for_process(slots[Purpose.SIG]),
              lambda: module.read_file("NOTHING")):
    try:
        wrong()
    except SecurityModuleError:
        continue
    raise SystemExit("not refused")

# TLS client authentication, CMS and the wake-up signature with keys in the token
from smgw_emu.bench.pki import Role, TestPki, der
from smgw_emu.core.instants import WorldTime
from smgw_emu import profiles
from smgw_emu.transport import tls
from smgw_emu.transport.presets import TlsIdentity, client_context, server_context
from wan.cms import Opener, Signer, seal, unseal
from hsm_sim.certificates import subject_key_identifier
pki = TestPki()
gateway = pki.participant(Role.SMGW, "ETHE0399000001", keys)
gwa = pki.participant(Role.GWA, "gwa1")
who = TlsIdentity(gateway.tls.certificate_der,
                  lambda d: module.sign_digest(slots[Purpose.TLS], d), lambda: b"")
made = client_context("wan", who, [gwa.tls.certificate_der])
assert made.key_in_module
now, limits = WorldTime(0), profiles.load().wan_tls
client = tls.TlsConnection(made.context, limits, now, server_side=False)
server = tls.TlsConnection(server_context("wan", TlsIdentity(gwa.tls.certificate_der,
    gwa.tls.sign_digest, gwa.tls.key_pem), peers=[gateway.tls.certificate_der]).context, limits, now)
client.start(now)
for _ in range(3):
    for a, b in ((client, server), (server, client)):
        if flight := a.output():
            b.receive(flight, now)
assert client.established and server.established, (client.over, server.over)
signer = Signer(subject_key_identifier(keys[Purpose.SIG]),
                lambda d: module.sign_digest(slots[Purpose.SIG], d))
data = seal(b"from the token", signer, [gwa.recipient()], source=module)
assert unseal(data, gateway.trust(), gwa.opener()).content == b"from the token"
back = seal(b"to the token", gwa.signer(), [gateway.recipient()])
opener = Opener(gateway.recipient().key_id, keys[Purpose.ENC],
                lambda peer: module.agree(slots[Purpose.ENC], peer))
assert unseal(back, gwa.trust(), opener).content == b"to the token"
module.write_file("A", b"x")
module.delete("A")
assert sorted(module.slots()) == sorted([*slots.values(), "GW_HAN_TLS_PRV"])
module.close()
print("ok")
"""


@pytest.fixture
def token(tmp_path):
    """A fresh token in a directory of its own; gives home, library and environment."""
    library = next((path for path in LIBRARIES if Path(path).exists()), None)
    util = shutil.which("softhsm2-util")
    if library is None or util is None:
        pytest.skip("softhsm2 is not installed (Debian package softhsm2)")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(
        f"directories.tokendir = {tmp_path / 'tokens'}\nobjectstore.backend = file\n"
    )
    environment = {**os.environ, "SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf")}
    subprocess.run(
        [util, "--init-token", "--free", "--label", "smgw", "--pin", "1234567890", "--so-pin",
         "1234567890"], check=True, capture_output=True, env=environment)  # fmt: skip
    (tmp_path / "hsm.pin").write_text("1234567890")
    return tmp_path, library, environment


@pytest.mark.req("HSM-01")
def test_every_operation_on_a_token(token):
    """Generation, signatures, agreement, TLS client authentication, CMS: the key never leaves."""
    home, library, environment = token
    done = subprocess.run(
        [sys.executable, "-c", _CHECK, str(home), library],
        capture_output=True, text=True, env=environment, timeout=120)  # fmt: skip
    assert done.stdout.strip() == "ok", done.stderr


def test_a_missing_token_is_one_clear_error(token):
    """Label, library and PIN are named."""
    home, library, environment = token
    script = """
import sys
from pathlib import Path
from hsm_sim import SecurityModuleError
from hsm_sim.token import TokenModule
home = Path(sys.argv[1])
for args in ((sys.argv[2], "other", home / "hsm.pin"), ("/nonexistent.so", "smgw", home / "hsm.pin"),
             (sys.argv[2], "smgw", home / "nothing")):
    try:
        TokenModule(*args, home / "files")
    except SecurityModuleError as error:
        print(str(error).splitlines()[0])
"""
    done = subprocess.run([sys.executable, "-c", script, str(home), library],
                          capture_output=True, text=True, env=environment, timeout=60)  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    assert "'other'" in lines[0]
    assert "nonexistent" in lines[1]
    assert "cannot read" in lines[2]


@pytest.mark.req("HSM-01")
def test_a_gateway_on_a_token(token):
    """`smgw init --module pkcs11` and `smgw run`: status says so, the HAN signs with the token."""
    from support import SMGW

    home, library, environment = token
    gateway = home / "gateway"
    done = subprocess.run(
        [SMGW, "init", str(gateway), "--han-port", "0", "--control-port", "0", "--wakeup-port",
         "0", "--pkcs11", library, "--token", "smgw", "--token-pin", "1234567890"],
        capture_output=True, text=True, env=environment, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stderr
    process = subprocess.Popen(
        [SMGW, "run", str(gateway)], env={**environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
    try:
        for line in process.stdout:
            if line.startswith("ready"):
                break
        status = subprocess.run([SMGW, "status", str(gateway)], capture_output=True, text=True,
                                env=environment, timeout=60).stdout  # fmt: skip
        assert "pkcs11, token" in status
        assert "TLS key in the security module" in status
        info = subprocess.run([SMGW, "han", "-d", str(gateway), "info"], capture_output=True,
                              text=True, env=environment, timeout=60)  # fmt: skip
        assert info.returncode == 0, info.stderr
        assert not list((gateway / "hsm").glob("*.p8"))
    finally:
        process.terminate()
        process.communicate(timeout=20)
