"""The same gateway on a pty, on TCP and on a serial port pair, with the programs a user runs."""

from __future__ import annotations

import json
import subprocess
import urllib.error

import pytest
from support import SMGW, lab_post, program, smgw, until

from smgw_emu.lab.access import read_access

EMH = "7EA02B020374031325193A190A01454D4800004AF1FD000000000A01454D4800004AF1FD000000000000B3887E"


def state(home) -> dict:
    shown = smgw("status", str(home), "--json")
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


def ready(home) -> bool:
    wired = state(home).get("wired", [])
    stations = [s for line in wired for s in line["stations"]]
    return len(stations) == 2 and all(s["state"] == "ready" for s in stations)


def read_values(home) -> bool:
    return len({value["meter"] for value in state(home).get("current", [])}) == 2


def run(tmp_path, wire: str, port: str) -> None:
    """Meters on one end, a gateway on the other; restart both and go on without pairing anew."""
    note, memory, home = tmp_path / "note.toml", tmp_path / "memory.json", tmp_path / "gw"
    meters = [SMGW, "meter", "wired", "--count", "2", "--port", wire, "--note", str(note),
              "--memory", str(memory)]  # fmt: skip
    with program(*meters, wait_for="bus ") as rack:
        place = port or rack.lines[-1].split()[1]
        made = smgw("init", str(home), "--lmn", place, "--wired", str(note), "--han-port", "0",
                    "--control-port", "0", "--wakeup-port", "0")  # fmt: skip
        assert made.returncode == 0, made.stderr
        assert note.stat().st_mode & 0o777 == 0o600
        with program(SMGW, "run", str(home), "--lmn-capture", str(tmp_path / "c.pcapng"),
                     wait_for="ready"):  # fmt: skip
            until(lambda: ready(home), "the meters are not ready")
            until(lambda: read_values(home), "no values")
            shown = smgw("status", str(home))
            assert "HDLC" in shown.stdout
            assert "1ISK0001000001".lower() in shown.stdout
    assert (tmp_path / "c.pcapng").stat().st_size > 1000
    assert all("paired" in line for line in rack.lines if line.startswith("meter"))
    with program(*meters[:-4], "--memory", str(memory), wait_for="bus ") as rack:
        assert sum(line.rstrip().endswith(" paired") for line in rack.lines) == 2
        place = port or rack.lines[-1].split()[1]
        with program(SMGW, "run", str(home), "--lmn", place, wait_for="ready"):
            until(lambda: ready(home), "the meters are not ready again")


def test_on_a_pty(tmp_path):
    run(tmp_path, "pty", "")


def test_on_tcp(tmp_path):
    run(tmp_path, "tcp://127.0.0.1:0", "")


@pytest.mark.req("LMN-01")
def test_on_a_serial_port_pair(tmp_path):
    """Socat's pair of terminals stands for the cable: both ends open a serial port."""
    ours, theirs = tmp_path / "ttyA", tmp_path / "ttyB"
    pair = [f"pty,raw,echo=0,link={end}" for end in (ours, theirs)]
    with program("socat", *pair):
        until(lambda: ours.exists() and theirs.exists(), "socat makes no pair")
        run(tmp_path, str(ours), str(theirs))


def test_an_unplugged_port_is_told_and_taken_again(tmp_path):
    """The adapter is pulled and put in: lost with its reason, found again, read again."""
    ours, theirs = tmp_path / "ttyA", tmp_path / "ttyB"
    note, home = tmp_path / "note.toml", tmp_path / "gw"
    pair = ["socat", *[f"pty,raw,echo=0,link={end}" for end in (ours, theirs)]]
    rack = [SMGW, "meter", "wired", "--count", "2", "--port", str(ours), "--note", str(note)]
    memory = ["--memory", str(tmp_path / "memory.json")]
    with program(*pair):
        until(lambda: ours.exists() and theirs.exists(), "socat makes no pair")
        with program(*rack, *memory, wait_for="bus "):
            smgw("init", str(home), "--lmn", str(theirs), "--wired", str(note), "--han-port", "0",
                 "--control-port", "0", "--wakeup-port", "0")  # fmt: skip
            gateway = program(SMGW, "run", str(home), wait_for="ready")
            running = gateway.__enter__()
            until(lambda: ready(home), "the meters are not ready")
    try:
        until(lambda: not state(home)["wired"][0]["ready"], "the loss is not seen")
        assert not state(home)["wired"][0]["stations"]
        assert len(state(home)["missing_meters"]) == 2
        with program(*pair):
            until(lambda: ours.exists() and theirs.exists(), "socat makes no pair")
            with program(*rack, *memory, wait_for="bus "):
                until(lambda: ready(home), "the meters did not come back")
                assert not state(home)["missing_meters"]
    finally:
        gateway.__exit__(None, None, None)
    assert running.returncode is not None


# -- the commands on their own ---------------------------------------------------------------------


