//! Character sets and transfer encodings of text.

pub mod base64;
pub mod casemap;
pub mod charset;
pub mod encoded_word;
pub mod fuzz;
pub mod idna;
pub mod mutf7;
pub mod transfer;
