//! Character sets and transfer encodings of text.

pub mod base64;
pub mod casemap;
pub mod charset;
pub mod encoded_word;
pub mod fuzz;
pub mod idna;
pub mod mutf7;
pub mod transfer;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::mime::Encoding;
    use crate::proto::testing::assert_linear;
    use std::hint::black_box;

    #[test]
    fn what_decodes_takes_time_that_doubles_with_its_input() {
        for unit in
            ["A", "=", "==", "=\r\n", "AAAA\r\n", " ", "%", "\u{e9}", "\u{ff0e}", "+AAA-", "\x1b$B"]
        {
            assert_linear(|n| {
                let text = unit.repeat(n / unit.len());
                let text = text.as_bytes();
                black_box(base64::decode(text));
                black_box(base64::decode_letters(text));
                black_box(idna::to_ascii(text));
                for encoding in [Encoding::Base64, Encoding::QuotedPrintable] {
                    black_box(transfer::decode(encoding, text, 1 << 20));
                }
                for label in ["", "utf-7", "iso-2022-jp", "utf-8", "windows-1252"] {
                    black_box(charset::decode(label.as_bytes(), text, 1 << 20));
                }
                black_box(mutf7::decode_lenient(text));
            });
        }
    }
}
