//! Authenticated Received Chain.  RFC 8617.
//!
//! *Runs in* filter; messages are hostile.  A chain is worth what its sealers
//! are worth: a pass alone says only that nobody changed what they wrote.  It is
//! looked at for an explicit list of trusted sealers, and sealing is off unless
//! configured.  [`verify`] validates, [`seal`] adds a set; both are made of
//! DKIM's pieces.

pub mod seal;
pub mod verify;

pub use verify::{Chain, Checked, Fault, Outcome, FIELDS};

/// The state of a chain: `cv=`.  RFC 8617 4.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// There is no chain.
    None,
    /// It is whole.
    Pass,
    /// It is not.
    Fail,
}

impl Validation {
    /// The word for `cv=` and Authentication-Results.
    pub const fn word(self) -> &'static str {
        match self {
            Validation::None => "none",
            Validation::Pass => "pass",
            Validation::Fail => "fail",
        }
    }
}

#[cfg(test)]
mod tests;
