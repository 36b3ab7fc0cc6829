-- Whether the definition marks the value of a variable as a secret, or as none; NULL where it does not say.
ALTER TABLE agent_env ADD COLUMN sensitive {bool};
