//! store: one account's mailboxes: delivery, IMAP sessions, index.

pub mod account;
pub mod cmd;
pub mod notify;
pub mod session;
pub mod view;

use crate::ipc::parent::{Part, Stat};
use crate::proc::start::{Events, Greeted, StartError};
use crate::proc::table::Kind;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

struct Shared;

impl Events for Shared {
    fn config(&self, _: Part) -> Result<(), String> {
        Ok(())
    }
    fn peer(&self, _: Kind, _: OwnedFd) {}
    fn stats(&self) -> Vec<Stat> {
        Vec::new()
    }
    fn stop(&self) {
        crate::sys::spawn::exit_now(0);
    }
}

/// The process's main function.
pub fn run(greeted: Greeted) -> Result<ExitCode, StartError> {
    Ok(greeted.confine()?.serve(&Shared))
}
