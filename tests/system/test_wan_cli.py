"""`smgw gwa`, `smgw emt`, `smgw init --factory` as a lab uses them: three programs, real time."""

from __future__ import annotations

import json
import socket
import subprocess
import time

import pytest
from support import SMGW, program

METER = "1EMU0000000001"


def smgw(*arguments, code=0):
    result = subprocess.run([SMGW, *arguments], capture_output=True, text=True, timeout=60)
    assert result.returncode == code, (arguments, result.stdout, result.stderr)
    return result.stdout + result.stderr


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture
def gwa(tmp_path):
    control, *_ = free_ports(1)
    base = next(
        port for port in range(21000, 60000, 10) if all(_is_free(port + n) for n in range(4))
    )
    folder = tmp_path / "gwa"
    smgw("gwa", "init", str(folder), "--port", str(base), "--control-port", str(control))
    return folder


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def test_a_lab_commissions_a_gateway_on_the_command_line(tmp_path, gwa):
    """WAN-06, WAN-14, GW-23: every sub-command, with its answer."""
    home, g = tmp_path / "gw", str(gwa)
    made = json.loads(smgw("init", str(home), "--factory", g, "--han-port", "0", "--control-port", "0",
                           "--wakeup-port", str(free_ports(1)[0])).partition("next:")[0])  # fmt: skip
    device = made["id"]
    assert "does not run" in smgw("gwa", "list", "-g", g, code=3)
    with (
        program(SMGW, "gwa", "serve", g, wait_for="ready"),
        program(SMGW, "meter", "sml", "--out", "tcp://127.0.0.1:0", wait_for="meter") as meter,
    ):
        smgw("gwa", "note", "-g", g, made["delivery_note"])
        with program(
            SMGW, "run", str(home), "--meter", meter.lines[-1].split()[1], wait_for="ready"
        ):
            out = smgw("gwa", "commission", "-g", g, device, "--meter", METER)
            for step in ("first contact", "certificates: Wirk set 1", "pairing", "check"):
                assert step in out
            assert "generation 1  MANAGEMENT up" in smgw("gwa", "list", "-g", g)
            assert json.loads(smgw("gwa", "info", "-g", g, device))["generation"] == 1
            assert json.loads(smgw("gwa", "read", "-g", g, device, "taf7-1"))["messages"] == 1
            deadline = time.monotonic() + 20
            while json.loads(smgw("emt", "values", "-g", g))["deliveries"] == 0:
                assert time.monotonic() < deadline
                time.sleep(0.3)
            assert "0100010800ff" in smgw("emt", "values", "-g", g, "--csv", "-")
            assert json.loads(smgw("emt", "values", "-g", g, "--deliveries"))["findings"] == []
            image, key = tmp_path / "fw.img", f"{g}/pki"
            smgw("firmware", "build", str(image), "--version", "v3.88.0-cc", "--key", key)
            out = smgw("gwa", "firmware", "-g", g, device, str(image), "--activate",
                       "--at", "2099-01-01T00:00:00Z")  # fmt: skip
            size = image.stat().st_size
            assert f"fw.img geladen ({size} Oktette" in smgw("gwa", "logs", "-g", g, device)
            assert f"{size} of {size}" in out and '"verified": "fw.img"' in out
            assert smgw("gwa", "resync", "-g", g, device)
            assert "Messwerte" in smgw("gwa", "logs", "-g", g, device)
            assert "EMU.163.1" in smgw("gwa", "logs", "-g", g, device, "--log", "calibration")
            assert "meter-paired" in smgw("gwa", "events", "-g", g, device)
            assert "commissioning" in smgw("gwa", "history", "-g", g, device)
            assert json.loads(smgw("gwa", "wakeup", "-g", g, device))["sent"]
            clock = json.loads(smgw("gwa", "clock", "-g", g, device, "--method", "NTP-HTTPS"))
            assert clock["time_method"] == "NTP-HTTPS"
            wrong = tmp_path / "t.toml"
            wrong.write_text('name = "tech1"\ncertificates = ["xy"]\n')
            assert "not hexadecimal" in smgw(
                "gwa", "profile", "-g", g, device, "technician", str(wrong), code=1
            )
            wrong.write_text(f'name = "tech1"\ncertificates = ["{"5" * 64}"]\n')
            assert "added" in smgw("gwa", "profile", "-g", g, device, "technician", str(wrong))
            assert "removed" in smgw(
                "gwa", "profile", "-g", g, device, "technician", str(wrong), "--delete"
            )
            _orders(g, device, home, tmp_path)
            shown = smgw("status", str(home))
            assert "certificates Wirk (1)" in shown and "MANAGEMENT" in shown
            assert "decommissioned" in smgw("gwa", "decommission", "-g", g, device, "--yes")
            assert "no delivery note" in smgw("gwa", "info", "-g", g, "ETHE0399999999", code=1)


