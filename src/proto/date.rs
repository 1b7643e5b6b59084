//! Dates and times of mail, from and to text; nobody here knows what time it is.
//!
//! *Runs in* every process.  A [`DateTime`] is a moment and the zone in which it
//! was written.  The reader of header dates is lenient, since clients are not:
//! two-digit years, missing seconds, zone names, comments.  The IMAP forms are
//! strict.  Years 1900 to 9999; anything else is no date.
//!
//! RFC 5322 3.3, 4.3; RFC 3501 9 (date, date-time).

use crate::proto::chars;
use crate::proto::cursor::Cursor;

/// A moment and the offset from UTC with which it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub unix: i64,
    /// Minutes east of UTC, -1439 to 1439.
    pub offset: i16,
}

/// A day of the Gregorian calendar.  Ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// 1900 to 9999.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// 1970-01-01 was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

const DAY: i64 = 86_400;

impl Date {
    /// Checks that there is such a day.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Date> {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let last = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        let good = (1900..=9999).contains(&year) && (1..=last).contains(&day);
        good.then_some(Date { year, month, day })
    }

    /// Days since 1970-01-01.
    #[expect(clippy::arithmetic_side_effects, reason = "a Date is in 1900 to 9999")]
    pub fn days(self) -> i64 {
        // Days from civil: years begin in March, so that the leap day is the last.
        let (y, m, d) = (i64::from(self.year), i64::from(self.month), i64::from(self.day));
        let y = if m <= 2 { y - 1 } else { y };
        let (era, yoe) = (y.div_euclid(400), y.rem_euclid(400));
        let doy = (153 * ((m + 9) % 12) + 2) / 5 + d - 1;
        era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
    }

    /// The day that is so many days after 1970-01-01.
    #[expect(clippy::arithmetic_side_effects, reason = "bounded by the check at the top")]
    pub fn from_days(days: i64) -> Option<Date> {
        if !(-30_000..3_000_000).contains(&days) {
            return None;
        }
        let z = days + 719_468;
        let (era, doe) = (z.div_euclid(146_097), z.rem_euclid(146_097));
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let month = (mp + 2) % 12 + 1;
        let year = yoe + era * 400 + i64::from(month <= 2);
        let day = doy - (153 * mp + 2) / 5 + 1;
        Date::new(u16::try_from(year).ok()?, u8::try_from(month).ok()?, u8::try_from(day).ok()?)
    }

    /// date-text = date-day "-" date-month "-" date-year, the whole of `text`.  RFC 3501 9.
    pub fn parse_imap(text: &[u8]) -> Option<Date> {
        let mut c = Cursor::new(text);
        let day = digits(&mut c, 1, 2)?;
        let date = imap_rest(&mut c, day)?;
        c.at_end().then_some(date)
    }

    fn month_name(self) -> &'static str {
        let at = usize::from(self.month).saturating_sub(1);
        MONTHS.get(at).copied().unwrap_or("Jan")
    }
}

impl DateTime {
    /// A moment in UTC.
    pub const fn utc(unix: i64) -> DateTime {
        DateTime { unix, offset: 0 }
    }

    /// From the parts of a local time; a leap second is the last one of its minute.
    pub fn new(date: Date, h: u8, m: u8, s: u8, offset: i16) -> Option<DateTime> {
        if h > 23 || m > 59 || s > 60 || !(-1439..=1439).contains(&offset) {
            return None;
        }
        let minutes = i64::from(h).saturating_mul(60).saturating_add(i64::from(m));
        let seconds = minutes
            .saturating_sub(i64::from(offset))
            .saturating_mul(60)
            .saturating_add(i64::from(s.min(59)));
        let unix = date.days().saturating_mul(DAY).saturating_add(seconds);
        Some(DateTime { unix, offset })
    }

    /// The local day and the seconds since its midnight.
    ///
    /// A moment out of range is shown as the first of 1970, since a header needs
    /// some date.
    pub fn local(self) -> (Date, u32) {
        let local = self.unix.saturating_add(i64::from(self.offset).saturating_mul(60));
        let day = Date::from_days(local.div_euclid(DAY));
        let seconds = u32::try_from(local.rem_euclid(DAY)).unwrap_or(0);
        match day {
            Some(day) => (day, seconds),
            None => (Date { year: 1970, month: 1, day: 1 }, 0),
        }
    }

    /// `Mon, 23 Nov 2026 22:34:21 +0100`.  RFC 5322 3.3.
    pub fn rfc5322(self) -> String {
        let (date, _) = self.local();
        let weekday = usize::try_from(date.days().rem_euclid(7)).unwrap_or(0);
        format!(
            "{}, {} {} {} {} {}",
            WEEKDAYS.get(weekday).copied().unwrap_or("Thu"),
            date.day,
            date.month_name(),
            date.year,
            self.clock(),
            self.zone()
        )
    }

