//! Every limit of the daemon: one table, from which LIMITS in rmail.conf(5) is
//! printed (a test compares both).
//!
//! A limit is a constant of type [`Limit`]; code uses its `default` field or
//! the configured value.  Add a constant *and* its row in [`ALL`].

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Octets on the wire, line ends as CRLF.
    Octets,
    /// Things: recipients, lines, parts, levels.
    Count,
    /// Milliseconds; the configuration takes ms, s, m, h and d.
    Millis,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The name, as rmail.conf(5) and `rmailctl show limits` print it.
    pub name: &'static str,
    /// The value unless the configuration says otherwise.
    pub default: u64,
    /// What it counts.
    pub unit: Unit,
    /// The RFC section or the reason.
    pub source: &'static str,
    /// What the other side sees when it is reached.
    pub reached: &'static str,
    /// True: `limit NAME VALUE` of rmail.conf(5) may change it, and the code
    /// reads the configured value.  False: a constant of the code.
    pub settable: bool,
}

const fn limit(
    name: &'static str,
    default: u64,
    unit: Unit,
    source: &'static str,
    reached: &'static str,
) -> Limit {
    Limit { name, default, unit, source, reached, settable: false }
}

/// A limit that the configuration may change.  For rows whose code asks
/// `conf::ast::Config::limit`: a setting that nobody reads is a lie.
pub const fn setting(
    name: &'static str,
    default: u64,
    unit: Unit,
    source: &'static str,
    reached: &'static str,
) -> Limit {
    Limit { name, default, unit, source, reached, settable: true }
}

impl Limit {
    /// The default of a limit in milliseconds.
    pub const fn duration(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.default)
    }

    /// The default as a length or count in memory.
    pub const fn size(&self) -> usize {
        // The table holds no value over 2^31, and a 16-bit target is none of ours.
        #[expect(clippy::as_conversions, reason = "all rows fit 32 bits")]
        {
            self.default as usize
        }
    }
}

/// A command line of SMTP, with its CRLF.
pub const SMTP_COMMAND_LINE: Limit =
    limit("smtp-command-line", 2048, Unit::Octets, "RFC 5321 4.5.3.1.4", "500 5.5.2, line skipped");

/// What is read and thrown away of one line that is too long.
pub const LINE_DISCARDED: Limit =
    limit("line-discarded", 1 << 20, Unit::Octets, "time", "connection closed");

/// A local part.  RFC 5321 asks for 64 at least; VERP and SRS make longer ones.
pub const SMTP_LOCAL_PART: Limit =
    limit("smtp-local-part", 255, Unit::Octets, "RFC 5321 4.5.3.1.1", "501 5.1.7 or 5.1.3");
/// A domain.
pub const SMTP_DOMAIN: Limit =
    limit("smtp-domain", 255, Unit::Octets, "RFC 5321 4.5.3.1.2", "501 5.1.8 or 5.1.2");
/// A path with its angle brackets and source route.
pub const SMTP_PATH: Limit =
    limit("smtp-path", 514, Unit::Octets, "RFC 5321 4.5.3.1.3", "501 5.1.7 or 5.1.3");
/// A label of a domain name.
pub const DNS_LABEL: Limit =
    limit("dns-label", 63, Unit::Octets, "RFC 1035 2.3.4", "the name is refused");
/// Parameters of one MAIL or RCPT command.
pub const SMTP_PARAMETERS: Limit =
    limit("smtp-parameters", 16, Unit::Count, "more than there are", "501 5.5.4");
/// The envelope identifier of a DSN request, decoded.
pub const DSN_ENVID: Limit = limit("dsn-envid", 100, Unit::Octets, "RFC 3461 4.4", "501 5.5.4");
/// The original recipient of a DSN request, decoded.
pub const DSN_ORCPT: Limit = limit("dsn-orcpt", 500, Unit::Octets, "RFC 3461 4.2", "501 5.5.4");
/// Changes to one message: fix-ups, trace, verdict.
pub const EDITS: Limit =
    limit("message-edits", 4096, Unit::Count, "memory", "550 5.6.0 for a submission");
/// Bytes inserted into one message by all changes together.
pub const EDIT_OCTETS: Limit =
    limit("message-edit-octets", 1 << 20, Unit::Octets, "memory", "550 5.6.0 for a submission");

/// A mailbox name, in UTF-8.
pub const MAILBOX_NAME: Limit =
    limit("mailbox-name", 1000, Unit::Octets, "the file system's NAME_MAX", "NO [CANNOT]");
/// A keyword of a message.
pub const KEYWORD: Limit =
    limit("keyword", 200, Unit::Octets, "dovecot-keywords lines", "NO [LIMIT]");
/// The name of a message file.
pub const MAILDIR_FILE_NAME: Limit =
    limit("maildir-file-name", 255, Unit::Octets, "the file system's NAME_MAX", "file not shown");
/// The extension fields of a line of dovecot-uidlist.
pub const UIDLIST_LINE: Limit =
    limit("uidlist-line", 4096, Unit::Octets, "dovecot-uidlist", "line left out, new UID");

