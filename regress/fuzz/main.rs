//! The fuzzer: libFuzzer around the target that `FUZZ_TARGET` names.
//!
//! One program holds all targets, since linking one for each would take longer
//! than most bugs need to be found.  Without `FUZZ_TARGET` it prints the names.

#![no_main]

mod targets;

use std::sync::OnceLock;

use targets::{Target, TARGETS};

static TARGET: OnceLock<&Target> = OnceLock::new();

fn choose() {
    let Some(wanted) = std::env::var_os("FUZZ_TARGET") else {
        for (name, _) in TARGETS {
            println!("{name}");
        }
        std::process::exit(0);
    };
    let Some(target) = TARGETS.iter().find(|(name, _)| wanted == *name) else {
        eprintln!("fuzz: no target {wanted:?}; without FUZZ_TARGET the names are printed");
        std::process::exit(1);
    };
    TARGET.get_or_init(|| target);
}

libfuzzer_sys::fuzz_target!(init: choose(), |bytes: &[u8]| {
    if let Some((_, run)) = TARGET.get() {
        run(bytes);
    }
});
