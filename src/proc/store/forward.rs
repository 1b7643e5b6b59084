//! `.forward`: where a user wants his mail instead.
//!
//! *Runs in* store, as the user, who wrote the file; it is opened without
//! following links and must be his own regular file with one name, which
//! nobody else can write, of at most 4096 octets.  Addresses go back to queue,
//! which injects them once; commands are run by parent as the user, if he is
//! one of the system with a shell to log in with.  His own name, with or without
//! a backslash or a sub-address, keeps the message.  What cannot be done here (a file, an
//! `:include:`) holds the message: a wrong .forward loses no mail.  forward(5)

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use super::Shared;
use crate::base::clock::Deadline;
use crate::base::exits::{sysexits, Outcome, Status};
use crate::base::lock;
use crate::disk::aliases::{self, Item};
use crate::disk::spool::message::Message;
use crate::ipc::parent::{Ended, Program, Up};
use crate::ipc::queue_store::Delivery;
use crate::proc::program::feed;
use crate::proto::addr::split_detail;
use crate::proto::limits;
use crate::sys::file::open_owned;

/// What a .forward says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// The message stays here too.
    pub keep: bool,
    /// The sub-address with which the file says so.
    pub detail: Option<String>,
    /// Addresses that get it.
    pub addresses: Vec<String>,
    /// Commands that get it.
    pub commands: Vec<String>,
}

impl Forwarded {
    /// As without the file.
    pub fn keep() -> Forwarded {
        Forwarded { keep: true, ..Forwarded::default() }
    }
}

/// Reads the account's .forward; `rcpt` is the address of this delivery, which stands for himself.
pub fn read(shared: &Shared, rcpt: &str) -> Result<Forwarded, Outcome> {
    let path = shared.who.home.join(".forward");
    let held = |why: &dyn std::fmt::Display| Outcome::temp((2, 0), "mailbox cannot be used", why);
    let file = match open_owned(&path, shared.who.uid) {
        Ok(file) => file,
        Err(e) if e.is_missing() => return Ok(Forwarded::keep()),
        Err(e) => return Err(held(&e)),
    };
    let meta = file.metadata().map_err(|e| held(&e))?;
    if meta.mode() & 0o022 != 0 {
        return Err(held(&format_args!("{}: others can write it", path.display())));
    }
    let mut text = Vec::new();
    let max = limits::FORWARD_FILE.default;
    file.take(max.saturating_add(1)).read_to_end(&mut text).map_err(|e| held(&e))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > max {
        return Err(held(&format_args!("{}: longer than {max} octets", path.display())));
    }
    let Ok(text) = String::from_utf8(text) else {
        return Err(held(&format_args!("{}: not text", path.display())));
    };
    let items =
        aliases::parse_file(&text).map_err(|e| held(&format_args!("{}: {e}", path.display())))?;
    let own = Own {
        user: &shared.who.name,
        host: &shared.hostname,
        rcpt,
        delim: lock::lock(&shared.options).delim,
    };
    let all = sort(items, &own).map_err(|why| held(&format_args!("{}: {why}", path.display())))?;
    if !all.commands.is_empty() && !shared.who.system {
        let why = "commands are for users of the system who can log in";
        return Err(held(&format_args!("{}: {why}", path.display())));
    }
    Ok(all)
}

/// Whose file it is.
struct Own<'a> {
    user: &'a str,
    host: &'a str,
    /// The address of this delivery.
    rcpt: &'a str,
    delim: char,
}

impl Own<'_> {
    /// True for what means himself, in any case and with any sub-address: sent on
    /// it would come back here, and go again.
    fn is(&self, name: &str, domain: Option<&str>) -> bool {
        let user = |text: &str| split_detail(text, self.delim).0.to_ascii_lowercase();
        match (domain, self.rcpt.rsplit_once('@')) {
            (None, _) => user(name) == user(self.user.split('@').next().unwrap_or(self.user)),
            (Some(domain), Some((local, at))) => {
                at.eq_ignore_ascii_case(domain) && user(name) == user(local)
            }
            (Some(_), None) => false,
        }
    }
}

