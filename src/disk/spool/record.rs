//! What the log of a spool file says, record by record.
//!
//! Before publication, in this order: [`Origin`], an [`Envelope`] for each
//! recipient (numbered from 1 in the order of the log), edits, perhaps a
//! [`Verdict`], `Commit`.  Afterwards: what became of the recipients.  Nothing
//! in here is a command or a path that a delivery would follow: an envelope
//! names its action, and the configuration of the day says what that is.

use std::net::IpAddr;

use crate::disk::spool::codec::{Get, Put};
use crate::disk::spool::qid::Qid;
use crate::proto::addr::{Mailbox, ReversePath};
use crate::proto::smtp::command::{Notify, Orcpt, Ret};
use crate::proto::smtp::edit::Edit;

/// Where a message comes from: one for all of its recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who gets the notifications; [`ReversePath::Null`]: nobody.
    pub sender: ReversePath,
    /// MAIL had SMTPUTF8, or an address or header of our own making needs it.
    pub smtputf8: bool,
    /// The body may hold bytes of 0x80 and above.
    pub eight_bit: bool,
    /// RET of RFC 3461.
    pub ret: Option<Ret>,
    /// ENVID of RFC 3461.
    pub envid: Option<String>,
    /// Facts of the session, for the log, `show envelope` and notifications.
    pub session: Session,
}

/// Facts of the session that brought a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Its id; 0: made by queue itself.
    pub sid: u64,
    /// What the client called itself.
    pub helo: String,
    /// The name of its address, where it has one.
    pub rdns: Option<String>,
    /// Its address; none for the socket and for what queue made.
    pub client: Option<IpAddr>,
    /// The protocol, as in Received: `ESMTPSA`.
    pub protocol: String,
    /// TLS version and cipher.
    pub tls: Option<String>,
    /// Who logged in.
    pub user: Option<String>,
    /// The listener's tag.
    pub tag: Option<String>,
}

/// A recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The address after expansion: where the message goes.
    pub rcpt: Mailbox,
    /// The address as the client named it.
    pub orig: Mailbox,
    /// The name of the action.
    pub action: String,
    /// The user that a local action delivers to; `None`: the action relays.
    pub user: Option<String>,
    /// A file or command of a table of aliases in place of the user.
    pub item: Option<Item>,
    /// NOTIFY of RFC 3461; `None`: on failure and delay.
    pub notify: Option<Notify>,
    /// ORCPT of RFC 3461.
    pub orcpt: Option<Orcpt>,
}

/// A file or command that an alias names: looked up anew at each attempt, and
/// refused if it is not the same any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The key in the action's table.
    pub key: String,
    /// SHA-256 of what stood there.
    pub digest: [u8; 32],
}

/// What the filters found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It is spam.
    pub junk: bool,
    /// How likely, in millionths.
    pub p: u32,
    /// Why, in words.
    pub reasons: Vec<String>,
}

/// How a recipient ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The message was delivered or passed on.
    Delivered,
    /// It never will be; the sender was told if he wanted to know.
    Failed,
    /// The administrator removed it.
    Removed,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Where the message comes from.
    Origin(Box<Origin>),
    /// A recipient.
    Envelope(Box<Envelope>),
    /// A change to the body.
    Edit(Edit),
    /// What the filters found.
    Verdict(Verdict),
    /// All before is complete: responsibility is ours once this is synced and
    /// the name published.
    Commit,
    /// An attempt ended without success; the recipient stays.
    Attempt {
        /// The recipient.
        rcpt: u32,
        /// When, seconds since 1970.
        at: i64,
        /// Attempts until now, this one included.
        tries: u32,
        /// Deaths of processes while it was in work, in a row.
        deaths: u32,
        /// What was said: one harmless line, with the host that said it.
        said: String,
    },
    /// These recipients need nothing more.
    Done {
        /// The recipients.
        rcpts: Vec<u32>,
        /// How they ended.
        end: End,
    },
    /// Messages that came out of this one (notifications, redirects) lie
    /// complete in `incoming` and are to be published; together with it, in one
    /// record so that no crash can part the two, recipients that are done.
    Spawned {
        /// The messages.
        ids: Vec<Qid>,
        /// The recipients that need nothing more, and how they ended.
        ends: Vec<(u32, End)>,
        /// Recipients whose sender was told that it takes long, that many times.
        warned: Vec<(u32, u32)>,
    },
    /// Keep, and do not try; or no longer.  Recipient 0: all.
    Hold {
        /// The recipient.
        rcpt: u32,
        /// Hold or release.
        on: bool,
        /// Why: who held it.
        why: String,
    },
    /// The commands of a recipient's `.forward` have run and are not run again;
    /// its delivery, which the file wants too, is still to come.
    Forwarded {
        /// The recipient.
        rcpt: u32,
        /// The file's addresses, which get the message after that.
        addresses: Vec<String>,
    },
    /// A command of a recipient's `.forward` has run, others have not: this one
    /// is not run again.
    Ran {
        /// The recipient.
        rcpt: u32,
        /// The command as it stands in the file.
        command: String,
    },
}

