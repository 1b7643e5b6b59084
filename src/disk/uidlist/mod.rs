//! `dovecot-uidlist`: which UID belongs to which message file.

pub mod codec;
