-- Who is signed in to the console. The token is in the browser alone; here is a digest of it.
CREATE TABLE sessions (
    id           TEXT PRIMARY KEY,
    token_digest TEXT NOT NULL UNIQUE, -- SHA-256
    client_id    TEXT NOT NULL,
    name         TEXT NOT NULL,        -- what people call whoever it is
    stored       BIGINT NOT NULL,      -- 1: the grants are looked up in the catalogue with every request
    grants       TEXT NOT NULL,        -- of others: one in a line, the role and the contract
    agent        TEXT NOT NULL,        -- the program, as it calls itself
    address      TEXT NOT NULL,
    created      BIGINT NOT NULL,
    seen         BIGINT NOT NULL,
    expires      BIGINT NOT NULL
);
CREATE INDEX sessions_by_client ON sessions (client_id, id);
CREATE INDEX sessions_by_end ON sessions (expires);
