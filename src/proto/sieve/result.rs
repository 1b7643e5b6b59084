//! The result of a script while it runs: which actions there are, which
//! exclude each other, and whether the implicit keep is still due.
//!
//! RFC 5228 2.10.2 to 2.10.4, RFC 5429 2.1 and 2.2, RFC 3894, RFC 5230 4.7.

use super::action::{Action, Record, Redirect, Reject, Store, Vacation};
use super::settings::Settings;

/// Actions so far.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// What to do, in order.
    pub actions: Vec<Action>,
    /// To be marked when that is done.
    pub records: Vec<Record>,
    /// Something has taken the place of the implicit keep.
    pub keep_cancelled: bool,
    /// The script's internal variable of RFC 5232 2: flags for keep and fileinto.
    pub flags: Vec<Vec<u8>>,
    /// A vacation command has been run, whether it answers or not.
    pub answered: bool,
    /// How many actions there were, dropped duplicates among them.
    count: usize,
}

/// Why an action cannot be added: words for the script's author.
pub type Refused = String;

impl Results {
    /// Adds keep or fileinto.  A second one for the same mailbox only brings its flags.
    pub fn store(&mut self, store: Store, set: &Settings) -> Result<(), Refused> {
        self.compatible("keep or fileinto", Action::is_reject)?;
        for action in &mut self.actions {
            if let Action::Store(other) = action {
                if same_mailbox(other, &store) {
                    // RFC 5232 5: the last list of flags wins.
                    other.flags = store.flags;
                    other.create |= store.create;
                    return Ok(());
                }
            }
        }
        self.push(Action::Store(store), set)
    }

    /// Adds a redirect.  A second one to the same address is dropped.
    pub fn redirect(&mut self, redirect: Redirect, set: &Settings) -> Result<(), Refused> {
        self.compatible("redirect", Action::is_reject)?;
        let others = self.actions.iter().filter_map(|action| match action {
            Action::Redirect(other) => Some(other),
            _ => None,
        });
        let mut number = 0usize;
        for other in others {
            if other.to.eq_ignore_ascii_case(&redirect.to) {
                return Ok(());
            }
            number = number.saturating_add(1);
        }
        if number >= set.max_redirects {
            return Err(format!("more than {} redirect actions", set.max_redirects));
        }
        self.push(Action::Redirect(redirect), set)
    }

    /// Adds reject or ereject.  RFC 5429 2.1: not beside anything that delivers or answers.
    pub fn reject(&mut self, reject: Reject, set: &Settings) -> Result<(), Refused> {
        let name = if reject.at_protocol { "ereject" } else { "reject" };
        if self.answered {
            return Err(format!("{name} cannot be combined with vacation"));
        }
        self.compatible(name, |other| {
            matches!(
                other,
                Action::Store(_) | Action::Redirect(_) | Action::Vacation(_) | Action::Reject(_)
            )
        })?;
        self.keep_cancelled = true;
        self.push(Action::Reject(reject), set)
    }

    /// Adds discard, which only cancels the implicit keep.  RFC 5228 4.4.
    pub fn discard(&mut self, set: &Settings) -> Result<(), Refused> {
        self.keep_cancelled = true;
        if self.actions.contains(&Action::Discard) {
            return Ok(());
        }
        self.push(Action::Discard, set)
    }

    /// Adds a vacation reply: one for each message, and none beside a refusal.
    pub fn vacation(&mut self, vacation: Vacation, set: &Settings) -> Result<(), Refused> {
        self.push(Action::Vacation(vacation), set)
    }

    /// Whether a vacation reply may be added.  RFC 5230 4.7.
    pub fn vacation_allowed(&self) -> Result<(), Refused> {
        if self.answered {
            return Err("vacation can be used only once".into());
        }
        self.compatible("vacation", Action::is_reject)
    }

    /// Adds an action that goes with all others.
    pub fn push(&mut self, action: Action, set: &Settings) -> Result<(), Refused> {
        self.count = self.count.saturating_add(1);
        if self.count > set.max_actions {
            return Err(format!("more than {} actions", set.max_actions));
        }
        self.actions.push(action);
        Ok(())
    }

    fn compatible(&self, name: &str, excludes: fn(&Action) -> bool) -> Result<(), Refused> {
        match self.actions.iter().find(|other| excludes(other)) {
            Some(other) => Err(format!("{name} cannot be combined with {}", other.name())),
            None => Ok(()),
        }
    }

    /// True if no script has run yet.
    pub fn is_fresh(&self) -> bool {
        self.count == 0 && !self.keep_cancelled && self.flags.is_empty()
    }

    /// True if the message is kept in the default place, by command or implicitly.
    pub fn keeps(&self) -> bool {
        let kept = |a: &Action| matches!(a, Action::Store(Store { mailbox: None, .. }));
        !self.keep_cancelled || self.actions.iter().any(kept)
    }

    /// Takes the keep out again, so that a further script may decide on it; its flags become
    /// those that the further script begins with.
    pub fn take_keep(&mut self) {
        self.keep_cancelled = false;
        let kept = |a: &Action| matches!(a, Action::Store(Store { mailbox: None, .. }));
        if let Some(at) = self.actions.iter().position(kept) {
            if let Action::Store(store) = self.actions.remove(at) {
                self.flags = store.flags;
            }
        }
    }
}

impl Action {
    fn is_reject(&self) -> bool {
        matches!(self, Action::Reject(_))
    }
}

/// INBOX in any case is one mailbox, and the place of keep is only itself.
fn same_mailbox(a: &Store, b: &Store) -> bool {
    let inbox =
        |s: &Store| s.mailbox.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(b"INBOX"));
    a.mailbox_id == b.mailbox_id
        && a.special_use == b.special_use
        && (a.mailbox == b.mailbox
            || (inbox(a) || a.mailbox.is_none()) && (inbox(b) || b.mailbox.is_none()))
}
