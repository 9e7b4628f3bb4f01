"""``smgw status``: a running gateway at a glance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from smgw_emu.cli import UnreachableError
from smgw_emu.cli.common import DIRECTORY, print_json
from smgw_emu.lab.access import read_access

_LAMP_NAMES = {"pwr": "PWR", "tls": "TLS", "lmc": "LMC", "wmt": "wMT"}
# DLMS unit codes, IEC 62056-62 table 4
_UNITS = {
    8: "°", 9: "°C", 13: "m³", 15: "m³/h", 25: "J", 26: "J/h", 27: "W", 30: "Wh", 33: "A", 35: "V",
    44: "Hz", 255: "",
}  # fmt: skip


def lamp_line(lamps: dict[str, bool]) -> str:
    """Return the four lamps as text, lit ones filled."""
    marks = {True: "●", False: "○"}
    return "  ".join(f"{label} {marks[lamps[name]]}" for name, label in _LAMP_NAMES.items())


def fetch_state(url: str) -> dict[str, Any]:
    """Return the state a control endpoint gives.

    Raises:
        UnreachableError: nobody answers there.
    """
    import httpx

    try:
        answer = httpx.get(f"{url}/state", timeout=5, trust_env=False)
        answer.raise_for_status()
        state: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise UnreachableError(f"the gateway does not run: no answer from {url}") from error
    return state


def _module_text(module: dict[str, Any]) -> str:
    parts = [module["kind"], module["life_cycle"], f"{module['commands']} commands"]
    parts += ["strict"] if module["strict"] else []
    parts += ["REPRODUCIBLE (seeded, no secrets)"] if module["reproducible"] else []
    return ", ".join(parts)


def _wakeup_text(wakeup: dict[str, Any]) -> str:
    host, port = wakeup["address"]
    refused = sum(wakeup["refused"].values())
    last = wakeup["last_valid"] or "-"
    return (f"{wakeup['transport']}://{host}:{port}  {wakeup['accepted']} valid (last {last}), "
            f"{refused} refused")  # fmt: skip


def _rows(state: dict[str, Any]) -> list[tuple[str, str]]:
    secure = state["secure_state"] + (f" ({state['cause']})" if state["cause"] else "")
    rows = [
        ("gateway", f"{state['id']}  {state['firmware']}  profile {state['profile']}"),
        ("lamps", lamp_line(state["leds"])),
        ("phase", state["phase"]),
        ("secure state", secure),
        ("world time", f"{state['world_time']}  speed {state.get('speed', 1):g}"),
        ("HAN", f"{state['han'] or 'closed'}  TLS key in the {state['han_key']}"),
    ]
    rows.append(("module", _module_text(state["security_module"])))
    if "device_time" in state:
        valid = "valid" if state["device_time_valid"] else "INVALID"
        rows.append(
            ("device time", f"{state['device_time']}  {valid}, {state['deviation_ms']} ms off")
        )
        test = state["self_test"]
        rows.append(("self-test", f"{test['state']}: {test['result'] or 'not yet finished'}"))
        rows.append(("readings", str(state["readings"])))
        logs, values = state["storage"]["logs"], state["storage"]["values"]
        limit = f" of {values['limit_kib']}" if values["limit_kib"] else ""
        rows.append(("storage", (f"logs {logs['used_kib']} of {logs['limit_kib']} KiB, "
                     f"values {values['used_kib']}{limit} KiB")))  # fmt: skip
        rows.append(("update", state["firmware_update"]))
    if not state["rtc_battery"]:
        rows.append(("RTC", "battery EMPTY: the time goes with the power"))
    if state.get("wakeup"):
        rows.append(("wake-up", _wakeup_text(state["wakeup"])))
    rows += _wan_rows(state.get("wan"))
    rows += _cls_rows(state.get("cls"))
    for line in state.get("lines", []):
        health = "ready" if line["ready"] else "lost"
        counts = f"{line['frames']} frames, {line['damaged']} damaged"
        text = f"{line['port']}  {health}, {counts}, last {line['last_frame'] or '-'}"
        rows.append(("meter port", text))
    for bus in state.get("wired", []):
        rows += _wired_rows(bus)
    rows += _radio_rows(state.get("radio"))
    rows += [("missing meter", meter) for meter in state.get("missing_meters", [])]
    for value in state.get("current", []):
        unit = _UNITS.get(value["unit"], f"unit {value['unit']}")
        rows.append(("meter", f"{value['meter']}  {value['obis']}  {value['value']} {unit}"))
    rows += [("unknown meter", f"{meter}  (not configured, dropped)") for meter in
             state.get("unknown_meters", [])]  # fmt: skip
    return rows


def _wired_rows(bus: dict[str, Any]) -> list[tuple[str, str]]:
    health = "ready" if bus["ready"] else "lost"
    troubles = ", ".join(f"{count} {kind}" for kind, count in bus["troubles"].items() if count)
    text = f"{bus['port']}  {health}, {bus['frames']} frames, {troubles or 'no trouble'}"
    rows = [("HDLC bus", text)]
    rows += [("HDLC fault", fault) for fault in bus["faults"]]
    for station in bus["stations"]:
        shown = f"{station['meter']}  {station['state']}, since {station['since']}"
        rows.append((f"HDLC {station['address']}", shown))
    return rows


def _radio_rows(radio: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Receivers, configured meters heard, and a word on the strangers."""
    if not radio or not radio["receivers"]:
        return []
    rows = []
    for line in radio["receivers"]:
        health = "ready" if line["ready"] else "lost"
        counts = f"{line['telegrams']} telegrams, {line['damaged']} damaged"
        rows.append(("radio", f"{line['port']}  {line['receiver']}, {health}, {counts}"))
    for station in radio["heard"]:
        if station["meter"]:
            level = "" if station["rssi_dbm"] is None else f", {station['rssi_dbm']} dBm"
            told = ", ".join(f"{count} {name}" for name, count in station["verdicts"].items())
            text = f"{station['meter']}  {station['type']}{level}, {told}, last {station['last']}"
            rows.append(("radio meter", text))
    strangers = sum(1 for station in radio["heard"] if not station["meter"])
    return rows + ([("radio", f"{strangers} unknown senders (--json lists)")] if strangers else [])