impl Record {
    /// The type byte and the payload.
    pub fn encode(&self) -> (u8, Vec<u8>) {
        let mut w = Put::new();
        let kind = match self {
            Record::Origin(o) => {
                put_origin(&mut w, o);
                1
            }
            Record::Envelope(e) => {
                put_envelope(&mut w, e);
                2
            }
            Record::Edit(Edit::Insert { offset, bytes }) => {
                w.u64(*offset);
                w.bytes(bytes);
                3
            }
            Record::Edit(Edit::Delete { offset, len }) => {
                w.u64(*offset);
                w.u64(*len);
                4
            }
            Record::Verdict(v) => {
                w.bool(v.junk);
                w.u32(v.p);
                w.list(&v.reasons, |w, r| w.text(r));
                5
            }
            Record::Commit => 6,
            Record::Attempt { rcpt, at, tries, deaths, said } => {
                w.u32(*rcpt);
                w.i64(*at);
                w.u32(*tries);
                w.u32(*deaths);
                w.text(said);
                7
            }
            Record::Done { rcpts, end } => {
                w.list(rcpts, |w, r| w.u32(*r));
                w.u8(put_end(*end));
                8
            }
            Record::Spawned { ids, ends, warned } => {
                w.list(ids, |w, id| w.u64(id.bits()));
                w.list(ends, |w, (r, end)| {
                    w.u32(*r);
                    w.u8(put_end(*end));
                });
                w.list(warned, |w, (r, n)| {
                    w.u32(*r);
                    w.u32(*n);
                });
                9
            }
            Record::Hold { rcpt, on, why } => {
                w.u32(*rcpt);
                w.bool(*on);
                w.text(why);
                10
            }
            Record::Forwarded { rcpt, addresses } => {
                w.u32(*rcpt);
                w.list(addresses, |w, a| w.text(a));
                11
            }
            Record::Ran { rcpt, command } => {
                w.u32(*rcpt);
                w.text(command);
                12
            }
        };
        (kind, w.finish())
    }

    /// Reads a payload of this type; `None` if it is not one.
    pub fn decode(kind: u8, payload: &[u8]) -> Option<Record> {
        let mut r = Get::new(payload);
        let record = match kind {
            1 => Record::Origin(Box::new(get_origin(&mut r)?)),
            2 => Record::Envelope(Box::new(get_envelope(&mut r)?)),
            3 => Record::Edit(Edit::Insert { offset: r.u64()?, bytes: r.bytes()?.to_vec() }),
            4 => Record::Edit(Edit::Delete { offset: r.u64()?, len: r.u64()? }),
            5 => Record::Verdict(Verdict {
                junk: r.bool()?,
                p: r.u32()?,
                reasons: r.list(Get::text)?,
            }),
            6 => Record::Commit,
            7 => Record::Attempt {
                rcpt: r.u32()?,
                at: r.i64()?,
                tries: r.u32()?,
                deaths: r.u32()?,
                said: r.text()?,
            },
            8 => Record::Done { rcpts: r.list(Get::u32)?, end: get_end(r.u8()?)? },
            9 => Record::Spawned {
                ids: r.list(|r| Qid::from_bits(r.u64()?))?,
                ends: r.list(|r| Some((r.u32()?, get_end(r.u8()?)?)))?,
                warned: r.list(|r| Some((r.u32()?, r.u32()?)))?,
            },
            10 => Record::Hold { rcpt: r.u32()?, on: r.bool()?, why: r.text()? },
            11 => Record::Forwarded { rcpt: r.u32()?, addresses: r.list(Get::text)? },
            12 => Record::Ran { rcpt: r.u32()?, command: r.text()? },
            _ => return None,
        };
        r.at_end().then_some(record)
    }
}

const fn put_end(end: End) -> u8 {
    match end {
        End::Delivered => 1,
        End::Failed => 2,
        End::Removed => 3,
    }
}

const fn get_end(byte: u8) -> Option<End> {
    match byte {
        1 => Some(End::Delivered),
        2 => Some(End::Failed),
        3 => Some(End::Removed),
        _ => None,
    }
}

fn put_origin(w: &mut Put, o: &Origin) {
    w.sender(&o.sender);
    w.bool(o.smtputf8);
    w.bool(o.eight_bit);
    w.option(o.ret.as_ref(), |w, ret| w.bool(*ret == Ret::Full));
    w.option(o.envid.as_ref(), |w, t| w.text(t));
    let s = &o.session;
    w.u64(s.sid);
    w.text(&s.helo);
    w.option(s.rdns.as_ref(), |w, t| w.text(t));
    w.option(s.client.as_ref(), Put::ip);
    w.text(&s.protocol);
    for text in [&s.tls, &s.user, &s.tag] {
        w.option(text.as_ref(), |w, t| w.text(t));
    }
}

