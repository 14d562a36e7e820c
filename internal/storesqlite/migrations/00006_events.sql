-- +goose Up
-- Changes of endpoints whose events are not safe yet, for each server's log.
CREATE TABLE outbox (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    origin TEXT NOT NULL, -- names the log
    at     INTEGER NOT NULL,
    body   TEXT NOT NULL
) STRICT;
CREATE INDEX outbox_origin ON outbox (origin, seq);
CREATE INDEX outbox_at ON outbox (at);

CREATE TABLE webhooks (
    id              TEXT PRIMARY KEY,
    owner           TEXT NOT NULL REFERENCES accounts (auth_id) ON DELETE CASCADE,
    url             TEXT NOT NULL,
    events          TEXT NOT NULL, -- patterns, separated by commas
    enabled         INTEGER NOT NULL,
    disabled_reason TEXT NOT NULL,
    secret          BLOB NOT NULL, -- sealed
    started_after   TEXT NOT NULL, -- the last event before it was made
    created_at      INTEGER NOT NULL,
    last_success_at INTEGER, -- null: never
    failing_since   INTEGER, -- null: it is not
    last_error      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX webhooks_owner ON webhooks (owner);

-- How far each server has come with a webhook.
CREATE TABLE webhook_progress (
    webhook TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    origin  TEXT NOT NULL,
    done    TEXT NOT NULL, -- this event and all before it
    PRIMARY KEY (webhook, origin)
) STRICT, WITHOUT ROWID;

-- Answers to requests with an Idempotency-Key.
CREATE TABLE idempotency (
    owner   TEXT NOT NULL REFERENCES accounts (auth_id) ON DELETE CASCADE,
    path    TEXT NOT NULL,
    key     TEXT NOT NULL,
    request BLOB NOT NULL, -- hash of the body
    status  INTEGER NOT NULL,
    answer  BLOB NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (owner, path, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency (at);

ALTER TABLE endpoints ADD COLUMN previous_secret BLOB; -- sealed; null: none
ALTER TABLE endpoints ADD COLUMN previous_until INTEGER;
CREATE INDEX endpoints_previous_until ON endpoints (previous_until) WHERE previous_until IS NOT NULL;
