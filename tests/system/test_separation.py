"""The look at the separation on real interfaces, in network namespaces the test makes (SEC-30, GW-67)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support import namespaces, unshare

from hardware.separation import InterfaceProbe
from smgw_emu.core.errors import SmgwError

# Runs in a network namespace of its own: two cables out of the device, a street that joins them or not.
STREET = """
import subprocess, sys, time
from hardware.separation import InterfaceProbe

def ip(*words):
    subprocess.run(["ip", *words], check=True)

subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)  # of this namespace

def look(name):
    probe = InterfaceProbe("wan0", "han0")
    probe.begin()
    print(name, "|", probe.finding(), flush=True)

for cable in ("wan", "han"):
    ip("link", "add", f"{cable}0", "type", "veth", "peer", "name", f"{cable}1")
    for end in (f"{cable}0", f"{cable}1"):
        ip("link", "set", end, "up")
open("/proc/sys/net/ipv4/conf/wan0/forwarding", "w").write("0")
open("/proc/sys/net/ipv4/conf/han0/forwarding", "w").write("0")
look("apart")
ip("link", "add", "street", "type", "bridge")
ip("link", "set", "street", "up")
for end in ("wan1", "han1"):
    ip("link", "set", end, "master", "street")
time.sleep(0.2)
end = time.monotonic() + 40
while time.monotonic() < end:  # a bridge port listens before it forwards
    probe = InterfaceProbe("wan0", "han0")
    probe.begin()
    if probe.finding():
        break
    time.sleep(0.5)
look("joined outside")
ip("link", "set", "wan1", "nomaster")
look("apart again")
ip("link", "set", "wan0", "master", "street")
ip("link", "set", "han0", "master", "street")
look("one bridge")
ip("link", "set", "wan0", "nomaster")
ip("link", "set", "han0", "nomaster")
for cable in ("wan", "han"):
    open(f"/proc/sys/net/ipv4/conf/{cable}0/forwarding", "w").write("1")
look("routed")
ip("link", "set", "wan0", "down")
for cable in ("wan", "han"):
    open(f"/proc/sys/net/ipv4/conf/{cable}0/forwarding", "w").write("0")
look("cable out")
"""


@pytest.mark.req("SEC-30", "GW-67", "S01", "S02", "HAN-04")
@pytest.mark.skipif(not namespaces(), reason="no right to make network namespaces here")
def test_two_real_interfaces_apart_joined_and_apart_again():
    """A frame finds the way outside; bridge and routing are seen on the host itself."""
    root = str(Path(__file__).resolve().parents[2])
    out = subprocess.run(
        [*unshare(), sys.executable, "-c", STREET],
        capture_output=True, text=True, timeout=100, cwd=root,
    )  # fmt: skip
    assert out.returncode == 0, out.stderr
    found = dict(line.split(" | ") for line in out.stdout.replace("|\n", "| \n").splitlines())
    assert found["apart"] == found["apart again"] == ""
    assert "Rahmen von" in found["joined outside"]
    assert found["one bridge"] == "WAN und HAN hängen an der Brücke street"
    assert "ipv4 wird zwischen WAN und HAN weitergeleitet" in found["routed"]
    assert found["cable out"] == ""


def host(root: Path, *, masters=("", ""), forwarding=("0", "0")) -> Path:
    for name, master, value in zip(("w", "h"), masters, forwarding, strict=True):
        place = root / "sys/class/net" / name
        place.mkdir(parents=True)
        if master:
            (root / "sys/class/net" / master).mkdir(exist_ok=True)
            (place / "master").symlink_to(root / "sys/class/net" / master)
        conf = root / "proc/sys/net/ipv4/conf" / name
        conf.mkdir(parents=True)
        (conf / "forwarding").write_text(f"{value}\n")
    return root


@pytest.mark.parametrize(
    ("masters", "forwarding", "found"),
    [
        (("", ""), ("0", "0"), ""),
        (("br0", "br0"), ("0", "0"), "Brücke br0"),
        (("br0", "br1"), ("0", "0"), ""),
        (("br0", ""), ("1", "0"), ""),
        (("", ""), ("1", "1"), "ipv4"),
    ],
)
def test_bridge_and_route_as_the_host_tells_them(tmp_path, masters, forwarding, found):
    """Both interfaces on one bridge, or forwarding on both."""
    probe = InterfaceProbe("w", "h", host(tmp_path, masters=masters, forwarding=forwarding))
    probe.begin()  # interfaces of these names are not on this host: no frame is sent
    told = probe.finding()
    assert (found in told) if found else told == ""


def test_the_same_interface_twice_and_one_that_is_not_there(tmp_path):
    """Named in words."""
    root = host(tmp_path)
    assert "dieselbe" in InterfaceProbe("w", "w", root).finding()
    with pytest.raises(SmgwError, match="Schnittstelle gone fehlt"):
        InterfaceProbe("w", "gone", root).finding()