    /// `23-Nov-2026 22:34:21 +0100`, the day with two places; without quotes.  RFC 3501 9.
    pub fn imap(self) -> String {
        let (date, _) = self.local();
        let month = date.month_name();
        format!("{:2}-{month}-{:04} {} {}", date.day, date.year, self.clock(), self.zone())
    }

    fn clock(self) -> String {
        let (_, s) = self.local();
        let (h, m, s) = (s.wrapping_div(3600), s.wrapping_div(60) % 60, s % 60);
        format!("{h:02}:{m:02}:{s:02}")
    }

    fn zone(self) -> String {
        let minutes = self.offset.unsigned_abs();
        let sign = if self.offset < 0 { '-' } else { '+' };
        format!("{sign}{:02}{:02}", minutes.wrapping_div(60), minutes % 60)
    }

    /// date-time of IMAP, without its quotes, the whole of `text`.  RFC 3501 9.
    pub fn parse_imap(text: &[u8]) -> Option<DateTime> {
        let mut c = Cursor::new(text);
        // date-day-fixed = (SP DIGIT) / 2DIGIT
        let day = if c.eat(b' ') { digits(&mut c, 1, 1)? } else { digits(&mut c, 2, 2)? };
        let date = imap_rest(&mut c, day)?;
        if !c.eat(b' ') {
            return None;
        }
        let (h, m, s) = clock(&mut c)?;
        if !c.eat(b' ') {
            return None;
        }
        let offset = numeric_zone(&mut c)?;
        c.at_end().then_some(())?;
        DateTime::new(date, h, m, s, offset)
    }

    /// Reads the value of a Date field.
    ///
    /// Comments and blanks may stand anywhere; the day of the week is not looked
    /// at; what follows the zone is not either.  `None` if no date can be made of it.
    pub fn parse_rfc5322(text: &[u8]) -> Option<DateTime> {
        let mut c = Cursor::new(text);
        skip(&mut c);
        // day-of-week
        if c.take_while1(|b| b.is_ascii_alphabetic()).is_some() {
            skip(&mut c);
            c.eat(b',');
            skip(&mut c);
        }
        let day = digits(&mut c, 1, 2)?;
        separator(&mut c);
        let month = month(&mut c)?;
        separator(&mut c);
        let year = year(&mut c)?;
        let date = Date::new(year, month, u8::try_from(day).ok()?)?;
        skip(&mut c);
        let (h, m, s) = loose_clock(&mut c)?;
        skip(&mut c);
        let offset = if matches!(c.peek(), Some(b'+' | b'-')) {
            numeric_zone(&mut c)?
        } else {
            named_zone(c.take_while(|b| b.is_ascii_alphabetic()))
        };
        DateTime::new(date, h, m, s, offset)
    }
}

/// A number of `min` to `max` digits.
fn digits(c: &mut Cursor<'_>, min: usize, max: usize) -> Option<u16> {
    let start = c.pos();
    let n = c.number()?;
    let len = c.since(start).len();
    u16::try_from(n).ok().filter(|_| (min..=max).contains(&len))
}

fn small(c: &mut Cursor<'_>, min: usize, max: usize) -> Option<u8> {
    digits(c, min, max).and_then(|n| u8::try_from(n).ok())
}

fn month(c: &mut Cursor<'_>) -> Option<u8> {
    let name = c.take(3)?;
    c.take_while(|b| b.is_ascii_alphabetic()); // "March", "Sept"
    let at = MONTHS.iter().position(|m| name.eq_ignore_ascii_case(m.as_bytes()))?;
    u8::try_from(at.saturating_add(1)).ok()
}

/// "-" date-month "-" date-year
fn imap_rest(c: &mut Cursor<'_>, day: u16) -> Option<Date> {
    let month = Some(c.eat(b'-')).filter(|ok| *ok).and_then(|_| month(c))?;
    let year = Some(c.eat(b'-')).filter(|ok| *ok).and_then(|_| digits(c, 4, 4))?;
    Date::new(year, month, u8::try_from(day).ok()?)
}

/// 2DIGIT ":" 2DIGIT ":" 2DIGIT
fn clock(c: &mut Cursor<'_>) -> Option<(u8, u8, u8)> {
    let h = small(c, 2, 2)?;
    let m = Some(c.eat(b':')).filter(|ok| *ok).and_then(|_| small(c, 2, 2))?;
    let s = Some(c.eat(b':')).filter(|ok| *ok).and_then(|_| small(c, 2, 2))?;
    Some((h, m, s))
}

