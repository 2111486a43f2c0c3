//! Request and response heads as values: header look-up rules, nothing of the wire.
