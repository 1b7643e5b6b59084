//! Domain-based Message Authentication, Reporting and Conformance. RFC 9989, RFC 9990.
