//! What senders are told: failures, delays, deliveries they asked about; and
//! messages that a delivery sends on.
//!
//! Each is a message of our own in the queue, with the null path if it tells
//! something, so that it is never answered: a notification that cannot be
//! delivered is logged and forgotten (RFC 5321 6.1).  Nobody gets one for a
//! message that was not accepted, and what was not accepted was answered in
//! the dialogue: no backscatter.  RFC 3461, RFC 3464.

use crate::base::clock::WallTime;
use crate::base::log::{self, Show};
use crate::disk::spool::message::Message;
use crate::disk::spool::qid::Qid;
use crate::disk::spool::record::{Origin, Record, Session};
use crate::disk::spool::state::Recipient;
use crate::ipc::queue_lookup::{Answer, Ask};
use crate::ipc::smtp_lookup::{Destination, Verdict};
use crate::proc::queue::intake;
use crate::proc::queue::message::{ttl, Kept};
use crate::proc::queue::settle::{How, Settled};
use crate::proc::queue::{Counts, Shared};
use crate::proto::addr::{Mailbox, ReversePath};
use crate::proto::date::DateTime;
use crate::proto::dsn::{self, Action, Diagnostic, Report};
use crate::proto::limits;
use crate::proto::smtp::command::Ret;
use crate::proto::smtp::edit::Edits;
use crate::proto::smtp::reply::Enhanced;

/// The largest message that is returned whole.
const RETURN_MAX: u64 = 1 << 20;

/// A recipient of whom the sender is told something.
pub struct Notice {
    action: Action,
    rcpt: Recipient,
    status: Enhanced,
    host: Option<String>,
    said: String,
    at: i64,
}

impl Notice {
    /// `at` is in milliseconds since 1970.
    pub fn new(action: Action, one: &Settled, rcpt: &Recipient, at: i64) -> Notice {
        Notice {
            action,
            rcpt: rcpt.clone(),
            status: match action {
                Action::Failed => Enhanced { class: 5, ..one.status },
                Action::Delayed => Enhanced { class: 4, ..one.status },
                _ => Enhanced { class: 2, ..one.status },
            },
            host: one.host.clone(),
            // Which mailbox it went to is between the recipient and his server.
            said: if action == Action::Delivered { String::new() } else { one.said.clone() },
            at: at.div_euclid(1000),
        }
    }
}

/// Why something could not be written now.
pub type Why = String;

/// Where a message of our own goes.
enum Routed {
    To(Vec<Destination>),
    Nowhere(String),
}

impl Shared {
    /// Writes the notifications, one for each kind, and parks them in incoming.
    pub(super) fn notify(&self, qid: Qid, notices: &[Notice]) -> Result<Vec<Qid>, Why> {
        let mut ids = Vec::new();
        if notices.is_empty() {
            return Ok(ids);
        }
        let loaded = self.spool.load(qid).map_err(|e| e.to_string())?;
        let origin = &loaded.state.origin;
        let Some(sender) = origin.sender.mailbox() else {
            log::info!("bounce", qid = Show(&qid), msg = "a notification is not answered");
            return Ok(ids);
        };
        let to = match self.route("", sender)? {
            Routed::To(to) => to,
            Routed::Nowhere(why) => {
                let to = sender.to_string();
                log::warn!(
                    "bounce",
                    qid = Show(&qid),
                    to = to.as_str(),
                    msg = "nobody takes it",
                    why = why.as_str()
                );
                return Ok(ids);
            }
        };
        for action in [Action::Failed, Action::Delayed, Action::Delivered, Action::Relayed] {
            let these: Vec<&Notice> = notices.iter().filter(|n| n.action == action).collect();
            if these.is_empty() {
                continue;
            }
            match self.notification(qid, &loaded, sender, &to, action, &these) {
                Ok(id) => ids.push(id),
                Err(why) => {
                    self.discard(&ids);
                    return Err(why);
                }
            }
        }
        self.park(&ids)?;
        Counts::add(&self.counts.bounces, ids.len());
        Ok(ids)
    }

