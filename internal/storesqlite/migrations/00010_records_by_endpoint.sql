-- +goose Up
-- An index over all endpoints takes a record in a page of its own, which the next
-- record of another endpoint does not touch. Within a block of 4096 records the
-- pages are so few that each batch writes them all once.
DROP INDEX call_records_endpoint;
DROP INDEX call_records_peer;
CREATE INDEX call_records_endpoint ON call_records (seq >> 12, endpoint);
CREATE INDEX call_records_peer ON call_records (seq >> 12, peer) WHERE peer IS NOT NULL;
