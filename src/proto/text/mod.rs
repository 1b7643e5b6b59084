//! Character sets and transfer encodings of text.

pub mod base64;
pub mod mutf7;
