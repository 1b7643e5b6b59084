//! Dates and times of mail: RFC 5322 3.3 and the IMAP date-time of RFC 3501.
