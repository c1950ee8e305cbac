fixity-title = Fixität
fixity-period = Alles wird neu gelesen innerhalb von
fixity-never-checked = nichts wird von selbst gelesen
fixity-covered = In dieser Zeit gelesen
fixity-stored = Gespeichert
fixity-never = Noch nie gelesen
fixity-oldest = Älteste Prüfung
fixity-cold = Im Archivspeicher ausgelassen
fixity-damaged = Beschädigt
fixity-missing = Fehlend
fixity-amount = { $count ->
    [one] ein Paket
   *[other] { $count } Pakete
  }, { $size }
fixity-packages = { $count ->
    [one] ein Paket
   *[other] { $count } Pakete
  }
fixity-files = { $count ->
    [one] eine Datei
   *[other] { $count } Dateien
  }
fixity-none = keines
fixity-failures = Was nicht in Ordnung ist
fixity-repair = Ein beschädigtes Paket wird nicht ausgeliefert. Legen Sie die richtigen Dateien aus einer Kopie oder Sicherung in den Speicher zurück und lassen Sie das Paket lesen: Wenn jedes Byte wieder stimmt, ist es wieder offen.
fixity-failures-empty = Alles, was gelesen wurde, ist in Ordnung.
fixity-verify = Jetzt lesen
fixity-verify-one = Jetzt lesen: { $package }
fixity-asked = Es wird vor allen anderen gelesen. Schauen Sie später wieder nach.
fixity-state-damaged = beschädigt
fixity-state-missing = fehlt
fixity-history = Tag für Tag
fixity-chart = Geprüfte Bytes je Tag; Tage mit Schäden sind markiert
fixity-days = { $count } Tage
fixity-day = Tag
fixity-checked = Pakete gelesen
fixity-checked-bytes = Bytes
fixity-found = Schäden gefunden
