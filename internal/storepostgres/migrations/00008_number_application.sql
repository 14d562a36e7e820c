-- +goose Up
ALTER TABLE numbers ADD COLUMN application TEXT NOT NULL DEFAULT ''; -- app_id; then the endpoint is ''
