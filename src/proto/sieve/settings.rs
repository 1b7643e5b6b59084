//! What the site decides about scripts.  Defaults come from `proto::limits`.

use super::compose::Sender;
use crate::proto::limits;

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most actions of a script.
    pub max_actions: usize,
    /// Most redirect actions of a script; 0 forbids them.
    pub max_redirects: usize,
    /// Most notify actions of a script.
    pub max_notifies: usize,
    /// Work that a script may do, in octets looked at.
    pub fuel: u64,
    /// More of it for each octet of the message.
    pub fuel_per_octet: u64,
    /// Deepest nesting of includes.
    pub include_nesting: usize,
    /// Largest value of a variable in octets; longer ones are cut.
    pub variable_size: usize,
    /// Shortest time between two vacation replies to one sender, in seconds.
    pub vacation_min_secs: u64,
    /// Longest such time; 0 is no limit.
    pub vacation_max_secs: u64,
    /// The time if the script names none.
    pub vacation_default_secs: u64,
    /// Answer even if none of the user's addresses stands in a recipient field.
    pub vacation_any_recipient: bool,
    /// Count the envelope's original recipient as one of the user's addresses.
    pub vacation_original_recipient: bool,
    /// How long `duplicate` remembers if the script does not say, in seconds.
    pub duplicate_default_secs: u64,
    /// The longest that it remembers.
    pub duplicate_max_secs: u64,
    /// Deepest nesting of `foreverypart`.
    pub loop_nesting: usize,
    /// Largest field that `addheader` adds, in octets.
    pub header_size: usize,
    /// Fields, lower case, that `editheader` neither adds nor deletes.
    pub header_protected: Vec<String>,
    /// Fields that it does not add.
    pub header_no_add: Vec<String>,
    /// Fields that it does not delete.
    pub header_no_delete: Vec<String>,
    /// What may stand between user and detail of an address.  RFC 5233.
    pub delimiters: String,
    /// The filter's verdict, 0.0 (clean) to 1.0; `None`: look at the header.
    pub spam: Option<f64>,
    /// How the spam test reads its verdict from the header; `None`: not tested.
    pub spamtest: Option<Score>,
    /// How the virus test reads its verdict.
    pub virustest: Option<Score>,
    /// The address of the user, for the sender of replies and notifications.
    pub user: Option<Vec<u8>>,
    /// The address of the mail system.
    pub postmaster: Vec<u8>,
    /// From whom redirected mail is sent.
    pub redirect_from: Sender,
    /// From whom notifications are sent.
    pub notify_from: Sender,
    /// Why the script runs: at an IMAP event nobody can be answered.
    pub occasion: super::surroundings::Occasion,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_actions: limits::SIEVE_ACTIONS.size(),
            max_redirects: limits::SIEVE_REDIRECTS.size(),
            max_notifies: limits::SIEVE_NOTIFIES.size(),
            fuel: limits::SIEVE_FUEL.default,
            fuel_per_octet: limits::SIEVE_FUEL_PER_OCTET.default,
            include_nesting: limits::SIEVE_INCLUDE_NESTING.size(),
            variable_size: limits::SIEVE_VARIABLE.size(),
            vacation_min_secs: days(&limits::VACATION_MIN_DAYS),
            vacation_max_secs: days(&limits::VACATION_MAX_DAYS),
            vacation_default_secs: days(&limits::VACATION_DAYS),
            vacation_any_recipient: false,
            vacation_original_recipient: false,
            duplicate_default_secs: days(&limits::DUPLICATE_DAYS),
            duplicate_max_secs: days(&limits::DUPLICATE_MAX_DAYS),
            loop_nesting: limits::SIEVE_LOOP_NESTING.size(),
            header_size: limits::SIEVE_HEADER.size(),
            header_protected: Vec::new(),
            header_no_add: Vec::new(),
            header_no_delete: Vec::new(),
            delimiters: "+".into(),
            spam: None,
            spamtest: None,
            virustest: None,
            user: None,
            postmaster: b"postmaster".to_vec(),
            redirect_from: Sender::Sender,
            notify_from: Sender::Recipient,
            occasion: super::surroundings::Occasion::Delivery,
        }
    }
}

fn days(limit: &limits::Limit) -> u64 {
    limit.default.saturating_mul(86_400)
}

/// Where a score stands and how it is read.  RFC 5235 2.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The header field with the verdict.
    pub field: String,
    /// Finds the number or word in the field's value: an expression whose first group is it, or
    /// whole if it has none; `None` takes the value as it is.
    pub expression: Option<String>,
    /// How the number becomes a result.
    pub scale: Scale,
}

/// How a verdict becomes a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Scale {
    /// A number, with the value that means certainty.
    Max(f64),
    /// The number of times that a character is repeated, with the count that means certainty.
    Stars(f64),
    /// The largest number stands in another field, found by its own expression.
    MaxIn {
        /// The field.
        field: String,
        /// Its expression.
        expression: Option<String>,
    },
    /// The same, counted in characters.
    StarsIn {
        /// The field.
        field: String,
        /// Its expression.
        expression: Option<String>,
    },
    /// Words, each with its result: index 0 to 10 for spam, 0 to 5 for viruses.
    Words(Vec<(usize, String)>),
}
