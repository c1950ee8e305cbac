operator-not-done = Ikke gjort: { $what }
operator-numbers = Tallene
operator-next = Neste side
operations-title = Drift
operations-queue = Steg som ikke er ferdige
operations-queue-empty = Ingen steg er åpne.
operations-kind = Hva
operations-state = Tilstand
operations-count = Antall
operations-oldest = Eldste
operations-running = I arbeid
operations-running-empty = Ingenting er i arbeid.
operations-waiting = Venter
operations-waiting-empty = Ingenting venter.
operations-ready = Neste i køen
operations-ready-empty = Køen er tom.
operations-ended = Mislyktes de siste sju dagene
operations-ended-empty = Ingen bestilling mislyktes.
operations-recalls = Hentes tilbake fra kaldlager
operations-throughput = De siste 24 timene
operations-throughput-chart = Leverte bestillinger per time
operations-order = Bestilling
operations-orders = Bestillinger
operations-package = Pakke
operations-contract = Avtale
operations-client = Klient
operations-version = Versjon
operations-size = Størrelse
operations-progress = Framdrift
operations-files = { $done } av { $all } filer
operations-since = I
operations-age = Alder
operations-holder = Holdes av
operations-lease = Leid til
operations-lease-over = utløpt
operations-waits-for = Venter på
operations-why = Hvorfor
operations-again = Igjen
operations-when = Når
operations-hour = Time
operations-delivered = Levert
operations-delivered-bytes = Byte levert
operations-checked-bytes = Byte kontrollert
operations-retry = Bestill på nytt
operations-retry-one = Bestill på nytt det bestilling { $order } gjaldt
operations-retried = Bestilt på nytt: { $what }
operations-cancel = Trekk tilbake
operations-cancel-one = Trekk tilbake bestilling { $order }
operations-cancelled = Trukket tilbake: { $what }
operations-priority = Prioritet
operations-priority-set = Sett
operations-priority-one = Sett prioriteten til bestilling { $order }
operations-moved = Prioriteten er endret: { $what }
weight-good = Alt i orden
weight-note = Til orientering
weight-warning = Se på det
weight-trouble = Se på det nå
finding-no-worker = Ingen prosess arbeider, selv om { $count ->
    [one] ett steg er
   *[other] { $count } steg er
  } klare siden { $since }.
finding-process-lost = Prosess { $name } har ikke meldt seg siden { $seen }.
finding-damaged = { $count ->
    [one] Én pakke er
   *[other] { $count } pakker er
  } skadet: se Fiksitet.
finding-failed = { $count ->
    [one] Én bestilling har
   *[other] { $count } bestillinger har
  } mislyktes siden { $since } uten at noen har tatt tak i det.
finding-fixity-behind = Den regelmessige kontrollen er { $late } forsinket.
finding-abandoned = { $count ->
    [one] Én melding til en webhook ble
   *[other] { $count } meldinger til webhooks ble
  } gitt opp siden { $since }.
finding-bounded = En grense for hva som kjører samtidig lar { $count ->
    [one] ett steg
   *[other] { $count } steg
  } vente siden { $since }.
waits-storage = lagringen
finding-waiting-storage = { $count ->
    [one] Ett steg venter
   *[other] { $count } steg venter
  } på lagringen; det sjekkes igjen { $next }.
waits-gateway = en avleverers gateway
finding-waiting-gateway = { $count ->
    [one] Ett steg venter
   *[other] { $count } steg venter
  } på en avleverers gateway; det sjekkes igjen { $next }.
waits-recall = innhold fra kaldlager
finding-waiting-recall = { $count ->
    [one] Ett steg venter
   *[other] { $count } steg venter
  } på innhold fra kaldlager; det sjekkes igjen { $next }.
waits-turn = avleveringen av versjonen før
finding-waiting-turn = { $count ->
    [one] Ett steg venter
   *[other] { $count } steg venter
  } på avleveringen av versjonen før; det sjekkes igjen { $next }.
waits-retry = neste forsøk
finding-waiting-retry = { $count ->
    [one] Ett steg venter
   *[other] { $count } steg venter
  } på neste forsøk; det sjekkes igjen { $next }.
waits-grace = slutten på angrefristen
finding-waiting-grace = { $count ->
    [one] Ett steg venter
   *[other] { $count } steg venter
  } på slutten på angrefristen; det sjekkes igjen { $next }.
waits-unknown = neste forsøk
finding-waiting-unknown = { $count ->
    [one] Ett steg venter
   *[other] { $count } steg venter
  } på neste forsøk; det sjekkes igjen { $next }.
finding-busy = Alle { $slots } plasser er opptatt; { $count ->
    [one] ett steg står
   *[other] { $count } steg står
  } i kø siden { $since }.
finding-proceeding = Arbeidet går sin gang: { $running } i arbeid, { $count } i kø.
finding-idle = Det er ingenting å gjøre.
step-admit = ta imot
step-recall = hente tilbake
step-prepare = klargjøre
step-pull = hente
step-check = kontrollere
step-delete = slette
step-state-ready = klar
step-state-waiting = venter
step-state-leased = i arbeid
step-state-dead = gitt opp
order-kind-dissemination = utlevering
order-kind-deposit = avlevering
order-kind-restore = tilbakelevering
order-kind-deletion = sletting
order-ended-failed = mislyktes
order-ended-rejected = avvist
processes-title = Prosesser
processes-name = Prosess
processes-state = Tilstand
processes-kind = Type
processes-version = Versjon
processes-slots = Plasser
processes-held = Steg
processes-started = Startet
processes-seen = Sist hørt fra
processes-there = kjører
processes-silent = taus
processes-unknown = ukjent
processes-empty = Ingen prosess kjører.
processes-leases = Hva de arbeider med
process-server = tjener
process-worker = arbeider
operations-bytes = { $done } av { $all }
operations-dismiss = Behandlet
operations-dismiss-one = Behandlet: bestilling { $order } trenger ikke mer
operations-dismissed = Meldes ikke lenger: { $what }
