//! SMTP MTA Strict Transport Security: records, policies, and which host they
//! allow.  RFC 8461.
//!
//! *Runs in* mta (what a domain asks for) and rmailctl (what we publish).  A
//! policy comes over HTTPS from a stranger: it is read within bounds and taken
//! whole or not at all.  Fetching and keeping it is somebody else's business.

use std::fmt::Write;

use crate::proto::cursor::Cursor;
use crate::proto::dns::Name;
use crate::proto::limits;

/// The longest time for which a policy is kept: a year.  RFC 8461 3.2.
pub const MAX_AGE: u32 = 31_557_600;

/// The policy id of a domain, from its `_mta-sts` TXT records.  RFC 8461 3.1.
///
///     sts-id = %s"id=" 1*32(ALPHA / DIGIT)
///
/// `None` is no policy.
pub fn policy_id(texts: &[Vec<u8>]) -> Option<String> {
    let id = field_of_record(texts, b"v=STSv1", b"id")?;
    let well_formed = (1..=32).contains(&id.len()) && id.iter().all(u8::is_ascii_alphanumeric);
    well_formed.then(|| String::from_utf8_lossy(id).into_owned())
}

/// The value of one field in the one record of a version, as it stands: RFC 8461
/// 3.1 has this form of records, and RFC 8460 3.
///
///     record     = version 1*(delim field) [delim]
///     delim      = *WSP ";" *WSP
///     extension  = ext-name "=" ext-value
///     ext-name   = (ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / ".")
///     ext-value  = 1*(%x21-3A / %x3C / %x3E-7E)
///
/// Texts that do not begin with the version and a semicolon are left out.
/// `None` unless one is left that is well formed, and has the field once; an
/// extension, of which nothing is known, may have a name again.
pub fn field_of_record<'a>(
    texts: &'a [Vec<u8>],
    version: &[u8],
    wanted: &[u8],
) -> Option<&'a [u8]> {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let fields = |text: &'a Vec<u8>| {
        let rest = text.strip_prefix(version)?;
        let blanks = rest.iter().take_while(|b| blank(b)).count();
        rest.get(blanks..)?.strip_prefix(b";")
    };
    let mut records = texts.iter().filter_map(fields);
    let (Some(record), None) = (records.next(), records.next()) else { return None };
    // A final delimiter is not followed by a field.
    let record = record.trim_ascii_end();
    let record = record.strip_suffix(b";").unwrap_or(record);
    let mut found = None;
    for field in record.split(|b| *b == b';').map(<[u8]>::trim_ascii) {
        let equals = memchr::memchr(b'=', field)?;
        let (name, value) = field.split_at_checked(equals)?;
        let value = value.get(1..)?;
        if name == wanted {
            if found.replace(value).is_some() {
                return None;
            }
        } else if !is_extension(name, value) {
            return None;
        }
    }
    found
}

fn is_extension(name: &[u8], value: &[u8]) -> bool {
    let in_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let in_value = |b: &u8| matches!(b, 0x21..=0x3a | 0x3c | 0x3e..=0x7e);
    (1..=32).contains(&name.len())
        && name.first().is_some_and(u8::is_ascii_alphanumeric)
        && name.iter().all(in_name)
        && !value.is_empty()
        && value.iter().all(in_value)
}

/// Where the policy of a domain is.  RFC 8461 3.2.
pub fn policy_url(domain: &str) -> String {
    format!("https://mta-sts.{domain}/.well-known/mta-sts.txt")
}

/// RFC 8461 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Deliver only over TLS to hosts that match.
    Enforce,
    /// Deliver anyway, and report.
    Testing,
    /// No policy.
    None,
}

impl Mode {
    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Testing => "testing",
            Mode::None => "none",
        }
    }
}

/// A pattern for hosts: a name, or `*.` and a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    wildcard: bool,
    name: Name,
}

impl Pattern {
    fn parse(text: &[u8]) -> Option<Pattern> {
        let (wildcard, name) = match text.strip_prefix(b"*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let sound =
            name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        let name = Name::from_dotted(name).ok().filter(|n| !n.is_root() && sound)?;
        Some(Pattern { wildcard, name })
    }

    /// The wildcard stands for exactly one label.  RFC 8461 4.1.
    pub fn matches(&self, host: &Name) -> bool {
        if self.wildcard {
            host.parent().is_some_and(|parent| parent == self.name)
        } else {
            *host == self.name
        }
    }
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What is to be done.
    pub mode: Mode,
    /// Seconds for which it may be kept.
    pub max_age: u32,
    /// The hosts that may receive.
    pub mx: Vec<Pattern>,
}

/// Why a policy cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// It is longer than 64 KiB, or names too many hosts.
    TooLong,
    /// A line is no `key: value`.
    Syntax,
    /// `version` is missing or another one.
    Version,
    /// `mode` is missing or unknown.
    Mode,
    /// `max_age` is missing or no number.
    MaxAge,
    /// `mx` is missing or no pattern.
    Mx,
}