    fn notification(
        &self,
        qid: Qid,
        loaded: &crate::disk::spool::Loaded,
        sender: &Mailbox,
        to: &[Destination],
        action: Action,
        notices: &[&Notice],
    ) -> Result<Qid, Why> {
        let config = self.config();
        let origin = &loaded.state.origin;
        let (file, key) = self.spool.open_body(qid).map_err(|e| e.to_string())?;
        let message =
            Message::open(file, key, loaded.state.edits.clone()).map_err(|e| e.to_string())?;
        // RFC 3461 4.3: RET counts for failures only; a large message comes
        // back as its header in any case.
        let whole = action == Action::Failed
            && origin.ret != Some(Ret::Hdrs)
            && message.size() <= RETURN_MAX;
        let returned = if whole { Ret::Full } else { Ret::Hdrs };
        let text = match returned {
            Ret::Full => message.read_all(RETURN_MAX).map(Option::unwrap_or_default),
            Ret::Hdrs => message.header(limits::QUEUED_HEADER),
        };
        // A body that cannot be read any more is no reason to say nothing.
        let (text, returned) = match text {
            Ok(text) => (text, returned),
            Err(e) => {
                self.trouble("bounce", qid, &e);
                (Vec::new(), Ret::Hdrs)
            }
        };
        let recipients: Vec<dsn::Recipient<'_>> = notices
            .iter()
            .map(|n| dsn::Recipient {
                address: &n.rcpt.envelope.orig,
                original: n.rcpt.envelope.orcpt.as_ref(),
                action,
                status: n.status,
                remote: n.host.as_deref(),
                diagnostic: match (n.host.is_some(), n.said.as_str()) {
                    (_, "") => None,
                    (true, said) => Some(Diagnostic::Smtp(said)),
                    (false, said) => Some(Diagnostic::Local(said)),
                },
                last_attempt: Some(DateTime::utc(n.at)),
                until: (action == Action::Delayed).then(|| {
                    let ttl = i64::try_from(ttl(&config, &n.rcpt.envelope).as_secs());
                    DateTime::utc(loaded.created.secs.saturating_add(ttl.unwrap_or(0)))
                }),
            })
            .collect();
        let now = WallTime::now();
        let draft = self.spool.begin(now, config.queue_compression()).map_err(|e| e.to_string())?;
        let unique = draft.qid().to_string();
        let report = Report {
            host: &self.hostname,
            to: sender,
            action,
            recipients: &recipients,
            unparsed: &[],
            envid: origin.envid.as_deref(),
            id: &qid.to_string(),
            arrival: DateTime::utc(loaded.created.secs),
            now: DateTime::utc(now.secs),
            unique: &unique,
            returned,
            eight_bit: !text.is_ascii(),
        };
        let head = report.head();
        let utf8 = !head.is_ascii() || !sender.is_ascii();
        let mut body = draft.body_writer().map_err(|e| e.to_string())?;
        for piece in [&head[..], &text[..], &report.tail()[..]] {
            body.write(piece).map_err(|e| e.to_string())?;
        }
        let end = body.finish().map_err(|e| e.to_string())?;
        let origin = Origin {
            sender: ReversePath::Null,
            smtputf8: utf8,
            eight_bit: utf8 || !text.is_ascii(),
            ret: None,
            envid: None,
            session: own_session(),
        };
        let mut records = vec![Record::Origin(Box::new(origin))];
        for destination in to {
            let e = intake::envelope(destination, sender, None, None)
                .ok_or_else(|| "lookup named an address that is none".to_owned())?;
            records.push(Record::Envelope(Box::new(e)));
        }
        records.push(Record::Commit);
        let ready = draft.complete(end, &records).map_err(|e| e.to_string())?;
        let id = ready.park().map_err(|e| e.to_string())?;
        log::info!(
            "bounce",
            qid = Show(&id),
            about = Show(&qid),
            to = Show(&format_args!("<{sender}>")),
            rcpts = notices.len()
        );
        Ok(id)
    }

    /// Writes the messages that deliveries brought forth; a delivery whose
    /// messages cannot be written is one that did not happen yet.
    /// Gives them with the recipient that each is of.
    pub(super) fn inject_all(&self, qid: Qid, all: &mut [Settled]) -> Vec<(u32, Qid)> {
        let mut written = Vec::new();
        for one in all {
            if one.inject.is_empty() {
                continue;
            }
            let addresses = std::mem::take(&mut one.inject);
            match self.inject(qid, one.rcpt, &addresses) {
                Ok((ids, refused)) => {
                    written.extend(ids.into_iter().map(|id| (one.rcpt, id)));
                    if let Some(why) = refused {
                        *one = Settled::ours(one.rcpt, How::Never, 7, 1, why);
                    }
                }
                Err(why) => {
                    // It may name files and tables: for the log alone.
                    log::warn!("forward", qid = Show(&qid), msg = "put off", why = why.as_str());
                    let said = "the copy for another address cannot be made now";
                    *one = Settled::ours(one.rcpt, How::Later, 3, 0, said);
                }
            }
        }
        written
    }

    /// Parks a copy of a message for each address; says also why some address
    /// is not taken, for its sender to hear.
    pub(super) fn inject(
        &self,
        qid: Qid,
        rcpt: u32,
        addresses: &[String],
    ) -> Result<(Vec<Qid>, Option<String>), Why> {
        let loaded = self.spool.load(qid).map_err(|e| e.to_string())?;
        let from = loaded.state.rcpt(rcpt).ok_or("no such recipient")?;
        let (mut ids, mut refused) = (Vec::new(), None);
        for address in addresses {
            let done = self.redirect(qid, &loaded, &from.envelope, address);
            match done {
                Ok(Ok(id)) => ids.push(id),
                Ok(Err(why)) => refused = Some(format!("{address}: {why}")),
                Err(why) => {
                    self.discard(&ids);
                    return Err(why);
                }
            }
        }
        self.park(&ids)?;
        Ok((ids, refused))
    }

