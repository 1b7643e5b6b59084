//! The fuzz targets: one row each, read by the fuzzer and by `make regress`.
//!
//! A target is a `pub fn fuzz_*` that stands beside the parser that it is
//! about.  Its name is that of its directory in corpus/; words/ has words that
//! help the fuzzer, in files named by what stands before the first hyphen.

use rmail::{base, conf, disk, ipc, proc, proto, send};

/// A target's name and what it does with bytes: a finding is a panic.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, those that strangers reach first.
pub const TARGETS: &[Target] = &[
    ("smtp-session", proto::smtp::fuzz::fuzz_session),
    ("smtp-data", proto::smtp::fuzz::fuzz_data),
    ("smtp-submit", proto::smtp::fuzz::fuzz_submit),
    ("smtp-reply", proto::smtp::fuzz::fuzz_reply),
    ("lines", base::line::fuzz_lines),
    ("log", base::log::fuzz_line),
    ("imap-command", proto::imap::fuzz::fuzz_command),
    ("imap-message", proto::imap::fuzz::fuzz_message),
    ("mime-message", proto::mime::fuzz_message),
    ("mime-words", proto::text::encoded_word::fuzz_words),
    ("mime-transfer", proto::text::transfer::fuzz_decode),
    ("address", proto::addr::fuzz::fuzz_address),
    ("date", proto::date::fuzz_date),
    ("text", proto::text::fuzz::fuzz_text),
    ("dns-message", proto::dns::fuzz_message),
    ("dns-zone", proto::dns::zone::fuzz_zone),
    ("resolv-conf", base::dns::fuzz_resolv_conf),
    ("auth-message", proto::assess::fuzz_message),
    ("auth-spf", proto::spf::fuzz_record),
    ("auth-dkim", proto::dkim::fuzz_signature),
    ("auth-dmarc", proto::dmarc::fuzz_record),
    ("auth-results", proto::authres::fuzz_authres),
    ("auth-mtasts", proto::mtasts::fuzz_policy),
    ("dsn", proto::dsn::fuzz_report),
    ("report-dmarc", proto::dmarc::report::fuzz_report),
    ("report-tls", proto::tlsrpt::fuzz_report),
    ("report-unpack", proto::unpack::fuzz_unpack),
    ("report-zip", proto::zip::fuzz_list),
    ("sieve-script", proto::sieve::fuzz::fuzz_script),
    ("sieve-run", proto::sieve::fuzz::fuzz_run),
    ("channel-message", ipc::fuzz::fuzz_message),
    ("channel-frames", ipc::fuzz::fuzz_frames),
    ("conf", conf::fuzz_config),
    ("format", proc::lookup::format::fuzz_values),
    ("sendmail", send::fuzz_message),
    ("table", disk::table::fuzz_table),
    ("aliases", disk::aliases::fuzz_file),
    ("offline", disk::offline::fuzz_file),
    ("mbox", disk::mbox::fuzz_lines),
    ("spool", disk::spool::fuzz::fuzz_file),
    ("maildir-entry", disk::maildir::name::fuzz_name),
    ("maildir-file", disk::maildir::file::fuzz_name),
    ("maildir-subscriptions", disk::subscriptions::fuzz_subscriptions),
    ("maildir-uidlist", disk::uidlist::codec::fuzz_list),
    ("maildir-uidvalidity", disk::uidvalidity::fuzz_value),
    ("maildir-keywords", disk::keywords::fuzz_keywords),
    ("maildir-index", disk::index::fuzz_index),
    ("maildir-meta", disk::meta::fuzz_meta),
];
