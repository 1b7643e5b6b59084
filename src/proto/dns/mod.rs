//! The DNS wire format. RFC 1035, RFC 6891.
