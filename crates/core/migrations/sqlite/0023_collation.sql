-- Texts are compared byte by byte here as they are; the other engine has to be told so of some.
SELECT 1;
