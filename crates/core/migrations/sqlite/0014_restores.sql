-- Restores: files that are made ready to be fetched one by one. Where the work on one stands, its order says.
CREATE TABLE restores (
    order_id   TEXT PRIMARY KEY REFERENCES orders (id),
    request    BLOB NOT NULL,    -- as it came
    file_count BIGINT NOT NULL,
    unfetched  BIGINT NOT NULL,  -- files that were not fetched whole yet
    expires    BIGINT,           -- set when all files were looked at
    released   BIGINT
);
CREATE TABLE restore_files (
    order_id    TEXT NOT NULL REFERENCES restores (order_id),
    number      BIGINT NOT NULL, -- from 1
    package_id  TEXT NOT NULL,
    object_id   TEXT NOT NULL,
    path        TEXT NOT NULL,
    version     BIGINT NOT NULL,
    label       TEXT NOT NULL,
    root        TEXT NOT NULL,   -- of the object, inside the storage root
    content     TEXT NOT NULL,   -- path of the bytes below it
    size_bytes  BIGINT NOT NULL,
    algorithm   TEXT NOT NULL,   -- of the content digest
    digest      TEXT NOT NULL,
    md5         TEXT,            -- null until it is known
    sha256      TEXT,
    sha512      TEXT,
    state       TEXT NOT NULL,   -- pending, staged, failed
    reason      TEXT,            -- why it failed
    fetched     BIGINT,          -- whole, for the first time
    checkpoints BLOB,            -- null of files that are small
    PRIMARY KEY (order_id, number)
);
CREATE UNIQUE INDEX restore_files_named ON restore_files (order_id, object_id, path);
CREATE INDEX restore_files_pending ON restore_files (order_id, number) WHERE state = 'pending';
