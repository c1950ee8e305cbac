deliveries-title = Leveranser
deliveries-meaning = Det som er utlevert og fortsatt beholdes, etter når det ikke beholdes lenger.
deliveries-created = Levert
deliveries-expires = Lenker til
deliveries-kept = Beholdes til
deliveries-empty = Ingenting beholdes.
deliveries-take-back = Ta tilbake
deliveries-take-back-one = Ta tilbake det som ble levert for bestilling { $order }