def test_a_rack_is_told_what_to_do(tmp_path):
    """Tamper and unplug while it runs: the gateway sees both, and the lab gives orders."""
    note, home = tmp_path / "note.toml", tmp_path / "gw"
    rack = subprocess.Popen(
        [SMGW, "meter", "wired", "--count", "2", "--note", str(note)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip

    def say(text: str) -> str:
        rack.stdin.write(text + "\n")
        rack.stdin.flush()
        return rack.stdout.readline().strip()

    try:
        while not (line := rack.stdout.readline()).startswith("bus "):
            assert line
        made = smgw("init", str(home), "--lmn", line.split()[1], "--wired", str(note),
                    "--han-port", "0", "--control-port", "0", "--wakeup-port", "0")  # fmt: skip
        assert made.returncode == 0, made.stderr
        with program(SMGW, "run", str(home), wait_for="ready"):
            until(lambda: ready(home), "the meters are not ready")
            access, meter = read_access(home), "1isk0001000001"
            answer = lab_post(access, "lmn", {"meter": meter, "order": "information"})
            assert "MT631" in answer["result"]
            assert say("tamper 1 magnetic") == "tamper 1ISK0001000001 magnetic"
            answer = lab_post(access, "lmn", {"meter": meter, "order": "log"})
            assert answer["result"].endswith(" 9")
            assert say("tamper 9 magnetic").startswith("smgw: no meter")
            assert say("dance 1").startswith("smgw: ")
            shown = lab_post(access, "lmn", {"load_ma": 400})
            assert shown["wired"][0]["stations"] == []
            assert len(shown["missing_meters"]) == 2
            lab_post(access, "lmn", {"load_ma": 0})
            until(lambda: ready(home), "the meters did not come back")
            assert say("unplug 2") == "unplug 1EMH0001000002"
            with pytest.raises(urllib.error.HTTPError):
                lab_post(access, "lmn", {"meter": "1emh0004911613", "order": "clock"})
            with pytest.raises(urllib.error.HTTPError):
                lab_post(access, "lmn", {"meter": meter, "order": "dance"})
    finally:
        rack.stdin.close()
        rack.terminate()
        rack.wait(20)
        rack.stdout.close()


def test_decode_hdlc_explains_every_field(tmp_path):
    shown = smgw("decode", "hdlc", EMH)
    assert shown.returncode == 0
    line = json.loads(shown.stdout)
    assert line["frame"] == "UI"
    assert line["source"] == {"address": 58, "sap": 1}
    assert (line["length"], line["hcs"], line["fcs"]) == (43, "1925", "88b3")
    assert line["participants"][0]["participant"] == "1emh0004911613"
    file = tmp_path / "frames.bin"
    file.write_bytes(b"noise" + bytes.fromhex(EMH) + bytes.fromhex("7EA009740D020D93235C7E"))
    lines = [json.loads(text) for text in smgw("decode", "hdlc", str(file)).stdout.splitlines()]
    assert [line.get("frame", "error") for line in lines] == ["error", "UI", "SNRM"]
    assert lines[2]["protocol"] == "SYM-HDLC"
    piped = subprocess.run([SMGW, "decode", "hdlc", "-"], input=EMH.encode(), capture_output=True)
    assert json.loads(piped.stdout) == line


def test_decode_hdlc_looks_into_sym_and_tls():
    from lmn.hdlc import Frame, encode_frame

    sym = encode_frame(Frame(58, 6, 1, 6, 0x10, bytes.fromhex("0100000019FFFFFFFF") + bytes(16)))
    line = json.loads(smgw("decode", "hdlc", sym.hex()).stdout)
    assert line["sym"]["counter"] == 0xFFFFFFFF
    tls = encode_frame(Frame(58, 1, 1, 1, 0x10, b"\x16\x03\x03\x00\x02ab\x17\x03\x03\x00\x01c"))
    line = json.loads(smgw("decode", "hdlc", tls.hex()).stdout)
    assert [record["type"] for record in line["tls"]] == ["handshake", "application_data"]
    assert (line["ns"], line["nr"], line["poll_final"]) == (0, 0, True)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["decode", "hdlc", "zz"], 2, "neither a file nor hex"),
        (["decode", "hdlc", "7e7e"], 1, "no HDLC frame"),
        (["meter", "wired", "--model", "X1"], 2, "no meter model X1"),
        (["meter", "wired", "--port", "/dev/none"], 2, "cannot open"),
        (["meter", "wired", "--count", "64"], 2, "64"),
    ],
)
def test_wrong_use_is_one_line(arguments, code, text):
    found = smgw(*arguments)
    assert found.returncode == code
    assert text in found.stderr
    assert "Traceback" not in found.stderr


def test_the_models_are_listed():
    shown = smgw("meter", "wired", "--list-models").stdout
    for name in ("MT176", "MT691", "MT631", "eBZD", "eHZ"):
        assert name in shown


def test_a_note_without_keys_is_refused(tmp_path):
    note = tmp_path / "note.toml"
    note.write_text('[[meter]]\nid = "1ISK0001000001"\n')
    made = smgw("init", str(tmp_path / "gw"), "--lmn", "x", "--wired", str(note))
    assert made.returncode == 2
    assert "master_key" in made.stderr
    assert not (tmp_path / "gw").exists()