    fn redirect(
        &self,
        qid: Qid,
        loaded: &crate::disk::spool::Loaded,
        from: &crate::disk::spool::record::Envelope,
        address: &str,
    ) -> Result<Result<Qid, String>, Why> {
        let charset = crate::proto::addr::Charset::Utf8;
        let Ok(rcpt) = Mailbox::parse(address.as_bytes(), charset) else {
            return Ok(Err("not an address".to_owned()));
        };
        let sender = loaded.state.origin.sender.to_string();
        let to = match self.route(&sender, &rcpt)? {
            Routed::To(to) => to,
            Routed::Nowhere(why) => return Ok(Err(why)),
        };
        let text = |e: crate::sys::errno::SysError| e.to_string();
        let (file, key) = self.spool.open_body(qid).map_err(|e| e.to_string())?;
        let message = Message::open(file, key, Edits::new()).map_err(text)?;
        let draft =
            self.spool.begin(WallTime::now(), self.config().queue_compression()).map_err(text)?;
        let mut body = draft.body_writer().map_err(text)?;
        let mut reader = message.reader();
        while let Some(piece) = reader.next_piece().map_err(text)? {
            body.write(piece).map_err(text)?;
        }
        let end = body.finish().map_err(text)?;
        // The field by which a circle of redirects is seen: RFC 9228.
        let mut edits = loaded.state.edits.clone();
        let mark = format!("Delivered-To: {}\r\n", from.rcpt).into_bytes();
        edits.prepend(mark).map_err(|_| "too many changes".to_owned())?;
        let mut records = vec![Record::Origin(Box::new(loaded.state.origin.clone()))];
        for destination in &to {
            let orcpt = from.orcpt.as_ref();
            let e = intake::envelope(destination, &rcpt, from.notify, orcpt)
                .ok_or_else(|| "lookup named an address that is none".to_owned())?;
            records.push(Record::Envelope(Box::new(e)));
        }
        records.extend(edits.as_slice().iter().cloned().map(Record::Edit));
        records.extend(loaded.state.verdict.clone().map(Record::Verdict));
        records.push(Record::Commit);
        let id = draft.complete(end, &records).and_then(|r| r.park()).map_err(text)?;
        log::info!(
            "redirect",
            qid = Show(&id),
            about = Show(&qid),
            to = Show(&format_args!("<{rcpt}>"))
        );
        Ok(Ok(id))
    }

    /// Asks lookup who takes an address.
    fn route(&self, sender: &str, rcpt: &Mailbox) -> Result<Routed, Why> {
        let ask = Ask::Route { sender: sender.to_owned(), rcpt: rcpt.to_string() };
        match self.lookup.call_again(&ask, self.soon()).map_err(|e| e.to_string())? {
            Answer::Route { verdict: Verdict::Accepted { to } } if !to.is_empty() => {
                Ok(Routed::To(to))
            }
            Answer::Route { verdict } => match verdict {
                Verdict::Accepted { .. } => Err("lookup named no destination".to_owned()),
                Verdict::Denied { why } | Verdict::Loop { why } => Ok(Routed::Nowhere(why)),
                Verdict::NoSuchUser { .. } => Ok(Routed::Nowhere("no such user".to_owned())),
                Verdict::Refused { code, text } if code < 500 => Err(format!("{code} {text}")),
                Verdict::Refused { code, text } => Ok(Routed::Nowhere(format!("{code} {text}"))),
                Verdict::Unavailable { why } => Err(why),
            },
            Answer::Deliver { .. } => Err("lookup answered another question".to_owned()),
        }
    }

    /// Has messages of incoming on disk for good, for a record to name; or none.
    fn park(&self, ids: &[Qid]) -> Result<(), Why> {
        self.spool.sync_incoming().map_err(|e| {
            self.discard(ids);
            e.to_string()
        })
    }

    /// Parked messages that no record will name.
    pub(super) fn discard(&self, ids: &[Qid]) {
        for id in ids {
            if let Err(e) = self.spool.discard_incoming(*id) {
                // The next start removes it.
                self.trouble("spool", *id, &e);
            }
        }
    }

    /// Takes a published message into memory.
    pub(super) fn take_in(&self, qid: Qid, maybe: bool) {
        match self.spool.load(qid) {
            Ok(loaded) => {
                self.keep(qid, Kept::new(loaded.created, loaded.body, loaded.state, maybe))
            }
            Err(e) => self.trouble("spool", qid, &e),
        }
    }
}

fn own_session() -> Session {
    Session { protocol: "local".to_owned(), ..Session::default() }
}
