-- +goose Up
CREATE TABLE call_records (
    seq         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account     TEXT NOT NULL, -- no reference: a record outlives what it tells of
    main        TEXT NOT NULL,
    id          TEXT COLLATE "C" NOT NULL, -- UUID of version 7: sorts by the time of the call
    endpoint    BIGINT NOT NULL,
    peer        BIGINT, -- the called endpoint of an internal call
    direction   TEXT NOT NULL,
    caller      TEXT NOT NULL,
    dialled     TEXT NOT NULL,
    caller_name TEXT NOT NULL,
    started_at  BIGINT NOT NULL, -- Unix milliseconds, as all times here
    answered_at BIGINT, -- null: never
    ended_at    BIGINT NOT NULL,
    status      TEXT NOT NULL,
    cause       BIGINT NOT NULL,
    source      TEXT NOT NULL,
    sip_code    BIGINT NOT NULL,
    reason      TEXT NOT NULL,
    codec       TEXT NOT NULL,
    trunk       TEXT NOT NULL,
    application TEXT NOT NULL,
    user_agent  TEXT NOT NULL,
    transport   TEXT NOT NULL,
    legs        TEXT NOT NULL -- JSON
);
CREATE UNIQUE INDEX call_records_account ON call_records (account, id);
CREATE INDEX call_records_id ON call_records (id); -- a main account's look-ups, and the oldest ones
CREATE INDEX call_records_endpoint ON call_records (account, endpoint, id);
CREATE INDEX call_records_peer ON call_records (account, peer, id) WHERE peer IS NOT NULL;
