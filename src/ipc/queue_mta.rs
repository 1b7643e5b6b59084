//! The edge between queue and mta: jobs one way, reports the other.
//!
//! queue never waits for mta: [`Down`] is an event, with the spool file's
//! read-only descriptor.  mta asks [`Ask`] and waits until what it reports is on
//! disk.  Reports come recipient by recipient or many at once, as the remote
//! host answers; `last` ends the job, and recipients that it left out were not
//! tried.  If mta dies, its jobs were not tried either, as far as anybody knows.
//!
//! The first on each channel is [`Ask::Hello`]: only mta knows whether it is the
//! one that got jobs on the channel before, and which of them arrived.

pub use crate::ipc::queue_store::Body;

crate::wire! {
    /// queue to mta.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Down {
        /// Pass a message on; its descriptor comes with this.
        Job { job: Box<Job> },
    }

    /// One message to recipients that one host takes in one transaction.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Job {
        /// The job's number, for reports.
        pub id: u64,
        /// The message, for the log.
        pub qid: String,
        /// The name of the action: a relay, or a local action with `lmtp`.
        pub action: String,
        /// The domain of the recipients; the server's own for LMTP.
        pub domain: String,
        /// The reverse path without brackets; empty: the null path.
        pub sender: String,
        /// The message needs SMTPUTF8.
        pub smtputf8: bool,
        /// The body may hold bytes of 0x80 and above.
        pub eight_bit: bool,
        /// RET: true is FULL.
        pub ret_full: Option<bool>,
        /// ENVID.
        pub envid: Option<String>,
        /// The recipients.
        pub rcpts: Vec<Rcpt>,
        /// How the body is read.
        pub body: Body,
    }

    /// A recipient of a job.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Rcpt {
        /// Its number in the message.
        pub number: u32,
        /// The address for RCPT TO.
        pub address: String,
        /// NOTIFY: success, failure, delay.
        pub notify: Option<crate::ipc::smtp_queue::Notify>,
        /// ORCPT, type and address.
        pub orcpt: Option<(String, String)>,
    }

    /// mta to queue.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Ask {
        /// Which mta this is, and the jobs that it has.  No job is sent before.
        Hello { life: u64, jobs: Vec<u64> },
        /// What became of some recipients of a job.
        Report { id: u64, results: Vec<Report>, last: bool },
    }

    /// queue to mta.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Answer {
        /// It is on disk, or the job is not known any more.
        Recorded,
        /// The disk refused; queue remembers it all the same while it lives.
        NotRecorded,
    }

    /// What became of a recipient.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Report {
        /// Its number in the message.
        pub number: u32,
        /// How it went.
        pub result: Outcome,
        /// The host that said so, name and address, if one did.
        pub host: Option<String>,
        /// Its reply, made harmless: `550 5.1.1 No such user`; or what went
        /// wrong here, in words.
        pub said: String,
    }

    /// How it went, with subject and detail of the enhanced code.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Outcome {
        /// The host took it.  `dsn`: it takes over the notifications too.
        Done { dsn: bool },
        /// Not now.
        Temp { subject: u16, detail: u16 },
        /// Never.
        Perm { subject: u16, detail: u16 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::wire::Wire;

    #[test]
    fn a_report_survives_the_channel() {
        let report = Report {
            number: 2,
            result: Outcome::Perm { subject: 1, detail: 1 },
            host: Some("mx.example [192.0.2.1]".into()),
            said: "550 5.1.1 No such user".into(),
        };
        let ask = Ask::Report { id: 7, results: vec![report], last: true };
        assert_eq!(Ask::from_bytes(&ask.to_bytes()), Ok(ask));
    }
}
