frame-skip = Skip to the content
frame-navigation = Main navigation
frame-language = Language
frame-theme = Appearance
theme-system = Automatic
theme-light = Light
theme-dark = Dark
role-read = see and order packages
role-write = deposit and delete packages
role-operator = run the archive
duration-days = { $count } { $count ->
    [one] day
   *[other] days
  }
duration-hours = { $count } h
duration-minutes = { $count } min
duration-seconds = { $count } s
refusal-title = That did not work
refusal-400-title = That cannot be read
refusal-400 = The archive did not understand what was sent.
refusal-403-title = Not allowed
refusal-403 = You may not do this here.
refusal-404-title = Not found
refusal-404 = There is nothing here, or nothing that you may see.
refusal-409-title = Not now
refusal-409 = Something else is in the way of it.
refusal-422-title = That is not possible
refusal-422 = It was understood, but cannot be done.
refusal-429-title = Too many attempts
refusal-429 = Wait a moment, and try again.
refusal-500-title = The server failed
refusal-500 = It is no fault of yours. The log of the server has the reason.
refusal-503-title = Not at the moment
refusal-503 = The archive is busy or not reachable. Try again soon.
refusal-other = The archive did not do what was asked.
refusal-home = To the first page
frame-overview = Overview
frame-administration = Administration
