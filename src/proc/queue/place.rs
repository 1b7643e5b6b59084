//! Where a recipient's mail goes, for the schedule: only so many jobs go to one
//! place at a time, and recipients of a message that share a place go together.

use super::Shared;
use crate::conf::ast::{Config, Deliver, Method};
use crate::disk::spool::record::Envelope;
use crate::proc::queue::sched::{Class, Dest};

impl Shared {
    /// The place of this envelope.
    pub(super) fn dest(config: &Config, envelope: &Envelope) -> Dest {
        let action = &envelope.action;
        let user = envelope.user.as_deref();
        let local = |name| Dest { class: Class::Local, name };
        match config.action(action).map(|a| &a.method) {
            Some(Method::Local(method)) => local(match method.deliver {
                Deliver::Lmtp { .. } => action.clone(),
                // One system user may own the mailboxes of all virtual ones:
                // the place is the mailbox, and who has another does not wait.
                Deliver::Maildir { .. } => {
                    let address = envelope.rcpt.to_string().to_lowercase();
                    format!("{action} {} {address}", user.unwrap_or_default())
                }
                _ => format!("{action} {}", user.unwrap_or_default()),
            }),
            // One host takes all that a smarthost's action sends.
            Some(Method::Relay(relay)) if relay.host.is_some() => {
                Dest { class: Class::Remote, name: action.clone() }
            }
            _ => match user {
                Some(user) => local(format!("{action} {user}")),
                None => {
                    let name = format!("{action} {}", envelope.rcpt.domain().to_ascii());
                    Dest { class: Class::Remote, name }
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{parse, NoFiles};
    use crate::proto::addr::{Charset, Mailbox};

    fn config() -> Config {
        let text = "action inbox maildir \"/m/%{dest.user}\"\naction pipe mda \"cat\"\n\
                    action out relay\naction hub relay host hub.example.org\n\
                    match from any for any action inbox\n";
        parse("t", text.as_bytes(), &[], &mut NoFiles).unwrap()
    }

    fn place(action: &str, user: Option<&str>, rcpt: &str) -> Dest {
        let rcpt = Mailbox::parse(rcpt.as_bytes(), Charset::Ascii).unwrap();
        let envelope = Envelope {
            orig: rcpt.clone(),
            rcpt,
            action: action.into(),
            user: user.map(Into::into),
            item: None,
            notify: None,
            orcpt: None,
        };
        Shared::dest(&config(), &envelope)
    }

    #[test]
    fn virtual_users_of_one_system_user_do_not_wait_for_each_other() {
        let user = Some("vmail");
        let ann = place("inbox", user, "ann@example.org");
        assert_ne!(ann, place("inbox", user, "bob@example.org"));
        assert_eq!(ann, place("inbox", user, "Ann@Example.ORG"));
        assert_eq!(ann.class, Class::Local);
    }

    #[test]
    fn programs_of_one_user_take_turns() {
        let ann = place("pipe", Some("ann"), "ann@example.org");
        assert_eq!(ann, place("pipe", Some("ann"), "a.nother@example.org"));
        assert_ne!(ann, place("pipe", Some("bob"), "bob@example.org"));
    }

    #[test]
    fn relays_go_by_domain_or_by_smarthost() {
        let a = place("out", None, "a@example.net");
        assert_eq!(a, place("out", None, "b@example.net"));
        assert_ne!(a, place("out", None, "b@example.com"));
        assert_eq!(a.class, Class::Remote);
        assert_eq!(place("hub", None, "a@example.net"), place("hub", None, "b@example.com"));
    }
}
