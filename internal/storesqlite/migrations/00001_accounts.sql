-- +goose Up
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    auth_id    TEXT NOT NULL UNIQUE,
    parent     TEXT REFERENCES accounts (auth_id),
    name       TEXT NOT NULL,
    enabled    INTEGER NOT NULL,
    token_hash BLOB NOT NULL,
    token      BLOB NOT NULL,
    created_at INTEGER NOT NULL,
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

CREATE TABLE endpoints (
    seq                 INTEGER PRIMARY KEY AUTOINCREMENT, -- the order of creation
    id                  INTEGER NOT NULL UNIQUE,
    owner               TEXT NOT NULL REFERENCES accounts (auth_id),
    main                TEXT NOT NULL REFERENCES accounts (auth_id),
    username            TEXT NOT NULL,
    username_key        TEXT NOT NULL, -- lower case
    domain              TEXT NOT NULL,
    alias               TEXT NOT NULL,
    application         TEXT REFERENCES applications (id) ON DELETE SET NULL,
    allow_voice         INTEGER NOT NULL,
    allow_message       INTEGER NOT NULL,
    allow_video         INTEGER NOT NULL,
    allow_same_domain   INTEGER NOT NULL,
    allow_other_domains INTEGER NOT NULL,
    allow_phones        INTEGER NOT NULL,
    allow_apps          INTEGER NOT NULL,
    max_contacts        INTEGER NOT NULL,
    expires_at          INTEGER, -- null: never
    secret              BLOB NOT NULL,
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    UNIQUE (domain, username_key)
) STRICT;
CREATE INDEX endpoints_owner ON endpoints (owner, seq);
CREATE INDEX endpoints_username ON endpoints (owner, username_key);
CREATE INDEX endpoints_alias ON endpoints (owner, alias);
CREATE INDEX endpoints_application ON endpoints (application) WHERE application IS NOT NULL;