/// A dovecot-uidlist as a whole: some 8 million messages.
pub const UIDLIST_FILE: Limit =
    limit("uidlist-file", 512 << 20, Unit::Octets, "memory of a store", "mailbox not opened");

/// An rmail.index as a whole.
pub const INDEX_FILE: Limit =
    limit("index-file", 1 << 30, Unit::Octets, "memory of a store", "index made anew");
/// An rmail.meta as a whole.
pub const META_FILE: Limit =
    limit("meta-file", 64 << 20, Unit::Octets, "memory of a store", "mailbox not opened");
/// A line of a message, without its CRLF.
pub const TEXT_LINE: Limit =
    limit("text-line", 65536, Unit::Octets, "RFC 5321 4.5.3.1.6 asks for 1000", "550 5.6.0");
/// The header of a message.
pub const HEADER: Limit = limit("message-header", 256 << 10, Unit::Octets, "memory", "552 5.3.4");
/// A header as the queue has it: what was received, and all that edits may add.
pub const QUEUED_HEADER: usize = HEADER.size().saturating_add(EDIT_OCTETS.size());
/// One field of a header, folded lines included.
pub const HEADER_FIELD: Limit =
    limit("message-header-field", 64 << 10, Unit::Octets, "memory", "552 5.3.4");
/// Lines of a header.
pub const HEADER_LINES: Limit =
    limit("message-header-lines", 20_000, Unit::Count, "work", "552 5.3.4");
/// Received fields of a message.
pub const RECEIVED_FIELDS: Limit =
    limit("received-fields", 50, Unit::Count, "RFC 5321 6.3", "554 5.4.6");
/// Addresses of a From field that are asked about where `senders` rules.
pub const HEADER_AUTHORS: Limit =
    limit("header-authors", 20, Unit::Count, "work of lookup", "550 5.7.1");
/// A line of an AUTH dialogue.
pub const SASL_RESPONSE: Limit =
    limit("sasl-response", 12_288, Unit::Octets, "RFC 4954 4", "500 5.5.6");
/// A login name.
pub const USER_NAME: Limit = limit("user-name", 255, Unit::Octets, "as a local part", "535 5.7.8");
/// A password.
pub const PASSWORD: Limit = limit("password", 1024, Unit::Octets, "work of crypt(3)", "535 5.7.8");
/// A line of a reply of a remote server.
pub const REPLY_LINE: Limit = limit(
    "smtp-reply-line",
    2048,
    Unit::Octets,
    "RFC 5321 4.5.3.1.5 asks for 512",
    "the remote host is in error, 4.5.0",
);
/// Lines of a reply of a remote server.
pub const REPLY_LINES: Limit =
    limit("smtp-reply-lines", 100, Unit::Count, "memory", "the remote host is in error, 4.5.0");

/// Addresses of one header field; what follows is not shown.
pub const HEADER_ADDRESSES: Limit =
    limit("header-addresses", 4096, Unit::Count, "CVE-2024-23184", "the rest is left out");
/// A line of an IMAP command after login.
pub const IMAP_LINE: Limit =
    limit("imap-line", 65_536, Unit::Octets, "RFC 7162 4", "BAD, line skipped");
/// A whole IMAP command, lines and literals, APPEND's message apart.
pub const IMAP_COMMAND: Limit =
    limit("imap-command", 131_072, Unit::Octets, "memory of a session", "BAD [TOOBIG]");
/// A literal of an IMAP command, APPEND's message apart.
pub const IMAP_LITERAL: Limit =
    limit("imap-literal", 65_536, Unit::Octets, "memory of a session", "BAD [TOOBIG], not read");
/// Literals in one IMAP command.
pub const IMAP_LITERALS: Limit =
    limit("imap-literals", 256, Unit::Count, "RFC 3501 4.3", "BAD [TOOBIG]");
/// A message that APPEND brings.
pub const IMAP_APPEND: Limit =
    limit("imap-append", 104_857_600, Unit::Octets, "RFC 7889", "NO [TOOBIG], not read");
/// How many octets of APPEND's message a second a client must bring on average,
/// beyond the first `imap-idle`: it may be slow, but not for ever.
pub const IMAP_APPEND_RATE: Limit =
    limit("imap-append-rate", 1024, Unit::Octets, "a peer that trickles", "BYE, closed");
/// A line of an IMAP command before login.
pub const IMAP_LOGIN_LINE: Limit =
    limit("imap-login-line", 8192, Unit::Octets, "CVE-2026-27857", "BAD, line skipped");
/// A whole IMAP command before login.
pub const IMAP_LOGIN_COMMAND: Limit =
    limit("imap-login-command", 12_288, Unit::Octets, "CVE-2026-27857", "BAD [TOOBIG]");
/// A literal before login: a name or a password.
pub const IMAP_LOGIN_LITERAL: Limit = limit(
    "imap-login-literal",
    1024,
    Unit::Octets,
    "memory before login",
    "BAD [TOOBIG], not read",
);
/// The tag of an IMAP command.
pub const IMAP_TAG: Limit = limit("imap-tag", 128, Unit::Octets, "RFC 3501 2.2.1", "BAD");
/// Keywords in one flag list.
pub const IMAP_FLAGS: Limit = limit("imap-flags", 256, Unit::Count, "RFC 3501 2.3.2", "BAD");
/// Items of a FETCH.
pub const IMAP_FETCH_ITEMS: Limit =
    limit("imap-fetch-items", 100, Unit::Count, "RFC 3501 6.4.5", "BAD");
