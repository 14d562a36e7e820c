-- +goose Up
ALTER TABLE accounts ADD COLUMN last_used INTEGER; -- when its key was, to the minute; null: never
