"""The store and the logbooks."""

from __future__ import annotations

import sqlite3
import sys
import threading
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from smgw_emu.core.errors import ConfigError, StoreDamagedError, StoreError
from smgw_emu.core.events import load_catalogue
from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.logbook import Logbooks
from smgw_emu.core.obis import ACTIVE_ENERGY_IMPORT
from smgw_emu.core.store import SCHEMA_VERSION, Store
from smgw_emu.core.values import Reading

IMPORT = ACTIVE_ENERGY_IMPORT


def reading(target: int, value: int = 1) -> Reading:
    moment = DeviceTime.from_seconds(target)
    return Reading("m", IMPORT, moment, moment, value, -1, 30, 0xA0000000, 0x20000000)


def test_readings_come_back_as_stored(tmp_path):
    """Every field survives, also over a restart; bounds are exclusive below, inclusive above."""
    store = Store(tmp_path / "s.db")
    for target in (900, 1800, 2700):
        store.add_reading("origin", "m", "900", reading(target, 2**62))
    store.close()
    store = Store(tmp_path / "s.db")
    found = store.readings(
        "origin", "m", "900", DeviceTime.from_seconds(900), DeviceTime.from_seconds(2700)
    )
    assert [line.target.seconds for line in found] == [1800, 2700]
    assert found[0].value == 2**62
    assert [line.sequence for line in found] == [2, 3]
    assert store.last_readings("origin", "m", "900")[IMPORT].target.seconds == 2700
    store.close()


@pytest.mark.req("TR-03109-1 v1.0 4.3.3")
def test_sequence_numbers_are_never_used_again():
    """Deleting lines does not free their numbers."""
    store = Store(":memory:")
    store.add_reading("daily", "m", "900", reading(900))
    store.drop_readings("daily", DeviceTime.from_seconds(10_000))
    assert store.add_reading("daily", "m", "900", reading(1800)) == 2


def test_a_target_is_stored_once():
    """A second line for the same target is an error, not an overwrite."""
    store = Store(":memory:")
    store.add_reading("origin", "m", "900", reading(900))
    with pytest.raises(StoreError):
        store.add_reading("origin", "m", "900", reading(900, 2))


def test_a_transaction_is_all_or_nothing():
    """What fails half-way leaves nothing, nested blocks included."""
    store = Store(":memory:")
    with pytest.raises(RuntimeError), store.transaction():
        store.add_reading("origin", "m", "900", reading(900))
        with store.transaction():
            store.set_meta("a", "b")
        raise RuntimeError
    assert store.count_readings() == 0
    assert store.get_meta("a") is None
    store.add_reading("origin", "m", "900", reading(900))


@pytest.mark.parametrize("junk", [b"not a database at all" * 100, b"\x00" * 4096])
def test_a_file_that_is_no_database_is_damage(tmp_path, junk):
    """A clear error, not sqlite's traceback."""
    path = tmp_path / "s.db"
    path.write_bytes(junk if junk.strip(b"\x00") else b"SQLite format 3\x00" + junk)
    with pytest.raises(StoreDamagedError, match="damaged"):
        Store(path)


