operator-not-done = Not done: { $what }
operator-numbers = The numbers
operator-next = Next page
operations-title = Operations
operations-queue = Steps that are not done
operations-queue-empty = No step is open.
operations-kind = What
operations-state = State
operations-count = How many
operations-oldest = Oldest
operations-running = Running
operations-running-empty = Nothing is being worked on.
operations-waiting = Waiting
operations-waiting-empty = Nothing waits.
operations-ready = Next in line
operations-ready-empty = Nothing is in line.
operations-ended = Failed in the last seven days
operations-ended-empty = No order failed.
operations-recalls = Being brought back from cold storage
operations-throughput = The last 24 hours
operations-throughput-chart = Orders delivered in each hour
operations-order = Order
operations-orders = Orders
operations-package = Package
operations-contract = Contract
operations-client = Client
operations-version = Version
operations-size = Size
operations-progress = Progress
operations-files = { $done } of { $all } files
operations-since = For
operations-age = Age
operations-holder = Held by
operations-lease = Lease until
operations-lease-over = run out
operations-waits-for = Waits for
operations-why = Why
operations-again = Again at
operations-when = When
operations-hour = Hour
operations-delivered = Delivered
operations-delivered-bytes = Bytes delivered
operations-checked-bytes = Bytes checked
operations-retry = Order again
operations-retry-one = Order again what order { $order } was for
operations-retried = Ordered again: { $what }
operations-cancel = Withdraw
operations-cancel-one = Withdraw order { $order }
operations-cancelled = Withdrawn: { $what }
operations-priority = Urgency
operations-priority-set = Set
operations-priority-one = Set the urgency of order { $order }
operations-moved = The urgency was changed: { $what }
weight-good = All is well
weight-note = To be known
weight-warning = Look at it
weight-trouble = Look at it now
finding-no-worker = No process works, although { $count ->
    [one] one step is
   *[other] { $count } steps are
  } ready since { $since }.
finding-process-lost = Process { $name } has not been heard of since { $seen }.
finding-damaged = { $count ->
    [one] One package is
   *[other] { $count } packages are
  } damaged: see Fixity.
finding-failed = { $count ->
    [one] One order has
   *[other] { $count } orders have
  } failed since { $since }, and nobody has seen to it.
finding-fixity-behind = The regular check is late by { $late }.
finding-abandoned = { $count ->
    [one] One message to a webhook was
   *[other] { $count } messages to webhooks were
  } given up since { $since }.
finding-bounded = A bound on what runs at a time keeps { $count ->
    [one] one step
   *[other] { $count } steps
  } waiting since { $since }.
waits-storage = the storage
finding-waiting-storage = { $count ->
    [one] One step waits
   *[other] { $count } steps wait
  } for the storage; it is looked at again at { $next }.
waits-gateway = the gateway of a depositor
finding-waiting-gateway = { $count ->
    [one] One step waits
   *[other] { $count } steps wait
  } for the gateway of a depositor; it is looked at again at { $next }.
waits-recall = content from cold storage
finding-waiting-recall = { $count ->
    [one] One step waits
   *[other] { $count } steps wait
  } for content from cold storage; it is looked at again at { $next }.
waits-turn = the deposit of the version before
finding-waiting-turn = { $count ->
    [one] One step waits
   *[other] { $count } steps wait
  } for the deposit of the version before; it is looked at again at { $next }.
waits-retry = the next attempt
finding-waiting-retry = { $count ->
    [one] One step waits
   *[other] { $count } steps wait
  } for the next attempt; it is looked at again at { $next }.
waits-grace = the end of the time in which it can be withdrawn
finding-waiting-grace = { $count ->
    [one] One step waits
   *[other] { $count } steps wait
  } for the end of the time in which it can be withdrawn; it is looked at again at { $next }.
waits-unknown = the next attempt
finding-waiting-unknown = { $count ->
    [one] One step waits
   *[other] { $count } steps wait
  } for the next attempt; it is looked at again at { $next }.
finding-busy = All { $slots } slots are taken; { $count ->
    [one] one step is
   *[other] { $count } steps are
  } in line since { $since }.
finding-proceeding = Work goes on: { $running } running, { $count } in line.
finding-idle = There is nothing to do.
step-admit = take in
step-recall = recall
step-prepare = prepare
step-pull = fetch
step-check = check
step-delete = delete
step-state-ready = ready
step-state-waiting = waiting
step-state-leased = running
step-state-dead = given up
order-kind-dissemination = delivery
order-kind-deposit = deposit
order-kind-restore = restore
order-kind-deletion = deletion
order-ended-failed = failed
order-ended-rejected = rejected
processes-title = Processes
processes-name = Process
processes-state = State
processes-kind = Kind
processes-version = Version
processes-slots = Slots
processes-held = Steps
processes-started = Started
processes-seen = Heard of
processes-there = runs
processes-silent = silent
processes-unknown = unknown
processes-empty = No process runs.
processes-leases = What they work on
process-server = server
process-worker = worker
operations-bytes = { $done } of { $all }
operations-dismiss = Seen to
operations-dismiss-one = Seen to: order { $order } needs nothing more
operations-dismissed = Told of no longer: { $what }