/// Field names in HEADER.FIELDS.
pub const IMAP_FETCH_FIELDS: Limit =
    limit("imap-fetch-fields", 256, Unit::Count, "RFC 3501 6.4.5", "BAD");
/// Numbers in a section's part path.
pub const IMAP_SECTION_DEPTH: Limit =
    limit("imap-section-depth", 32, Unit::Count, "RFC 3501 6.4.5", "BAD");
/// Open parentheses, NOT and OR of a SEARCH.
pub const IMAP_SEARCH_DEPTH: Limit =
    limit("imap-search-depth", 256, Unit::Count, "CVE-2026-42006", "BAD");
/// Steps of a SEARCH: keys and what joins them.
pub const IMAP_SEARCH_KEYS: Limit =
    limit("imap-search-keys", 4096, Unit::Count, "RFC 3501 6.4.4", "BAD");
/// A string that SEARCH looks for.
pub const IMAP_SEARCH_STRING: Limit =
    limit("imap-search-string", 1024, Unit::Octets, "RFC 3501 6.4.4", "BAD [TOOBIG]");
/// Options in one list of LIST, SEARCH or ENABLE.
pub const IMAP_LIST_OPTIONS: Limit =
    limit("imap-list-options", 32, Unit::Count, "RFC 5258 3", "BAD");
/// Patterns of an extended LIST.
pub const IMAP_LIST_PATTERNS: Limit =
    limit("imap-list-patterns", 64, Unit::Count, "RFC 5258 3", "BAD");
/// A LIST pattern with its reference; what follows is not looked at.
pub const IMAP_LIST_PATTERN: Limit = limit(
    "imap-list-pattern",
    1024,
    Unit::Octets,
    "a mailbox name has 255",
    "matches nothing longer",
);
/// IMAP connections in all.
pub const IMAP_CONNECTIONS: Limit =
    setting("imap-connections", 1000, Unit::Count, "threads and descriptors", "BYE, closed");
/// IMAP connections of one address.  A household's clients have five each.
pub const IMAP_CONNECTIONS_PEER: Limit =
    setting("imap-connections-peer", 100, Unit::Count, "one peer, not all places", "BYE, closed");
/// How long a client may take to log in.
pub const IMAP_LOGIN_TIME: Limit =
    setting("imap-login-time", 180_000, Unit::Millis, "RFC 3501 5.4", "BYE, closed");
/// How long an IMAP session may be silent, in IDLE too.
pub const IMAP_IDLE: Limit =
    limit("imap-idle", 1_800_000, Unit::Millis, "RFC 3501 5.4", "BYE, closed");
/// How long a client may take to read what was answered.
pub const IMAP_WRITE: Limit =
    limit("imap-write", 300_000, Unit::Millis, "a peer that does not read", "closed");
/// Commands in a row that cannot be read.
pub const IMAP_BAD_COMMANDS: Limit =
    limit("imap-bad-commands", 20, Unit::Count, "a peer that speaks no IMAP", "BYE, closed");
/// The header of a message as FETCH and SEARCH look at it.
pub const IMAP_HEADER: Limit =
    limit("imap-header", 1_048_576, Unit::Octets, "CVE-2024-23185", "the rest is left out");
/// A message, or a part of it, that is held in memory while it is sent.
pub const IMAP_IN_MEMORY: Limit =
    limit("imap-in-memory", 262_144, Unit::Octets, "memory of a session", "read in pieces");
/// How much text of a part SEARCH looks at.
pub const IMAP_SEARCH_TEXT: Limit =
    limit("imap-search-text", 4_194_304, Unit::Octets, "memory of a session", "not found beyond");
/// Pairs of ID.
pub const IMAP_ID_FIELDS: Limit = limit("imap-id-fields", 30, Unit::Count, "RFC 2971 3.3", "BAD");
/// Records of one section of a DNS answer that are used.
pub const DNS_RECORDS: Limit =
    limit("dns-records", 128, Unit::Count, "memory", "the rest of the section is ignored");
/// Levels of multiparts and attached messages.
pub const MIME_DEPTH: Limit = limit("mime-depth", 20, Unit::Count, "work", "the rest is opaque");
/// Parts of one message.
pub const MIME_PARTS: Limit =
    limit("mime-parts", 1000, Unit::Count, "memory", "the rest is opaque");
/// A boundary; RFC 2046 5.1.1 allows 70, some senders use more.
pub const MIME_BOUNDARY: Limit =
    limit("mime-boundary", 200, Unit::Octets, "work", "the multipart is opaque");
/// The header of one part, as far as its MIME fields are looked for.
pub const MIME_HEADER: Limit =
    limit("mime-header", 256 << 10, Unit::Octets, "work", "fields after it are not read");
/// Parameters of one MIME field, continuations counted singly.
pub const MIME_PARAMETERS: Limit =
    limit("mime-parameters", 64, Unit::Count, "RFC 2231 3 sets none", "the rest is ignored");
