//! The log: one line per event, `noun key=value key=value`.
//!
//! No byte from outside reaches a line as it is: every value is escaped in the
//! manner of vis(3) (C escapes and `\ooo`), quoted when it holds a space, and
//! bounded.  A line is built in a buffer on the stack, so that logging works
//! when memory does not.  Lines go to standard error (with `<N>` before them
//! when that is the journal) or to syslogd, facility mail.
//!
//! Levels: crit is a fault of ours, warn needs an operator, info is the mail
//! log, debug is off.  AUTH lines and passwords are never logged.

use crate::sys::errno::SysError;
use crate::sys::spawn;
use crate::sys::syslog::{self, Level, Syslog};
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, AtomicU8, Ordering};
use std::sync::OnceLock;

/// Octets of one value that are logged; the rest is shown as `...`.
pub const VALUE_MAX: usize = 512;
/// Octets of a line; below what syslogd(8) cuts.
pub const LINE_MAX: usize = 4096;

/// Where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dest {
    /// Standard error, as they are.
    Stderr,
    /// Standard error, with the level as `<N>` before each.
    Journal,
    /// syslogd(8).
    Syslog,
}

impl Dest {
    /// What suits a daemon: the journal or the terminal if standard error is
    /// one or `foreground` is asked for, else syslogd.
    #[must_use]
    pub fn choose(foreground: bool) -> Self {
        if syslog::stderr_is_journal() {
            Self::Journal
        } else if foreground {
            Self::Stderr
        } else {
            Self::Syslog
        }
    }

    /// The word by which the parent tells its children.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stderr => "stderr",
            Self::Journal => "journal",
            Self::Syslog => "syslog",
        }
    }

    /// The reverse of [`Dest::as_str`].
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Stderr, Self::Journal, Self::Syslog].into_iter().find(|d| d.as_str() == word)
    }
}

enum Sink {
    Stderr,
    Journal,
    Syslog(Syslog),
}

static SINK: OnceLock<Sink> = OnceLock::new();
static VERBOSITY: AtomicU8 = AtomicU8::new(Level::Info as u8);
/// Lines that syslogd did not take since the last that it did.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Sets where lines go, for good, and how panics are reported.  Before chroot
/// and before threads; until then, and if syslogd cannot be reached, it is
/// standard error.
pub fn init(ident: &'static str, dest: Dest) {
    let sink = match dest {
        Dest::Stderr => Sink::Stderr,
        Dest::Journal => Sink::Journal,
        Dest::Syslog => match Syslog::open(ident) {
            Ok(syslog) => Sink::Syslog(syslog),
            Err(error) => {
                Line::new("log").kv("error", &error).emit(Level::Warn);
                Sink::Stderr
            }
        },
    };
    // A second call would be a second main; the first one stands.
    let _ = SINK.set(sink);
    panic_hook();
}

/// Whether debug lines are logged: `rmailctl log verbose`, `rmaild -v`.
pub fn set_verbose(on: bool) {
    let level = if on { Level::Debug } else { Level::Info };
    VERBOSITY.store(level as u8, Ordering::Relaxed);
}

/// Whether lines of this level are logged at present.
#[must_use]
pub fn enabled(level: Level) -> bool {
    level as u8 <= VERBOSITY.load(Ordering::Relaxed)
}

/// A line under construction.
pub struct Line {
    buf: [u8; LINE_MAX],
    len: usize,
}

impl Line {
    /// Begins a line; `noun` is what it is about: `smtp`, `deliver`, `queue`.
    #[must_use]
    pub fn new(noun: &'static str) -> Self {
        let mut line = Self { buf: [0; LINE_MAX], len: 0 };
        line.raw(noun.as_bytes());
        line
    }

    /// Adds ` key=value`.
    #[must_use]
    pub fn kv(mut self, key: &'static str, value: &(impl Value + ?Sized)) -> Self {
        self.add(key, value);
        self
    }

