//! The extensions, one file for each family, and the table of them all.
//!
//! Adding one means its file, and here its `mod` line and its row.

use super::language::Extension;

pub mod base;
pub mod body;
pub mod comparator;
pub mod date;
pub mod deliver;
pub mod dovecot;
pub mod duplicate;
pub mod editheader;
pub mod enotify;
pub mod envelope;
pub mod environment;
pub mod extlists;
pub mod fcc;
pub mod header;
pub mod ihave;
pub mod imap4flags;
pub mod imapsieve;
pub mod include;
pub mod mailbox;
pub mod mime;
pub mod program;
pub mod redirect;
pub mod regex;
pub mod reject;
pub mod relational;
pub mod replace;
pub mod spamtest;
pub mod subaddress;
pub mod vacation;
pub mod variables;

/// Every extension, the base language first.
pub const EXTENSIONS: &[&Extension] = &[
    &base::CORE,
    &deliver::CORE,
    &header::CORE,
    &comparator::CORE,
    &subaddress::CORE,
    &deliver::FILEINTO,
    &reject::REJECT,
    &reject::EREJECT,
    &envelope::ENVELOPE,
    &base::ENCODED_CHARACTER,
    &vacation::VACATION,
    &vacation::VACATION_SECONDS,
    &subaddress::SUBADDRESS,
    &comparator::OCTET,
    &comparator::ASCII_CASEMAP,
    &comparator::ASCII_NUMERIC,
    &comparator::UNICODE_CASEMAP,
    &relational::RELATIONAL,
    &regex::REGEX,
    &imap4flags::IMAP4FLAGS,
    &deliver::COPY,
    &include::INCLUDE,
    &variables::VARIABLES,
    &body::BODY,
    &enotify::ENOTIFY,
    &environment::ENVIRONMENT,
    &mailbox::MAILBOX,
    &mailbox::MBOXMETADATA,
    &mailbox::SERVERMETADATA,
    &mailbox::SPECIAL_USE,
    &mailbox::MAILBOXID,
    &date::DATE,
    &date::INDEX,
    &ihave::IHAVE,
    &duplicate::DUPLICATE,
    &mime::MIME,
    &mime::FOREVERYPART,
    &mime::EXTRACTTEXT,
    &replace::REPLACE,
    &replace::ENCLOSE,
    &editheader::EDITHEADER,
    &spamtest::SPAMTEST,
    &spamtest::SPAMTESTPLUS,
    &spamtest::VIRUSTEST,
    &fcc::FCC,
    &extlists::EXTLISTS,
    &envelope::ENVELOPE_DSN,
    &envelope::ENVELOPE_DELIVERBY,
    &redirect::REDIRECT_DSN,
    &redirect::REDIRECT_DELIVERBY,
    &imapsieve::IMAPSIEVE,
    &imapsieve::DOVECOT_IMAPSIEVE,
    &dovecot::DEBUG,
    &dovecot::ENVIRONMENT,
    &program::PIPE,
    &program::FILTER,
    &program::EXECUTE,
];
