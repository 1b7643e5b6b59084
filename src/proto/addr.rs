//! Mail addresses: mailbox, path, domain and address-literal grammar. RFC 5321 4.1.2, RFC 5322 3.4.
