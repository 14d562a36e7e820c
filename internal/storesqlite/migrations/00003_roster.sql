-- +goose Up
-- Lists of endpoints are found in memory.
DROP TRIGGER endpoint_inserted;
DROP TRIGGER endpoint_deleted;
DROP TABLE endpoint_counts;
DROP INDEX endpoints_username;
DROP INDEX endpoints_alias;
DROP INDEX endpoints_owner;
DROP INDEX endpoints_application;
CREATE INDEX endpoints_owner ON endpoints (owner);
CREATE INDEX endpoints_main ON endpoints (main); -- which the deletion of an account asks for
CREATE INDEX endpoints_application ON endpoints (application) WHERE application IS NOT NULL;
