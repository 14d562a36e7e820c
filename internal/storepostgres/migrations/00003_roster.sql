-- +goose Up
-- The owner is checked, and an owner has the main account it has.
ALTER TABLE endpoints DROP CONSTRAINT endpoints_main_fkey;
-- Read once and soon deleted: not worth compressing, nor an index.
ALTER TABLE changes ALTER COLUMN body SET STORAGE EXTERNAL;
DROP INDEX changes_at;
