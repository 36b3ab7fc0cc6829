-- Roles and suspension of users.
ALTER TABLE users ADD COLUMN role {text} NOT NULL DEFAULT 'member'; -- member, auditor or owner
ALTER TABLE users ADD COLUMN suspended_at {int};

-- What a token is for, and for how long. Tokens of before have the usual scope and no end.
ALTER TABLE session_tokens ADD COLUMN name {text} NOT NULL DEFAULT '';
ALTER TABLE session_tokens ADD COLUMN kind {text} NOT NULL DEFAULT 'token'; -- token or session
ALTER TABLE session_tokens ADD COLUMN scope {text} NOT NULL DEFAULT 'secrets'; -- covered by the MAC
ALTER TABLE session_tokens ADD COLUMN lifetime {int} NOT NULL DEFAULT 0; -- microseconds, of a session from its last use
ALTER TABLE session_tokens ADD COLUMN expires_at {int};
CREATE UNIQUE INDEX session_tokens_name ON session_tokens (user_id, name) WHERE name <> '';