impl Policy {
    /// Reads a policy; lines end with CRLF or LF.  RFC 8461 3.2.
    pub fn parse(text: &[u8]) -> Result<Policy, PolicyError> {
        if text.len() > limits::STS_POLICY.size() {
            return Err(PolicyError::TooLong);
        }
        let (mut version, mut mode, mut max_age) = (None, None, None);
        let mut mx = Vec::new();
        for line in text.split(|b| *b == b'\n') {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let colon = memchr::memchr(b':', line).ok_or(PolicyError::Syntax)?;
            let (key, value) = line.split_at_checked(colon).unwrap_or_default();
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            // Of fields that may not repeat, the first counts.
            match key.trim_ascii() {
                b"version" => {
                    version.get_or_insert(value);
                }
                b"mode" => {
                    mode.get_or_insert(value);
                }
                b"max_age" => {
                    max_age.get_or_insert(value);
                }
                b"mx" => {
                    if mx.len() >= limits::STS_HOSTS.size() {
                        return Err(PolicyError::TooLong);
                    }
                    mx.push(Pattern::parse(value).ok_or(PolicyError::Mx)?);
                }
                _ => {}
            }
        }
        if version != Some(b"STSv1") {
            return Err(PolicyError::Version);
        }
        let mode = match mode {
            Some(b"enforce") => Mode::Enforce,
            Some(b"testing") => Mode::Testing,
            Some(b"none") => Mode::None,
            _ => return Err(PolicyError::Mode),
        };
        let mut c = Cursor::new(max_age.ok_or(PolicyError::MaxAge)?);
        let age = c.number().filter(|_| c.at_end()).ok_or(PolicyError::MaxAge)?;
        if mode != Mode::None && mx.is_empty() {
            return Err(PolicyError::Mx);
        }
        let max_age = u32::try_from(age).unwrap_or(MAX_AGE).min(MAX_AGE);
        Ok(Policy { mode, max_age, mx })
    }

    /// True if mail may go to this host.
    pub fn allows(&self, host: &Name) -> bool {
        self.mode == Mode::None || self.mx.iter().any(|p| p.matches(host))
    }

    /// The text to publish.
    pub fn write(&self) -> String {
        let mut out = format!("version: STSv1\r\nmode: {}\r\n", self.mode.word());
        for p in &self.mx {
            let star = if p.wildcard { "*." } else { "" };
            // Writing to a String does not fail.
            let _ = write!(out, "mx: {star}{}\r\n", p.name);
        }
        out + &format!("max_age: {}\r\n", self.max_age)
    }
}