    /// Adds ` key=value`; an absent value adds nothing.
    pub fn add(&mut self, key: &'static str, value: &(impl Value + ?Sized)) {
        let begun = self.len;
        self.raw(b" ");
        self.raw(key.as_bytes());
        self.raw(b"=");
        if !value.put(self) {
            self.len = begun;
        }
    }

    /// Writes the line, if its level is on.  Never blocks on syslogd.
    pub fn emit(&self, level: Level) {
        if enabled(level) {
            write_line(level, self.as_bytes());
        }
    }

    /// What has been built so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    /// Appends bytes of our own; what does not fit is cut.
    fn raw(&mut self, bytes: &[u8]) {
        let room = LINE_MAX.saturating_sub(self.len);
        let n = bytes.len().min(room);
        if let (Some(to), Some(from)) =
            (self.buf.get_mut(self.len..self.len.saturating_add(n)), bytes.get(..n))
        {
            to.copy_from_slice(from);
            self.len = self.len.saturating_add(n);
        }
    }

    /// Appends a value from anywhere: escaped, quoted if need be, bounded.
    fn value(&mut self, bytes: &[u8]) {
        let quote = bytes.is_empty() || bytes.contains(&b' ') || bytes.contains(&b'"');
        if quote {
            self.raw(b"\"");
        }
        for byte in bytes.iter().take(VALUE_MAX) {
            self.byte(*byte);
        }
        if bytes.len() > VALUE_MAX {
            self.raw(b"...");
        }
        if quote {
            self.raw(b"\"");
        }
    }

    /// Appends one byte, escaped as vis(3) with VIS_CSTYLE and VIS_OCTAL does.
    fn byte(&mut self, byte: u8) {
        match byte {
            b'\\' => self.raw(b"\\\\"),
            b'"' => self.raw(b"\\\""),
            b'\n' => self.raw(b"\\n"),
            b'\r' => self.raw(b"\\r"),
            b'\t' => self.raw(b"\\t"),
            b' '..=b'~' => self.raw(&[byte]),
            _ => self.raw(&[b'\\', b'0' | byte >> 6, b'0' | byte >> 3 & 7, b'0' | byte & 7]),
        }
    }
}

/// Text whose characters are escaped one by one: for values that are made by
/// `Display` and may quote something from outside.
struct Escaping<'a> {
    line: &'a mut Line,
    left: usize,
}

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for byte in s.bytes() {
            if self.left == 0 {
                return Err(fmt::Error);
            }
            self.left -= 1;
            self.line.byte(byte);
        }
        Ok(())
    }
}

/// Something that can stand after `key=`.
pub trait Value {
    /// Appends it; false if it is absent, so that the key goes too.
    fn put(&self, line: &mut Line) -> bool;
}

impl Value for [u8] {
    fn put(&self, line: &mut Line) -> bool {
        line.value(self);
        true
    }
}

impl Value for str {
    fn put(&self, line: &mut Line) -> bool {
        self.as_bytes().put(line)
    }
}

impl Value for String {
    fn put(&self, line: &mut Line) -> bool {
        self.as_bytes().put(line)
    }
}

impl Value for Vec<u8> {
    fn put(&self, line: &mut Line) -> bool {
        self.as_slice().put(line)
    }
}

impl<const N: usize> Value for [u8; N] {
    fn put(&self, line: &mut Line) -> bool {
        self.as_slice().put(line)
    }
}

impl Value for std::path::Path {
    fn put(&self, line: &mut Line) -> bool {
        self.as_os_str().as_encoded_bytes().put(line)
    }
}

impl Value for std::path::PathBuf {
    fn put(&self, line: &mut Line) -> bool {
        self.as_path().put(line)
    }
}

impl<T: Value + ?Sized> Value for &T {
    fn put(&self, line: &mut Line) -> bool {
        (**self).put(line)
    }
}

impl<T: Value> Value for Option<T> {
    fn put(&self, line: &mut Line) -> bool {
        self.as_ref().is_some_and(|value| value.put(line))
    }
}

