//! The Sieve language. RFC 5228 and its extensions.
