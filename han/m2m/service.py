"""The six methods of IF_GW_CON.

One endpoint, ``POST /smgw/m2m/<userid>/json``, a JSON object with ``method``. Answers are compact
JSON with keys in alphabetical order at each level, every scalar a string (``han-m2m.md`` 5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from han.m2m import parameters as read
from smgw_emu.core.contracts import ConsumerView
from smgw_emu.core.device import Device
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.events import split_event_id
from smgw_emu.core.instants import DeviceTime, WorldTime
from smgw_emu.core.logbook import LogEntry
from smgw_emu.core.selftest import SelfTestAnswer, SelfTestPort
from smgw_emu.core.status import Dialect, smgw_word, word_hex
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.values import Reading
from smgw_emu.transport.http import Request, Response

if TYPE_CHECKING:
    from han.interface import HanMaterial

_JSON = [("content-type", "application/json")]
_OUTCOMES = {"S": "0", "F": "1", "X": "2"}  # han-m2m.md 6.5
# GW-N12: the field is syslog-like (the example shows 6 for an info event), the table counts up.
_LEVELS = {
    "syslog": {"I": "6", "W": "4", "E": "3", "F": "2"},
    "document": {"I": "1", "W": "2", "E": "3", "F": "4"},
}
_ENCODER = msgspec.json.Encoder(order="sorted")

Body = dict[str, Any]


class M2mService:
    """Answers IF_GW_CON requests of authenticated consumers."""

    def __init__(
        self,
        device: Device,
        material: HanMaterial,
        self_test: SelfTestPort,
        stopwatch: Callable[[], int],
    ) -> None:
        self._device = device
        self._material = material
        self._self_test = self_test
        self._stopwatch = stopwatch
        self._profile = device.profile
        self._certificates = _certificates(material)
        self._taf_profiles: dict[str, str] = {}
        self._methods: dict[str, Callable[[Body, ConsumerView, WorldTime], Body | None]] = {
            "smgw-info": self._smgw_info,
            "user-info": self._user_info,
            "usage-point-info": self._usage_point_info,
            "readings": self._readings,
            "log": self._log,
            "self-test": self._request_self_test,
        }

    def refresh(self, material: HanMaterial) -> None:
        """Show other certificates and profiles from now on."""
        self._material = material
        self._certificates = _certificates(material)
        self._taf_profiles.clear()

    def handle(self, request: Request, view: ConsumerView, now: WorldTime) -> Response:
        """Answer one request with the status codes of IF_GW_CON A-2."""
        if request.method != "POST":
            return Response(405)
        if not self._content_type_fits(request.headers.get("content-type", "")):
            return Response(400)
        started = self._stopwatch()
        try:
            body = read.decode_body(request.body)
            name = read.text(body, "method")
            method = self._methods.get(name)
            if method is None:
                raise RemoteProtocolError(f"no method {name[:40]!r}")
            content = method(body, view, now)
        except RemoteProtocolError:
            return Response(400)
        if content is None:
            return Response(403)
        answer = {
            "elapsed-time": f"{self._stopwatch() - started} miliseconds",  # the device's spelling
            "method": name,
            "version": self._profile.device.han_interface_version,
            **content,
        }
        return Response(200, _ENCODER.encode(answer), list(_JSON))

    def _content_type_fits(self, value: str) -> bool:
        kind, _, rest = value.partition(";")
        if self._profile.http.strict_content_type and rest:
            return False
        return kind.strip().lower() == "application/json"

    # -- A-2.2 -----------------------------------------------------------------------------

    def _smgw_info(self, _body: Body, view: ConsumerView, now: WorldTime) -> Body:
        device, profile = view.device, self._profile
        dialect = Dialect(profile.registration.status_dialect)
        info = {
            "certificates": self._certificates,
            "firmware-info": {
                "component": profile.device.firmware_component,
                "hash": device.firmware_hash,
                "version": profile.device.firmware_version,
            },
            "smgw-id": device.id.lower,
            "smgw-state": word_hex(smgw_word(device.metering.conditions, dialect)),
            "smgw-time": device.now(now).iso().removesuffix("Z"),
        }
        return {"smgw-info": info}

    # -- A-2.3 -----------------------------------------------------------------------------

    def _user_info(self, _body: Body, view: ConsumerView, now: WorldTime) -> Body:
        time = view.device.now(now)
        points = [_contract(view, point, time) for point in view.usage_points()]
        return {"user-info": {"usage-points": points}}

    # -- A-2.4 -----------------------------------------------------------------------------

    def _usage_point_info(self, body: Body, view: ConsumerView, _now: WorldTime) -> Body:
        only = read.database(body, required=False)
        point = self._point(read.text(body, "usage-point-id"), view)
        databases = [
            _database(view, point, name)
            for name in view.databases(point)
            if only is None or name == only
        ]
        info = {
            "databases": databases,
            "emts": list(point.emts),
            "taf-profile": self._taf_profile(point),
            "transparency-bit": _bool(point.transparency),
            "usage-point-id": point.logical_name,
            "usage-point-name": point.description or point.name,
        }
        return {"usage-point-info": info}

    def _taf_profile(self, point: UsagePoint) -> str:
        if point.name not in self._taf_profiles:
            self._taf_profiles[point.name] = self._material.taf_profile(point).hex()
        return self._taf_profiles[point.name]

    def _point(self, logical_name: str, view: ConsumerView) -> UsagePoint:
        point = view.usage_point(logical_name)
        if point is None:
            raise RemoteProtocolError("no such usage point")
        return point

    # -- A-2.6 -----------------------------------------------------------------------------

    def _readings(self, body: Body, view: ConsumerView, _now: WorldTime) -> Body:
        query = read.readings_query(body, self._profile.m2m.readings_window_s)
        point = self._point(query.usage_point, view)
        if query.database not in view.databases(point):
            return {"readings": {"channels": [], "records": "0"}}
        if not query.last:
            lines = view.readings(point, query.database, query.after, query.until, query.channels)
        elif query.channels and self._profile.m2m.filtered_last_reading_empty:
            lines = []
        else:
            lines = view.last_readings(point, query.database, query.channels)
        channels = view.channels(point, query.database)
        scalers = {channel.obis: channel.scaler for channel in channels}
        by_obis: dict[str, list[Body]] = {
            channel.obis.hex: []
            for channel in channels
            if not query.channels or channel.obis in query.channels
        }
        for line in lines:
            row = _reading(line, point, scalers.get(line.obis, line.scaler))
            by_obis.setdefault(line.obis.hex, []).append(row)
        shown = [{"obis": obis, "readings": rows} for obis, rows in by_obis.items()]
        return {"readings": {"channels": shown, "records": str(len(lines))}}

    # -- A-2.5 -----------------------------------------------------------------------------

    def _log(self, body: Body, view: ConsumerView, _now: WorldTime) -> Body:
        query = read.log_query(body, self._profile.m2m.log_max_entries)
        entries = view.device.logbooks.entries(
            "consumer",
            view.consumer.login,
            begin=query.begin,
            end=query.end,
            from_number=query.from_index,
            count=query.count,
        )
        levels = _LEVELS[self._profile.m2m.log_level_dialect]
        rows = [_log_entry(entry, levels) for entry in entries]
        return {"log": {"entries": rows, "records": str(len(rows))}}

    # -- A-2.7 -----------------------------------------------------------------------------

    def _request_self_test(self, _body: Body, _view: ConsumerView, now: WorldTime) -> Body | None:
        reply = self._self_test.request(now, "Letztverbraucher")
        return {} if reply.answer is SelfTestAnswer.STARTED else None


def _certificates(material: HanMaterial) -> Body:
    """The HAN certificate as hex of its PEM text, WAN certificates as hex of DER."""
    wan = [
        {"cert-index": str(index), "sig": sig.hex(), "sub-ca": sub_ca.hex()}
        for index, sig, sub_ca in material.wan_certificates
    ]
    return {"han": {"tls": material.han_certificate.hex()}, "wan": wan}


def _bool(value: bool) -> str:  # noqa: FBT001  # the value is the content
    return "true" if value else "false"


def _contract(view: ConsumerView, point: UsagePoint, now: DeviceTime) -> Body:
    periods = [
        {"end-time": period.end.iso() if period.end else "", "start-time": period.begin.iso()}
        for period in view.billing_periods(point, now)
    ]
    finish = point.finish
    return {
        "billing-Periods": periods,  # with a capital P, as in the description and the field
        "capture-time": view.daily_clock(point),
        "delivery-id": point.delivery_id,
        "end-time": finish.iso() if finish else "",
        "meter": [{"meter-id": meter.lower()} for meter in point.meters],
        "metering-point-id": point.metering_point,
        "on-demand-profile-configured": _bool(point.on_demand),
        "start-time": point.begin.iso(),
        "taf-number": str(point.taf),
        "taf-state": point.state(now),
        "usage-point-id": point.logical_name,
        "usage-point-name": point.description or point.name,
    }


def _database(view: ConsumerView, point: UsagePoint, name: str) -> Body:
    channels = view.channels(point, name)
    return {
        "channels": [
            {"obis": c.obis.hex, "scaler": str(c.scaler), "unit": str(c.unit)} for c in channels
        ],
        "database": name,
        "records": str(sum(c.records for c in channels)),
    }


def _reading(line: Reading, point: UsagePoint, scaler: int) -> Body:
    smgw, meter = word_hex(line.smgw_word), word_hex(line.meter_word)
    # a repeated value is the use case's, not the meter's (GW-N09)
    owner = point.name if line.repeated else line.meter
    return {
        "capture-time": line.capture.iso(),
        "cosem-status": smgw + meter,
        "meter-status": meter,
        "owner-number": f"{owner}.sm",
        "signature": line.signature.hex() if line.signature else None,
        "smgw-status": smgw,
        "target-time": line.target.iso(),
        "value": str(line.value * 10 ** max(0, line.scaler - scaler)),  # the channel's scaler
    }


def _log_entry(entry: LogEntry, levels: dict[str, str]) -> Body:
    vendor, event, sub = split_event_id(entry.event)
    return {
        "event-id": event,
        "event-sub-id": sub,
        "index": str(entry.number),
        "level": levels[entry.level],
        "message": entry.message,
        "outcome": _OUTCOMES[entry.outcome],
        "subject-identity": entry.subject,
        "time": entry.time.iso(),
        "user-identity": entry.user,
        "vendor-id": vendor,
        "version": "1",
    }