/// Fields of a header that are looked at for signatures.
pub const HEADER_FIELDS: Limit =
    limit("header-fields", 1000, Unit::Count, "work", "dkim=permerror, arc=fail");
/// Tags of one tag list.
pub const TAGS: Limit = limit("tags", 50, Unit::Count, "RFC 6376 3.2 sets none", "a syntax error");
/// Terms of SPF records that ask the DNS, all included records together.
pub const SPF_TERMS: Limit = limit("spf-terms", 10, Unit::Count, "RFC 7208 4.6.4", "spf=permerror");
/// Lookups of one SPF check that find nothing.
pub const SPF_VOID_LOOKUPS: Limit =
    limit("spf-void-lookups", 2, Unit::Count, "RFC 7208 4.6.4", "spf=permerror");
/// Hosts of one `mx`, names of one `ptr`.
pub const SPF_NAMES: Limit =
    limit("spf-names", 10, Unit::Count, "RFC 7208 4.6.4", "spf=permerror, names not looked at");
/// DKIM-Signature fields that are read.
pub const DKIM_SIGNATURES: Limit =
    limit("dkim-signatures", 20, Unit::Count, "work", "the rest is not reported");
/// DKIM signatures that are verified, those of the author's domain first.
pub const DKIM_VERIFIED: Limit =
    limit("dkim-verified", 8, Unit::Count, "RFC 6376 6.1", "dkim=neutral");
/// Different keys that are asked for one message.
pub const DKIM_KEYS: Limit = limit("dkim-keys", 4, Unit::Count, "RFC 6376 6.1", "dkim=neutral");
/// Signatures that are remembered to tell replays.
pub const DKIM_SEEN: Limit =
    limit("dkim-seen", 4096, Unit::Count, "memory", "the older half is forgotten");
/// Different names in h=.
pub const DKIM_NAMES: Limit = limit("dkim-names", 100, Unit::Count, "work", "dkim=permerror");
/// b= and bh= in base 64: a key of 8192 bits needs 1368.
pub const DKIM_SIGNATURE: Limit =
    limit("dkim-signature", 1500, Unit::Octets, "RFC 8301 3.2", "dkim=permerror");
/// Sets of ARC fields.
pub const ARC_SETS: Limit = limit("arc-sets", 50, Unit::Count, "RFC 8617 4.2.1", "arc=fail");
/// Different digests of the body that older sets of a chain ask for (`l=`).
pub const ARC_BODIES: Limit =
    limit("arc-bodies", 8, Unit::Count, "work", "how old the pass is, is not found out");
/// Methods of one Authentication-Results field.
pub const AUTHRES_METHODS: Limit =
    limit("authres-methods", 100, Unit::Count, "memory", "the rest is not read");
/// Lookups of one DMARC tree walk.
pub const DMARC_WALK: Limit =
    limit("dmarc-walk", 8, Unit::Count, "RFC 9989 4.10", "labels skipped");
/// Addresses for reports in one record.
pub const REPORT_ADDRESSES: Limit =
    limit("report-addresses", 10, Unit::Count, "work", "the rest is not used");
/// Rows of one aggregate report.
pub const REPORT_ROWS: Limit =
    limit("report-rows", 10_000, Unit::Count, "memory", "the report is refused");
/// Domains about which reports are written, or of which a summary speaks.
pub const REPORT_DOMAINS: Limit =
    limit("report-domains", 10_000, Unit::Count, "memory", "the rest has no report");
/// A report, unpacked.
pub const REPORT_OCTETS: Limit =
    limit("report-octets", 20 << 20, Unit::Octets, "memory", "the report is refused");
/// How many times longer a report may become by unpacking.
pub const REPORT_RATIO: Limit =
    limit("report-ratio", 100, Unit::Count, "memory", "the report is refused");
/// Entries of a zip archive that are listed.
pub const ZIP_ENTRIES: Limit =
    limit("zip-entries", 1000, Unit::Count, "memory", "the rest is not listed");
/// A policy of MTA-STS.
pub const STS_POLICY: Limit =
    limit("sts-policy", 64 << 10, Unit::Octets, "RFC 8461 3.3", "the policy is not used");
/// Patterns of hosts in a policy of MTA-STS.
pub const STS_HOSTS: Limit =
    limit("sts-hosts", 100, Unit::Count, "memory", "the policy is not used");

/// A Sieve script.
pub const SIEVE_SCRIPT: Limit =
    limit("sieve-script", 1 << 20, Unit::Octets, "RFC 5804 1.3", "the script is refused");
/// A string of a Sieve script, or what variables make of it.
pub const SIEVE_STRING: Limit =
    limit("sieve-string", 1 << 20, Unit::Octets, "RFC 5228 2.4.2", "the script ends with an error");
/// A name in a Sieve script.
pub const SIEVE_IDENTIFIER: Limit =
    limit("sieve-identifier", 32, Unit::Octets, "RFC 5228 2.3", "the script is refused");
/// Arguments of one command or test.
pub const SIEVE_ARGUMENTS: Limit =
    limit("sieve-arguments", 32, Unit::Count, "RFC 5228 2.6", "the script is refused");
