//! The IMAP grammar: commands in, responses out. RFC 3501, RFC 9051.
