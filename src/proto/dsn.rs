//! Delivery status notifications: multipart\/report. RFC 3461, RFC 3464, RFC 6522.