fn loose_clock(c: &mut Cursor<'_>) -> Option<(u8, u8, u8)> {
    let h = small(c, 1, 2)?;
    skip(c);
    if !c.eat(b':') {
        return None;
    }
    skip(c);
    let m = small(c, 1, 2)?;
    skip(c);
    if !c.eat(b':') {
        return Some((h, m, 0));
    }
    skip(c);
    let s = small(c, 1, 2)?;
    if c.eat(b'.') {
        c.take_while(|b| b.is_ascii_digit()); // fractions, which no RFC knows
    }
    Some((h, m, s))
}

/// ("+" / "-") 4DIGIT
fn numeric_zone(c: &mut Cursor<'_>) -> Option<i16> {
    let east = c.next_byte()?;
    let n = i16::try_from(digits(c, 4, 4)?).ok()?;
    let (h, m) = (n.wrapping_div(100), n % 100);
    if h > 23 || m > 59 {
        return None;
    }
    let minutes = h.saturating_mul(60).saturating_add(m);
    match east {
        b'+' => Some(minutes),
        b'-' => Some(minutes.saturating_neg()),
        _ => None,
    }
}

/// obs-zone; what is unknown counts as UTC.  RFC 5322 4.3.
fn named_zone(name: &[u8]) -> i16 {
    const ZONES: [(&str, i16); 10] = [
        ("EDT", -240),
        ("EST", -300),
        ("CDT", -300),
        ("CST", -360),
        ("MDT", -360),
        ("MST", -420),
        ("PDT", -420),
        ("PST", -480),
        ("CET", 60),
        ("CEST", 120),
    ];
    ZONES.iter().find(|(n, _)| name.eq_ignore_ascii_case(n.as_bytes())).map_or(0, |(_, m)| *m)
}

/// year = 4*DIGIT; obs-year = 2*DIGIT.  RFC 5322 4.3.
fn year(c: &mut Cursor<'_>) -> Option<u16> {
    let start = c.pos();
    let year = digits(c, 2, 4)?;
    match c.since(start).len() {
        2 if year < 50 => year.checked_add(2000),
        2 | 3 => year.checked_add(1900),
        _ => Some(year),
    }
}

/// Blanks, a hyphen, a full stop: what stands between day, month and year.
fn separator(c: &mut Cursor<'_>) {
    skip(c);
    if matches!(c.peek(), Some(b'-' | b'.')) {
        c.next_byte();
        skip(c);
    }
}

/// CFWS: blanks, folds and comments.  Comments nest; an open one runs to the end.
fn skip(c: &mut Cursor<'_>) {
    let mut depth: usize = 0;
    while let Some(b) = c.peek() {
        match b {
            b'(' => depth = depth.saturating_add(1),
            b')' if depth > 0 => depth = depth.saturating_sub(1),
            b'\\' if depth > 0 => {
                c.next_byte();
            }
            _ if depth > 0 || chars::is_wsp(b) || matches!(b, b'\r' | b'\n') => {}
            _ => return,
        }
        c.next_byte();
    }
}

