"""Wireless meters with the programs a user runs: meter wireless, init, run, status, decode wmbus."""

from __future__ import annotations

import json
import subprocess

import pytest
from radio_lab import vectors
from support import SMGW, program, smgw, until

from smgw_emu.cli.decode_wmbus import _text, explain

VECTORS = vectors()
GAS = VECTORS["oms_n_profileB_gas_integrated"]


@pytest.mark.req("LMN-02", "LMN-10", "H07")
@pytest.mark.parametrize(
    ("out", "wire"),
    [
        ("im871a", "pty"),
        ("amb8465", "pty"),
        ("cul", "pty"),
        ("rc1180", "pty"),
        ("pty", "tcp://127.0.0.1:0"),
    ],
)
def test_from_the_meters_to_the_status(tmp_path, out, wire):
    note, home = tmp_path / "note.toml", tmp_path / "gw"
    kinds = ["--type", "gas", "--type", "water", "--interval", "1"]
    meters = [SMGW, "meter", "wireless", *kinds, "--out", out, "--port", wire, "--note", str(note)]
    with program(*meters, wait_for="stick ") as rack:
        place = rack.lines[-1].split()[1] + f"?stick={'hex' if out == 'pty' else out}"
        assert note.stat().st_mode & 0o777 == 0o600
        made = smgw("init", str(home), "--radio", place, "--wireless", str(note), "--han-port",
                    "0", "--control-port", "0", "--wakeup-port", "0")  # fmt: skip
        assert made.returncode == 0, made.stderr
        key = note.read_text().split('master_key = "')[1][:32]
        assert key not in (home / "config.toml").read_text()
        with program(SMGW, "run", str(home), wait_for="ready"):

            def state():
                shown = smgw("status", str(home), "--json")
                assert shown.returncode == 0, shown.stderr
                return json.loads(shown.stdout)

            until(lambda: len({v["meter"] for v in state()["current"]}) == 2, "no values")
            assert state()["leds"]["wmt"] in {True, False}
            text = smgw("status", str(home)).stdout
            assert "radio meter" in text
            assert "m³" in text
            assert "accepted" in text
            assert key not in text


def test_meters_obey_standard_input():
    command = [SMGW, "meter", "wireless", "--out", "hex", "--interval", "86400"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        for text in (
            "fault 1 magnetic",
            "send 1",
            "replay 1",
            "install 1 on",
            "send 1",
            "nonsense",
        ):
            process.stdin.write(text + "\n")
            process.stdin.flush()
        lines = [process.stdout.readline().strip() for _ in range(3)]
        told = [process.stderr.readline() for _ in range(6)]
        process.terminate()
        process.wait(20)
    assert lines[0] == lines[1] != lines[2]
    assert (lines[0][2:4], lines[2][2:4]) == ("44", "46")
    assert "fault 7TST0110100001 magnetic\n" in told
    assert "no meter" in told[-1]


@pytest.mark.parametrize("security", ["0", "5", "7", "10"])
def test_what_meters_print_is_what_decode_reads(security):
    made = smgw("meter", "wireless", "--type", "water", "--security", security, "--telegrams", "2",
                "--compact", "3", "--actuality", "--out", "rtl_wmbus", "--mode", "C")  # fmt: skip
    assert made.returncode == 0, made.stderr
    from smgw_emu.bench.meters.keys import master_key

    key = master_key(1, "8TST0110100001").hex()
    shown = smgw("decode", "wmbus", "-", "--key", key, data=made.stdout)
    assert shown.returncode == 0, shown.stderr
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert len(lines) == 2
    for line in lines:
        assert line["tpl"]["security_mode"] == int(security)
        assert line["profiles"][0]["kind"] == "inverse"
        assert line["registers"][0]["obis"] == "8-0:1.0.0*255"
        assert line.get("mac") == ("good" if security in {"7", "10"} else None)
        assert key not in json.dumps(line)


def test_decode_shows_every_layer():
    shown = smgw("decode", "wmbus", GAS["telegram"], "--key", GAS["key"])
    found = json.loads(shown.stdout)
    assert found["link"]["device_id"] == "7ELS3312345678"
    assert found["afl"] == {
        "fragment": 0, "more": False, "mcl": "25", "counter": 2739, "mac": "21924d4f2fb66e01",
    }  # fmt: skip
    assert found["registers"] == [{"obis": "7-0:3.0.0*255", "value": "28504.27", "dlms_unit": 13}]
    text = smgw("decode", "wmbus", GAS["telegram"], "--key", GAS["key"], "--text").stdout
    assert "volume: 28504.27 m3" in text


@pytest.mark.parametrize("name", [n for n, v in VECTORS.items() if v["layer"] != "apl-only"])
def test_decode_takes_every_vector(name):
    entry = VECTORS[name]
    key = bytes.fromhex(entry["key"]) if entry["key"] else None
    shown = explain(bytes.fromhex(entry["telegram"]), key)
    compact = "compact_frame" in name or name == "kam_compact_pair_short"
    assert ("Annex G" in shown.get("error", "")) == compact
    assert json.dumps(shown)
    assert all(isinstance(line, str) for line in _text(shown))


def test_decode_reads_a_file_of_long_frames(tmp_path):
    """A frame of 190 octets is no file name, but one in a file is read."""
    entry = VECTORS["sontex868_mode5"]
    file = tmp_path / "frames.txt"
    file.write_text(entry["telegram"] + "\n# a remark\n" + entry["telegram"] + "\n")
    for source, count in ((entry["telegram"], 1), (str(file), 2)):
        shown = smgw("decode", "wmbus", source, "--key", entry["key"])
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.count('"profiles"') == count


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["decode", "wmbus", "xyz"], 2, "neither a file nor hex digits"),
        (["decode", "wmbus", "0A44"], 1, "no telegram"),
        (["decode", "wmbus", GAS["telegram"]], 1, "no telegram"),
        (["decode", "wmbus", GAS["telegram"], "--key", "00"], 2, "16 octets"),
        (["decode", "wmbus", GAS["telegram"], "--key", "zz"], 2, "hex digits"),
        (["decode", "wmbus", GAS["telegram"], "--key", "00" * 16], 1, "no telegram"),
        (["meter", "wireless", "--type", "milk", "--telegrams", "1"], 2, "no meter type milk"),
        (["meter", "wireless", "--format", "B", "--telegrams", "1"], 2, "mode C only"),
        (["meter", "wireless", "--out", "cul", "--telegrams", "1"], 2, "--out hex"),
        (["meter", "wireless", "--spacing", "3601", "--telegrams", "1"], 2, "spacing of 3601 s"),
        (["init", "/nowhere/x", "--radio", "/dev/null?stick=sdr"], 2, "stick: one of"),
    ],
)
def test_errors_are_one_line(arguments, code, said):
    shown = smgw(*arguments)
    assert shown.returncode == code, shown.stderr
    assert said in shown.stderr
    assert "Traceback" not in shown.stderr
