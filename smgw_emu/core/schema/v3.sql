-- Schema version 3: series besides the shared rasters, reasons, states of rule sets, profile versions.

-- A series is a registration period in seconds, or @<contract> with moments of its own.
ALTER TABLE channel RENAME TO channel_2;
ALTER TABLE reading RENAME TO reading_2;

CREATE TABLE channel (
    id       INTEGER PRIMARY KEY,
    database TEXT NOT NULL,         -- origin, derived, calculated, daily
    owner    TEXT NOT NULL,         -- meter id or usage point name
    obis     BLOB NOT NULL,
    series   TEXT NOT NULL,         -- '' for lists of a usage point
    finest   INTEGER NOT NULL,      -- smallest scaler of its lines: the one it is shown with
    UNIQUE (database, owner, series, obis)
) STRICT;

INSERT INTO channel SELECT id, database, owner, obis,
    CASE database WHEN 'origin' THEN CAST(period AS TEXT) ELSE '' END,
    (SELECT coalesce(min(scaler), 127) FROM reading_2 r WHERE r.channel = channel_2.id)
    FROM channel_2;

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
    reason     TEXT NOT NULL,       -- TR-03109-1 v1.0 4.3.3 no. 10; '' registration period
    UNIQUE (channel, target)
) STRICT;

INSERT INTO reading SELECT sequence, channel, target, capture, value, scaler, unit, smgw_word,
    meter_word, repeated, signature, '' FROM reading_2;
INSERT OR REPLACE INTO sqlite_sequence (name, seq)
    SELECT 'reading', seq FROM sqlite_sequence WHERE name = 'reading_2';
DROP TABLE reading_2;
DROP TABLE channel_2;

-- What a use case at work keeps, JSON; written in the transaction of the lines it causes.
CREATE TABLE rule_set (
    point TEXT PRIMARY KEY,
    taf   INTEGER NOT NULL,
    state TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Every version of a profile and when it was in force (GW-41); ended is empty for the present one.
CREATE TABLE profile_version (
    kind    TEXT NOT NULL,
    id      TEXT NOT NULL,
    version INTEGER NOT NULL,
    began   INTEGER NOT NULL,       -- seconds since the epoch, device time
    ended   INTEGER,
    body    TEXT NOT NULL,
    PRIMARY KEY (kind, id, version)
) STRICT, WITHOUT ROWID;