/// Fuzz target.
pub fn fuzz_policy(bytes: &[u8]) {
    if let Some(id) = policy_id(&[bytes.to_vec()]) {
        assert!(!id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric()));
    }
    if let Ok(policy) = Policy::parse(bytes) {
        assert_eq!(Policy::parse(policy.write().as_bytes()), Ok(policy));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(texts: &[&str]) -> Option<String> {
        policy_id(&texts.iter().map(|t| t.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    /// RFC 8461 3.1.
    #[test]
    fn exactly_one_record_counts() {
        assert_eq!(id(&["v=STSv1; id=20160831085700Z;"]).as_deref(), Some("20160831085700Z"));
        assert_eq!(id(&["v=spf1 -all", "v=STSv1; id=1; x=y"]).as_deref(), Some("1"));
        assert_eq!(id(&["v=STSv1; id=1", "v=STSv1; id=1"]), None);
        assert_eq!(id(&["v=STSv10; id=1"]), None);
        assert_eq!(id(&["v=STSv10; id=2", "v=STSv1;id=1"]).as_deref(), Some("1"));
        assert_eq!(id(&["v=STSv1 ; id=1"]).as_deref(), Some("1"));
        assert_eq!(id(&["v=STSv1"]), None);
        assert_eq!(id(&["v=STSv1", "v=STSv1; id=1"]).as_deref(), Some("1"), "without a semicolon");
        assert_eq!(id(&["v=STSv1; id=a-b"]), None);
        assert_eq!(id(&[&format!("v=STSv1; id={}", "1".repeat(33))]), None);
        assert_eq!(id(&["id=1; v=STSv1"]), None);
        assert_eq!(id(&[]), None);
    }

    /// RFC 8461 3.1 (sts-extension); what is not well formed is no policy.
    #[test]
    fn extensions_have_their_own_grammar() {
        for (more, sound) in [
            ("my-ext=x", true),
            ("1.a_b=/:<>", true),
            ("x=1; x=2", true),
            ("ID=x", true),
            ("x=1;", true),
            ("x=1; ", true),
            ("x=1 ; \ty=2", true),
            ("id=2", false),
            ("x=1;;", false),
            ("x=a b", false),
            ("x=a=b", false),
            ("x=", false),
            ("x", false),
            ("-x=1", false),
            ("x =1", false),
            ("x=\u{e9}", false),
        ] {
            assert_eq!(id(&[&format!("v=STSv1; id=1; {more}")]).is_some(), sound, "{more}");
        }
        let named = |n: usize| id(&[&format!("v=STSv1; {}=1; id=1", "x".repeat(n))]).is_some();
        assert!(named(32) && !named(33));
        assert!(id(&[&format!("v=STSv1; id=1{}", "; x=1".repeat(1000))]).is_some());
    }

    const POLICY: &str =
        "version: STSv1\nmode: enforce\r\nmx: mail.example.com\nmx: *.example.net\nmx:backupmx.example.com\nmax_age: 604800\n";

    #[test]
    fn the_example_of_rfc_8461_3_2() {
        let policy = Policy::parse(POLICY.as_bytes()).unwrap();
        assert_eq!((policy.mode, policy.max_age, policy.mx.len()), (Mode::Enforce, 604_800, 3));
        assert_eq!(Policy::parse(policy.write().as_bytes()), Ok(policy));
    }

    /// RFC 8461 4.1.
    #[test]
    fn a_wildcard_is_exactly_one_label() {
        let policy = Policy::parse(POLICY.as_bytes()).unwrap();
        let allows = |h: &str| policy.allows(&Name::parse(h.as_bytes()).unwrap());
        assert!(
            allows("mail.example.com") && allows("MAIL.EXAMPLE.COM.") && allows("a.example.net")
        );
        assert!(!allows("a.b.example.net") && !allows("example.net") && !allows("a.example.com"));
        assert!(!allows("x.mail.example.com"));
    }

    /// RFC 8461 3.2.
    #[test]
    fn what_is_wrong_with_a_policy_is_said() {
        let error = |from: &str, to: &str| Policy::parse(POLICY.replace(from, to).as_bytes());
        assert_eq!(error("STSv1", "STSv2"), Err(PolicyError::Version));
        assert_eq!(error("version: STSv1\n", ""), Err(PolicyError::Version));
        assert_eq!(error("enforce", "Enforce"), Err(PolicyError::Mode));
        assert_eq!(error("604800", "-1"), Err(PolicyError::MaxAge));
        assert_eq!(error("max_age: 604800", ""), Err(PolicyError::MaxAge));
        assert_eq!(error("mail.example.com", "a..b"), Err(PolicyError::Mx));
        assert_eq!(error("mail.example.com", "*.*.b"), Err(PolicyError::Mx));
        assert_eq!(error("mode", "mode\nmode"), Err(PolicyError::Syntax));
        assert_eq!(
            Policy::parse(b"version: STSv1\nmode: testing\nmax_age: 1"),
            Err(PolicyError::Mx)
        );
        assert!(Policy::parse(b"version: STSv1\nmode: none\nmax_age: 1").is_ok());
        assert_eq!(error("604800", "99999999999").unwrap().max_age, MAX_AGE);
        assert_eq!(Policy::parse(&[b'\n'; 70_000]), Err(PolicyError::TooLong));
        let hosts = POLICY.to_string() + &"mx: a.b\n".repeat(100);
        assert_eq!(Policy::parse(hosts.as_bytes()), Err(PolicyError::TooLong));
        let twice = POLICY.to_string() + "mode: none\nmax_age: 1\nnew_field: x\n";
        assert_eq!(Policy::parse(twice.as_bytes()).unwrap().mode, Mode::Enforce);
    }

    #[test]
    fn time_doubles_with_the_input() {
        let host = Name::parse(b"mx.example.org").unwrap();
        for unit in
            ["mx: a.example.org\n", "mx: *.a\n", "version: STSv1\n", ":", "\n", " ", "a:\r\n"]
        {
            crate::proto::testing::assert_linear(|n| {
                let text = "version: STSv1\nmode: enforce\nmax_age: 1\n".to_string()
                    + &unit.repeat(n / unit.len());
                if let Ok(policy) = std::hint::black_box(Policy::parse(text.as_bytes())) {
                    std::hint::black_box(policy.allows(&host));
                }
            });
        }
        for unit in [";", "a=b;", "=", " ", "id=1;"] {
            crate::proto::testing::assert_linear(|n| {
                let text = "v=STSv1;".to_string() + &unit.repeat(n / unit.len());
                std::hint::black_box(id(&[&text]));
            });
        }
        crate::proto::testing::assert_linear(|n| {
            std::hint::black_box(id(&vec!["v=STSv1; id=1;"; n / 14]));
        });
    }
}
