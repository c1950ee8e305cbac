-- Who changes an object, and until when nobody else may.
ALTER TABLE ingests ADD COLUMN holder TEXT NOT NULL DEFAULT '';
ALTER TABLE ingests ADD COLUMN lease_until BIGINT NOT NULL DEFAULT 0;
