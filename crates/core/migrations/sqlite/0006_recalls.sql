-- Packages whose content was asked for from archive classes. All orders for a version share one row.
CREATE TABLE recalls (
    package_id     TEXT NOT NULL,
    version        BIGINT NOT NULL,
    tier           TEXT NOT NULL,   -- the fastest that was asked for
    requested      BIGINT NOT NULL, -- when it was first asked for
    checked        BIGINT NOT NULL, -- when the storage was last asked how it stands
    readable_until BIGINT,          -- absent as long as it cannot be read
    PRIMARY KEY (package_id, version)
);