def _orders(g, device, home, tmp_path):
    """A tariff is put in and switched; versions; a control signal; what does not fit is refused."""
    point = tmp_path / "taf5.toml"
    text = f"""name = "taf5-1"\ntaf = 5\nconsumer = "consumer1"\nmeters = ["{METER}"]
start = "2026-01-01T00:00:00Z"\nstages = [{{number = 1}}, {{number = 2}}]\n"""
    point.write_text(text)
    refused = smgw("gwa", "profile", "-g", g, device, "usage-point", str(point), code=1)
    assert "first_stage: TAF5: the stage at activation is needed" in refused
    point.write_text(text + "first_stage = 1\n")
    assert "added" in smgw("gwa", "profile", "-g", g, device, "usage-point", str(point))
    until = "2099-01-01T00:00:00Z"
    out = smgw("gwa", "switch", "-g", g, device, "taf5-1", "2", "--until", until)
    assert json.loads(out)["due"] < until
    out = smgw("gwa", "control", "-g", g, device, "taf5-1", "30", code=1)
    assert "takes no control signals" in out
    assert "takes no orders to capture" in smgw("gwa", "capture", "-g", g, device, "taf5-1", code=1)
    assert "kept for 42 days" in smgw("gwa", "day", "-g", g, device, "taf7-1", "2020-01-01", code=1)
    shown = smgw("gwa", "versions", "-g", g, device)
    assert "usage-point taf5-1" in shown and "running" in shown
    assert json.loads(smgw("gwa", "versions", "-g", g, device, "--json"))[0]["version"] == 1


def test_a_plan_file_says_what_a_gateway_gets(tmp_path, gwa):
    from smgw_emu.bench.gwa.folder import open_gwa
    from smgw_emu.cli.emt_ import participant_profile
    from smgw_emu.lab.plan import read_plan

    plan = tmp_path / "plan.toml"
    plan.write_text(
        f"""pairing_s = 60
[[meter]]
id = "{METER}"
master_key = "000102030405060708090a0b0c0d0e0f"
[[consumer]]
login = "consumer1"
password = "secret"
[[technician]]
name = "tech1"
certificates = ["gwa/pki/issued/emt1.EMT/1/tls.pem"]
[[usage_point]]
name = "taf7-1"
taf = 7
consumer = "consumer1"
meters = ["{METER}"]
start = "2026-01-01T00:00:00Z"
[han]
mode = "static"
address = "127.0.0.1"
[[cls]]
name = "box"
[[proxy]]
name = "p"
cls = "box"
emt = "emt1"
"""
    )
    found = read_plan(plan, "ethe0399000001", [participant_profile(open_gwa(gwa))])
    assert found.pairing_s == 60 and len(found.meters[0][1]) == 16
    assert found.consumers[0].user_id == "consumer1.sm" and len(found.consumers[0].ha1_md5) == 32
    assert len(found.technicians[0].certificates[0]) == 64
    assert found.proxies[0].emt == "emt1" and found.han[0].mode == "static"
    plan.write_text("[[metre]]\n")
    from smgw_emu.core.errors import ConfigError

    with pytest.raises(ConfigError, match="no table metre"):
        read_plan(plan, "x", [])


def test_wrong_use_is_one_line(tmp_path, gwa):
    assert "exists and is not empty" in smgw("gwa", "init", str(gwa), code=2)
    assert "no administrator in" in smgw("gwa", "list", "-g", str(tmp_path / "no"), code=2)
    assert "needs --pki" in smgw(
        "init", str(tmp_path / "x"), "--factory", str(gwa / "administrator.json"), code=2
    )
    assert "name the meters" in smgw("gwa", "commission", "-g", str(gwa), "ETHE0399000001", code=2)
    assert "name the DEVICE" in smgw("gwa", "wakeup", "-g", str(gwa), code=2)
