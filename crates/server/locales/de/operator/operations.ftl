operator-not-done = Nicht getan: { $what }
operator-numbers = Die Zahlen
operator-next = Nächste Seite
operations-title = Betrieb
operations-queue = Schritte, die nicht erledigt sind
operations-queue-empty = Kein Schritt ist offen.
operations-kind = Was
operations-state = Zustand
operations-count = Anzahl
operations-oldest = Ältester
operations-running = In Arbeit
operations-running-empty = Es wird an nichts gearbeitet.
operations-waiting = Wartend
operations-waiting-empty = Nichts wartet.
operations-ready = Als Nächstes an der Reihe
operations-ready-empty = Die Warteschlange ist leer.
operations-ended = In den letzten sieben Tagen gescheitert
operations-ended-empty = Kein Auftrag ist gescheitert.
operations-recalls = Wird aus dem Archivspeicher zurückgeholt
operations-throughput = Die letzten 24 Stunden
operations-throughput-chart = Ausgelieferte Aufträge je Stunde
operations-order = Auftrag
operations-orders = Aufträge
operations-package = Paket
operations-contract = Vertrag
operations-client = Client
operations-version = Version
operations-size = Größe
operations-progress = Fortschritt
operations-files = { $done } von { $all } Dateien
operations-since = Seit
operations-age = Alter
operations-holder = Gehalten von
operations-lease = Geliehen bis
operations-lease-over = abgelaufen
operations-waits-for = Wartet auf
operations-why = Warum
operations-again = Wieder um
operations-when = Wann
operations-hour = Stunde
operations-delivered = Ausgeliefert
operations-delivered-bytes = Bytes ausgeliefert
operations-checked-bytes = Bytes geprüft
operations-retry = Erneut beauftragen
operations-retry-one = Erneut beauftragen, wofür Auftrag { $order } war
operations-retried = Erneut beauftragt: { $what }
operations-cancel = Zurückziehen
operations-cancel-one = Auftrag { $order } zurückziehen
operations-cancelled = Zurückgezogen: { $what }
operations-priority = Dringlichkeit
operations-priority-set = Setzen
operations-priority-one = Dringlichkeit von Auftrag { $order } setzen
operations-moved = Die Dringlichkeit wurde geändert: { $what }
weight-good = In Ordnung
weight-note = Zur Kenntnis
weight-warning = Ansehen
weight-trouble = Sofort ansehen
finding-no-worker = Kein Prozess arbeitet, obwohl { $count ->
    [one] ein Schritt bereit ist
   *[other] { $count } Schritte bereit sind
  } seit { $since }.
finding-process-lost = Prozess { $name } hat sich seit { $seen } nicht gemeldet.
finding-damaged = { $count ->
    [one] Ein Paket ist
   *[other] { $count } Pakete sind
  } beschädigt: siehe Fixität.
finding-failed = { $count ->
    [one] Ein Auftrag ist
   *[other] { $count } Aufträge sind
  } seit { $since } gescheitert, und niemand hat sich darum gekümmert.
finding-fixity-behind = Die regelmäßige Prüfung ist um { $late } im Verzug.
finding-abandoned = { $count ->
    [one] Eine Nachricht an einen Webhook wurde
   *[other] { $count } Nachrichten an Webhooks wurden
  } seit { $since } aufgegeben.
finding-bounded = Eine Grenze für gleichzeitige Arbeit lässt { $count ->
    [one] einen Schritt
   *[other] { $count } Schritte
  } seit { $since } warten.
waits-storage = den Speicher
finding-waiting-storage = { $count ->
    [one] Ein Schritt wartet
   *[other] { $count } Schritte warten
  } auf den Speicher; wieder angesehen wird es { $next }.
waits-gateway = das Gateway eines Abliefernden
finding-waiting-gateway = { $count ->
    [one] Ein Schritt wartet
   *[other] { $count } Schritte warten
  } auf das Gateway eines Abliefernden; wieder angesehen wird es { $next }.
waits-recall = Inhalte aus dem Archivspeicher
finding-waiting-recall = { $count ->
    [one] Ein Schritt wartet
   *[other] { $count } Schritte warten
  } auf Inhalte aus dem Archivspeicher; wieder angesehen wird es { $next }.
waits-turn = die Ablieferung der Version davor
finding-waiting-turn = { $count ->
    [one] Ein Schritt wartet
   *[other] { $count } Schritte warten
  } auf die Ablieferung der Version davor; wieder angesehen wird es { $next }.
waits-retry = den nächsten Versuch
finding-waiting-retry = { $count ->
    [one] Ein Schritt wartet
   *[other] { $count } Schritte warten
  } auf den nächsten Versuch; wieder angesehen wird es { $next }.
waits-grace = das Ende der Frist zum Zurückziehen
finding-waiting-grace = { $count ->
    [one] Ein Schritt wartet
   *[other] { $count } Schritte warten
  } auf das Ende der Frist zum Zurückziehen; wieder angesehen wird es { $next }.
waits-unknown = den nächsten Versuch
finding-waiting-unknown = { $count ->
    [one] Ein Schritt wartet
   *[other] { $count } Schritte warten
  } auf den nächsten Versuch; wieder angesehen wird es { $next }.
finding-busy = Alle { $slots } Plätze sind belegt; { $count ->
    [one] ein Schritt steht
   *[other] { $count } Schritte stehen
  } seit { $since } in der Schlange.
finding-proceeding = Die Arbeit geht voran: { $running } in Arbeit, { $count } in der Schlange.
finding-idle = Es gibt nichts zu tun.
step-admit = annehmen
step-recall = zurückholen
step-prepare = bereitstellen
step-pull = abholen
step-check = prüfen
step-delete = löschen
step-state-ready = bereit
step-state-waiting = wartend
step-state-leased = in Arbeit
step-state-dead = aufgegeben
order-kind-dissemination = Auslieferung
order-kind-deposit = Ablieferung
order-kind-restore = Rückgabe
order-kind-deletion = Löschung
order-ended-failed = gescheitert
order-ended-rejected = abgelehnt
processes-title = Prozesse
processes-name = Prozess
processes-state = Zustand
processes-kind = Art
processes-version = Version
processes-slots = Plätze
processes-held = Schritte
processes-started = Gestartet
processes-seen = Zuletzt gemeldet
processes-there = läuft
processes-silent = stumm
processes-unknown = unbekannt
processes-empty = Kein Prozess läuft.
processes-leases = Woran sie arbeiten
process-server = Server
process-worker = Worker
operations-bytes = { $done } von { $all }
operations-dismiss = Erledigt
operations-dismiss-one = Erledigt: Auftrag { $order } braucht nichts mehr
operations-dismissed = Wird nicht länger gemeldet: { $what }
