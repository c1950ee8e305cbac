deliveries-title = Lieferungen
deliveries-meaning = Was ausgeliefert wurde und noch aufbewahrt wird, nach dem Ende der Aufbewahrung.
deliveries-created = Geliefert
deliveries-expires = Links bis
deliveries-kept = Aufbewahrt bis
deliveries-empty = Nichts wird aufbewahrt.
deliveries-take-back = Zurücknehmen
deliveries-take-back-one = Zurücknehmen, was für Auftrag { $order } geliefert wurde
