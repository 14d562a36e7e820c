-- +goose Up
ALTER TABLE accounts ADD COLUMN id INTEGER NOT NULL DEFAULT 0; -- a number that clients are shown
ALTER TABLE accounts ADD COLUMN email TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN phone TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN permissions TEXT NOT NULL DEFAULT ''; -- JSON
ALTER TABLE accounts ADD COLUMN rate_limit INTEGER NOT NULL DEFAULT 0;
UPDATE accounts SET id = seq; -- new ones are drawn from larger numbers
CREATE UNIQUE INDEX accounts_id ON accounts (id);

ALTER TABLE applications ADD COLUMN fallback_url TEXT NOT NULL DEFAULT '';
ALTER TABLE applications ADD COLUMN fallback_method TEXT NOT NULL DEFAULT 'POST';
ALTER TABLE applications ADD COLUMN hangup_url TEXT NOT NULL DEFAULT ''; -- the answer URL
ALTER TABLE applications ADD COLUMN hangup_method TEXT NOT NULL DEFAULT 'POST';
ALTER TABLE applications ADD COLUMN message_url TEXT NOT NULL DEFAULT '';
ALTER TABLE applications ADD COLUMN message_method TEXT NOT NULL DEFAULT 'POST';
ALTER TABLE applications ADD COLUMN transfer_url TEXT NOT NULL DEFAULT '';
ALTER TABLE applications ADD COLUMN transfer_method TEXT NOT NULL DEFAULT 'POST';
ALTER TABLE applications ADD COLUMN log_messages INTEGER NOT NULL DEFAULT 0;
ALTER TABLE applications ADD COLUMN public_uri INTEGER NOT NULL DEFAULT 0;
ALTER TABLE applications ADD COLUMN enabled INTEGER NOT NULL DEFAULT 1;
ALTER TABLE applications ADD COLUMN default_endpoint INTEGER NOT NULL DEFAULT 0;
ALTER TABLE applications ADD COLUMN default_number INTEGER NOT NULL DEFAULT 0;
ALTER TABLE applications ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE applications ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;
DROP INDEX applications_owner;
CREATE UNIQUE INDEX applications_name ON applications (owner, name);
CREATE UNIQUE INDEX applications_default_endpoint ON applications (owner) WHERE default_endpoint;
CREATE UNIQUE INDEX applications_default_number ON applications (owner) WHERE default_number;

CREATE INDEX endpoints_expires ON endpoints (expires_at) WHERE expires_at IS NOT NULL;
