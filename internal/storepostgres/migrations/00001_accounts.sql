-- +goose Up
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE accounts (
    seq        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- the order of creation
    auth_id    TEXT NOT NULL UNIQUE,
    parent     TEXT REFERENCES accounts (auth_id), -- null: a main account
    name       TEXT NOT NULL,
    enabled    BOOLEAN NOT NULL,
    token_hash BYTEA NOT NULL, -- logins compare this
    token      BYTEA NOT NULL, -- sealed; signs callbacks
    created_at BIGINT NOT NULL, -- all times: Unix seconds
    updated_at BIGINT NOT NULL
);
CREATE INDEX accounts_parent ON accounts (parent);

CREATE TABLE applications (
    seq           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    owner         TEXT NOT NULL REFERENCES accounts (auth_id),
    name          TEXT COLLATE "C" NOT NULL, -- compared byte by byte, as everything that is searched
    answer_url    TEXT NOT NULL,
    answer_method TEXT NOT NULL
);

CREATE TABLE endpoints (
    seq                 BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- lists are newest first
    id                  BIGINT NOT NULL UNIQUE,
    owner               TEXT NOT NULL REFERENCES accounts (auth_id),
    main                TEXT NOT NULL REFERENCES accounts (auth_id),
    username            TEXT NOT NULL,
    username_key        TEXT COLLATE "C" NOT NULL, -- lower case
    domain              TEXT NOT NULL,
    alias               TEXT COLLATE "C" NOT NULL,
    application         TEXT REFERENCES applications (id), -- detach first: every change of an endpoint is told
    allow_voice         BOOLEAN NOT NULL,
    allow_message       BOOLEAN NOT NULL,
    allow_video         BOOLEAN NOT NULL,
    allow_same_domain   BOOLEAN NOT NULL,
    allow_other_domains BOOLEAN NOT NULL,
    allow_phones        BOOLEAN NOT NULL,
    allow_apps          BOOLEAN NOT NULL,
    max_contacts        BIGINT NOT NULL,
    expires_at          BIGINT, -- null: never
    secret              BYTEA NOT NULL, -- sealed
    created_at          BIGINT NOT NULL,
    updated_at          BIGINT NOT NULL,
    CONSTRAINT endpoints_domain_username_key UNIQUE (domain, username_key)
);
CREATE INDEX endpoints_owner ON endpoints (owner, seq);
CREATE INDEX endpoints_application ON endpoints (application) WHERE application IS NOT NULL;

-- What was committed, for the other servers on this database. Numbers have no
-- gaps and are in the order of the commits: whoever writes here holds a lock.
CREATE TABLE changes (
    number BIGINT PRIMARY KEY,
    at     BIGINT NOT NULL,
    body   TEXT NOT NULL
);
CREATE INDEX changes_at ON changes (at);
