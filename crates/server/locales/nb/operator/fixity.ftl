fixity-title = Fiksitet
fixity-period = Alt leses på nytt innen
fixity-never-checked = ingenting leses av seg selv
fixity-covered = Lest innen den tiden
fixity-stored = Lagret
fixity-never = Aldri lest ennå
fixity-oldest = Eldste kontroll
fixity-cold = Utelatt på kaldlager
fixity-damaged = Skadet
fixity-missing = Mangler
fixity-amount = { $count ->
    [one] én pakke
   *[other] { $count } pakker
  }, { $size }
fixity-packages = { $count ->
    [one] én pakke
   *[other] { $count } pakker
  }
fixity-files = { $count ->
    [one] én fil
   *[other] { $count } filer
  }
fixity-none = ingen
fixity-failures = Hva som ikke er i orden
fixity-repair = En skadet pakke utleveres ikke. Legg de riktige filene tilbake i lagringen, fra en kopi eller sikkerhetskopi, og få pakken lest: når hver byte stemmer igjen, åpnes den.
fixity-failures-empty = Alt som er lest, er i orden.
fixity-verify = Les den nå
fixity-verify-one = Les den nå: { $package }
fixity-asked = Den leses før alle andre. Se igjen om litt.
fixity-state-damaged = skadet
fixity-state-missing = mangler
fixity-history = Dag for dag
fixity-chart = Byte kontrollert per dag; dager med skade er merket
fixity-days = { $count } dager
fixity-day = Dag
fixity-checked = Pakker lest
fixity-checked-bytes = Byte
fixity-found = Skader funnet
