-- Schema version 1 of the gateway's flash. One file per version; never edited once released.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The configuration as last applied, to log what changed (TR-03109-1 v1.0 T43, T44).
CREATE TABLE applied_profile (
    kind TEXT NOT NULL,             -- meter, consumer, usage-point
    id   TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

-- A value list: origin values belong to a meter, derived and daily ones to a usage point.
CREATE TABLE channel (
    id       INTEGER PRIMARY KEY,
    database TEXT NOT NULL,         -- origin, derived, daily
    owner    TEXT NOT NULL,         -- meter id or usage point name
    obis     BLOB NOT NULL,
    period   INTEGER NOT NULL,      -- registration period in seconds
    UNIQUE (database, owner, period, obis)
) STRICT;

-- sequence is the running number TR-03109-1 v1.0 4.3.3 no. 10 asks for: never reused.
CREATE TABLE reading (
    sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
    channel    INTEGER NOT NULL REFERENCES channel (id),
    target     INTEGER NOT NULL,    -- seconds since the epoch, device time
    capture    INTEGER NOT NULL,    -- milliseconds since the epoch, device time
    value      INTEGER NOT NULL,
    scaler     INTEGER NOT NULL,
    unit       INTEGER NOT NULL,
    smgw_word  INTEGER NOT NULL,
    meter_word INTEGER NOT NULL,
    repeated   INTEGER NOT NULL,
    signature  BLOB,
    UNIQUE (channel, target)
) STRICT;

-- One row per entry and reader: consumer entries stand once per consumer (T41: only his entries).
CREATE TABLE log_entry (
    log         TEXT NOT NULL,      -- system, calibration, consumer
    reader      TEXT NOT NULL,      -- consumer login, empty for the other logs
    number      INTEGER NOT NULL,   -- record_number, contiguous per log and reader
    time        INTEGER NOT NULL,   -- seconds since the epoch, device time
    event       TEXT NOT NULL,      -- VENDOR.EVENT.SUB
    level       TEXT NOT NULL,      -- I, W, E, F
    outcome     TEXT NOT NULL,      -- S, F, X
    subject     TEXT NOT NULL,
    user        TEXT NOT NULL,
    message     TEXT NOT NULL,
    destination TEXT NOT NULL,
    evidence    BLOB,
    PRIMARY KEY (log, reader, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX log_entry_time ON log_entry (log, reader, time);
