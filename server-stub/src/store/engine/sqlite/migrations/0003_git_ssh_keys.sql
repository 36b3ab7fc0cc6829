-- One pair a user. Users from before this table get theirs when it is first asked for.
CREATE TABLE git_ssh_keys (
    user_id            BLOB PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    public_key         TEXT NOT NULL, -- an authorized_keys line
    private_key        BLOB NOT NULL,
    private_key_key_id TEXT NOT NULL REFERENCES encryption_keys (id),
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
