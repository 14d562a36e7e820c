-- +goose Up
ALTER TABLE accounts ADD COLUMN limits TEXT NOT NULL DEFAULT ''; -- JSON, '' for none
ALTER TABLE endpoints ADD COLUMN limits TEXT NOT NULL DEFAULT '';
