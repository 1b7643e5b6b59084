//! The DNS as a mail server needs it: questions out, answers in, both ways.
//!
//! *Runs in* lookup (queries, the cache), the regress name server (answers) and
//! wherever SPF, DKIM, DMARC and ARC are evaluated.  Answers are hostile.
//! [`name`] holds domain names, [`message`] the wire format, [`answer`] what a
//! message means to who asked, [`step`] how evaluations ask.
//!
//! RFC 1035, RFC 2308 (negative answers), RFC 3597 (unknown types), RFC 4035
//! (AD), RFC 6840 5.7 (AD in queries), RFC 6891 (EDNS0), RFC 9520 (failures).

pub mod answer;
pub mod message;
pub mod name;
pub mod step;
pub mod zone;

pub use answer::{Answer, Failure, Reading, Status};
pub use message::{Data, Message, Record, Type};
pub use name::Name;
pub use step::{Answers, Need, Query, Step};

/// Fuzz target: a message from the network, read and written back.
pub fn fuzz_message(bytes: &[u8]) {
    let Ok(message) = message::parse(bytes) else { return };
    let again = message::parse(&message.write(usize::from(u16::MAX)));
    if let Ok(again) = again {
        if !again.truncated {
            assert_eq!(again.answers, message.answers, "what is written reads the same");
        }
    }
    if let Some(query) = &message.question {
        let _reading = answer::read(bytes, message.id, query);
    }
}
