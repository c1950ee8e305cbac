-- Texts are compared byte by byte in every table; these took the rules of the database's language. Identifiers made within
-- one moment, of sessions among others, were listed in another order than that in which they were made.
ALTER TABLE contracts
    ALTER COLUMN mail_address TYPE TEXT COLLATE "C",
    ALTER COLUMN language     TYPE TEXT COLLATE "C";
ALTER TABLE mails
    ALTER COLUMN order_id TYPE TEXT COLLATE "C",
    ALTER COLUMN address  TYPE TEXT COLLATE "C",
    ALTER COLUMN language TYPE TEXT COLLATE "C",
    ALTER COLUMN state    TYPE TEXT COLLATE "C",
    ALTER COLUMN failure  TYPE TEXT COLLATE "C";
ALTER TABLE sessions
    ALTER COLUMN id           TYPE TEXT COLLATE "C",
    ALTER COLUMN token_digest TYPE TEXT COLLATE "C",
    ALTER COLUMN client_id    TYPE TEXT COLLATE "C",
    ALTER COLUMN name         TYPE TEXT COLLATE "C",
    ALTER COLUMN grants       TYPE TEXT COLLATE "C",
    ALTER COLUMN agent        TYPE TEXT COLLATE "C",
    ALTER COLUMN address      TYPE TEXT COLLATE "C";
ALTER TABLE orders ALTER COLUMN excerpt TYPE TEXT COLLATE "C";
ALTER TABLE excerpts ALTER COLUMN order_id TYPE TEXT COLLATE "C";
