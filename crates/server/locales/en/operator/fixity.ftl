fixity-title = Fixity
fixity-period = Everything is read again within
fixity-never-checked = nothing is read by itself
fixity-covered = Read within that time
fixity-stored = Stored
fixity-never = Never read yet
fixity-oldest = Oldest check
fixity-cold = Left out in cold storage
fixity-damaged = Damaged
fixity-missing = Missing
fixity-amount = { $count ->
    [one] one package
   *[other] { $count } packages
  }, { $size }
fixity-packages = { $count ->
    [one] one package
   *[other] { $count } packages
  }
fixity-files = { $count ->
    [one] one file
   *[other] { $count } files
  }
fixity-none = none
fixity-failures = What is not right
fixity-repair = A damaged package is not handed out. Put the right files back into the storage, from a copy or a backup, and have the package read: when every byte matches again, it is open again.
fixity-failures-empty = Everything that was read is right.
fixity-verify = Read it now
fixity-verify-one = Read it now: { $package }
fixity-asked = It is read before all others. Look again in a while.
fixity-state-damaged = damaged
fixity-state-missing = missing
fixity-history = Day by day
fixity-chart = Bytes checked on each day; days with damage are marked
fixity-days = { $count } days
fixity-day = Day
fixity-checked = Packages read
fixity-checked-bytes = Bytes
fixity-found = Damage found
