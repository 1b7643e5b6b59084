//! SMTP TLS reporting. RFC 8460.