/// Blocks within blocks.
pub const SIEVE_BLOCK_NESTING: Limit =
    limit("sieve-block-nesting", 32, Unit::Count, "RFC 5228 2.10.5", "the script is refused");
/// Tests within tests.
pub const SIEVE_TEST_NESTING: Limit =
    limit("sieve-test-nesting", 32, Unit::Count, "RFC 5228 2.10.5", "the script is refused");
/// Errors that are reported for one script.
pub const SIEVE_ERRORS: Limit =
    limit("sieve-errors", 64, Unit::Count, "readable answers", "later errors are not reported");
/// Variables of a script, and global ones beside them.
pub const SIEVE_VARIABLES: Limit =
    limit("sieve-variables", 255, Unit::Count, "RFC 5229 6", "the script is refused");
/// The value of a variable.
pub const SIEVE_VARIABLE: Limit =
    limit("sieve-variable", 4096, Unit::Octets, "RFC 5229 6", "the value is cut");
/// Match variables: `${0}` and those after it.
pub const SIEVE_MATCH_VALUES: Limit =
    limit("sieve-match-values", 32, Unit::Count, "RFC 5229 3.2", "later ones are empty");
/// A regular expression.
pub const SIEVE_REGEX: Limit =
    limit("sieve-regex", 4096, Unit::Octets, "bounded work", "the script is refused");
/// A compiled regular expression.
pub const SIEVE_REGEX_MEMORY: Limit = limit(
    "sieve-regex-memory",
    1 << 20,
    Unit::Octets,
    "bounded memory",
    "the script ends with an error",
);
/// What automata of a script's regular expressions take together, as far as they are kept.
pub const SIEVE_AUTOMATA: Limit = limit(
    "sieve-automata",
    64 << 20,
    Unit::Octets,
    "bounded memory",
    "further ones are built each time",
);
/// Scripts that a script includes.
pub const SIEVE_INCLUDES: Limit =
    limit("sieve-includes", 255, Unit::Count, "RFC 6609 3.2", "the script is refused");
/// Includes within includes.
pub const SIEVE_INCLUDE_NESTING: Limit = limit(
    "sieve-include-nesting",
    10,
    Unit::Count,
    "RFC 6609 3.2",
    "the script ends with an error",
);
/// Actions of a script.
pub const SIEVE_ACTIONS: Limit =
    limit("sieve-actions", 32, Unit::Count, "RFC 5228 2.10.4", "the script ends with an error");
/// Redirect actions of a script.
pub const SIEVE_REDIRECTS: Limit =
    limit("sieve-redirects", 4, Unit::Count, "RFC 5228 10", "the script ends with an error");
/// Notify actions of a script.
pub const SIEVE_NOTIFIES: Limit =
    limit("sieve-notifies", 4, Unit::Count, "RFC 5435 8", "the script ends with an error");
/// The work of one run: octets that tests look at, and 64 for each command and test.
pub const SIEVE_FUEL: Limit =
    limit("sieve-fuel", 200_000_000, Unit::Count, "RFC 5228 10", "the script ends with an error");
/// What each octet of the message adds to it: a test of the body looks at all of them.
pub const SIEVE_FUEL_PER_OCTET: Limit =
    limit("sieve-fuel-per-octet", 32, Unit::Count, "RFC 5228 10", "the script ends with an error");
/// A key of `:matches`.
pub const SIEVE_PATTERN: Limit =
    limit("sieve-pattern", 16 << 10, Unit::Octets, "bounded memory", "the script is refused");
/// foreverypart within foreverypart.
pub const SIEVE_LOOP_NESTING: Limit =
    limit("sieve-loop-nesting", 4, Unit::Count, "RFC 5703 3", "the script is refused");
/// A header field made by addheader.
pub const SIEVE_HEADER: Limit =
    limit("sieve-header", 2048, Unit::Octets, "RFC 5293 4", "the script ends with an error");
/// Flags that a script sets.
pub const SIEVE_FLAGS: Limit =
    limit("sieve-flags", 256, Unit::Count, "RFC 5232 2", "further flags are not set");
/// Days that pass at least between two vacation replies to one sender.
pub const VACATION_MIN_DAYS: Limit =
    limit("sieve-vacation-min-days", 1, Unit::Count, "RFC 5230 4.1", "less becomes this");
/// Days that pass at most.
pub const VACATION_MAX_DAYS: Limit =
    limit("sieve-vacation-max-days", 60, Unit::Count, "RFC 5230 4.1", "more becomes this");
/// Days that pass if the script does not say.
pub const VACATION_DAYS: Limit =
    limit("sieve-vacation-days", 7, Unit::Count, "RFC 5230 4.1", "the script's number counts");
/// Days that duplicate remembers if the script does not say.
pub const DUPLICATE_DAYS: Limit =
    limit("sieve-duplicate-days", 7, Unit::Count, "RFC 7352 3.2", "the script's number counts");
/// Days that duplicate remembers at most.
pub const DUPLICATE_MAX_DAYS: Limit =
    limit("sieve-duplicate-max-days", 14, Unit::Count, "RFC 7352 3.2", "more becomes this");

