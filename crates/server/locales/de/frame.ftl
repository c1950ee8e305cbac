frame-skip = Zum Inhalt springen
frame-navigation = Hauptnavigation
frame-language = Sprache
frame-theme = Darstellung
theme-system = Automatisch
theme-light = Hell
theme-dark = Dunkel
role-read = Pakete sehen und bestellen
role-write = Pakete abliefern und löschen
role-operator = das Archiv betreiben
duration-days = { $count } { $count ->
    [one] Tag
   *[other] Tage
  }
duration-hours = { $count } Std.
duration-minutes = { $count } Min.
duration-seconds = { $count } s
refusal-title = Das ging nicht
refusal-400-title = Nicht lesbar
refusal-400 = Das Archiv hat nicht verstanden, was gesendet wurde.
refusal-403-title = Nicht erlaubt
refusal-403 = Das dürfen Sie hier nicht.
refusal-404-title = Nicht gefunden
refusal-404 = Hier ist nichts, oder nichts, was Sie sehen dürfen.
refusal-409-title = Jetzt nicht
refusal-409 = Etwas anderes steht dem im Weg.
refusal-422-title = Das ist nicht möglich
refusal-422 = Es wurde verstanden, lässt sich aber nicht ausführen.
refusal-429-title = Zu viele Versuche
refusal-429 = Warten Sie einen Moment, und versuchen Sie es noch einmal.
refusal-500-title = Der Server ist gescheitert
refusal-500 = Es liegt nicht an Ihnen. Der Grund steht im Protokoll des Servers.
refusal-503-title = Im Moment nicht
refusal-503 = Das Archiv ist beschäftigt oder nicht erreichbar. Versuchen Sie es bald noch einmal.
refusal-other = Das Archiv hat nicht getan, worum es gebeten wurde.
refusal-home = Zur Startseite
frame-overview = Übersicht
frame-administration = Verwaltung
