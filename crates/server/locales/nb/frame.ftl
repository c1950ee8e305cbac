frame-skip = Hopp til innholdet
frame-navigation = Hovednavigasjon
frame-language = Språk
frame-theme = Utseende
theme-system = Automatisk
theme-light = Lyst
theme-dark = Mørkt
role-read = se og bestille pakker
role-write = avlevere og slette pakker
role-operator = drifte arkivet
duration-days = { $count } { $count ->
    [one] døgn
   *[other] døgn
  }
duration-hours = { $count } t
duration-minutes = { $count } min
duration-seconds = { $count } s
refusal-title = Det gikk ikke
refusal-400-title = Det lar seg ikke lese
refusal-400 = Arkivet forsto ikke det som ble sendt.
refusal-403-title = Ikke tillatt
refusal-403 = Du har ikke lov til dette her.
refusal-404-title = Ikke funnet
refusal-404 = Her er det ingenting, eller ingenting som du kan se.
refusal-409-title = Ikke nå
refusal-409 = Noe annet står i veien.
refusal-422-title = Det er ikke mulig
refusal-422 = Det ble forstått, men kan ikke gjøres.
refusal-429-title = For mange forsøk
refusal-429 = Vent litt, og prøv igjen.
refusal-500-title = Tjeneren feilet
refusal-500 = Det er ikke din feil. Årsaken står i tjenerens logg.
refusal-503-title = Ikke akkurat nå
refusal-503 = Arkivet er opptatt eller utilgjengelig. Prøv igjen om litt.
refusal-other = Arkivet gjorde ikke det som ble bedt om.
refusal-home = Til forsiden
frame-overview = Oversikt
frame-administration = Administrasjon