/// A dovecot-keywords: 26 lines.
pub const KEYWORDS_FILE: Limit =
    limit("keywords-file", 64 << 10, Unit::Octets, "dovecot-keywords", "mailbox not opened");
/// The file of subscriptions.
pub const SUBSCRIPTIONS_FILE: Limit =
    limit("subscriptions-file", 1 << 20, Unit::Octets, "memory of a store", "NO [LIMIT]");

/// Store processes at a time; a quarter of them is kept for logins.
pub const STORE_PROCESSES: Limit = setting(
    "store-processes",
    200,
    Unit::Count,
    "processes of the machine",
    "4xx, NO [UNAVAILABLE]",
);
/// No store runs under a lower user id.
pub const STORE_MIN_UID: Limit =
    setting("store-min-uid", 500, Unit::Count, "system accounts", "no delivery, no login");
/// A record of a spool file's log: the largest is an edit.
pub const SPOOL_RECORD: Limit =
    limit("spool-record", 2 << 20, Unit::Octets, "memory of queue", "the log ends before it");
/// The log of a spool file.
pub const SPOOL_LOG: Limit =
    limit("spool-log", 64 << 20, Unit::Octets, "memory of queue", "message quarantined");

/// Items of one alias, `:include:` or .forward file.
pub const ALIAS_ITEMS: Limit =
    limit("alias-items", 1000, Unit::Count, "memory", "the alias is not used: 451");
/// Expansions within expansions of one recipient.
pub const EXPANSION_DEPTH: Limit = limit("expansion-depth", 10, Unit::Count, "smtpd", "554 5.4.6");
/// Addresses that one recipient expands to.
pub const EXPANSION_NODES: Limit =
    limit("expansion-nodes", 1000, Unit::Count, "memory", "554 5.4.6");
/// For one process of the daemon to answer another.  One that is stopped, or has
/// too much to do, is a temporary failure of whatever needs it.
pub const ANSWER_TIME: Limit = setting(
    "answer-time",
    60_000,
    Unit::Millis,
    "a process that is stopped or overloaded",
    "4xx, NO [UNAVAILABLE], tried again later",
);
/// For keyd to give a TLS handshake its signature.  It may come on top of what
/// is left of the client's own time.
pub const SIGNATURE_TIME: Limit = limit(
    "signature-time",
    10_000,
    Unit::Millis,
    "keyd is stopped or overloaded",
    "the handshake fails, closed",
);
/// For the next command of an SMTP client, and for the next piece of a message.
pub const SMTP_COMMAND_TIME: Limit =
    setting("smtp-command-time", 300_000, Unit::Millis, "RFC 5321 4.5.3.2.7", "421 4.4.2");
/// For a message, from DATA to its end.
pub const SMTP_MESSAGE_TIME: Limit =
    setting("smtp-message-time", 3_600_000, Unit::Millis, "slow clients", "421 4.4.2");
/// For an SMTP session as a whole.
pub const SMTP_SESSION_TIME: Limit =
    setting("smtp-session-time", 7_200_000, Unit::Millis, "slow clients", "421 4.4.2");
/// SMTP connections; a quarter is kept for local and logged-in peers.
pub const SMTP_CONNECTIONS: Limit =
    setting("smtp-connections", 1000, Unit::Count, "threads of the machine", "421 4.7.0");
/// SMTP connections of one address (IPv6: one /64).
pub const SMTP_CONNECTIONS_PEER: Limit =
    setting("smtp-connections-peer", 50, Unit::Count, "one client among many", "421 4.7.0");
/// Replies of 4xx and 5xx in one SMTP session.
pub const SMTP_ERRORS: Limit =
    setting("smtp-errors", 50, Unit::Count, "address harvesting", "421 4.7.0");
/// Commands between two messages that bring none nearer.
pub const SMTP_IDLE_COMMANDS: Limit =
    setting("smtp-idle-commands", 200, Unit::Count, "sessions for ever", "421 4.7.0");
/// Failed logins of one session.
pub const LOGIN_FAILURES: Limit =
    setting("login-failures", 3, Unit::Count, "guessing of passwords", "421 4.7.0");
/// Failed logins of one address within the window.
pub const LOGIN_FAILURES_PEER: Limit =
    setting("login-failures-peer", 10, Unit::Count, "guessing of passwords", "454 4.7.0 unasked");
/// How long a failed login of an address is remembered.
pub const LOGIN_WINDOW: Limit =
    setting("login-window", 600_000, Unit::Millis, "guessing of passwords", "forgotten");
/// How long the answer to a failed login takes at least.
pub const LOGIN_DELAY: Limit =
    setting("login-delay", 1000, Unit::Millis, "guessing of passwords", "answered");
/// Addresses whose failed logins are remembered.
pub const LOGIN_PEERS: Limit =
    limit("login-peers", 10_000, Unit::Count, "memory", "the oldest is forgotten");

/// Octets that must be free on the queue's file system, beside a message's own.
pub const QUEUE_FREE_OCTETS: Limit =
    setting("queue-free-octets", 64 << 20, Unit::Octets, "room for what is accepted", "452 4.3.1");
