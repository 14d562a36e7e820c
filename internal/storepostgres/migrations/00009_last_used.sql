-- +goose Up
ALTER TABLE accounts ADD COLUMN last_used BIGINT; -- when its key was, to the minute; null: never
