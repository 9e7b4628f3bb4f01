"""The smgw command as people and scripts use it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import PASSWORD, SMGW, config_of, lab_post, new_gateway, program

from smgw_emu.bench.meters import ElectricityMeter
from smgw_emu.cli import EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE, run_command
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.lab.access import read_access
from smgw_emu.lab.provision import DEFAULT_METER


def smgw(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [SMGW, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
        **options,
    )


@pytest.fixture
def recording(tmp_path) -> Path:
    path = tmp_path / "meter.sml"
    meter = ElectricityMeter(DEFAULT_METER, WorldTime(0))
    path.write_bytes(b"".join(meter.frame(WorldTime(n * 60 * SECOND)) for n in range(1, 100)))
    return path


def test_help_names_every_command_and_the_exit_codes(capfd):
    """--help reads well: commands with one line each, exit codes documented."""
    assert run_command(["--help"]) == 0
    out = capfd.readouterr().out
    for name in ("init", "run", "demo", "status", "han", "meter", "decode"):
        assert f"\n  {name} " in out
        assert run_command([name, "--help"]) == 0
    assert "Exit codes: 0 done" in out
    assert run_command(["--version"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nope"], EXIT_USAGE),
        (["init"], EXIT_USAGE),
        (["run", "/nonexistent/gateway"], EXIT_USAGE),
        (["status", "/nonexistent/gateway"], EXIT_USAGE),
        (["han", "-d", "/nonexistent", "info"], EXIT_USAGE),
        (["han", "--url", "https://127.0.0.1:9", "info"], EXIT_USAGE),
        (["han", "--url", "https://127.0.0.1:9", "--insecure", "info"], EXIT_USAGE),
        (
            ["han", "--url", "https://127.0.0.1:9", "--insecure", "--user", "a", "info"],
            EXIT_UNREACHABLE,
        ),
        (["decode", "sml", "/nonexistent"], EXIT_USAGE),
        (["decode", "sml", "/dev/null"], EXIT_FAILED),
        (["meter", "sml", "--id", "nonsense"], EXIT_USAGE),
        (["meter", "sml", "--count", "1"], EXIT_USAGE),
        (["meter", "sml", "--out", "tcp://127.0.0.1:99999"], EXIT_USAGE),
        (["run", ".", "--clock", "system", "--speed", "2"], EXIT_USAGE),
        (["run", ".", "--start", "someday"], EXIT_USAGE),
    ],
)
def test_errors_are_one_clear_line_with_a_documented_code(arguments, code, capfd):
    """No traceback, ever; the line begins with smgw:."""
    assert run_command(arguments) == code
    err = capfd.readouterr().err
    assert err.startswith("smgw: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_init_makes_a_gateway_and_refuses_a_second_one(tmp_path, capfd):
    """access.json as scripts expect it, private to its owner; the directory is not overwritten."""
    home = tmp_path / "g"
    assert run_command(["init", str(home), "--han-port", "0", "--control-port", "0"]) == 0
    access = json.loads((home / "access.json").read_text())
    assert {"host", "port", "user", "password", "p12", "p12_password"} <= set(access["han"])
    assert set(access["control"]) == {"url"}
    for name in ("access.json", "config.toml", "consumer1.p12"):
        assert (home / name).stat().st_mode & 0o077 == 0
    out = capfd.readouterr().out
    assert access["han"]["password"] not in out
    assert run_command(["init", str(home)]) == EXIT_USAGE
    assert "not empty" in capfd.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--id", "nonsense"],
        ["--profile", "nope/nope"],
        ["--consumer", "../x"],
        ["--start", "x"],
        ["--id", "1EMU0000000001"],
    ],
)
def test_a_failed_init_leaves_nothing_behind(tmp_path, capfd, arguments):
    """Wrong values are refused before, or cleaned up after."""
    home = tmp_path / "g"
    assert run_command(["init", str(home), *arguments]) == EXIT_USAGE
    assert not home.exists()
    assert capfd.readouterr().err.startswith("smgw: ")


def test_init_lists_profiles_and_reads_the_meter_of_a_recording(tmp_path, capfd, data):
    """The id and registers of a real recording go into the configuration."""
    assert run_command(["init", str(tmp_path / "x"), "--list-profiles"]) == 0
    assert "conexa-3.0/v3.87" in capfd.readouterr().out
    dump = data / "sml/smartmeter-obis/ttyUSB0.dump"
    home = tmp_path / "g"
    assert run_command(["init", str(home), "--meter", str(dump), "--han-port", "0"]) == 0
    config = (home / "config.toml").read_text()
    assert 'id = "0901444E540100002030"' in config
    assert 'obis = ["0100020800ff"]' in config
    (tmp_path / "junk").write_bytes(b"no meter")
    code = run_command(["init", str(tmp_path / "h"), "--meter", str(tmp_path / "junk")])
    assert code == EXIT_USAGE


def test_decode_sml_gives_json_lines(recording, capfd):
    """One object per message; scaled values exact; damage is a line, not an end."""
    recording.write_bytes(recording.read_bytes()[:2000] + b"\x1b" * 4 + recording.read_bytes())
    assert run_command(["decode", "sml", str(recording)]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    lists = [line for line in lines if line.get("type") == "GetListResponse"]
    assert len(lists) >= 99
    entry = lists[0]["body"]["entries"][1]
    assert entry["obis"] == "1-0:1.8.0*255"
    assert entry["scaled"] == format(entry["value"] / 10, ".1f")
    assert any("error" in line for line in lines)


def test_decode_reads_standard_input_and_hex(recording):
    """A dash is standard input; --hex takes what people paste."""
    frame = recording.read_bytes()[:300]
    done = subprocess.run(
        [SMGW, "decode", "sml", "-"], input=frame, capture_output=True, check=False
    )
    assert done.returncode == 0 and done.stdout.count(b"\n") == 3
    done = subprocess.run(
        [SMGW, "decode", "sml", "--hex", "-"],
        input=frame.hex(" ").encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    done = subprocess.run(
        [SMGW, "decode", "sml", "--hex", "-"], input=b"xyz", capture_output=True, check=False
    )
    assert done.returncode == EXIT_USAGE


def test_meter_count_writes_a_file(tmp_path):
    """A recording to play back, made in one call."""
    out = tmp_path / "m.sml"
    assert run_command(["meter", "sml", "--out", str(out), "--count", "5", "--interval", "60"]) == 0
    assert run_command(["decode", "sml", str(out)]) == 0


def test_examples_in_the_help_stand_on_lines_of_their_own(capfd):
    """Click must see its mark for text that is not re-wrapped."""
    for command in (["export"], ["gwa"]):
        assert run_command([*command, "--help"]) == 0
        out = capfd.readouterr().out
        assert "\\b" not in out
        assert re.search(r"^  (Examples|First steps):$", out, re.MULTILINE)


def test_contracts_come_from_a_file(tmp_path, capfd):
    """The example works; a wrong contract is one line that names what is wrong, nothing is left."""
    home, example = tmp_path / "g", Path(__file__).parents[2] / "examples" / "tariffs.toml"
    ports = ["--han-port", "0", "--control-port", "0"]
    assert run_command(["init", str(home), "--contracts", str(example), *ports]) == 0
    assert '"prepaid"' not in capfd.readouterr().err
    assert len(config_of(home).usage_point) == 12
    wrong = tmp_path / "wrong.toml"
    for text, reason in (
        ('[[usage_point]]\nname = "x"\ntaf = 2\n', "stages: none given"),
        ('[[meter]]\nid = "1EMU0000000001"\n', "[[usage_point]] tables are expected"),
        ("not toml", "cannot read"),
    ):
        wrong.write_text(text)
        bad = tmp_path / "bad"
        assert run_command(["init", str(bad), "--contracts", str(wrong), *ports]) == EXIT_USAGE
        assert reason in capfd.readouterr().err
        assert not bad.exists()


def test_export_and_verify_ask_a_running_gateway(running, tmp_path, capfdbinary):
    """To a file by its name, to standard output, as a picture; good signatures end with 0."""
    home, _ = running
    lab_post(read_access(home), "clock", {"advance_s": 7200})
    gateway = ["-d", str(home)]
    for name, magic in (
        ("a.csv", b"contract,"),
        ("a.xml", b"<?xml"),
        ("a.json", b"{"),
        ("a.png", b"\x89PNG"),
    ):
        assert run_command(["export", *gateway, "-o", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_bytes().startswith(magic)
        assert b"values of 01005e318027.taf7-1.sm" in capfdbinary.readouterr().out
    assert run_command(["export", *gateway, "taf7-1", "--format", "csv"]) == 0
    assert capfdbinary.readouterr().out == (tmp_path / "a.csv").read_bytes()
    assert run_command(["verify", *gateway]) == 0
    assert re.search(rb"good +[78]  certificate 0", capfdbinary.readouterr().out)
    assert run_command(["verify", str(tmp_path / "a.json")]) == 0
    assert run_command(["verify", str(tmp_path / "a.csv")]) == EXIT_USAGE
    assert run_command(["export", *gateway, "nobody"]) == EXIT_USAGE
    assert run_command(["export", *gateway, "--from", "x"]) == EXIT_USAGE
    assert (
        run_command(["export", *gateway, "--list", "derived", "-o", str(tmp_path / "b.svg")])
        == EXIT_FAILED
    )
    assert b"no values in list" in capfdbinary.readouterr().err


@pytest.fixture
def running(home, recording):
    with program(
        SMGW,
        "run",
        str(home),
        "--meter",
        f"{recording}?interval=60&loop=1",
        "--start",
        "2026-03-31T10:00:00Z",
        wait_for="ready",
    ) as process:
        yield home, process


def test_a_session_of_the_consumers_client(running, capfd):
    """info, contracts, contract, readings, log, selftest: readable, and --json as the gateway says."""
    home, process = running
    access = read_access(home)
    assert process.lines[0].strip() == f"han https://127.0.0.1:{access.han.port}"
    assert process.lines[1].strip() == f"control {access.control.url}"
    lab_post(access, "clock", {"advance_s": 7200})
    han = ["han", "-d", str(home)]
    for arguments, expected in (
        (["info"], "v3.87.0-cc"),
        (["contracts"], "01005e318027.taf7-1.sm"),
        (["contract", "01005e318021.taf1-1.sm"], "derived"),
        (["readings"], "2026-03-31T11:45:00Z  0100010800ff"),
        (["readings", "01005e318021.taf1-1.sm", "--last"], "a000000020803800  signed"),
        (["readings", "--from", "2026-03-31T10:00:00Z", "--to", "2026-03-31T10:15:00Z"], "10:15"),
        (["log", "--count", "2"], "THE.19013.0"),
        (["selftest"], "self-test started"),
    ):
        assert run_command([*han, *arguments]) == 0, arguments
        assert expected in capfd.readouterr().out
        if arguments[0] != "selftest":
            assert run_command([*han, *arguments, "--json"]) == 0
            assert json.loads(capfd.readouterr().out)["version"] == "1.3.0"
    assert run_command([*han, "selftest"]) == EXIT_FAILED
    assert "600 s" in capfd.readouterr().err
    assert run_command([*han, "contract", "nope"]) == EXIT_FAILED
    capfd.readouterr()
    assert run_command(["han", "-d", str(home), "--with-certificate", "info"]) == 0
    assert run_command(["han", "-d", str(home), "--password", "wrong", "info"]) == EXIT_FAILED
    assert "401" in capfd.readouterr().err
    url = f"https://127.0.0.1:{access.han.port}"
    explicit = ["han", "--url", url, "--user", "consumer1", "--password", PASSWORD]
    assert run_command([*explicit, "--cert", access.han.ca, "info"]) == 0
    assert run_command([*explicit, "--insecure", "info"]) == 0
    p12 = ["--p12", access.han.p12, "--p12-password", access.han.p12_password]
    assert run_command(["han", "--url", url, "--insecure", *p12, "info"]) == 0


def test_the_wrong_gateway_is_not_trusted(running, tmp_path, capfd):
    """Another gateway's certificate as anchor: refused, exit code 3."""
    home, _ = running
    other = new_gateway(tmp_path / "other")
    url = f"https://127.0.0.1:{read_access(home).han.port}"
    code = run_command(["han", "--url", url, "--cert", other.han.ca, "--user", "a", "info"])
    assert code == EXIT_UNREACHABLE
    assert "certificate verify failed" in capfd.readouterr().err


