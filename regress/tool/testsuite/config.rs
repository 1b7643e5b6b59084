//! Pigeonhole's settings by name, as test files use them.

use rmail::proto::sieve::compose::Sender;
use rmail::proto::sieve::settings::{Scale, Score, Settings};
use rmail::proto::sieve::surroundings::Occasion;

use super::bench::Bench;

impl Bench {
    /// Applies a setting of Pigeonhole's by its name; an unknown one skips the file.
    pub fn configure(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.config.insert(name.into(), value.into()),
            None => self.config.remove(name),
        };
        let fresh = Settings::default();
        let value = value.map(str::trim);
        let spam = self.score("spamtest", 10);
        let virus = self.score("virustest", 5);
        let set = &mut self.settings;
        let count = |default: usize| value.and_then(|v| v.parse().ok()).unwrap_or(default);
        let secs = |default: u64| value.and_then(period).unwrap_or(default);
        let yes = matches!(value, Some("yes"));
        let words = || value.unwrap_or("").split_whitespace().map(str::to_lowercase).collect();
        match name {
            "sieve_max_actions" => set.max_actions = count(fresh.max_actions),
            "sieve_max_redirects" => set.max_redirects = count(fresh.max_redirects),
            "sieve_notify_max_actions" => set.max_notifies = count(fresh.max_notifies),
            "sieve_variables_max_variable_size" | "sieve_variables_max_value_size" => {
                set.variable_size = value.and_then(size).unwrap_or(fresh.variable_size);
            }
            "sieve_include_max_nesting_depth" => {
                set.include_nesting = count(fresh.include_nesting);
            }
            // A unit of fuel is a few nanoseconds.
            "sieve_max_cpu_time" => {
                set.fuel = value.and_then(period).map_or(fresh.fuel, |secs| secs * 4_000_000);
            }
            "sieve_vacation_min_period" => set.vacation_min_secs = secs(fresh.vacation_min_secs),
            "sieve_vacation_max_period" => set.vacation_max_secs = secs(fresh.vacation_max_secs),
            "sieve_vacation_default_period" => {
                set.vacation_default_secs = secs(fresh.vacation_default_secs);
            }
            "sieve_vacation_dont_check_recipient" => set.vacation_any_recipient = yes,
            "sieve_vacation_check_recipient" => set.vacation_any_recipient = !yes,
            "sieve_vacation_use_original_recipient" => set.vacation_original_recipient = yes,
            "sieve_duplicate_default_period" => {
                set.duplicate_default_secs = secs(fresh.duplicate_default_secs);
            }
            "sieve_duplicate_max_period" => set.duplicate_max_secs = secs(fresh.duplicate_max_secs),
            "sieve_editheader_max_header_size" => {
                set.header_size = value.and_then(size).unwrap_or(fresh.header_size);
            }
            "sieve_editheader_protected" => set.header_protected = words(),
            "sieve_editheader_forbid_add" => set.header_no_add = words(),
            "sieve_editheader_forbid_delete" => set.header_no_delete = words(),
            "recipient_delimiter" => set.delimiters = value.unwrap_or("+").to_string(),
            "sieve_user_email" => {
                let address = value.map(|v| v.trim_matches(['<', '>'])).filter(|v| !v.is_empty());
                set.user = address.map(|v| v.as_bytes().to_vec());
            }
            "sieve_redirect_envelope_from" => set.redirect_from = sender(value),
            "sieve_notify_mailto_envelope_from" => {
                set.notify_from = value.map_or(Sender::Recipient, |_| sender(value));
            }
            "sieve_global" | "sieve" | "sieve_include_max_includes" => {}
            "rmail_vacation_records" => {}
            "rmail_occasion" => {
                let imap = value == Some("imap");
                set.occasion = if imap { Occasion::ImapEvent } else { Occasion::Delivery };
            }
            _ if name.starts_with("sieve_spamtest_") => set.spamtest = spam,
            _ if name.starts_with("sieve_virustest_") => set.virustest = virus,
            _ => self.skipped = Some(format!("the setting {name} is unknown here")),
        }
    }

    fn score(&self, test: &str, most: usize) -> Option<Score> {
        let get = |what: &str| self.config.get(&format!("sieve_{test}_{what}"));
        let field = |text: &str| match text.split_once(':') {
            Some((field, expression)) => {
                (field.trim().to_string(), Some(format!("^{}", expression.trim_start())))
            }
            None => (text.trim().to_string(), None),
        };
        let (name, expression) = field(get("status_header")?);
        let kind = get("status_type").map_or("score", |kind| kind.trim());
        let max = get("max_value").and_then(|v| v.trim().parse().ok());
        let scale = match (kind, get("max_header")) {
            ("text", _) => {
                let word = |n: usize| get(&format!("text_value{n}")).map(|w| (n, w.clone()));
                Scale::Words((0..=most).filter_map(word).collect())
            }
            (kind, Some(header)) => {
                let (field, expression) = field(header);
                match kind {
                    "strlen" => Scale::StarsIn { field, expression },
                    _ => Scale::MaxIn { field, expression },
                }
            }
            ("strlen", None) => Scale::Stars(max?),
            (_, None) => Scale::Max(max?),
        };
        Some(Score { field: name, expression, scale })
    }
}

/// `1d`, `30s`; a bare number is seconds.
fn period(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "" | "s" | "sec" | "secs" => 1,
        "m" | "min" | "mins" => 60,
        "h" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        _ => return None,
    };
    Some(number * unit)
}

/// `2k`, `1M`; a bare number is octets.
fn size(text: &str) -> Option<usize> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text[..digits].parse().ok()?;
    Some(match text[digits..].trim() {
        "k" | "K" | "kB" => number << 10,
        "M" | "MB" => number << 20,
        _ => number,
    })
}

fn sender(value: Option<&str>) -> Sender {
    match value.unwrap_or("sender").trim() {
        "" | "sender" => Sender::Sender,
        "recipient" => Sender::Recipient,
        "orig_recipient" => Sender::OrigRecipient,
        "user_email" => Sender::User,
        "postmaster" => Sender::Postmaster,
        other => Sender::Address(other.trim_matches(['<', '>']).as_bytes().to_vec()),
    }
}
