"""The state of a gateway as JSON, for the control endpoint and ``smgw status``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lmn.sml.report import meter_key
from smgw_emu.core.instants import MILLISECOND, WorldTime
from smgw_emu.core.leds import Leds, LedState
from smgw_emu.core.logbook import LogEntry
from smgw_emu.core.values import scaled
from smgw_emu.gateway import Gateway
from smgw_emu.runtime import Runtime
from smgw_emu.transport.clock import VirtualClock
from smgw_emu.wired_line import WiredLine


def lamps_json(lamps: Leds) -> dict[str, bool]:
    """Return the four lamps by name."""
    return lamps._asdict()


def log_json(entry: LogEntry) -> dict[str, Any]:
    """Return a log entry with the elements of T42."""
    return {
        "record_number": entry.number,
        "datetime": entry.time.iso(),
        "level": entry.level,
        "event": entry.event,
        "outcome": entry.outcome,
        "subject_identity": entry.subject,
        "user_identity": entry.user,
        "message": entry.message,
    }


def _iso(moment: WorldTime | None) -> str | None:
    return None if moment is None else moment.iso()


def _lamp_state(state: LedState) -> dict[str, Any]:
    return {
        "phase": state.phase,
        "secure_state": state.secure,
        "admin_channel": state.channel,
        "hdlc_station": state.hdlc_station,
        "time_synchronised": state.synchronised,
    }


def _module(gateway: Gateway) -> dict[str, Any]:
    module = gateway.hsm
    return {
        "kind": gateway.config.security_module.kind,
        "life_cycle": module.life_cycle,
        "strict": module.strict,
        "reproducible": module.deterministic,
        "commands": module.log.total,
    }


def _wired(line: WiredLine) -> dict[str, Any]:
    """One bus and its stations."""
    stations = []
    for station in line.stations:
        session = line.session_at(station)
        stations.append(
            {
                "address": station.address,
                "meter": meter_key(station.sensor),
                "state": "foreign" if session is None else session.state,
                "tls_sessions": 0 if session is None else session.sessions,
                "since": station.since.iso(),
                "frames": station.frames,
                "unanswered": station.damaged,
            }
        )
    return {
        "port": line.name,
        "ready": line.ready,
        "frames": line.frames,
        "last_frame": _iso(line.last_frame_at),
        "troubles": {kind.value: count for kind, count in line.troubles.counts.items()},
        "faults": sorted(line.troubles.faults),
        "load_ma": line.load_ma,
        "stations": stations,
    }


def _radio(running: Runtime) -> dict[str, Any]:
    """Receivers, who is on the air, what became of it all."""
    lmn = running.lmn
    return {
        "receivers": [
            {
                "port": line.name,
                "ready": line.ready,
                "receiver": line.text,
                "band": line.band,
                "telegrams": line.telegrams,
                "damaged": line.damaged,
                "not_listened_to": line.not_heard,
                "last_telegram": _iso(line.last_at),
            }
            for line in lmn.radios
        ],
        "verdicts": {v.value: count for v, count in lmn.reception.inbox.verdicts.items()},
        "heard": [
            {
                "address": str(station.address),
                "type": station.address.type_name,
                "meter": station.meter or None,
                "telegrams": station.telegrams,
                "first": station.first.iso(),
                "last": station.last.iso(),
                "mode": station.mode,
                "rssi_dbm": station.rssi,
                "security_mode": station.security,
                "verdicts": station.verdicts,
            }
            for station in lmn.reception.heard.rows()
        ],
    }


def _wakeup(running: Runtime) -> dict[str, Any] | None:
    line = running.wakeup
    if line is None or line.address is None:
        return None
    service = line.service
    return {
        "address": list(line.address),
        "transport": line.transport,
        "accepted": service.accepted,
        "last_valid": _iso(line.last_valid),
        "refused": {reason.value: count for reason, count in service.rejected.items()},
    }


def gateway_state(gateway: Gateway) -> dict[str, Any]:
    """Return everything the lab may know, without secrets."""
    now = gateway.clock.now()
    state: dict[str, Any] = {
        "id": str(gateway.config.device_id),
        "profile": gateway.profile.name,
        "firmware": gateway.profile.device.firmware_version,
        "model": gateway.profile.device.model,
        "world_time": now.iso(),
        **_lamp_state(gateway.lamps),
        "cause": gateway.cause,
        "security_module": _module(gateway),
        "han": None,
        "han_key": "security module" if gateway.key_in_module else "process (fallback)",
    }
    if gateway.han_address is not None:
        host, port = gateway.han_address
        state["han"] = f"https://{host}:{port}"
    if isinstance(gateway.clock, VirtualClock):
        state["speed"] = gateway.clock.factor
    state["supply_v"] = gateway.supply_v
    state["rtc_battery"] = gateway.rtc.battery
    running = gateway.running
    if running is None:
        return state
    device = running.device
    state["firmware_update"] = running.updater.state
    state["storage"] = {
        "logs": {
            "used_kib": device.logbooks.used // 1024,
            "limit_kib": device.profile.retention.log_capacity_kib,
        },
        "values": {
            "used_kib": device.store.used_kib(),
            "limit_kib": device.administration.settings.value_limit_kib,
        },
    }
    state["device_time"] = device.now(now).iso()
    state["device_time_valid"] = device.clock.valid
    state["deviation_ms"] = device.clock.deviation(now) // MILLISECOND
    state["firmware_hash"] = device.firmware_hash
    state["readings"] = device.store.count_readings()
    result = running.self_test.last_result
    state["self_test"] = {
        "state": running.self_test.state,
        "passed": None if result is None else result.passed,
        "result": None if result is None else str(result),
    }
    state["lines"] = [
        {
            "port": line.name,
            "ready": line.ready,
            "frames": line.frames,
            "damaged": line.damaged,
            "last_frame": _iso(line.last_frame_at),
        }
        for line in running.lmn.lines
    ]
    state["wired"] = [_wired(line) for line in running.lmn.wired]
    state["radio"] = _radio(running)
    state["missing_meters"] = sorted(running.lmn.book.missing)
    state["wakeup"] = _wakeup(running)
    state["wan"] = {
        "link": running.wan.link.way or "none",
        "generation": running.facilities.keys.generation,
        "channels": [asdict(channel) for channel in running.wan.states()],
        "waiting": running.wan.outbox.count(),
        "synchronised": device.store.get_meta("synchronised"),
    }
    state["cls"] = {
        "addresses": {name: list(place) for name, place in running.cls.doors.addresses.items()},
        "channels": [asdict(channel) for channel in running.cls.states()],
        "waiting": len(running.cls.visitors),
        "hasty": running.cls.hasty,
    }
    state["current"] = [
        {
            "meter": meter,
            "obis": str(obis),
            "capture_time": capture.iso(),
            "value": format(scaled(value, scaler), "f"),
            "unit": unit,
        }
        for (meter, obis), (capture, value, scaler, unit) in device.metering.current.items()
    ]
    state["unknown_meters"] = sorted(device.metering.unknown_meters)
    return state
