//! MTA-STS records and policies. RFC 8461.
