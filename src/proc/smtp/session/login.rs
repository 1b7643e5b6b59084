//! AUTH: the dialogue, the question whether the password is right, and what
//! happens to those who guess.
//!
//! Runs in smtp; input is hostile.  A password goes to lookup and nowhere else;
//! what held it is wiped.  Full pools and broken tables are 454, never "wrong".
//!
//! RFC 4954.

use super::{Client, Lost, Session};
use crate::base::log;
use crate::ipc::smtp_lookup::{Answer, Ask};
use crate::proto::limits;
use crate::proto::secret;
use crate::proto::smtp::reply::{table, Reply};
use crate::proto::smtp::sasl::{Credentials, Dialogue, Mechanism, Step};
use crate::proto::smtp::server::Action;

impl Session<'_> {
    /// RFC 4954 4.
    pub(super) fn auth(
        &mut self,
        mechanism: Mechanism,
        initial: Option<Vec<u8>>,
    ) -> Result<Action, Lost> {
        if self.is_blocked() {
            log::info!("smtp", sid = self.sid(), auth = "blocked");
            return Ok(self.server.reply(table::AUTH_TEMPORARY));
        }
        let mut initial = initial;
        let begun = Dialogue::begin(mechanism, initial.as_deref());
        initial.as_deref_mut().map(secret::wipe);
        let (mut dialogue, mut step) = match begun {
            Ok(begun) => begun,
            Err(e) => return Ok(self.server.reply(e.into())),
        };
        let mut line = Vec::new();
        let credentials = loop {
            let challenge = match step {
                Step::Done(credentials) => break credentials,
                Step::Challenge(challenge) => challenge,
            };
            self.put(&Reply::plain(334, challenge));
            match self.io.read_line(&mut line, limits::SASL_RESPONSE.size(), self.soon()) {
                Ok(()) => {}
                Err(e) => return self.bad_line(e),
            }
            let next = dialogue.response(&line);
            secret::wipe(&mut line);
            match next {
                Ok(next) => step = next,
                Err(e) => return Ok(self.server.reply(e.into())),
            }
        };
        Ok(self.login(credentials))
    }

    /// Asks whether the password is right.
    fn login(&mut self, credentials: Credentials) -> Action {
        let Some(table) = self.listener.credentials.clone() else {
            return self.server.reply(table::NOT_OFFERED);
        };
        let Credentials { user: name, password } = credentials;
        let ask = Ask::Login { table, user: name.clone(), password };
        match self.shared.ask(&ask) {
            Ok(Answer::Login { user: Ok(Some(user)) }) => {
                log::info!("smtp", sid = self.sid(), auth = "ok", user = user);
                if let Client::Net { peer, .. } = self.client {
                    self.shared.logins.succeeded(peer);
                }
                if let Some(slot) = &mut self.slot {
                    slot.promote();
                }
                self.server.auth_ok(user)
            }
            Ok(Answer::Login { user: Ok(None) }) => {
                log::info!("smtp", sid = self.sid(), auth = "failed", user = name);
                self.login_failed()
            }
            Ok(Answer::Login { user: Err(e) }) => {
                log::warn!("smtp", sid = self.sid(), auth = "unavailable", error = e.why);
                self.server.reply(table::AUTH_TEMPORARY)
            }
            // Busy is our affair, never a wrong password.
            Ok(_) | Err(_) => self.server.reply(table::AUTH_TEMPORARY),
        }
    }

    fn login_failed(&mut self) -> Action {
        self.failures = self.failures.saturating_add(1);
        if let Client::Net { peer, .. } = self.client {
            self.shared.logins.failed(peer, self.limits.logins.window);
        }
        std::thread::sleep(self.limits.logins.delay);
        if self.failures >= self.limits.logins.failures {
            return Action::Close(table::TOO_MANY_LOGINS);
        }
        self.server.reply(table::AUTH_FAILED)
    }

    fn is_blocked(&self) -> bool {
        match self.client {
            Client::Net { peer, .. } => {
                self.shared.logins.is_blocked(peer, self.limits.logins.failures_peer)
            }
            Client::Local { .. } => false,
        }
    }
}
