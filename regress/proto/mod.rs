//! Tests of kind proto.
use crate::Test;

mod arc;
mod authcheck;
mod dkim;
mod dmarc;
mod fuzz;
mod reports;
mod spf;
mod yaml;

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "arc-signing-suite", run: arc::signing },
    Test { name: "arc-validation-suite", run: arc::validation },
    Test { name: "auth-check", run: authcheck::check },
    Test { name: "auth-check-dead-name-servers", run: authcheck::dead_name_servers },
    Test { name: "auth-check-failing-dns", run: authcheck::failing_dns },
    Test { name: "auth-check-faults", run: authcheck::faults },
    Test { name: "auth-check-files-as-met", run: authcheck::files_as_met },
    Test { name: "auth-check-long-message", run: authcheck::long_message },
    Test { name: "auth-check-standard-input", run: authcheck::standard_input },
    Test { name: "auth-check-suite-messages", run: authcheck::suite_messages },
    Test { name: "auth-check-trace-fields", run: authcheck::trace_fields },
    Test { name: "aggregate-reports", run: reports::aggregate },
    Test { name: "dmarc-summary", run: reports::summary },
    Test { name: "dmarc-summary-hostile", run: reports::hostile },
    Test { name: "auth-fuzz-seeds", run: fuzz::seeds },
    Test { name: "tls-reports", run: reports::tls },
    Test { name: "dkim-both-algorithms", run: dkim::both_algorithms },
    Test { name: "dkim-dkimpy-signs", run: dkim::dkimpy_signs },
    Test { name: "dkim-dkimpy-verifies", run: dkim::dkimpy_verifies },
    Test { name: "dkim-empty-bodies", run: dkim::empty_bodies },
    Test { name: "dkim-key-forms", run: dkim::key_forms },
    Test { name: "dkim-rfc-vectors", run: dkim::rfc_vectors },
    Test { name: "dmarc-discovery", run: dmarc::discovery },
    Test { name: "spf-suite", run: spf::suite },
];
