-- +goose Up
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT, -- the order of creation
    auth_id    TEXT NOT NULL UNIQUE,
    parent     TEXT REFERENCES accounts (auth_id), -- null: a main account
    name       TEXT NOT NULL,
    enabled    INTEGER NOT NULL,
    token_hash BLOB NOT NULL, -- logins compare this
    token      BLOB NOT NULL, -- sealed; signs callbacks
    created_at INTEGER NOT NULL, -- all times: Unix seconds
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX accounts_parent ON accounts (parent);

CREATE TABLE applications (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
    owner         TEXT NOT NULL REFERENCES accounts (auth_id),
    name          TEXT NOT NULL,
    answer_url    TEXT NOT NULL,
    answer_method TEXT NOT NULL
) STRICT;
CREATE INDEX applications_owner ON applications (owner);

CREATE TABLE endpoints (
    seq                 INTEGER PRIMARY KEY AUTOINCREMENT, -- lists are newest first
    id                  INTEGER NOT NULL UNIQUE,
    owner               TEXT NOT NULL REFERENCES accounts (auth_id),
    main                TEXT NOT NULL REFERENCES accounts (auth_id),
    username            TEXT NOT NULL,
    username_key        TEXT NOT NULL, -- lower case
    domain              TEXT NOT NULL,
    alias               TEXT NOT NULL,
    application         TEXT REFERENCES applications (id), -- detach first: every change of an endpoint is told
    allow_voice         INTEGER NOT NULL,
    allow_message       INTEGER NOT NULL,
    allow_video         INTEGER NOT NULL,
    allow_same_domain   INTEGER NOT NULL,
    allow_other_domains INTEGER NOT NULL,
    allow_phones        INTEGER NOT NULL,
    allow_apps          INTEGER NOT NULL,
    max_contacts        INTEGER NOT NULL,
    expires_at          INTEGER, -- null: never
    secret              BLOB NOT NULL, -- sealed
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    UNIQUE (domain, username_key)
) STRICT;
-- Filters run over an index alone, and only a page's rows are read. Every
-- index ends in the rowid, which is seq.
CREATE INDEX endpoints_owner ON endpoints (owner, seq, id);
CREATE INDEX endpoints_username ON endpoints (owner, username_key);
CREATE INDEX endpoints_alias ON endpoints (owner, alias);
CREATE INDEX endpoints_application ON endpoints (application, owner);

-- How many endpoints an owner has, so that the commonest list counts nothing.
CREATE TABLE endpoint_counts (
    owner TEXT PRIMARY KEY,
    n     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- +goose StatementBegin
CREATE TRIGGER endpoint_inserted AFTER INSERT ON endpoints BEGIN
    INSERT INTO endpoint_counts (owner, n) VALUES (new.owner, 1) ON CONFLICT (owner) DO UPDATE SET n = n + 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER endpoint_deleted AFTER DELETE ON endpoints BEGIN
    UPDATE endpoint_counts SET n = n - 1 WHERE owner = old.owner;
END;
-- +goose StatementEnd
