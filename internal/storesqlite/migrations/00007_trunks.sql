-- +goose Up
CREATE TABLE trunks (
    seq      INTEGER PRIMARY KEY, -- their order
    name     TEXT NOT NULL UNIQUE,
    settings TEXT NOT NULL, -- JSON, without the password
    password BLOB -- sealed; null: none
) STRICT;
CREATE TABLE numbers (
    seq      INTEGER PRIMARY KEY, -- an endpoint's first one is what it shows
    number   TEXT NOT NULL UNIQUE,
    endpoint TEXT NOT NULL -- as given: there may be none of that name yet
) STRICT;