/// Any `Display`, quoted if need be, as text is: an id is found by the same
/// words whoever logs it.
#[derive(Clone, Copy)]
pub struct Show<T>(pub T);

impl<T: fmt::Display> Value for Show<T> {
    fn put(&self, line: &mut Line) -> bool {
        // Whether quotes are needed is known when the value stands there.
        let quote = line.len;
        line.raw(b"\"");
        let value = line.len;
        if write!(Escaping { line, left: VALUE_MAX }, "{}", self.0).is_err() {
            line.raw(b"...");
        }
        let text = line.buf.get(value..line.len).unwrap_or_default();
        if text.is_empty() || text.contains(&b' ') || text.contains(&b'"') {
            line.raw(b"\"");
        } else {
            line.buf.copy_within(value..line.len, quote);
            line.len -= value - quote;
        }
        true
    }
}

impl Value for fmt::Arguments<'_> {
    fn put(&self, line: &mut Line) -> bool {
        Show(self).put(line)
    }
}

impl Value for SysError {
    fn put(&self, line: &mut Line) -> bool {
        Show(self).put(line)
    }
}

impl Value for std::io::Error {
    fn put(&self, line: &mut Line) -> bool {
        Show(self).put(line)
    }
}

/// A reverse-path or forward-path, in angle brackets: `from=<a@b>`.
#[derive(Clone, Copy)]
pub struct Angle<'a>(pub &'a [u8]);

impl Value for Angle<'_> {
    fn put(&self, line: &mut Line) -> bool {
        // A space is escaped, not quoted, to keep the brackets outermost.
        line.raw(b"<");
        for byte in self.0.iter().take(VALUE_MAX) {
            match byte {
                b' ' | b'<' | b'>' => {
                    line.raw(&[b'\\', b'0' | byte >> 6, b'0' | byte >> 3 & 7, b'0' | byte & 7]);
                }
                _ => line.byte(*byte),
            }
        }
        line.raw(if self.0.len() > VALUE_MAX { b"...>" } else { b">" });
        true
    }
}

/// Values whose `Display` has no space and nothing from outside.
macro_rules! plain {
    ($($t:ty)*) => {$(
        impl Value for $t {
            fn put(&self, line: &mut Line) -> bool {
                // Digits and letters always fit the bound; a line that is full is cut.
                let _ = write!(Escaping { line, left: VALUE_MAX }, "{self}");
                true
            }
        }
    )*};
}

plain!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize bool char
    std::net::IpAddr std::net::Ipv4Addr std::net::Ipv6Addr std::net::SocketAddr);

impl Value for std::time::Duration {
    /// Seconds and milliseconds: `0.043s`.
    fn put(&self, line: &mut Line) -> bool {
        // As for numbers.
        let _ = write!(
            Escaping { line, left: VALUE_MAX },
            "{}.{:03}s",
            self.as_secs(),
            self.subsec_millis()
        );
        true
    }
}

/// Logs a fault of ours: `log_crit!("noun", key = value, ..)`.
#[macro_export]
macro_rules! log_crit {
    ($($t:tt)*) => { $crate::log_at!($crate::sys::syslog::Level::Crit, $($t)*) };
}

/// Logs what an operator should look at: `log_warn!("noun", key = value, ..)`.
#[macro_export]
macro_rules! log_warn {
    ($($t:tt)*) => { $crate::log_at!($crate::sys::syslog::Level::Warn, $($t)*) };
}

/// Logs an event of the mail log: `log_info!("noun", key = value, ..)`.
#[macro_export]
macro_rules! log_info {
    ($($t:tt)*) => { $crate::log_at!($crate::sys::syslog::Level::Info, $($t)*) };
}

/// Logs for debugging: `log_debug!("noun", key = value, ..)`.
#[macro_export]
macro_rules! log_debug {
    ($($t:tt)*) => { $crate::log_at!($crate::sys::syslog::Level::Debug, $($t)*) };
}