def test_status_shows_lamps_and_state(running, capfd):
    """At a glance, and as JSON; exit code 3 when it does not run."""
    home, process = running
    lab_post(read_access(home), "clock", {"advance_s": 120})
    assert run_command(["status", str(home)]) == 0
    out = capfd.readouterr().out
    assert "PWR ●  TLS ○  LMC ○  wMT ○" in out
    assert "security module" in out and "Software OK" in out
    assert run_command(["status", str(home), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["phase"] == "ready"
    done = smgw("run", str(home))
    assert done.returncode == EXIT_FAILED
    assert "running already" in done.stderr
    process.terminate()
    process.wait(20)
    assert process.returncode == 0
    assert run_command(["status", str(home)]) == EXIT_UNREACHABLE


def test_run_on_a_damaged_store_says_so_and_models_it(home, capfd):
    """One clear line, cyclic restart on the lab plane, no traceback."""
    (home / "state.db").write_bytes(b"x" * 5000)
    with program(SMGW, "run", str(home), wait_for="ready") as process:
        text = "".join(process.lines)
        assert "device is in cyclic restart: state store" in text
        assert "Traceback" not in text
        assert run_command(["status", str(home)]) == 0
        assert "cyclic-restart" in capfd.readouterr().out


def test_a_meter_over_tcp_and_over_a_pty(home, tmp_path, capfd):
    """`smgw meter` on one side, `smgw run` on the other: TCP, then a real pty pair."""
    for out in ("tcp://127.0.0.1:0", "pty"):
        with program(SMGW, "meter", "sml", "--out", out, wait_for="meter ") as meter:
            source = meter.lines[-1].split()[1]
            with program(
                SMGW, "run", str(home), "--meter", source, "--clock", "system", wait_for="ready"
            ):
                url = read_access(home).control.url
                frames = wait_for_frames(url)
                assert frames["damaged"] == 0
                assert frames["port"] == source
                done = smgw("status", str(home))
                assert DEFAULT_METER.lower() in done.stdout


def wait_for_frames(url: str) -> dict:
    """Poll the lab plane until a frame has arrived (real time, at most 20 s)."""
    import time
    import urllib.request

    for _ in range(400):
        with urllib.request.urlopen(f"{url}/state") as answer:
            lines = json.load(answer)["lines"]
        if lines and lines[0]["frames"] >= 2:
            return lines[0]
        time.sleep(0.05)
    raise AssertionError("no frame arrived")


def test_demo_once_is_a_checked_pass(tmp_path):
    """The same chain as the live demo, JSON summary, exit 0."""
    done = smgw("demo", "--once", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["self_test"] == "passed"
    assert summary["lists"]["01005e318021.taf1-1.sm"]["derived"] == 1
    assert done.stderr == ""


def test_the_live_demo_prints_how_to_get_in_and_keeps_running():
    """Browser address, credentials, three commands to paste; the pasted commands work."""
    with program(
        SMGW,
        "demo",
        "--han-port",
        "0",
        "--control-port",
        "0",
        wait_for="Ctrl-C ends it",
        timeout=60,
    ) as process:
        text = "".join(process.lines)
        lines = [line.strip() for line in text.splitlines()]
        curl = lines.index("Copy and paste:") + 1
        command = lines[curl].rstrip("\\") + lines[curl + 1]
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        assert json.loads(done.stdout)["readings"]["records"] == "1"
        assert lines[curl + 2].startswith("xdg-open https://127.0.0.1:")
        readings = lines[curl + 3].split(" ", 1)[1]
        done = smgw(*readings.split())
        assert done.returncode == 0
        assert done.stdout.count("signed") >= 90
        live = process.stdout.readline()
        while "PWR" not in live:
            live = process.stdout.readline()
        assert "1.8.0" in live and "Wh" in live


def test_a_closed_pipe_is_no_error(recording):
    """`smgw decode ... | head` ends quietly."""
    done = subprocess.run(
        ["sh", "-c", f"{SMGW} decode sml {recording} | head -1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


def test_the_module_runs_too():
    """Python -m smgw_emu is the same command."""
    done = subprocess.run(
        [sys.executable, "-m", "smgw_emu", "--version"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ},
    )
    assert done.stdout.startswith("smgw, version")