/// Files that the queue's file system must have room for.
pub const QUEUE_FREE_FILES: Limit =
    setting("queue-free-files", 256, Unit::Count, "room for what is accepted", "452 4.3.1");
/// Messages being passed on at a time.
pub const MTA_JOBS: Limit =
    setting("mta-jobs", 64, Unit::Count, "connections and threads of mta", "the others wait");
/// The same for one destination: an action and a domain.
pub const MTA_JOBS_PER_DESTINATION: Limit =
    setting("mta-jobs-per-destination", 5, Unit::Count, "courtesy", "the others wait");
/// Recipients of one transaction.
pub const MTA_RCPTS: Limit =
    setting("mta-rcpts", 100, Unit::Count, "RFC 5321 4.5.3.1.8", "another transaction");
/// To connect to a remote host.
pub const MTA_CONNECT_TIME: Limit =
    setting("mta-connect-time", 30_000, Unit::Millis, "RFC 5321 4.5.4.1", "the next host");
/// For a remote host's greeting and its reply to a command.
pub const MTA_COMMAND_TIME: Limit = setting(
    "mta-command-time",
    300_000,
    Unit::Millis,
    "RFC 5321 4.5.3.2.1 to 4.5.3.2.3",
    "the next host",
);
/// For a remote host's reply to DATA.
pub const MTA_DATA_TIME: Limit =
    setting("mta-data-time", 120_000, Unit::Millis, "RFC 5321 4.5.3.2.4", "the next host");
/// For a remote host to take a piece of a message.
pub const MTA_BLOCK_TIME: Limit =
    setting("mta-block-time", 180_000, Unit::Millis, "RFC 5321 4.5.3.2.5", "the next host");
/// For a remote host's reply to a message.
pub const MTA_END_TIME: Limit =
    setting("mta-end-time", 600_000, Unit::Millis, "RFC 5321 4.5.3.2.6", "tried again later");
/// How long a connection waits for another message.
pub const MTA_IDLE_TIME: Limit = setting("mta-idle-time", 10_000, Unit::Millis, "courtesy", "QUIT");
/// Messages of one connection.
pub const MTA_SESSION_MAILS: Limit =
    setting("mta-session-mails", 100, Unit::Count, "courtesy", "QUIT");
/// For a store or mbox process to deliver a message.
pub const DELIVERY_TIME: Limit = setting(
    "delivery-time",
    600_000,
    Unit::Millis,
    "a process that is stopped or overloaded",
    "tried again later",
);
/// What a program said that is kept.
pub const PROGRAM_OUTPUT: Limit =
    limit("program-output", 4096, Unit::Octets, "memory of queue", "the rest is not kept");
/// What a remote host or program said, kept with a recipient.
pub const SAID: Limit =
    limit("delivery-said", 1024, Unit::Octets, "log of a spool file", "the rest is cut");
/// Deaths of a process after which a message is delivered without `.forward`
/// and index work.
pub const PLAIN_DEATHS: Limit =
    limit("plain-deaths", 2, Unit::Count, "one message against all others", "mailbox only");
/// Deaths of a process after which a message is held.
pub const POISON_DEATHS: Limit =
    limit("poison-deaths", 5, Unit::Count, "one message against all others", "held, and shown");
/// A user's .forward.
pub const FORWARD_FILE: Limit =
    limit("forward-file", 4096, Unit::Octets, "one delivery's work", "the message is held");
/// A program that takes a delivery: of mda, an alias or a .forward.
pub const PROGRAM_TIME: Limit =
    setting("program-time", 300_000, Unit::Millis, "a delivery's patience", "killed, tried again");