def test_every_damaged_page_is_found_or_harmless(tmp_path):
    """Overwrite each page of a filled store in turn: damage is reported as damage, nothing else."""
    path = tmp_path / "s.db"
    store = Store(path)
    for target in range(900, 900 * 200, 900):
        store.add_reading("origin", "m", "900", reading(target))
    store.close()
    good = path.read_bytes()
    found = 0
    for page in range(len(good) // 4096):
        bad = bytearray(good)
        bad[page * 4096 + 100 : page * 4096 + 600] = b"\xa5" * 500
        path.write_bytes(bytes(bad))
        try:
            other = Store(path)
            other.readings("origin", "m", "900", DeviceTime(0), DeviceTime(1 << 60))
            other.close()
        except StoreDamagedError:
            found += 1
    assert found >= 3


def test_a_store_of_a_newer_program_is_refused(tmp_path):
    """Never migrated downwards, never touched."""
    path = tmp_path / "s.db"
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(StoreError, match="schema"):
        Store(path)


def test_opening_twice_keeps_schema_and_data(tmp_path):
    """A store opened again is as it was (the migration test of later versions starts here)."""
    path = tmp_path / "s.db"
    schemas = []
    for _ in range(2):
        store = Store(path)
        schemas.append(store.execute("SELECT sql FROM sqlite_schema ORDER BY name"))
        store.close()
    assert schemas[0] == schemas[1]


@settings(max_examples=60)
@given(st.data())
def test_a_torn_log_loses_nothing_committed(tmp_path_factory, data):
    """Cut SQLite's write-ahead log at any octet: every commit before the cut is there, in order."""
    folder: Path = tmp_path_factory.mktemp("wal")
    store = Store(folder / "s.db")
    sizes = []
    for number in range(5):
        store.add_reading("origin", "m", "900", reading(900 * (number + 1)))
        sizes.append((folder / "s.db-wal").stat().st_size)
    main, wal = (folder / "s.db").read_bytes(), (folder / "s.db-wal").read_bytes()
    store.close()
    cut = data.draw(st.integers(0, len(wal)))
    copy: Path = tmp_path_factory.mktemp("copy")
    (copy / "s.db").write_bytes(main)
    (copy / "s.db-wal").write_bytes(wal[:cut])
    again = Store(copy / "s.db")
    assert again.count_readings() == sum(size <= cut for size in sizes)
    again.close()


# -- logbooks --------------------------------------------------------------------------------


@pytest.mark.req("GW-61")
def test_the_catalogue_marks_what_is_attested():
    """Two ids are known from the vendor; every other one is a placeholder of vendor EMU."""
    catalogue = load_catalogue()
    attested = {event.id for event in catalogue.values() if event.status == "attested"}
    assert attested == {"THE.19013.0", "BSI.16001.0"}
    others = {event.id for event in catalogue.values()} - attested
    assert all(event_id.startswith("EMU.") for event_id in others)
    assert all(event.source for event in catalogue.values())


@pytest.mark.parametrize(
    "text",
    [
        "[EMU.1.0]\nname = 'x'",
        "nonsense [",
        "[emu.1.0]\nname='x'\nlevel='I'\nlogs=[]\nfor='all'\n"
        "text=''\nstatus='placeholder'\nsource=''",
    ],
)
def test_a_wrong_catalogue_is_refused(text):
    """A replaced catalogue is checked like any configuration."""
    with pytest.raises(ConfigError):
        load_catalogue(text)


class LogbookMachine(RuleBasedStateMachine):
    """Logs against plain lists: contiguous numbers, own readers only, calibration for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.logs = Logbooks(Store(":memory:"), {"anna": "A", "bert": "B"})
        self.now = 1_800_000_000
        self.model: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
        self.counts: dict[tuple[str, str], int] = {}

    def _expect(self, log: str, reader: str, event: str) -> None:
        key = (log, reader)
        self.counts[key] = self.counts.get(key, 0) + 1
        self.model.setdefault(key, []).append((self.counts[key], self.now, event))

    @rule(seconds=st.integers(0, 200 * 86400))
    def pass_time(self, seconds):
        self.now += seconds

    @rule(who=st.sampled_from(["anna", "bert"]))
    def write_for_one(self, who):
        self.logs.write(
            "meter-added", DeviceTime.from_seconds(self.now), consumers=[who], meter="m"
        )
        for key in (("system", ""), ("calibration", ""), ("consumer", who)):
            self._expect(*key, "EMU.20.0")

    @rule()
    def write_for_all(self):
        self.logs.write("self-test-started", DeviceTime.from_seconds(self.now), reason="r")
        for key in (("system", ""), ("consumer", "anna"), ("consumer", "bert")):
            self._expect(*key, "EMU.10.0")

    @rule(days=st.integers(1, 500))
    def prune(self, days):
        limit = self.now - days * 86400
        self.logs.prune(DeviceTime.from_seconds(limit))
        for key, rows in self.model.items():
            if key[0] != "calibration" and rows:
                self.model[key] = [row for row in rows[:-1] if row[1] >= limit] + rows[-1:]

    @invariant()
    def same_as_model(self):
        for (log, reader), rows in self.model.items():
            found = self.logs.entries(log, reader, count=10_000)
            assert [(e.number, e.time.seconds, e.event) for e in found] == rows
            assert [e.number for e in self.logs.last(log, reader, 3)] == [r[0] for r in rows[-3:]]


TestLogbooks = LogbookMachine.TestCase


@pytest.mark.req("HAN-N03")
@given(
    st.lists(st.integers(0, 50), max_size=30).map(sorted),
    st.none() | st.integers(0, 50),
    st.none() | st.integers(0, 50),
    st.none() | st.integers(0, 35),
    st.integers(1, 40),
)
def test_log_bounds_are_inclusive_below_and_exclusive_above(times, begin, end, index, count):
    """T >= fromtime, t < totime, index >= fromindex, at most count, oldest first."""
    logs = Logbooks(Store(":memory:"), {"anna": "A"})
    for second in times:
        logs.write("login", DeviceTime.from_seconds(second), consumers=["anna"])
    found = logs.entries(
        "consumer",
        "anna",
        begin=None if begin is None else DeviceTime.from_seconds(begin),
        end=None if end is None else DeviceTime.from_seconds(end),
        from_number=index,
        count=count,
    )
    expected = [
        (number, second)
        for number, second in enumerate(times, 1)
        if (begin is None or second >= begin)
        and (end is None or second < end)
        and (index is None or number >= index)
    ]
    assert [(e.number, e.time.seconds) for e in found] == expected[:count]


def test_a_store_of_version_2_keeps_its_lines_and_numbers(tmp_path):
    """Origin lists keep their raster, lists of a contract lose it; sequence numbers go on."""
    path = tmp_path / "old.db"
    old = sqlite3.connect(path)
    for step in (1, 2):
        script = resources.files("smgw_emu.core").joinpath("schema", f"v{step}.sql")
        old.executescript(script.read_text("utf-8"))
    old.executescript(
        "PRAGMA user_version=2;"
        "INSERT INTO channel VALUES (1, 'origin', 'm', x'0100010800ff', 900);"
        "INSERT INTO channel VALUES (2, 'daily', 'taf7-1', x'0100010800ff', 900);"
        "INSERT INTO reading VALUES (41, 1, 900, 900000, 7, -1, 30, 1, 2, 0, x'aa');"
        "INSERT INTO reading VALUES (42, 2, 900, 900000, 8, -1, 30, 1, 2, 1, NULL);"
        "DELETE FROM reading WHERE sequence = 0;"
    )
    old.close()
    store = Store(path)
    moment = DeviceTime.from_seconds(900)
    (origin,) = store.readings("origin", "m", "900", DeviceTime(0), moment)
    (daily,) = store.readings("daily", "taf7-1", "", DeviceTime(0), moment)
    assert (origin.sequence, origin.value, origin.signature) == (41, 7, b"\xaa")
    assert (daily.sequence, daily.repeated) == (42, True)
    assert store.add_reading("origin", "m", "900", reading(1800), "switch") == 43
    assert store.execute("SELECT reason FROM reading WHERE sequence = 43") == [("switch",)]
    store.check()
    store.close()


def test_a_store_nobody_closed_may_end_in_any_thread(tmp_path, monkeypatch):
    """The garbage collector runs in the thread that happens to allocate."""
    said = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    loose = [Store(tmp_path / "s.db")]
    other = threading.Thread(target=loose.clear)
    other.start()
    other.join()
    assert not said
