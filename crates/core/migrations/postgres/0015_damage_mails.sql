-- E-mail tells of damage too: then there is no order, and order_id is a number of its own. An empty address means the
-- operators'.
ALTER TABLE mails DROP CONSTRAINT mails_order_id_fkey;
ALTER TABLE mails ADD COLUMN package_id TEXT COLLATE "C"; -- the damaged package
ALTER TABLE mails ADD COLUMN reason TEXT COLLATE "C";     -- what was found