/// Fuzz target: any octets as a date of a header field, of IMAP's two forms.
///
/// A date that is read can be written, and is then the same moment and zone.
pub fn fuzz_date(bytes: &[u8]) {
    if let Some(date) = DateTime::parse_rfc5322(bytes) {
        assert_eq!(DateTime::parse_rfc5322(date.rfc5322().as_bytes()), Some(date));
        assert_eq!(DateTime::parse_imap(date.imap().as_bytes()), Some(date));
        let (day, second) = date.local();
        assert_eq!(Date::from_days(day.days()), Some(day));
        assert!(i64::from(second) < DAY);
    }
    if let Some(date) = DateTime::parse_imap(bytes) {
        assert_eq!(DateTime::parse_rfc5322(date.rfc5322().as_bytes()), Some(date));
        assert_eq!(DateTime::parse_imap(date.imap().as_bytes()), Some(date));
    }
    if let Some(day) = Date::parse_imap(bytes) {
        assert_eq!(Date::new(day.year, day.month, day.day), Some(day));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Option<(i64, i16)> {
        DateTime::parse_rfc5322(text.as_bytes()).map(|d| (d.unix, d.offset))
    }

    #[test]
    fn days_count_both_ways() {
        assert_eq!(Date::new(1970, 1, 1).unwrap().days(), 0);
        assert_eq!(Date::new(2000, 3, 1).unwrap().days(), 11_017);
        assert_eq!(Date::new(2024, 2, 29).unwrap().days(), 19_782);
        let first = Date::new(1900, 1, 1).unwrap().days();
        let last = Date::new(9999, 12, 31).unwrap().days();
        let mut before = None;
        for days in first..=last {
            let date = Date::from_days(days).unwrap();
            assert_eq!(date.days(), days);
            assert!(before < Some(date));
            before = Some(date);
        }
        assert_eq!(Date::from_days(first - 1), None);
        assert_eq!(Date::from_days(last + 1), None);
        assert_eq!(Date::from_days(i64::MAX), None);
        assert_eq!(Date::new(2023, 2, 29), None);
        assert_eq!(Date::new(2023, 13, 1), None);
        assert_eq!(Date::new(2023, 0, 1), None);
    }

    #[test]
    fn writes_rfc5322() {
        let d = DateTime { unix: 1_795_473_261, offset: 60 };
        assert_eq!(d.rfc5322(), "Mon, 23 Nov 2026 23:34:21 +0100");
        assert_eq!(DateTime::utc(0).rfc5322(), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(
            DateTime { unix: -1, offset: -330 }.rfc5322(),
            "Wed, 31 Dec 1969 18:29:59 -0530"
        );
        assert_eq!(DateTime::utc(i64::MAX).rfc5322(), "Thu, 1 Jan 1970 00:00:00 +0000");
    }

    #[test]
    fn reads_what_it_writes() {
        let mut unix = -2_000_000_000i64;
        while unix < 200_000_000_000 {
            for offset in [-720, -1, 0, 345, 840] {
                let d = DateTime { unix, offset };
                assert_eq!(DateTime::parse_rfc5322(d.rfc5322().as_bytes()), Some(d));
                assert_eq!(DateTime::parse_imap(d.imap().as_bytes()), Some(d));
            }
            unix += 987_654_321;
        }
    }

    #[test]
    fn reads_old_and_odd_header_dates() {
        assert_eq!(header("Fri, 21 Nov 1997 09:55:00 -0600"), Some((880_127_700, -360)));
        assert_eq!(header("21 Nov 97 09:55 CST"), Some((880_127_700, -360)));
        assert_eq!(
            header("Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 (Newfoundland Time)"),
            Some((-27_723_480, -210))
        );
        assert_eq!(
            header("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600"),
            Some((880_127_706, -360))
        );
        assert_eq!(header("21-Nov-1997 15:55:00 GMT"), Some((880_127_700, 0)));
        assert_eq!(header("Fri 21 November 1997 15:55:00.123 Z"), Some((880_127_700, 0)));
        assert_eq!(header("21 Nov 126 0:0 +0000"), header("21 Nov 2026 00:00:00 GMT"));
    }

    #[test]
    fn refuses_what_is_no_date() {
        for bad in [
            "",
            "now",
            "Fri, 32 Nov 1997 09:55:00 -0600",
            "Fri, 21 Xxx 1997 09:55:00 -0600",
            "Fri, 21 Nov 1997",
            "21 Nov 1997 24:00:00 +0000",
            "21 Nov 1997 09:60:00 +0000",
            "21 Nov 1997 09:55:00 +2400",
            "21 Nov 1997 09:55:00 +060",
            "21 Nov 99999 09:55:00 +0000",
            "(21 Nov 1997 09:55:00 +0000",
            "21 Nov 18446744073709551616 0:0",
        ] {
            assert_eq!(header(bad), None, "{bad}");
        }
        assert_eq!(header("30 Jun 2015 23:59:60 +0000"), Some((1_435_708_799, 0)));
    }

    #[test]
    fn imap_forms_are_strict() {
        let ok = |t: &str| DateTime::parse_imap(t.as_bytes()).map(|d| d.unix);
        assert_eq!(ok("17-Jul-1996 02:44:25 -0700"), Some(837_596_665));
        assert_eq!(ok(" 1-Feb-1994 21:52:25 -0800"), Some(760_168_345));
        for bad in [
            "1-Feb-1994 21:52:25 -0800",
            "01-Feb-94 21:52:25 -0800",
            "01-Feb-1994 21:52 -0800",
            "01-Feb-1994 21:52:25",
            "01-Feb-1994 21:52:25 PST",
            "01-Feb-1994 21:52:25 -0800 ",
            "30-Feb-1994 21:52:25 -0800",
        ] {
            assert_eq!(ok(bad), None, "{bad}");
        }
        assert_eq!(Date::parse_imap(b"1-feb-1994"), Date::new(1994, 2, 1));
        assert_eq!(Date::parse_imap(b"01-Feb-1994"), Date::new(1994, 2, 1));
        assert_eq!(Date::parse_imap(b"1-Feb-94"), None);
        assert_eq!(Date::parse_imap(b"001-Feb-1994"), None);
        assert_eq!(Date::parse_imap(b"1-Feb-1994x"), None);
    }
}
