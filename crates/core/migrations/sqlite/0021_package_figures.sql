-- How many packages there are of what, by contract, state and the day (UTC, counted from 1970; 0: never) on which they were last
-- read whole. Kept by the database itself, with whatever changes a package.
CREATE TABLE package_figures (
    contract_id   TEXT NOT NULL,
    state         TEXT NOT NULL,
    day           BIGINT NOT NULL,
    packages      BIGINT NOT NULL,
    bytes         BIGINT NOT NULL, -- that are stored of them
    cold_packages BIGINT NOT NULL, -- of which something could not be read then, in an archive class
    cold_files    BIGINT NOT NULL, -- how many files that is
    PRIMARY KEY (contract_id, state, day)
) WITHOUT ROWID;
CREATE INDEX package_figures_by_day ON package_figures (day, state);
INSERT INTO package_figures (contract_id, state, day, packages, bytes, cold_packages, cold_files)
    SELECT contract_id, state, checked / 86400000000, COUNT(*), SUM(stored_bytes),
        SUM(CASE WHEN cold_files > 0 THEN 1 ELSE 0 END), SUM(cold_files)
    FROM packages GROUP BY contract_id, state, checked / 86400000000;
-- What the figures are read from.
CREATE VIEW packages_counted AS
    SELECT contract_id, state, day, packages, bytes, cold_packages, cold_files FROM package_figures;

CREATE TRIGGER package_is_counted AFTER INSERT ON packages BEGIN
    INSERT INTO package_figures (contract_id, state, day, packages, bytes, cold_packages, cold_files)
        VALUES (NEW.contract_id, NEW.state, NEW.checked / 86400000000, 1, NEW.stored_bytes,
            CASE WHEN NEW.cold_files > 0 THEN 1 ELSE 0 END, NEW.cold_files)
        ON CONFLICT (contract_id, state, day) DO UPDATE SET
            packages = packages + excluded.packages, bytes = bytes + excluded.bytes,
            cold_packages = cold_packages + excluded.cold_packages, cold_files = cold_files + excluded.cold_files;
END;
CREATE TRIGGER package_is_counted_no_more AFTER DELETE ON packages BEGIN
    UPDATE package_figures SET packages = packages - 1, bytes = bytes - OLD.stored_bytes,
        cold_packages = cold_packages - CASE WHEN OLD.cold_files > 0 THEN 1 ELSE 0 END, cold_files = cold_files - OLD.cold_files
        WHERE contract_id = OLD.contract_id AND state = OLD.state AND day = OLD.checked / 86400000000;
END;
CREATE TRIGGER package_is_counted_elsewhere AFTER UPDATE OF contract_id, state, checked, stored_bytes, cold_files ON packages
WHEN OLD.contract_id <> NEW.contract_id OR OLD.state <> NEW.state OR OLD.checked <> NEW.checked
    OR OLD.stored_bytes <> NEW.stored_bytes OR OLD.cold_files <> NEW.cold_files BEGIN
    UPDATE package_figures SET packages = packages - 1, bytes = bytes - OLD.stored_bytes,
        cold_packages = cold_packages - CASE WHEN OLD.cold_files > 0 THEN 1 ELSE 0 END, cold_files = cold_files - OLD.cold_files
        WHERE contract_id = OLD.contract_id AND state = OLD.state AND day = OLD.checked / 86400000000;
    INSERT INTO package_figures (contract_id, state, day, packages, bytes, cold_packages, cold_files)
        VALUES (NEW.contract_id, NEW.state, NEW.checked / 86400000000, 1, NEW.stored_bytes,
            CASE WHEN NEW.cold_files > 0 THEN 1 ELSE 0 END, NEW.cold_files)
        ON CONFLICT (contract_id, state, day) DO UPDATE SET
            packages = packages + excluded.packages, bytes = bytes + excluded.bytes,
            cold_packages = cold_packages + excluded.cold_packages, cold_files = cold_files + excluded.cold_files;
END;

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