/// All rows, in the order of the manual.
pub const ALL: &[&Limit] = &[
    &ALIAS_ITEMS,
    &EXPANSION_DEPTH,
    &EXPANSION_NODES,
    &ANSWER_TIME,
    &SIGNATURE_TIME,
    &STORE_PROCESSES,
    &STORE_MIN_UID,
    &SMTP_COMMAND_LINE,
    &LINE_DISCARDED,
    &SMTP_LOCAL_PART,
    &SMTP_DOMAIN,
    &SMTP_PATH,
    &DNS_LABEL,
    &SMTP_PARAMETERS,
    &DSN_ENVID,
    &DSN_ORCPT,
    &EDITS,
    &EDIT_OCTETS,
    &HEADER_ADDRESSES,
    &IMAP_LINE,
    &IMAP_COMMAND,
    &IMAP_LITERAL,
    &IMAP_LITERALS,
    &IMAP_APPEND,
    &IMAP_APPEND_RATE,
    &IMAP_LOGIN_LINE,
    &IMAP_LOGIN_COMMAND,
    &IMAP_LOGIN_LITERAL,
    &IMAP_TAG,
    &IMAP_FLAGS,
    &IMAP_FETCH_ITEMS,
    &IMAP_FETCH_FIELDS,
    &IMAP_SECTION_DEPTH,
    &IMAP_SEARCH_DEPTH,
    &IMAP_SEARCH_KEYS,
    &IMAP_SEARCH_STRING,
    &IMAP_LIST_OPTIONS,
    &IMAP_LIST_PATTERNS,
    &IMAP_LIST_PATTERN,
    &IMAP_CONNECTIONS,
    &IMAP_CONNECTIONS_PEER,
    &IMAP_LOGIN_TIME,
    &IMAP_IDLE,
    &IMAP_WRITE,
    &IMAP_BAD_COMMANDS,
    &IMAP_HEADER,
    &IMAP_IN_MEMORY,
    &IMAP_SEARCH_TEXT,
    &IMAP_ID_FIELDS,
    &TEXT_LINE,
    &HEADER,
    &HEADER_FIELD,
    &HEADER_LINES,
    &RECEIVED_FIELDS,
    &HEADER_AUTHORS,
    &SASL_RESPONSE,
    &USER_NAME,
    &PASSWORD,
    &REPLY_LINE,
    &REPLY_LINES,
    &DNS_RECORDS,
    &MIME_DEPTH,
    &MIME_PARTS,
    &MIME_BOUNDARY,
    &MIME_HEADER,
    &MIME_PARAMETERS,
    &HEADER_FIELDS,
    &TAGS,
    &SPF_TERMS,
    &SPF_VOID_LOOKUPS,
    &SPF_NAMES,
    &DKIM_SIGNATURES,
    &DKIM_VERIFIED,
    &DKIM_KEYS,
    &DKIM_SEEN,
    &DKIM_NAMES,
    &DKIM_SIGNATURE,
    &ARC_SETS,
    &ARC_BODIES,
    &AUTHRES_METHODS,
    &DMARC_WALK,
    &REPORT_ADDRESSES,
    &REPORT_ROWS,
    &REPORT_DOMAINS,
    &REPORT_OCTETS,
    &REPORT_RATIO,
    &ZIP_ENTRIES,
    &STS_POLICY,
    &STS_HOSTS,
    &SIEVE_SCRIPT,
    &SIEVE_STRING,
    &SIEVE_IDENTIFIER,
    &SIEVE_ARGUMENTS,
    &SIEVE_BLOCK_NESTING,
    &SIEVE_TEST_NESTING,
    &SIEVE_ERRORS,
    &SIEVE_VARIABLES,
    &SIEVE_VARIABLE,
    &SIEVE_MATCH_VALUES,
    &SIEVE_REGEX,
    &SIEVE_REGEX_MEMORY,
    &SIEVE_AUTOMATA,
    &SIEVE_INCLUDES,
    &SIEVE_INCLUDE_NESTING,
    &SIEVE_ACTIONS,
    &SIEVE_REDIRECTS,
    &SIEVE_NOTIFIES,
    &SIEVE_FUEL,
    &SIEVE_FUEL_PER_OCTET,
    &SIEVE_PATTERN,
    &SIEVE_LOOP_NESTING,
    &SIEVE_HEADER,
    &SIEVE_FLAGS,
    &VACATION_MIN_DAYS,
    &VACATION_MAX_DAYS,
    &VACATION_DAYS,
    &DUPLICATE_DAYS,
    &DUPLICATE_MAX_DAYS,
    &KEYWORDS_FILE,
    &SUBSCRIPTIONS_FILE,
    &SMTP_COMMAND_TIME,
    &SMTP_MESSAGE_TIME,
    &SMTP_SESSION_TIME,
    &SMTP_CONNECTIONS,
    &SMTP_CONNECTIONS_PEER,
    &SMTP_ERRORS,
    &SMTP_IDLE_COMMANDS,
    &LOGIN_FAILURES,
    &LOGIN_FAILURES_PEER,
    &LOGIN_WINDOW,
    &LOGIN_DELAY,
    &LOGIN_PEERS,
    &MAILBOX_NAME,
    &KEYWORD,
    &MAILDIR_FILE_NAME,
    &UIDLIST_LINE,
    &UIDLIST_FILE,
    &INDEX_FILE,
    &META_FILE,
    &SPOOL_RECORD,
    &SPOOL_LOG,
    &QUEUE_FREE_OCTETS,
    &QUEUE_FREE_FILES,
    &MTA_JOBS,
    &MTA_JOBS_PER_DESTINATION,
    &MTA_RCPTS,
    &MTA_CONNECT_TIME,
    &MTA_COMMAND_TIME,
    &MTA_DATA_TIME,
    &MTA_BLOCK_TIME,
    &MTA_END_TIME,
    &MTA_IDLE_TIME,
    &MTA_SESSION_MAILS,
    &DELIVERY_TIME,
    &PROGRAM_OUTPUT,
    &SAID,
    &PLAIN_DEATHS,
    &POISON_DEATHS,
    &FORWARD_FILE,
    &PROGRAM_TIME,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_its_row() {
        let text = include_str!("limits.rs");
        let constants =
            text.lines().filter(|l| l.starts_with("pub const ") && l.contains(": Limit"));
        assert_eq!(constants.count(), ALL.len(), "a constant without its row in ALL");
    }

    #[test]
    fn names_are_unique_and_values_fit_32_bits() {
        for (i, a) in ALL.iter().enumerate() {
            assert!(u32::try_from(a.default).is_ok(), "{}", a.name);
            assert!(ALL.iter().skip(i + 1).all(|b| a.name != b.name), "{}", a.name);
        }
    }
}
