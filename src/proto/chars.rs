//! Character classes of the mail grammars, as tests on single bytes.
//!
//! Each is named after its ABNF rule.  Bytes of 0x80 and above belong to no
//! class unless the rule is extended by an internationalisation RFC, which the
//! name then says.

/// WSP = SP / HTAB.  RFC 5234 B.1.
pub const fn is_wsp(b: u8) -> bool {
    matches!(b, b' ' | b'\t')
}

/// CTL = %x00-1F / %x7F.  RFC 5234 B.1.
pub const fn is_ctl(b: u8) -> bool {
    b < 0x20 || b == 0x7f
}

/// atext = ALPHA / DIGIT / a few specials.  RFC 5322 3.2.3.
pub const fn is_atext(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'/'
                | b'='
                | b'?'
                | b'^'
                | b'_'
                | b'`'
                | b'{'
                | b'|'
                | b'}'
                | b'~'
        )
}

/// atext =/ UTF8-non-ascii.  RFC 6532 3.2; the caller has checked the UTF-8.
pub const fn is_atext_utf8(b: u8) -> bool {
    is_atext(b) || b >= 0x80
}

/// qtextSMTP = %d32-33 / %d35-91 / %d93-126.  RFC 5321 4.1.2.
pub const fn is_qtext_smtp(b: u8) -> bool {
    matches!(b, 32..=33 | 35..=91 | 93..=126)
}

/// ftext = %d33-57 / %d59-126: a header field name's bytes.  RFC 5322 3.6.8.
pub const fn is_ftext(b: u8) -> bool {
    matches!(b, 33..=57 | 59..=126)
}

/// token's bytes: any CHAR but SP, CTL and tspecials.  RFC 2045 5.1.
pub const fn is_token(b: u8) -> bool {
    b > 0x20
        && b < 0x7f
        && !matches!(
            b,
            b'(' | b')'
                | b'<'
                | b'>'
                | b'@'
                | b','
                | b';'
                | b':'
                | b'\\'
                | b'"'
                | b'/'
                | b'['
                | b']'
                | b'?'
                | b'='
        )
}

/// Let-dig / "-": the bytes of a sub-domain.  RFC 5321 4.1.2.
pub const fn is_ldh(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-'
}

/// VCHAR = %x21-7E.  RFC 5234 B.1.
pub const fn is_vchar(b: u8) -> bool {
    b > 0x20 && b < 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atext_has_81_bytes() {
        assert_eq!((0..=255u8).filter(|b| is_atext(*b)).count(), 62 + 19);
    }

    #[test]
    fn token_refuses_every_tspecial() {
        assert!(b"()<>@,;:\\\"/[]?= \t\r\n".iter().all(|b| !is_token(*b)));
    }
}
