-- Requests for deletions, as they came; NULL where the language of the contract does not give them back.
ALTER TABLE deletions ADD COLUMN request BLOB;
