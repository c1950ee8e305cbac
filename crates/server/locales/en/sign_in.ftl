sign-in = Sign in
sign-in-title = Sign in
sign-in-name = Client
sign-in-secret = Secret
sign-in-hint = Use the name and the secret of your client. Whoever runs the archive gave them to you.
sign-in-wrong = The client or its secret is wrong.
sign-in-wait = Too many failed attempts. Wait { $count } { $count ->
    [one] second
   *[other] seconds
  }.
sign-out = Sign out
sign-out-done = You have signed out.
sessions-title = Your access
sessions-roles = What you may do
sessions-no-roles = You have no role on any contract yet. Ask whoever runs the archive.
sessions-contract = Contract
sessions-may = You may
sessions-where = Where you are signed in
sessions-agent = Program
sessions-own = this one
sessions-address = Address
sessions-created = Signed in
sessions-seen = Last used
sessions-expires = Ends
sessions-end = End
sessions-end-one = End the session in { $agent }
sessions-end-others = End all other sessions
sessions-ended = Ended.
