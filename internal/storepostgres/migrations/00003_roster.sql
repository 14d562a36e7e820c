-- +goose Up
CREATE INDEX endpoints_main ON endpoints (main); -- which the deletion of an account asks for
