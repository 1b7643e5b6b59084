//! The dates of IMAP: a day for SEARCH, a moment for APPEND and INTERNALDATE.
//!
//! A [`Day`] counts from 1 January 1970 with no zone: SEARCH compares days
//! "disregarding time and timezone".  RFC 3501 6.4.4, 9.

use super::lex::{Fault, Parsed};
use crate::proto::cursor::Cursor;

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// A day of the calendar: days since 1 January 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i64);

impl Day {
    /// The day of a civil date; `None` if there is no such day.  Gregorian throughout.
    pub fn from_civil(year: u16, month: u8, day: u8) -> Option<Day> {
        if day == 0 || day > days_in(year, month)? {
            return None;
        }
        // Years begin in March, so that the leap day is the last of its year.
        let year = i64::from(year).saturating_sub(i64::from(month < 3));
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let month = (i64::from(month).saturating_add(9)).rem_euclid(12);
        let of_year = (month.saturating_mul(153).saturating_add(2) / 5)
            .saturating_add(i64::from(day))
            .saturating_sub(1);
        let days = of_era
            .saturating_mul(365)
            .saturating_add(of_era / 4)
            .saturating_sub(of_era / 100)
            .saturating_add(of_year);
        Some(Day(era.saturating_mul(146_097).saturating_add(days).saturating_sub(719_468)))
    }

    /// Year, month and day.
    pub fn civil(self) -> (i64, u8, u8) {
        let z = self.0.saturating_add(719_468);
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = doe
            .saturating_sub(doe / 1460)
            .saturating_add(doe / 36_524)
            .saturating_sub(doe / 146_096)
            / 365;
        let doy = doe.saturating_sub(
            yoe.saturating_mul(365).saturating_add(yoe / 4).saturating_sub(yoe / 100),
        );
        let mp = doy.saturating_mul(5).saturating_add(2) / 153;
        let day =
            doy.saturating_sub(mp.saturating_mul(153).saturating_add(2) / 5).saturating_add(1);
        let month = if mp < 10 { mp.saturating_add(3) } else { mp.saturating_sub(9) };
        let year = yoe.saturating_add(era.saturating_mul(400)).saturating_add(i64::from(month < 3));
        (year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
    }
}

fn days_in(year: u16, month: u8) -> Option<u8> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

/// A moment and the zone in which it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// Seconds since 1970, UTC.
    pub unix_secs: i64,
    /// East of UTC, in minutes.
    pub zone_minutes: i16,
}

impl DateTime {
    /// The day in its own zone.
    pub fn day(self) -> Day {
        Day(self.local_secs().div_euclid(86_400))
    }

    fn local_secs(self) -> i64 {
        self.unix_secs.saturating_add(i64::from(self.zone_minutes).saturating_mul(60))
    }

    /// Appends the date-time without its quotes: ` 7-Feb-1994 21:52:25 -0800`.
    pub fn write(self, out: &mut Vec<u8>) {
        let (year, month, day) = self.day().civil();
        let secs = self.local_secs().rem_euclid(86_400);
        let (h, m, s) = (secs / 3600, secs / 60 % 60, secs % 60);
        let name = MONTHS.get(usize::from(month.saturating_sub(1))).copied().unwrap_or(b"Jan");
        let sign = if self.zone_minutes < 0 { '-' } else { '+' };
        let zone = self.zone_minutes.unsigned_abs();
        let name = String::from_utf8_lossy(name);
        let year = year.clamp(0, 9999);
        let (zh, zm) = (zone / 60, zone % 60);
        let text = format!("{day:2}-{name}-{year:04} {h:02}:{m:02}:{s:02} {sign}{zh:02}{zm:02}");
        out.extend_from_slice(text.as_bytes());
    }
}

/// date = date-text / DQUOTE date-text DQUOTE
pub fn date(c: &mut Cursor<'_>) -> Parsed<Day> {
    let quoted = c.eat(b'"');
    let day = date_text(c)?;
    if quoted && !c.eat(b'"') {
        return Err(Fault::Date);
    }
    Ok(day)
}

/// date-text = date-day "-" date-month "-" date-year
fn date_text(c: &mut Cursor<'_>) -> Parsed<Day> {
    let day = digits(c, 1, 2)?;
    let (month, year) = month_year(c)?;
    civil(year, month, day)
}

