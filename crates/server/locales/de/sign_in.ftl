sign-in = Anmelden
sign-in-title = Anmelden
sign-in-name = Zugang
sign-in-secret = Kennwort
sign-in-hint = Verwenden Sie Name und Kennwort Ihres Zugangs. Sie haben sie von den Betreibern des Archivs.
sign-in-wrong = Der Zugang oder das Kennwort ist falsch.
sign-in-wait = Zu viele Fehlversuche. Warten Sie { $count } { $count ->
    [one] Sekunde
   *[other] Sekunden
  }.
sign-out = Abmelden
sign-out-done = Sie haben sich abgemeldet.
sessions-title = Ihr Zugang
sessions-roles = Was Sie dürfen
sessions-no-roles = Sie haben noch keine Rolle in einem Vertrag. Fragen Sie die Betreiber des Archivs.
sessions-contract = Vertrag
sessions-may = Sie dürfen
sessions-where = Wo Sie angemeldet sind
sessions-agent = Programm
sessions-own = dieses
sessions-address = Adresse
sessions-created = Angemeldet
sessions-seen = Zuletzt benutzt
sessions-expires = Endet
sessions-end = Beenden
sessions-end-one = Sitzung in { $agent } beenden
sessions-end-others = Alle anderen Sitzungen beenden
sessions-ended = Beendet.
