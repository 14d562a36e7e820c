-- +goose Up
ALTER TABLE accounts
    ADD COLUMN id BIGINT NOT NULL UNIQUE, -- a number that clients are shown
    ADD COLUMN email TEXT NOT NULL DEFAULT '',
    ADD COLUMN phone TEXT NOT NULL DEFAULT '',
    ADD COLUMN description TEXT NOT NULL DEFAULT '',
    ADD COLUMN permissions TEXT NOT NULL DEFAULT '', -- JSON
    ADD COLUMN rate_limit BIGINT NOT NULL DEFAULT 0;

ALTER TABLE applications
    ADD COLUMN fallback_url TEXT NOT NULL DEFAULT '',
    ADD COLUMN fallback_method TEXT NOT NULL DEFAULT 'POST',
    ADD COLUMN hangup_url TEXT NOT NULL DEFAULT '', -- the answer URL
    ADD COLUMN hangup_method TEXT NOT NULL DEFAULT 'POST',
    ADD COLUMN message_url TEXT NOT NULL DEFAULT '',
    ADD COLUMN message_method TEXT NOT NULL DEFAULT 'POST',
    ADD COLUMN transfer_url TEXT NOT NULL DEFAULT '',
    ADD COLUMN transfer_method TEXT NOT NULL DEFAULT 'POST',
    ADD COLUMN log_messages BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN public_uri BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN enabled BOOLEAN NOT NULL DEFAULT TRUE,
    ADD COLUMN default_endpoint BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN default_number BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN created_at BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0,
    ADD CONSTRAINT applications_owner_name UNIQUE (owner, name);
CREATE UNIQUE INDEX applications_default_endpoint ON applications (owner) WHERE default_endpoint;
CREATE UNIQUE INDEX applications_default_number ON applications (owner) WHERE default_number;

CREATE INDEX endpoints_expires ON endpoints (expires_at) WHERE expires_at IS NOT NULL;
