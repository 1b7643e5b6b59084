//! The SMTP grammar and the server transaction. RFC 5321.