def _wan_rows(wan: dict[str, Any] | None) -> list[tuple[str, str]]:
    if not wan or not wan["channels"]:
        return []
    keys = f"certificates {'Wirk' if wan['generation'] else 'Gütesiegel'} ({wan['generation']})"
    time = wan["synchronised"] or "never"
    rows = [("WAN", f"{wan['link']}, {keys}, {wan['waiting']} messages wait, time from {time}")]
    return rows + [
        (
            "WAN channel",
            f"{item['scenario']:14} {item['state']:10} {item['profile']}  {item['address']}",
        )
        for item in wan["channels"]
    ]


def _cls_rows(cls: dict[str, Any] | None) -> list[tuple[str, str]]:
    if not cls:
        return []
    rows = []
    if cls["addresses"]:
        doors = [f"{n} {host}:{port}" for n, (host, port) in sorted(cls["addresses"].items())]
        rows.append(("CLS proxy", ", ".join(doors)))
    for item in cls["channels"]:
        ends = f"{item['profile']}: {item['cls']} - {item['emt']}"
        octets = f"{item['up']} up, {item['down']} down"
        rows.append(("CLS channel", f"{item['scenario']} {item['state']}  {ends}  {octets}"))
    return rows


@click.command("status")
@click.argument("directory", type=DIRECTORY)
@click.option("--json", "as_json", is_flag=True, help="The whole state as JSON.")
def command(directory: Path, as_json: bool) -> None:
    """Show the running gateway in DIRECTORY: lamps, state, meters, clock.

    Exit code 3 if it does not run.
    """
    state = fetch_state(read_access(directory).control.url)
    if as_json:
        print_json(state)
        return
    for label, text in _rows(state):
        click.echo(f"{label:<14}{text}")
