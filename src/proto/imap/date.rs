//! Where dates stand in commands; [`crate::proto::date`] reads them.
//! RFC 3501 6.4.4, 9.

use super::lex::{Fault, Parsed};
use crate::proto::cursor::Cursor;
use crate::proto::date::{Date, DateTime};

/// date = date-text / DQUOTE date-text DQUOTE
pub fn date(c: &mut Cursor<'_>) -> Parsed<Date> {
    let quoted = c.eat(b'"');
    let text = c.take_while(|b| b.is_ascii_alphanumeric() || b == b'-');
    let date = Date::parse_imap(text).ok_or(Fault::Date)?;
    if quoted && !c.eat(b'"') {
        return Err(Fault::Date);
    }
    Ok(date)
}

/// date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
pub fn date_time(c: &mut Cursor<'_>) -> Parsed<DateTime> {
    if !c.eat(b'"') {
        return Err(Fault::Date);
    }
    let text = c.take_until(b'"').ok_or(Fault::Date)?;
    c.next_byte();
    DateTime::parse_imap(text).ok_or(Fault::Date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_may_be_quoted_and_a_date_time_must_be() {
        let day = Date::new(1994, 2, 1);
        assert_eq!(date(&mut Cursor::new(b"1-Feb-1994")).ok(), day);
        assert_eq!(date(&mut Cursor::new(b"\"01-feb-1994\"")).ok(), day);
        let when = date_time(&mut Cursor::new(b"\"17-Jul-1996 02:44:25 -0700\"")).unwrap();
        assert_eq!(when.unix, 837_596_665);
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for bad in ["30-Feb-2000", "1-Jan-00", "", "\"1-Jan-2000", "0-Jan-2000", "1 Jan 2000"] {
            assert_eq!(date(&mut Cursor::new(bad.as_bytes())), Err(Fault::Date), "{bad}");
        }
        for bad in ["\"17-Jul-1996 24:00:00 +0000\"", "17-Jul-1996 02:44:25 +0000", "\"\"", "\""] {
            assert_eq!(date_time(&mut Cursor::new(bad.as_bytes())), Err(Fault::Date), "{bad}");
        }
    }
}
