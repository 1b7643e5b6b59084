//! One message over a connection: MAIL, RCPT, DATA, and what each recipient
//! was answered.
//!
//! The moment that counts is the reply to the end of the message: a connection
//! that is lost before the end was sent has delivered nothing, one that is lost
//! after it may have delivered, and the recipients are tried again later (RFC
//! 5321 4.5.3.2.6: twice rather than never).
//!
//! RFC 5321 3.3; RFC 1870; RFC 2033; RFC 2920; RFC 3461; RFC 6531.

use crate::disk::spool::message::Message;
use crate::ipc::queue_mta::{Job, Outcome, Rcpt, Report};
use crate::proc::mta::session::{reply_text, Lost, Session};
use crate::proto::addr::{Charset, Mailbox};
use crate::proto::chars;
use crate::proto::limits;
use crate::proto::smtp::client::{RemoteReply, Stuffer};
use crate::proto::smtp::command::{write_orcpt, write_xtext};
use crate::sys::errno::SysError;

/// What is gathered before it is written.
const GATHER: usize = 128 * 1024;

/// How a transaction ended.
pub struct Ended {
    /// What became of recipients; those that are not named were not decided.
    pub reports: Vec<Report>,
    /// The connection is of no use any more, and why.
    pub lost: Option<Lost>,
    /// The host, as it answers now, will not take the others either: another
    /// one may.
    pub elsewhere: Option<String>,
    /// Recipients that were too many for this transaction.
    pub over: Vec<u32>,
    /// Recipients for whom the host has not what the message needs, and what that
    /// means if no other host has it.
    pub lacking: Vec<(u32, Lacking)>,
}

