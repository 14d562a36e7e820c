-- +goose Up
CREATE TABLE trunks (
    seq      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- their order
    name     TEXT COLLATE "C" NOT NULL UNIQUE,
    settings TEXT NOT NULL, -- JSON, without the password
    password BYTEA -- sealed; null: none
);
CREATE TABLE numbers (
    seq      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- an endpoint's first one is what it shows
    number   TEXT NOT NULL UNIQUE,
    endpoint TEXT NOT NULL -- as given: there may be none of that name yet
);