/// date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
pub fn date_time(c: &mut Cursor<'_>) -> Parsed<DateTime> {
    let want = |ok: bool| if ok { Ok(()) } else { Err(Fault::Date) };
    want(c.eat(b'"'))?;
    let day = if c.eat(b' ') { digits(c, 1, 1)? } else { digits(c, 1, 2)? };
    let (month, year) = month_year(c)?;
    let day = civil(year, month, day)?;
    want(c.eat(b' '))?;
    let h = digits(c, 2, 2)?;
    want(c.eat(b':'))?;
    let m = digits(c, 2, 2)?;
    want(c.eat(b':'))?;
    let s = digits(c, 2, 2)?;
    want(h < 24 && m < 60 && s <= 60)?;
    want(c.eat(b' '))?;
    let west = match c.next_byte() {
        Some(b'+') => false,
        Some(b'-') => true,
        _ => return Err(Fault::Date),
    };
    let (zh, zm) = (digits(c, 2, 2)?, digits(c, 2, 2)?);
    want(zh < 24 && zm < 60)?;
    want(c.eat(b'"'))?;
    let zone = i16::try_from(zh.saturating_mul(60).saturating_add(zm)).map_err(|_| Fault::Date)?;
    let zone_minutes = if west { zone.saturating_neg() } else { zone };
    let local = day
        .0
        .saturating_mul(86_400)
        .saturating_add(i64::from(h).saturating_mul(3600))
        .saturating_add(i64::from(m).saturating_mul(60))
        .saturating_add(i64::from(s));
    let unix_secs = local.saturating_sub(i64::from(zone_minutes).saturating_mul(60));
    Ok(DateTime { unix_secs, zone_minutes })
}

fn month_year(c: &mut Cursor<'_>) -> Parsed<(u8, u16)> {
    if !c.eat(b'-') {
        return Err(Fault::Date);
    }
    let name = c.take(3).ok_or(Fault::Date)?;
    let i = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(name)).ok_or(Fault::Date)?;
    let month = u8::try_from(i.saturating_add(1)).map_err(|_| Fault::Date)?;
    if !c.eat(b'-') {
        return Err(Fault::Date);
    }
    Ok((month, digits(c, 4, 4)?))
}

fn civil(year: u16, month: u8, day: u16) -> Parsed<Day> {
    let day = u8::try_from(day).map_err(|_| Fault::Date)?;
    Day::from_civil(year, month, day).ok_or(Fault::Date)
}

fn digits(c: &mut Cursor<'_>, least: usize, most: usize) -> Parsed<u16> {
    let mut n: u16 = 0;
    for i in 0..most {
        match c.peek().filter(u8::is_ascii_digit) {
            Some(d) => {
                n = n.saturating_mul(10).saturating_add(u16::from(d.wrapping_sub(b'0')));
                c.next_byte();
            }
            None if i >= least => break,
            None => return Err(Fault::Date),
        }
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_civil_dates_are_inverse() {
        for n in (-20_000..100_000).step_by(13) {
            let (y, m, d) = Day(n).civil();
            assert_eq!(Day::from_civil(u16::try_from(y).unwrap(), m, d), Some(Day(n)));
        }
        assert_eq!(Day::from_civil(1970, 1, 1), Some(Day(0)));
        assert_eq!(Day::from_civil(2000, 2, 29), Some(Day(11_016)));
        assert_eq!(Day::from_civil(1900, 2, 29), None);
        assert_eq!(Day::from_civil(2001, 13, 1), None);
    }

    #[test]
    fn a_date_time_comes_back_as_it_was() {
        for text in ["\" 7-Feb-1994 21:52:25 -0800\"", "\"17-Jul-1996 02:44:25 +0530\""] {
            let when = date_time(&mut Cursor::new(text.as_bytes())).unwrap();
            let mut out = vec![b'"'];
            when.write(&mut out);
            out.push(b'"');
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
        let when = date_time(&mut Cursor::new(b"\"17-Jul-1996 02:44:25 -0700\"")).unwrap();
        assert_eq!(when.unix_secs, 837_596_665);
        assert_eq!(when.day(), Day::from_civil(1996, 7, 17).unwrap());
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for bad in [
            "30-Feb-2000",
            "1-Foo-2000",
            "1-Jan-00",
            "",
            "\"1-Jan-2000",
            "0-Jan-2000",
            "1 Jan 2000",
        ] {
            assert_eq!(date(&mut Cursor::new(bad.as_bytes())), Err(Fault::Date), "{bad}");
        }
        for bad in [
            "\"17-Jul-1996 24:00:00 +0000\"",
            "\"17-Jul-1996 02:44:25 0700\"",
            "\"17-Jul-1996 02:44:25 +2500\"",
            "\"17-Jul-1996 02:44:25 +0000",
            "17-Jul-1996 02:44:25 +0000",
        ] {
            assert_eq!(date_time(&mut Cursor::new(bad.as_bytes())), Err(Fault::Date), "{bad}");
        }
        assert_eq!(date(&mut Cursor::new(b"\"01-feb-1994\"")), Ok(Day(8797)));
    }
}
