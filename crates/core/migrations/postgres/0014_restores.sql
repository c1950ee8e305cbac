-- Restores: files that are made ready to be fetched one by one. Where the work on one stands, its order says.
CREATE TABLE restores (
    order_id   TEXT COLLATE "C" PRIMARY KEY REFERENCES orders (id),
    request    BYTEA NOT NULL,   -- as it came
    file_count BIGINT NOT NULL,
    unfetched  BIGINT NOT NULL,  -- files that were not fetched whole yet
    expires    BIGINT,           -- set when all files were looked at
    released   BIGINT
);
CREATE TABLE restore_files (
    order_id    TEXT COLLATE "C" NOT NULL REFERENCES restores (order_id),
    number      BIGINT NOT NULL, -- from 1
    package_id  TEXT COLLATE "C" NOT NULL,
    object_id   TEXT COLLATE "C" NOT NULL,
    path        TEXT COLLATE "C" NOT NULL,
    version     BIGINT NOT NULL,
    label       TEXT COLLATE "C" NOT NULL,
    root        TEXT COLLATE "C" NOT NULL,   -- of the object, inside the storage root
    content     TEXT COLLATE "C" NOT NULL,   -- path of the bytes below it
    size_bytes  BIGINT NOT NULL,
    algorithm   TEXT COLLATE "C" NOT NULL,   -- of the content digest
    digest      TEXT COLLATE "C" NOT NULL,
    md5         TEXT COLLATE "C",            -- null until it is known
    sha256      TEXT COLLATE "C",
    sha512      TEXT COLLATE "C",
    state       TEXT COLLATE "C" NOT NULL,   -- pending, staged, failed
    reason      TEXT COLLATE "C",            -- why it failed
    fetched     BIGINT,          -- whole, for the first time
    checkpoints BYTEA,           -- null of files that are small
    PRIMARY KEY (order_id, number)
);
CREATE UNIQUE INDEX restore_files_named ON restore_files (order_id, object_id, path);
CREATE INDEX restore_files_pending ON restore_files (order_id, number) WHERE state = 'pending';
