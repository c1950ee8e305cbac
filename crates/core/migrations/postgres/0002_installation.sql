-- What all processes of one installation must agree on, such as the fingerprint of their key.
CREATE TABLE installation (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);
