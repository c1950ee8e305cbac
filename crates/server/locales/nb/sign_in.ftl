sign-in = Logg inn
sign-in-title = Logg inn
sign-in-name = Klient
sign-in-secret = Hemmelighet
sign-in-hint = Bruk navnet og hemmeligheten til klienten deres. De som drifter arkivet, har gitt dere dem.
sign-in-wrong = Klienten eller hemmeligheten er feil.
sign-in-wait = For mange mislykkede forsøk. Vent { $count } { $count ->
    [one] sekund
   *[other] sekunder
  }.
sign-out = Logg ut
sign-out-done = Du er logget ut.
sessions-title = Din tilgang
sessions-roles = Hva du kan gjøre
sessions-no-roles = Du har ingen rolle på noen avtale ennå. Spør dem som drifter arkivet.
sessions-contract = Avtale
sessions-may = Du kan
sessions-where = Hvor du er logget inn
sessions-agent = Program
sessions-own = denne
sessions-address = Adresse
sessions-created = Logget inn
sessions-seen = Sist brukt
sessions-expires = Utløper
sessions-end = Avslutt
sessions-end-one = Avslutt økten i { $agent }
sessions-end-others = Avslutt alle andre økter
sessions-ended = Avsluttet.