fn get_origin(r: &mut Get<'_>) -> Option<Origin> {
    Some(Origin {
        sender: r.sender()?,
        smtputf8: r.bool()?,
        eight_bit: r.bool()?,
        ret: r.option(Get::bool)?.map(|full| if full { Ret::Full } else { Ret::Hdrs }),
        envid: r.option(Get::text)?,
        session: Session {
            sid: r.u64()?,
            helo: r.text()?,
            rdns: r.option(Get::text)?,
            client: r.option(Get::ip)?,
            protocol: r.text()?,
            tls: r.option(Get::text)?,
            user: r.option(Get::text)?,
            tag: r.option(Get::text)?,
        },
    })
}

fn put_envelope(w: &mut Put, e: &Envelope) {
    w.mailbox(&e.rcpt);
    w.mailbox(&e.orig);
    w.text(&e.action);
    w.option(e.user.as_ref(), |w, t| w.text(t));
    w.option(e.item.as_ref(), |w, i| {
        w.text(&i.key);
        w.raw(&i.digest);
    });
    w.option(e.notify.as_ref(), |w, n| {
        w.bool(n.success);
        w.bool(n.failure);
        w.bool(n.delay);
    });
    w.option(e.orcpt.as_ref(), |w, o| {
        w.text(&o.kind);
        w.text(&o.address);
    });
}

fn get_envelope(r: &mut Get<'_>) -> Option<Envelope> {
    Some(Envelope {
        rcpt: r.mailbox()?,
        orig: r.mailbox()?,
        action: r.text()?,
        user: r.option(Get::text)?,
        item: r.option(|r| Some(Item { key: r.text()?, digest: r.array()? }))?,
        notify: r.option(|r| {
            Some(Notify { success: r.bool()?, failure: r.bool()?, delay: r.bool()? })
        })?,
        orcpt: r.option(|r| Some(Orcpt { kind: r.text()?, address: r.text()? }))?,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::proto::addr::Charset;

    pub(crate) fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text.as_bytes(), Charset::Utf8).unwrap()
    }

    pub(crate) fn origin(sender: &str) -> Origin {
        Origin {
            sender: match sender {
                "" => ReversePath::Null,
                text => ReversePath::Mailbox(mailbox(text)),
            },
            smtputf8: false,
            eight_bit: true,
            ret: Some(Ret::Hdrs),
            envid: Some("x".into()),
            session: Session {
                sid: 7,
                helo: "client.example".into(),
                client: Some("2001:db8::1".parse().unwrap()),
                protocol: "ESMTPS".into(),
                tls: Some("TLSv1.3:TLS_AES_256_GCM_SHA384:256".into()),
                ..Session::default()
            },
        }
    }

    pub(crate) fn envelope(rcpt: &str, user: Option<&str>) -> Envelope {
        Envelope {
            rcpt: mailbox(rcpt),
            orig: mailbox(rcpt),
            action: "local".into(),
            user: user.map(str::to_owned),
            item: user.map(|u| Item { key: u.into(), digest: [7; 32] }),
            notify: Some(Notify { success: true, failure: false, delay: true }),
            orcpt: Some(Orcpt { kind: "rfc822".into(), address: rcpt.into() }),
        }
    }

    fn all() -> Vec<Record> {
        vec![
            Record::Origin(Box::new(origin("a@b.example"))),
            Record::Origin(Box::new(origin(""))),
            Record::Envelope(Box::new(envelope("\"a b\"@c.example", None))),
            Record::Envelope(Box::new(envelope("ä@c.example", Some("joe")))),
            Record::Envelope(Box::new(envelope("x@[192.0.2.1]", Some("www")))),
            Record::Edit(Edit::Insert { offset: 9, bytes: b"X: y\r\n".to_vec() }),
            Record::Edit(Edit::Delete { offset: 1, len: 2 }),
            Record::Verdict(Verdict { junk: true, p: 999_999, reasons: vec!["a".into()] }),
            Record::Commit,
            Record::Attempt { rcpt: 1, at: -5, tries: 2, deaths: 1, said: "no".into() },
            Record::Forwarded { rcpt: 1, addresses: vec!["a@b.example".into()] },
            Record::Ran { rcpt: 1, command: "/bin/x".into() },
            Record::Done { rcpts: vec![1, 2], end: End::Removed },
            Record::Spawned {
                ids: vec![Qid::from_bits(5).unwrap()],
                ends: vec![(1, End::Failed), (3, End::Delivered)],
                warned: vec![(2, 1)],
            },
            Record::Hold { rcpt: 0, on: true, why: "admin".into() },
        ]
    }

    #[test]
    fn records_are_written_and_read() {
        for record in all() {
            let (kind, payload) = record.encode();
            assert_eq!(Record::decode(kind, &payload), Some(record));
        }
    }

    #[test]
    fn every_truncation_tail_and_flip_is_refused_or_another_record() {
        for record in all() {
            let (kind, mut payload) = record.encode();
            for n in 0..payload.len() {
                assert_eq!(Record::decode(kind, &payload[..n]), None, "{record:?} {n}");
            }
            for at in 0..payload.len() {
                for bit in 0..8 {
                    payload[at] ^= 1 << bit;
                    let _ = Record::decode(kind, &payload); // only that it returns
                    payload[at] ^= 1 << bit;
                }
            }
            payload.push(0);
            assert_eq!(Record::decode(kind, &payload), None);
        }
    }
}
