"""Use cases as the administrator loads them and as the market gets them, over real channels."""

from __future__ import annotations

import msgspec
import pytest
from wan_lab import METER, run_lab

from smgw_emu.bench.gwa.session import GatewayError
from smgw_emu.core.instants import DAY, HOUR, MINUTE, DeviceTime
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.usage_point import DayProfile, Stage, Switch, Trigger, UsagePoint

IMPORT, POWER = "0100010800ff", "0100100700ff"
LATE = "2026-03-31T18:00:00Z"


def points(lab) -> list[UsagePoint]:
    start = DeviceTime.from_seconds(lab.clock.now().seconds // 900 * 900).iso()
    day = DayProfile(1, (Switch("00:00", 2), Switch("06:00", 1), Switch("22:00", 2)))
    return [
        UsagePoint("taf2-1", 2, "consumer1", (METER,), start, obis=(IMPORT,),
                   stages=(Stage(1, description="HT"), Stage(2, description="NT")),
                   day_profiles=(day,), week=(1,) * 7, change_list=True),
        UsagePoint("taf5-1", 5, "consumer1", (METER,), start, obis=(IMPORT,),
                   stages=(Stage(1), Stage(2)), first_stage=1),
        UsagePoint("taf8-1", 8, "consumer1", (METER,), start, obis=(IMPORT,), maxima=2, minima=1,
                   billing_period="1D"),
        UsagePoint("taf10-1", 10, "consumer1", (METER,), start, obis=(POWER,), period_s=3600,
                   triggers=(Trigger("above", POWER, 10**9),)),
    ]  # fmt: skip


def values(lab, contract: str):
    return list(lab.emt.store.values(contract))


@pytest.mark.req("GW-43")
@pytest.mark.req("GW-42")
def test_tariffs_are_loaded_computed_and_delivered_at_the_end_of_the_month(tmp_path):
    """Derived registers, signed; the list of changes without readings; extremes; present values."""

    async def work(lab):
        meter = Meter(METER, obis=(IMPORT, POWER))
        await lab.commission(points=points(lab), meters=[(meter, bytes(range(16)))])
        await lab.clock.advance(8 * HOUR)
        session = await lab.session()
        until = (lab.device.now(lab.clock.now()) + DAY).iso()
        due = await lab.market.drive(session.switch("taf5-1", 2, "", until))
        assert due >= "2026-04-01T02:00"
        with pytest.raises(GatewayError, match="no stage 9"):
            await lab.market.drive(session.switch("taf5-1", 9, "", until))
        with pytest.raises(GatewayError, match="takes no control signals"):
            await lab.market.drive(session.control("taf5-1", 30))
        await lab.clock.advance(16 * HOUR)
        registers = {v.column.partition(".")[0]: v for v in values(lab, "01005e318022.taf2-1.sm")}
        stages = [registers[f"01000108{n}ff"].entry.value for n in ("01", "02", "3f")]
        assert registers[IMPORT].entry.value == sum(stages) > 0
        changes = [v.entry.value for v in values(lab, "01005e318022.taf2-1.sm")
                   if v.column.startswith("0000600e00ff")]  # fmt: skip
        assert changes == [1, 2]  # began in HT, NT from 22 h; no readings with them
        extremes = {v.column[:12] for v in values(lab, "01005e318028.taf8-1.sm")}
        assert extremes == {"0100010301ff", "0100010601ff", "0100010602ff"}
        grid = values(lab, "01005e31802a.taf10-1.sm")
        assert len(grid) >= 23
        assert not [f for f in lab.emt.store.findings() if f["kind"] == "signature"]
        assert not lab.emt.refused
        mine = [e.event for e in lab.device.logbooks.last("consumer", "consumer1", 500)]
        assert mine.count("EMU.183.0") == mine.count("EMU.183.1") == 1

    run_lab(tmp_path, work, start=LATE, interval=5 * MINUTE)


@pytest.mark.req("TR-03109-1 v1.0 4.2.2.6")
def test_the_values_of_a_day_are_retrieved_on_demand_and_the_consumer_sees_it(tmp_path):
    """TAF6: within six weeks; the reason is in the consumer's log."""

    async def work(lab):
        start = DeviceTime.from_seconds(lab.clock.now().seconds // 900 * 900).iso()
        point = UsagePoint("taf6-1", 6, "consumer1", (METER,), start)
        await lab.commission(points=[point])
        await lab.clock.advance(2 * DAY)
        assert lab.emt.received == 0
        session = await lab.session()
        assert await lab.market.drive(session.read_day("taf6-1", "2026-04-01")) == 1
        await lab.until(lambda: lab.emt.received == 1)
        (value,) = values(lab, "01005e318026.taf6-1.sm")
        assert value.target.iso() == "2026-03-31T22:00:00Z"
        logged = lab.device.logbooks.last("consumer", "consumer1", 50)
        assert [e for e in logged if e.event == "EMU.186.0" and "2026-04-01" in e.message]
        with pytest.raises(GatewayError, match="kept for 42 days"):
            await lab.market.drive(session.read_day("taf6-1", "2026-01-01"))
        with pytest.raises(GatewayError, match="has not begun"):
            await lab.market.drive(session.read_day("taf6-1", "2026-05-01"))

    run_lab(tmp_path, work, start=LATE, interval=5 * MINUTE)


@pytest.mark.req("GW-41")
@pytest.mark.req("LMN-15")
def test_the_administrator_reads_every_version_of_every_profile(tmp_path):
    """A meter exchange: new meter, changed contract, old meter removed; all versions stay."""

    async def work(lab):
        await lab.commission()
        session = await lab.session()
        before = lab.device.config.usage_point[0]
        other = "1EMU0000000009"
        await lab.market.drive(session.put_profile("meter", Meter(other)))
        for point in lab.device.config.usage_point:
            changed = msgspec.structs.replace(point, meters=(other,))
            await lab.market.drive(session.put_profile("usage-point", changed))
        await lab.market.drive(session.delete_profile("meter", Meter(METER)))
        versions = await lab.market.drive(session.versions())
        mine = [v for v in versions if v["name"] == before.name]
        assert [(v["version"], v["state"]) for v in mine] == [(1, "ended"), (2, "running")]
        assert mine[0]["ended"] == mine[1]["began"]
        (old,) = [v for v in versions if v["name"] == METER.lower()]
        assert (old["kind"], old["state"]) == ("meter", "ended")

    run_lab(tmp_path, work, start=LATE, interval=5 * MINUTE)
