//! Header fields and the MIME structure of a message, as raw ranges. RFC 5322, RFC 2045 to 2047.