/// Logs at a level; the values are not evaluated when it is off.  A key is an
/// identifier, a value anything that is a [`Value`]; text is
/// `msg = "..."` or `msg = format_args!(..)`, other `Display` types
/// `Show(&x)`.
#[macro_export]
macro_rules! log_at {
    ($level:expr, $noun:expr $(, $key:ident = $value:expr)* $(,)?) => {{
        let level = $level;
        if $crate::base::log::enabled(level) {
            #[allow(unused_mut, reason = "a line may have a noun alone")]
            let mut line = $crate::base::log::Line::new($noun);
            $(line.add(stringify!($key), &$value);)*
            line.emit(level);
        }
    }};
}

pub use crate::{log_crit as crit, log_debug as debug, log_info as info, log_warn as warn};

/// Logs at crit and ends the process with status 1, without exit handlers and
/// without allocating.
pub fn fatal(noun: &'static str, message: &str) -> ! {
    Line::new(noun).kv("fatal", message).emit(Level::Crit);
    spawn::exit_now(1)
}

/// [`fatal`] for a failed system call.
pub fn fatal_sys(noun: &'static str, error: &SysError) -> ! {
    Line::new(noun).kv("fatal", error).emit(Level::Crit);
    spawn::exit_now(1)
}

fn write_line(level: Level, line: &[u8]) {
    let sink = SINK.get().unwrap_or(&Sink::Stderr);
    match sink {
        Sink::Syslog(syslog) => {
            let lost = LOST.load(Ordering::Relaxed);
            if syslog.send(level, line).is_err() {
                LOST.fetch_add(1, Ordering::Relaxed);
            } else if lost != 0 {
                LOST.fetch_sub(lost, Ordering::Relaxed);
                let gap = Line::new("log").kv("lost", &lost);
                if syslog.send(Level::Warn, gap.as_bytes()).is_err() {
                    LOST.fetch_add(lost, Ordering::Relaxed);
                }
            }
        }
        Sink::Stderr | Sink::Journal => {
            // One write, so that lines of several processes do not mix.
            let mut out = [0; LINE_MAX + 4];
            let mut len = 0usize;
            let mut put = |bytes: &[u8]| {
                let n = bytes.len();
                if let Some(to) = out.get_mut(len..len.saturating_add(n)) {
                    to.copy_from_slice(bytes);
                    len = len.saturating_add(n);
                }
            };
            if matches!(sink, Sink::Journal) {
                put(&[b'<', b'0' | level as u8, b'>']);
            }
            put(line);
            put(b"\n");
            syslog::stderr(out.get(..len).unwrap_or_default());
        }
    }
}

/// Reports a panic by place and message.  No backtrace: taking one reads files
/// and calls getcwd, which kills a pledged process.
fn panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("");
        let mut line = Line::new("panic");
        if let Some(place) = info.location() {
            line.add("place", &format_args!("{}:{}", place.file(), place.line()));
        }
        line.add("thread", &std::thread::current().name());
        line.add("msg", text);
        line.emit(Level::Crit);
    }));
}

