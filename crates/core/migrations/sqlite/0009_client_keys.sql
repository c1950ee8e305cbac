-- Public keys with which clients sign in over SFTP.
CREATE TABLE client_keys (
    client_id   TEXT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    fingerprint TEXT NOT NULL, -- as ssh-keygen -l prints it: SHA256: and base 64
    algorithm   TEXT NOT NULL, -- as in RFC 4253: ssh-ed25519
    public_key  TEXT NOT NULL, -- base 64 of its encoding on the wire
    comment     TEXT NOT NULL,
    created     BIGINT NOT NULL,
    PRIMARY KEY (client_id, fingerprint)
);
