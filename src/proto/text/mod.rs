//! Character sets and transfer encodings of text.