/// Fuzz target: any octets as values of a line, in each way of showing them.
///
/// The line is one line of printable ASCII and bounded, and no value can pass
/// for another key: outside quotes each word is a `key=` of ours.
pub fn fuzz_line(bytes: &[u8]) {
    let (left, right) = bytes.split_at_checked(bytes.len() / 2).unwrap_or_default();
    let text = String::from_utf8_lossy(right);
    let line = Line::new("fuzz")
        .kv("raw", left)
        .kv("shown", &Show(&text))
        .kv("from", &Angle(left))
        .kv("text", &*text)
        .kv("last", &7u32);
    let line = line.as_bytes();
    assert!(line.len() <= LINE_MAX && line.iter().all(|b| (0x20..0x7f).contains(b)));
    let mut keys = Vec::new();
    let mut word = Vec::new();
    let (mut quoted, mut escaped) = (false, false);
    for byte in line.iter().chain(b" ") {
        match byte {
            b' ' if !quoted => keys.push(std::mem::take(&mut word)),
            b'"' if !escaped => quoted = !quoted,
            _ => {}
        }
        if *byte != b' ' {
            word.push(*byte);
        }
        escaped = *byte == b'\\' && !escaped;
    }
    // A line that is full is cut wherever that is.
    let ours = ["fuzz", "raw=", "shown=", "from=<", "text=", "last=7"];
    for (key, ours) in keys.iter().zip(ours) {
        assert!(ours.as_bytes().starts_with(key) || key.starts_with(ours.as_bytes()));
    }
    assert!(keys.len() <= ours.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &Line) -> &str {
        std::str::from_utf8(line.as_bytes()).unwrap()
    }

    #[test]
    fn an_id_is_written_alike_whatever_it_is_made_of() {
        let line = Line::new("x").kv("a", "1b2k").kv("b", &Show("1b2k")).kv("c", &Show("1 2"));
        assert_eq!(text(&line.kv("d", &Show(""))), r#"x a=1b2k b=1b2k c="1 2" d="""#);
        assert_eq!(text(&Line::new("x").kv("a", &Show("\"q\""))), r#"x a="\"q\"""#);
    }

    #[test]
    fn a_line_is_a_noun_and_pairs() {
        let line = Line::new("smtp")
            .kv("sid", "9f00")
            .kv("from", &Angle(b"a@b"))
            .kv("size", &1234)
            .kv("tls", &None::<&str>)
            .kv("result", "2.0.0");
        assert_eq!(text(&line), "smtp sid=9f00 from=<a@b> size=1234 result=2.0.0");
    }

    #[test]
    fn hostile_bytes_do_not_reach_a_line() {
        let line = Line::new("x").kv("v", &b"a\r\nsmtp sid=1\x1b[2J\xff\0\"\\"[..]);
        assert_eq!(text(&line), r#"x v="a\r\nsmtp sid=1\033[2J\377\000\"\\""#);
        let line = Line::new("x").kv("f", &Angle(b"a b>\n"));
        assert_eq!(text(&line), r"x f=<a\040b\076\n>");
        let line = Line::new("x").kv("e", &format_args!("no\nway {}", "\u{e9}"));
        assert_eq!(text(&line), r#"x e="no\nway \303\251""#);
    }

    #[test]
    fn values_and_lines_are_bounded() {
        let long = vec![b'a'; 10_000];
        let line = Line::new("x").kv("v", &long);
        assert_eq!(line.as_bytes().len(), 4 + VALUE_MAX + 3);
        let line = Line::new("x").kv("v", &Show(String::from_utf8(long.clone()).unwrap()));
        assert_eq!(line.as_bytes().len(), 4 + VALUE_MAX + 3);
        let line = Line::new("x").kv("v", &Show(" ".repeat(10_000)));
        assert_eq!(line.as_bytes().len(), 4 + 2 + VALUE_MAX + 3);
        let mut line = Line::new("x");
        for _ in 0..20 {
            line.add("v", &vec![1u8; 600]);
        }
        assert_eq!(line.as_bytes().len(), LINE_MAX);
    }

    #[test]
    fn an_errno_is_printed() {
        let line = Line::new("x").kv("error", &SysError::new("open", 28).at("/x"));
        assert_eq!(text(&line), r#"x error="open /x: No space left on device""#);
    }

    #[test]
    fn verbosity_switches_debug() {
        assert!(enabled(Level::Crit) && enabled(Level::Info) && !enabled(Level::Debug));
        set_verbose(true);
        assert!(enabled(Level::Debug));
        set_verbose(false);
        crate::log_debug!("never", value = unreachable_value());
    }

    fn unreachable_value() -> u32 {
        unreachable!("a value of a level that is off is not evaluated")
    }

    #[test]
    fn destinations_have_words() {
        for dest in [Dest::Stderr, Dest::Journal, Dest::Syslog] {
            assert_eq!(Dest::parse(dest.as_str()), Some(dest));
        }
    }
}