/// Sorts the items of a file: an empty file keeps the message.
fn sort(items: Vec<Item>, own: &Own<'_>) -> Result<Forwarded, &'static str> {
    if items.is_empty() {
        return Ok(Forwarded::keep());
    }
    let mut all = Forwarded::default();
    for item in items {
        let keep = match &item {
            Item::Name(name) if own.is(name, None) => Some(name.as_str()),
            Item::Address(address) if own.is(address.local(), Some(address.domain().as_str())) => {
                Some(address.local())
            }
            _ => None,
        };
        if let Some(name) = keep {
            all.keep = true;
            all.detail = all.detail.or_else(|| split_detail(name, own.delim).1.map(str::to_owned));
            continue;
        }
        match item {
            Item::Name(name) => all.addresses.push(format!("{name}@{}", own.host)),
            Item::Address(address) => all.addresses.push(address.to_string()),
            // The same command twice is one: queue knows it by its text.
            Item::Command(command) if all.commands.contains(&command) => {}
            Item::Command(command) => all.commands.push(command),
            Item::File(_) => return Err("a /file is not supported in .forward"),
            Item::Include(_) => return Err(":include: is not supported in .forward"),
            Item::Error { .. } => return Err("error: is not supported in .forward"),
        }
    }
    Ok(all)
}

/// Gives the message to a command of the user's and waits for its end.
pub fn pipe(
    shared: &Shared,
    delivery: &Delivery,
    command: &str,
    header: &[u8],
    message: &Message,
    skip: usize,
) -> Result<(), Outcome> {
    let failed = |why: &dyn std::fmt::Display| Outcome::temp((3, 0), "local error", why);
    let deadline = Deadline::after(lock::lock(&shared.options).program_time);
    let who = &shared.who;
    let opening = shared.openings.begin();
    let request = opening.request;
    let ended = shared.programs.expect(request);
    let env = |name: &str, value: &str| format!("{name}={value}").into_bytes();
    let program = Program {
        argv: ["/bin/sh", "-c", command].map(|a| a.as_bytes().to_vec()).to_vec(),
        user: who.name.clone(),
        uid: who.uid,
        gid: who.gid,
        home: who.home.clone(),
        env: vec![
            env("HOME", &who.home.to_string_lossy()),
            env("USER", &who.name),
            env("LOGNAME", &who.name),
            env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin"),
            env("SHELL", "/bin/sh"),
            env("SENDER", &delivery.sender),
            env("RECIPIENT", &delivery.rcpt),
        ],
    };
    shared.parent.tell(&Up::Run { program, request }, None).map_err(|e| failed(&e))?;
    let fd: OwnedFd = match opening.wait(deadline) {
        Ok(Ok(fd)) => fd,
        Ok(Err(refusal)) => return Err(failed(&format_args!("{refusal:?}"))),
        Err(e) => return Err(failed(&e)),
    };
    let said = feed(fd, header, message, skip, deadline).map_err(|e| {
        // What it has is not the whole message.
        drop(shared.parent.tell(&Up::Unfed { request }, None));
        failed(&format_args!("{command}: {e}"))
    })?;
    match ended.wait(deadline) {
        Ok(Ended::Code { code: 0 }) => Ok(()),
        Ok(Ended::Code { code }) => {
            // The program decides; without a word from it the failure is ours.
            let code = u8::try_from(code).unwrap_or(1);
            let hard = [
                sysexits::USAGE,
                sysexits::DATAERR,
                sysexits::NOUSER,
                sysexits::UNAVAILABLE,
                sysexits::NOPERM,
            ];
            let status = Status::new((3, 0), "the recipient's program failed")
                .because(format_args!("{command}: exit {code}: {said}"));
            Err(if hard.contains(&code) { Outcome::Perm(status) } else { Outcome::Temp(status) })
        }
        Ok(Ended::Signal { signal }) => Err(failed(&format_args!("{command}: signal {signal}"))),
        Err(_) => Err(failed(&format_args!("{command}: took too long"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(text: &str) -> Result<Forwarded, &'static str> {
        let own = Own { user: "joe", host: "mx.example", rcpt: "joe@here.example", delim: '+' };
        sort(aliases::parse_file(text).unwrap(), &own)
    }

    #[test]
    fn own_name_keeps_and_others_get_it() {
        let all =
            sorted("\\joe, jim\na@b.example\n\"|/bin/prog -x\"\n\"|/bin/prog -x\"\n").unwrap();
        assert!(all.keep);
        assert_eq!(all.addresses, ["jim@mx.example", "a@b.example"]);
        assert_eq!(all.commands, ["/bin/prog -x"]);
        assert!(!sorted("jim").unwrap().keep);
        assert!(sorted("Joe@here.example").unwrap().keep);
        assert!(!sorted("joe@elsewhere.example").unwrap().keep);
        assert_eq!(sorted("# nothing\n"), Ok(Forwarded::keep()));
    }

    #[test]
    fn his_own_name_in_any_case_and_with_a_sub_address_keeps_it() {
        for (text, detail) in [
            ("\\Joe", None),
            ("JOE", None),
            ("joe+lists", Some("lists")),
            ("Joe+Lists@HERE.example", Some("Lists")),
        ] {
            let all = sorted(text).unwrap();
            assert!(all.keep && all.addresses.is_empty(), "{text}: {all:?}");
            assert_eq!(all.detail.as_deref(), detail, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_done_holds_the_message() {
        assert!(sorted("/tmp/file").is_err() && sorted(":include:/x").is_err());
    }
}
