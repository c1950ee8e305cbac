-- How many packages there are of what, by contract, state and the day (UTC, counted from 1970; 0: never) on which they were last
-- read whole. Kept by the database itself, with whatever changes a package: each transaction notes what it changes, so that
-- none waits for another, and the notes are added up now and then.
CREATE TABLE package_figures (
    contract_id   TEXT COLLATE "C" NOT NULL,
    state         TEXT COLLATE "C" NOT NULL,
    day           BIGINT NOT NULL,
    packages      BIGINT NOT NULL,
    bytes         BIGINT NOT NULL, -- that are stored of them
    cold_packages BIGINT NOT NULL, -- of which something could not be read then, in an archive class
    cold_files    BIGINT NOT NULL, -- how many files that is
    PRIMARY KEY (contract_id, state, day)
);
CREATE INDEX package_figures_by_day ON package_figures (day, state);
INSERT INTO package_figures (contract_id, state, day, packages, bytes, cold_packages, cold_files)
    SELECT contract_id, state, checked / 86400000000, COUNT(*), SUM(stored_bytes),
        SUM(CASE WHEN cold_files > 0 THEN 1 ELSE 0 END), SUM(cold_files)
    FROM packages GROUP BY contract_id, state, checked / 86400000000;
CREATE TABLE package_changes (
    contract_id   TEXT COLLATE "C" NOT NULL,
    state         TEXT COLLATE "C" NOT NULL,
    day           BIGINT NOT NULL,
    packages      BIGINT NOT NULL,
    bytes         BIGINT NOT NULL,
    cold_packages BIGINT NOT NULL,
    cold_files    BIGINT NOT NULL
);
ALTER TABLE package_changes SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
-- What the figures are read from.
CREATE VIEW packages_counted AS
    SELECT contract_id, state, day, packages, bytes, cold_packages, cold_files FROM package_figures
    UNION ALL SELECT contract_id, state, day, packages, bytes, cold_packages, cold_files FROM package_changes;

CREATE FUNCTION package_is_counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO package_changes (contract_id, state, day, packages, bytes, cold_packages, cold_files)
            VALUES (OLD.contract_id, OLD.state, OLD.checked / 86400000000, -1, -OLD.stored_bytes,
                CASE WHEN OLD.cold_files > 0 THEN -1 ELSE 0 END, -OLD.cold_files);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO package_changes (contract_id, state, day, packages, bytes, cold_packages, cold_files)
            VALUES (NEW.contract_id, NEW.state, NEW.checked / 86400000000, 1, NEW.stored_bytes,
                CASE WHEN NEW.cold_files > 0 THEN 1 ELSE 0 END, NEW.cold_files);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER package_is_counted AFTER INSERT OR DELETE ON packages
    FOR EACH ROW EXECUTE FUNCTION package_is_counted();
CREATE TRIGGER package_is_counted_elsewhere AFTER UPDATE OF contract_id, state, checked, stored_bytes, cold_files ON packages
    FOR EACH ROW WHEN ((OLD.contract_id, OLD.state, OLD.checked, OLD.stored_bytes, OLD.cold_files)
        IS DISTINCT FROM (NEW.contract_id, NEW.state, NEW.checked, NEW.stored_bytes, NEW.cold_files))
    EXECUTE FUNCTION package_is_counted();

-- Whose turn is next in a contract; and what was read in a time that is no whole number of days.
DROP INDEX packages_standing;
CREATE INDEX packages_due ON packages (contract_id, check_since) WHERE state NOT IN ('missing', 'deleted');
DROP INDEX packages_checked;
CREATE INDEX packages_checked ON packages (checked, contract_id, stored_bytes, state) WHERE state NOT IN ('missing', 'deleted');

-- Lists of orders in a state, of every kind; and entries of the audit log of one kind, or that tell of failures.
DROP INDEX orders_by_state;
CREATE INDEX orders_by_state ON orders (contract_id, kind, state, id);
CREATE INDEX audit_by_kind ON audit (contract_id, kind, at, number);
CREATE INDEX audit_failures ON audit (contract_id, at, number) WHERE outcome = 'failure';
