"""`smgw aemt`, `smgw steuerbox`, `smgw gwa channel` as a lab uses them: programs in real time."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading

import pytest
from support import SMGW, program, smgw

METER = "1EMU0000000001"


def ok(*arguments):
    found = smgw(*arguments)
    assert found.returncode == 0, (arguments, found.stdout, found.stderr)
    return found.stdout + found.stderr


def free(count, begin=31000):
    """Return the first of ``count`` free ports in a row."""
    for base in range(begin, 60000, 10):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for number in range(count):
                stack.enter_context(socket.create_server(("127.0.0.1", base + number)))
            return base
    raise AssertionError("no free ports")


@pytest.fixture
def lab(tmp_path):
    """Administrator and gateway run; the gateway knows a box and an active EMT."""
    g, home, box = str(tmp_path / "gwa"), str(tmp_path / "gw"), tmp_path / "box1"
    base, boxport = free(8), free(1, 41000)
    ok("gwa", "init", g, "--port", str(base), "--control-port", str(base + 5))
    made = json.loads(
        ok("init", home, "--factory", g, "--han-port", "0", "--control-port", "0").partition("next:")[0]
    )  # fmt: skip
    device = made["id"]
    assert "certificates" in ok("steuerbox", "new", str(box))
    assert smgw("steuerbox", "new", str(box)).returncode == 2
    wan = tmp_path / "aemt1.toml"
    wan.write_text(smgw("aemt", "profile", "-g", g).stdout)
    cls = tmp_path / "cls.toml"
    cls.write_text((box / "cls.toml").read_text() + f'addresses = ["127.0.0.1:{boxport}"]\n')
    proxies = {}
    for name, fields in (
        ("proxy1", 'initiator = "HKS4"\n'),
        ("proxy2", 'initiator = "HKS3"\nserver_name = "aemt.netz"\n'),
    ):
        proxies[name] = tmp_path / f"{name}.toml"
        proxies[name].write_text(f'name = "{name}"\ncls = "box1"\nemt = "aemt1"\n{fields}')
    with (
        program(SMGW, "gwa", "serve", g, wait_for="ready"),
        program(SMGW, "meter", "sml", "--out", "tcp://127.0.0.1:0", wait_for="meter") as meter,
    ):
        ok("gwa", "note", "-g", g, made["delivery_note"])
        with program(SMGW, "run", home, "--meter", meter.lines[-1].split()[1], wait_for="ready"):
            ok("gwa", "commission", "-g", g, device, "--meter", METER)
            ok("gwa", "profile", "-g", g, device, "wan", str(wan))
            ok("gwa", "profile", "-g", g, device, "cls", str(cls))
            ok("gwa", "profile", "-g", g, device, "proxy", str(proxies["proxy1"]))
            yield g, home, device, box, boxport, proxies


@pytest.mark.req("H19", "K06")
def test_a_lab_switches_a_plant_on_the_command_line(lab):
    """Request, refusal, permission, limit, relays, schedule, status; then HKS3 with a forward."""
    g, home, device, box, boxport, proxies = lab
    run = ("steuerbox", "run", str(box), "--gateway", home, "--log-level", "warning")
    order = ("aemt", "switch", "-g", g, device, "proxy1")
    assert smgw(*order, "--status").returncode == 3
    with (
        program(SMGW, *run, "--listen", f"127.0.0.1:{boxport}", wait_for="ready"),
        program(SMGW, "aemt", "serve", "-g", g, "--log-level", "warning", wait_for="ready"),
    ):
        assert smgw(*order).returncode == 2
        refused = smgw(*order, "--limit", "4200")
        assert refused.returncode == 1
        assert "not authorised" in refused.stderr
        ok("gwa", "permit", "-g", g, "aemt1", device, "proxy1")
        assert f"aemt1  {device}  proxy1" in ok("gwa", "permit", "-g", g)
        out = ok(*order, "--limit", "4200", "--seconds", "900")
        for step in ("triggered", "no channel", "ordered", "channel stands", "confirmed"):
            assert step in out
        assert "state limited, limit 4200 W, relays off, off" in out
        assert "relays on, off" in ok(*order, "--relay", "1=on")
        found = json.loads(ok(*order, "--schedule", "0=9000,600=-", "--json"))
        assert found["in_budget"] and found["answer"]["limit"] == 9000
        assert "state unlimited, limit none" in ok(*order, "--release")
        assert "refuses" in smgw(*order, "--relay", "7=on").stderr
        ask = ("aemt", "request", "-g", g, device, "proxy1", "--seconds", "600", "--actor")
        assert json.loads(ok(*ask, "supplier", "--limit", "9000"))["actor"] == "supplier"
        assert json.loads(ok(*ask, "vnb", "--vnb", "--limit", "4200"))["watts"] == 4200
        assert "supplier: by vnb, at most 4200 W" in ok("aemt", "notices", "-g", g)
        assert "vnb" in ok("aemt", "light", "-g", g, "red")
        assert json.loads(ok("gwa", "channel", "-g", g, device, "proxy1"))["state"] == "open"
        status = ok("status", home)
        assert "CLS channel" in status and "HKS4 open  proxy1: box1 - aemt1" in status
        ok("gwa", "channel", "-g", g, device, "proxy1", "disconnect")
        assert "withdrawn" in ok("gwa", "permit", "-g", g, "aemt1", device, "proxy1", "--withdraw")
    ok("gwa", "profile", "-g", g, device, "proxy", str(proxies["proxy1"]), "--delete")
    ok("gwa", "profile", "-g", g, device, "proxy", str(proxies["proxy2"]))
    door = json.loads(ok("status", home, "--json"))["cls"]["addresses"]["socks"]
    place = f"{door[0]}:{door[1]}"

    class Echo(socketserver.BaseRequestHandler):
        def handle(self):
            while data := self.request.recv(4096):
                self.request.sendall(data.upper())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        far = f"127.0.0.1:{server.server_address[1]}"
        with (
            program(SMGW, "aemt", "serve", "-g", g, "--local", f"127.0.0.1:{free(1, 51000)}",
                    "--log-level", "warning", wait_for="ready") as aemt,
            program(SMGW, *run, "--socks", place, "--name", "aemt.netz", "--forward", far,
                    wait_for="ready"),
        ):  # fmt: skip
            (local,) = [line.split()[1] for line in aemt.lines if line.startswith("local")]
            host, _, port = local.partition(":")
            with socket.create_connection((host, int(port)), 20) as client:
                client.settimeout(20)
                client.sendall(b"any protocol")
                got = b""
                while len(got) < 12:
                    got += client.recv(100)
                assert got == b"ANY PROTOCOL"
        server.shutdown()


def test_wrong_words_are_told(tmp_path):
    """Clear errors for what is missing."""
    assert "one of --socks" in smgw("steuerbox", "run", "x", "--gateway", str(tmp_path)).stderr
    found = smgw("steuerbox", "run", "x", "--gateway", str(tmp_path), "--sni", "127.0.0.1:1", "--name", "a")  # fmt: skip
    assert found.returncode != 0
    assert "certificate" in found.stderr
    assert smgw("aemt", "serve", "-g", str(tmp_path / "none")).returncode != 0
