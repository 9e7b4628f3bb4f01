-- Schema version 2: what the administrator has put in, and what waits for the WAN.

-- One row per container of the resource tree. body is what came, byte for byte. record is the typed
-- profile made of it (JSON), empty for containers this device does not know; removed = 1 hides a
-- profile of the factory.
CREATE TABLE container (
    ldev    TEXT NOT NULL,
    id      TEXT NOT NULL,          -- 12 hex digits
    kind    TEXT NOT NULL,          -- meter, consumer, usage-point, wan, ...; '' unknown
    name    TEXT NOT NULL,          -- key within its kind
    body    BLOB NOT NULL,
    record  TEXT NOT NULL,
    removed INTEGER NOT NULL,
    PRIMARY KEY (ldev, id)
) STRICT, WITHOUT ROWID;

-- What must reach a receiver. A row leaves in the transaction that logs its acknowledgement.
-- number is the order and is never reused; uuid is the x-CID, the same at every attempt.
CREATE TABLE outbox (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid     TEXT NOT NULL UNIQUE,
    receiver TEXT NOT NULL,         -- '' the administrator, else name of the EMT's WAN profile
    kind     TEXT NOT NULL,         -- delivery, event, result
    target   TEXT NOT NULL,         -- path below the point of contact
    body     BLOB NOT NULL,
    about    TEXT NOT NULL,         -- what the log will say, JSON
    created  INTEGER NOT NULL,      -- seconds since the epoch, device time
    attempts INTEGER NOT NULL DEFAULT 0,
    refusal  TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX outbox_receiver ON outbox (receiver, number);

-- Up to which target the values of a contract are in the outbox or delivered.
CREATE TABLE dispatched (
    point    TEXT NOT NULL,
    receiver TEXT NOT NULL,
    until    INTEGER NOT NULL,      -- seconds since the epoch, device time
    PRIMARY KEY (point, receiver)
) STRICT, WITHOUT ROWID;