/// The outcome if no host of the domain has what a message needs.
pub type Lacking = (Outcome, &'static str);

/// What keeps a recipient out of a transaction.
enum Obstacle {
    /// Wherever it is sent.
    Final(Outcome, &'static str),
    /// At this host.
    Here(Lacking),
}

/// What is the same for all recipients.
pub struct Letter<'a> {
    /// The job.
    pub job: &'a Job,
    /// The sender, perhaps not the original one.
    pub sender: &'a str,
    /// The message.
    pub message: &'a Message,
}

impl Ended {
    const fn of(reports: Vec<Report>) -> Ended {
        Ended { reports, lost: None, elsewhere: None, over: Vec::new(), lacking: Vec::new() }
    }

    fn lost(reports: Vec<Report>, lost: Lost) -> Ended {
        Ended { lost: Some(lost), ..Ended::of(reports) }
    }
}

impl Session {
    /// Sends the message to these recipients.
    pub fn send(&mut self, letter: &Letter<'_>, rcpts: &[&Rcpt]) -> Ended {
        self.mails = self.mails.saturating_add(1);
        let mut reports = Vec::new();
        let mut lacking = Vec::new();
        let mut sendable: Vec<&Rcpt> = Vec::new();
        for rcpt in rcpts {
            match self.obstacle(letter, rcpt) {
                Some(Obstacle::Final(outcome, why)) => {
                    reports.push(self.report(rcpt, outcome, why, false));
                }
                Some(Obstacle::Here(what)) => lacking.push((rcpt.number, what)),
                None => sendable.push(rcpt),
            }
        }
        let ended = match sendable.is_empty() {
            true => Ended::of(reports),
            false => self.transaction(letter, &sendable, reports),
        };
        Ended { lacking, ..ended }
    }

    fn transaction(
        &mut self,
        letter: &Letter<'_>,
        sendable: &[&Rcpt],
        mut reports: Vec<Report>,
    ) -> Ended {
        let mut over = Vec::new();
        match self.envelope(letter, sendable, &mut reports, &mut over) {
            Ok(taken) if taken.is_empty() => self.forget(reports),
            Ok(taken) => Ended { over, ..self.content(letter, &taken, reports) },
            Err(Stop::Lost(lost)) => Ended::lost(reports, lost),
            Err(Stop::Sender(reply)) if reply.class() == 5 => {
                for rcpt in sendable {
                    reports.push(self.answer(rcpt, &reply));
                }
                self.forget(reports)
            }
            Err(Stop::Sender(reply)) => {
                let mut ended = self.forget(reports);
                ended.elsewhere = Some(reply_text(&reply));
                ended
            }
        }
    }

    /// Ends a transaction that came to nothing, for the next one on this
    /// connection.
    fn forget(&mut self, reports: Vec<Report>) -> Ended {
        let lost = self.command("RSET", self.limits.command).err();
        Ended { lost, ..Ended::of(reports) }
    }

    /// What the host's offers already decide.
    fn obstacle(&self, letter: &Letter<'_>, rcpt: &Rcpt) -> Option<Obstacle> {
        let never = |subject, detail| Outcome::Perm { subject, detail };
        let here = |outcome, why| Some(Obstacle::Here((outcome, why)));
        if !is_address(&rcpt.address, self.lmtp) {
            return Some(Obstacle::Final(never(1, 3), "not an address"));
        }
        // RFC 1870 6.  What 0 means is that no size is told.
        let max = self.offers.size.flatten().filter(|max| *max != 0);
        if max.is_some_and(|max| letter.message.size() > max) {
            return here(never(3, 4), "the message is larger than the host takes");
        }
        // RFC 6531 3.4 and 3.6.
        let ascii = rcpt.address.is_ascii() && letter.sender.is_ascii();
        if !self.offers.smtputf8 {
            if !ascii {
                return here(never(6, 7), "the host does not take addresses in UTF-8");
            }
            if letter.job.smtputf8 {
                match letter.message.header(limits::QUEUED_HEADER) {
                    Ok(header) if header.is_ascii() => {}
                    Ok(_) => return here(never(6, 7), "the host does not take headers in UTF-8"),
                    Err(_) => {
                        let ours = Outcome::Temp { subject: 3, detail: 0 };
                        return Some(Obstacle::Final(ours, "the message cannot be read"));
                    }
                }
            }
        }
        None
    }

    /// MAIL and RCPT; in one go if the host allows it (RFC 2920 3.1).  `over` gets
    /// those that are too many for one transaction, if it takes any.
    fn envelope<'r>(
        &mut self,
        letter: &Letter<'_>,
        rcpts: &[&'r Rcpt],
        reports: &mut Vec<Report>,
        over: &mut Vec<u32>,
    ) -> Result<Vec<&'r Rcpt>, Stop> {
        let time = self.limits.command;
        let group = self.offers.pipelining;
        let mail = self.mail_line(letter);
        self.put(&mail);
        if !group {
            self.mail_reply()?;
        } else {
            for rcpt in rcpts {
                let line = self.rcpt_line(rcpt);
                self.put(&line);
            }
            let refused = match self.mail_reply() {
                Err(Stop::Sender(reply)) => Some(reply),
                Err(lost) => return Err(lost),
                Ok(()) => None,
            };
            if let Some(reply) = refused {
                // The replies to RCPT follow all the same.
                for _ in rcpts {
                    self.reply(time)?;
                }
                return Err(Stop::Sender(reply));
            }
        }
        let mut taken = Vec::new();
        let mut many = Vec::new();
        for rcpt in rcpts {
            if !group {
                let line = self.rcpt_line(rcpt);
                self.put(&line);
            }
            let reply = self.reply(time)?;
            if reply.class() == 2 {
                taken.push(*rcpt);
            } else if is_too_many(&reply) {
                many.push((*rcpt, reply));
            } else {
                reports.push(self.answer(rcpt, &reply));
            }
        }
        for (rcpt, reply) in many {
            if taken.is_empty() {
                let outcome = Outcome::Temp { subject: 5, detail: 3 };
                reports.push(self.report(rcpt, outcome, &reply_text(&reply), true));
            } else {
                over.push(rcpt.number);
            }
        }
        Ok(taken)
    }

    fn mail_reply(&mut self) -> Result<(), Stop> {
        let reply = self.reply(self.limits.command)?;
        if reply.class() == 2 {
            Ok(())
        } else {
            Err(Stop::Sender(reply))
        }
    }

    /// DATA and the message.
    fn content(&mut self, letter: &Letter<'_>, taken: &[&Rcpt], mut reports: Vec<Report>) -> Ended {
        let reply = match self.command("DATA", self.limits.data) {
            Ok(reply) => reply,
            Err(lost) => return Ended::lost(reports, lost),
        };
        // RFC 5321 4.3.2: 354, or a refusal.  A host that says yes to a message
        // it has not seen is out of step, and what it says next is not about
        // this message.
        if matches!(reply.class(), 2 | 3) && reply.code != 354 {
            let lost = Lost::Protocol(format!("out of step: DATA was answered {}", reply.code));
            return Ended::lost(reports, lost);
        }
        if reply.code != 354 {
            for rcpt in taken {
                reports.push(self.answer(rcpt, &reply));
            }
            return self.forget(reports);
        }
        match self.body(letter.message) {
            Ok(()) => {}
            Err(Broken::Lost(lost)) => {
                // RFC 5321 4.2.1: a host that refuses in the middle and hangs up
                // has answered all the same.
                if let Some(reply) = self.last_words() {
                    for rcpt in taken {
                        reports.push(self.answer(rcpt, &reply));
                    }
                }
                return Ended::lost(reports, lost);
            }
            Err(Broken::Ours(e)) => {
                // The end was not sent, so nothing was delivered; the
                // connection cannot be used for anything else.
                let lost = Lost::Io(e.to_string());
                for rcpt in taken {
                    let outcome = Outcome::Temp { subject: 3, detail: 0 };
                    reports.push(self.report(rcpt, outcome, "the message cannot be read", false));
                }
                return Ended::lost(reports, lost);
            }
        }
        // RFC 2033 4.2: a reply for each recipient that was taken.
        let replies = if self.lmtp { taken.len() } else { 1 };
        for at in 0..replies {
            let these = if self.lmtp { taken.get(at..=at) } else { Some(taken) };
            let these = these.unwrap_or_default();
            match self.reply(self.limits.end) {
                Ok(reply) => {
                    for rcpt in these {
                        reports.push(self.answer(rcpt, &reply));
                    }
                }
                Err(lost) => {
                    // A 421 in place of the reply says no; anything else may be yes.
                    let outcome = Outcome::Temp { subject: 4, detail: 2 };
                    let said = match &lost {
                        Lost::Refused(reply) => reply_text(reply),
                        other => format!("no reply to the message: {other}"),
                    };
                    for rcpt in taken.get(at..).unwrap_or_default() {
                        reports.push(self.report(rcpt, outcome, &said, true));
                    }
                    return Ended::lost(reports, lost);
                }
            }
        }
        Ended::of(reports)
    }

    fn body(&mut self, message: &Message) -> Result<(), Broken> {
        let mut reader = message.reader();
        let mut stuffer = Stuffer::new();
        let mut out = Vec::new();
        while let Some(piece) = reader.next_piece().map_err(Broken::Ours)? {
            stuffer.feed(piece, &mut out);
            if out.len() >= GATHER {
                self.put_data(&out).map_err(Broken::Lost)?;
                out.clear();
            }
        }
        stuffer.finish(&mut out);
        self.put_data(&out).map_err(Broken::Lost)
    }

    fn mail_line(&self, letter: &Letter<'_>) -> String {
        let (job, offers) = (letter.job, &self.offers);
        let mut line = format!("MAIL FROM:<{}>", letter.sender);
        if offers.size.is_some() {
            line.push_str(&format!(" SIZE={}", letter.message.size()));
        }
        // To a host that does not say 8BITMIME it goes as it is, as with
        // OpenSMTPD and qmail: nothing that still runs loses the eighth bit.
        if job.eight_bit && offers.eight_bit {
            line.push_str(" BODY=8BITMIME");
        }
        let utf8 = job.smtputf8 || !letter.sender.is_ascii();
        if offers.smtputf8 && (utf8 || job.rcpts.iter().any(|r| !r.address.is_ascii())) {
            line.push_str(" SMTPUTF8");
        }
        if offers.dsn {
            match job.ret_full {
                Some(true) => line.push_str(" RET=FULL"),
                Some(false) => line.push_str(" RET=HDRS"),
                None => {}
            }
            if let Some(envid) = &job.envid {
                line.push_str(&format!(" ENVID={}", write_xtext(envid.as_bytes())));
            }
        }
        line
    }

    fn rcpt_line(&self, rcpt: &Rcpt) -> String {
        let mut line = format!("RCPT TO:<{}>", rcpt.address);
        if self.offers.dsn {
            if let Some(n) = rcpt.notify {
                let words = [(n.success, "SUCCESS"), (n.failure, "FAILURE"), (n.delay, "DELAY")];
                let on: Vec<&str> = words.iter().filter(|(on, _)| *on).map(|(_, w)| *w).collect();
                let value = if on.is_empty() { "NEVER".to_owned() } else { on.join(",") };
                line.push_str(&format!(" NOTIFY={value}"));
            }
            if let Some((kind, address)) = &rcpt.orcpt {
                if let Some(orcpt) = write_orcpt(kind, address) {
                    line.push_str(&format!(" ORCPT={orcpt}"));
                }
            }
        }
        line
    }

    /// What a reply means for a recipient.
    fn answer(&self, rcpt: &Rcpt, reply: &RemoteReply) -> Report {
        let (subject, detail) = reply.status.map_or((0, 0), |s| (s.subject, s.detail));
        let outcome = match reply.class() {
            2 => Outcome::Done { dsn: self.offers.dsn },
            5 => Outcome::Perm { subject, detail },
            _ => Outcome::Temp { subject, detail },
        };
        self.report(rcpt, outcome, &reply_text(reply), true)
    }

    fn report(&self, rcpt: &Rcpt, result: Outcome, said: &str, by_host: bool) -> Report {
        let host = by_host.then(|| self.host.clone());
        Report { number: rcpt.number, result, host, said: said.to_owned() }
    }
}

enum Stop {
    Lost(Lost),
    /// MAIL was refused.
    Sender(RemoteReply),
}

impl From<Lost> for Stop {
    fn from(lost: Lost) -> Self {
        Stop::Lost(lost)
    }
}

enum Broken {
    Lost(Lost),
    /// The spool file cannot be read.
    Ours(SysError),
}

/// Nothing that could leave its place in a command.  LMTP takes a bare user.
fn is_address(text: &str, lmtp: bool) -> bool {
    if Mailbox::parse(text.as_bytes(), Charset::Utf8).is_ok() {
        return true;
    }
    lmtp && !text.is_empty()
        && text.len() <= limits::SMTP_LOCAL_PART.size()
        && text.bytes().all(|b| chars::is_atext_utf8(b) || b == b'.')
}

/// Whether a recipient is too many for this transaction, and for no other reason
/// refused.  552 for this is of old, and temporary.  RFC 5321 4.5.3.1.10.
fn is_too_many(reply: &RemoteReply) -> bool {
    matches!(reply.code, 452 | 552) && reply.status.is_none_or(|s| (s.subject, s.detail) == (5, 3))
}
