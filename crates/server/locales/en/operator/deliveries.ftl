deliveries-title = Deliveries
deliveries-meaning = What was handed out and is still kept, by when it is kept no longer.
deliveries-created = Delivered
deliveries-expires = Links until
deliveries-kept = Kept until
deliveries-empty = Nothing is kept.
deliveries-take-back = Take back
deliveries-take-back-one = Take back what was delivered for order { $order }
