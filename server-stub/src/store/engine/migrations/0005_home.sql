-- Where the database is. A copy of it, such as a dump that was restored or a standby that was promoted, finds another place than this one,
-- and begins an epoch.
ALTER TABLE deployment ADD COLUMN home {text} NOT NULL DEFAULT '';
