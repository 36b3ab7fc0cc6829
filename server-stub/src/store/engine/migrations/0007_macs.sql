-- MACs of rows that let somebody in; what they cover stands in store/keys/mac.rs. A row without one is not trusted once deployment.macs is set:
-- the first server with this schema, which has the keys, makes those of the rows that were there before.
ALTER TABLE session_tokens ADD COLUMN mac {bytes};
ALTER TABLE session_tokens ADD COLUMN mac_key_id {text} REFERENCES encryption_keys (id);
ALTER TABLE agents ADD COLUMN mac {bytes};
ALTER TABLE agents ADD COLUMN mac_key_id {text} REFERENCES encryption_keys (id);
ALTER TABLE git_ssh_keys ADD COLUMN mac {bytes};
ALTER TABLE git_ssh_keys ADD COLUMN mac_key_id {text} REFERENCES encryption_keys (id);
ALTER TABLE deployment ADD COLUMN macs {bool} NOT NULL DEFAULT FALSE;
