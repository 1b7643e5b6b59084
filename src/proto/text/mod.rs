//! Character sets and transfer encodings of text.

pub mod base64;
pub mod casemap;
pub mod mutf7;
