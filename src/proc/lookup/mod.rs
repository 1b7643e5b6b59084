//! lookup: rules, tables, expansion, password checks, accounts, DNS.
//!
//! The one process that knows who is who: it answers smtp, queue, mta and imap,
//! and only at its word does parent open a mailbox or start a program.  What is
//! asked comes from less privileged processes and is checked: a table can be
//! asked only for what a listener uses it for.
//!
//! [`rules`], [`expand`], [`accounts`], [`route`] and [`format`] decide and are
//! tested without a process; [`tables`], [`users`] and [`dns`] are what they
//! ask.  Here are the edges.  Each class of work has a bounded pool; a full one
//! answers `Busy`, which is a 4xx, never a refusal.
//!
//! Locks: [`Shared::policy`] and those inside `users` and `dns`, none held
//! while waiting or while another is taken.

mod accounts;
mod auth;
mod dns;
mod expand;
pub mod format;
mod hosts;
mod own;
mod route;
mod rules;
mod servers;
mod tables;
mod users;

use crate::base::clock::Deadline;
use crate::base::lock;
use crate::base::log::{self, Show};
use crate::conf;
use crate::conf::ast::{Config, Deliver, LmtpDest, Method};
use crate::conf::Use;
use crate::disk::table::{Service, Unavailable, Value};
use crate::ipc::call::{Back, Channel, Peer, Serve};
use crate::ipc::parent::{Part, Role, Stat, SystemUser, Target, Up};
use crate::ipc::pool::Pool;
use crate::ipc::smtp_lookup::Verdict;
use crate::ipc::wire::Wire;
use crate::ipc::{imap_lookup, mta_lookup, queue_lookup, smtp_lookup};
use crate::proc::start::{Events, Greeted, Parent, StartError};
use crate::proc::table::Kind;
use crate::proto::pattern;
use dns::Dns;
use expand::{address_of, Expander};
use own::Own;
use route::Router;
use rules::Rules;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tables::Tables;
use users::System;

/// How long `rmaild -n` follows aliases.
const ALIASES: Duration = Duration::from_secs(20);
/// How long one question may take; who asks waits no less.
const ANSWER: Duration = Duration::from_secs(45);
/// Threads that evaluate rules; they wait for tables and users at the worst.
const RULE_THREADS: usize = 8;
/// Threads that wait for the DNS.
const DNS_THREADS: usize = 16;
/// Questions that may wait beside those in work.
const WAITING: usize = 256;
/// Password checks that may wait: each takes a third of a second.
const AUTH_WAITING: usize = 32;

/// The configuration in force, swapped whole.
struct Policy {
    config: Config,
    tables: Tables,
    dns: Dns,
    server: String,
}

impl Policy {
    fn build(part: &Part, hostname: &str, before: Option<&Policy>) -> Result<Policy, String> {
        let config = conf::part(&part.text)?;
        let tables = Tables::build(&config, &part.files)?;
        let dns = Dns::new(&config, before.map(|b| &b.dns));
        let server = config.hostname().unwrap_or(hostname).to_ascii_lowercase();
        Ok(Policy { config, tables, dns, server })
    }

    fn rules(&self) -> Rules<'_> {
        Rules { config: &self.config, tables: &self.tables, server: &self.server }
    }

    fn router(&self) -> Router<'_> {
        let Policy { config, tables, dns, server } = self;
        Router { config, tables, dns, server }
    }

    /// True if the configuration uses this table for this.
    fn may_ask(&self, table: &str, used: Use) -> Result<(), Unavailable> {
        if self.config.uses_of(table).contains(&used) {
            return Ok(());
        }
        // A session may outlive the listener that it came by.
        Err(Unavailable(format!("table <{table}> is not used for {}", used.name())))
    }
}

/// What all threads share.
struct Shared {
    policy: RwLock<Arc<Policy>>,
    hostname: String,
    own: Own,
    users: System,
    parent: Parent,
    rules: Pool,
    dns: Pool,
    auth: Pool,
    asked: AtomicU64,
    logins: AtomicU64,
    wrong: AtomicU64,
}

impl Shared {
    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&lock::read(&self.policy))
    }

    fn expander<'a>(&'a self, policy: &'a Policy) -> Expander<'a> {
        Expander { rules: policy.rules(), users: &self.users, own: &self.own }
    }

    /// Has parent open something for a process.
    fn open(&self, target: Target, kind: Kind, request: u64, sid: u64) -> Result<(), Unavailable> {
        let open = Up::Open { target, kind: kind as u8, request, sid };
        self.parent.tell(&open, None).map_err(|e| Unavailable(e.to_string()))
    }

    fn check_password(
        &self,
        policy: &Policy,
        table: &str,
        user: &str,
        password: &crate::proto::secret::Secret,
        deadline: Deadline,
    ) -> Result<Option<String>, Unavailable> {
        policy.may_ask(table, Use::Credentials)?;
        let found = auth::check(&policy.tables, table, user, password, deadline);
        let counter = match &found {
            Ok(Some(_)) => &self.logins,
            Ok(None) => &self.wrong,
            Err(e) => {
                log::warn!("auth", msg = "cannot be checked", error = e.0.as_str());
                return found;
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }
}

/// One edge: which pool does a question's work, and how it is answered.
trait Edge: Send + Sync + 'static {
    /// The questions.
    type Ask: Wire + Send + 'static;
    /// The answers.
    type Answer: Wire;
    /// The neighbour, for the log.
    const NAME: &'static str;

    fn pool<'a>(shared: &'a Shared, ask: &Self::Ask) -> &'a Pool;
    fn answer(shared: &Shared, ask: Self::Ask, deadline: Deadline) -> Self::Answer;
}

/// The server of an edge.
struct Server<E> {
    shared: Arc<Shared>,
    edge: std::marker::PhantomData<fn(E)>,
}

impl<E: Edge> Serve for Server<E> {
    fn request(&self, payload: Vec<u8>, _: Option<OwnedFd>, back: Back) {
        let Ok(ask) = E::Ask::from_bytes(&payload) else {
            log::crit!("lookup", peer = E::NAME, msg = "malformed question");
            return back.busy();
        };
        self.shared.asked.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(&self.shared);
        let deadline = Deadline::after(ANSWER);
        // A job that finds no room is dropped with its way back, which then
        // says that there is none.
        E::pool(&self.shared, &ask).submit(move || {
            back.reply(&E::answer(&shared, ask, deadline), None);
        });
    }

    fn event(&self, _: Vec<u8>, _: Option<OwnedFd>) {}
}

fn serve<E: Edge>(name: &'static str, shared: &Arc<Shared>) -> Peer<(), ()> {
    let shared = Arc::clone(shared);
    Peer::new(name, Arc::new(Server::<E> { shared, edge: std::marker::PhantomData }))
}

impl From<Unavailable> for smtp_lookup::Unavailable {
    fn from(e: Unavailable) -> Self {
        smtp_lookup::Unavailable { why: e.0 }
    }
}

struct FromSmtp;

impl Edge for FromSmtp {
    type Ask = smtp_lookup::Ask;
    type Answer = smtp_lookup::Answer;
    const NAME: &'static str = "smtp";

    fn pool<'a>(shared: &'a Shared, ask: &Self::Ask) -> &'a Pool {
        match ask {
            smtp_lookup::Ask::Client { .. } => &shared.dns,
            smtp_lookup::Ask::Login { .. } => &shared.auth,
            _ => &shared.rules,
        }
    }

    fn answer(shared: &Shared, ask: Self::Ask, deadline: Deadline) -> Self::Answer {
        use smtp_lookup::{Answer, Ask};
        let policy = shared.policy();
        match ask {
            Ask::Client { addr } => Answer::Client { rdns: policy.dns.client(addr, deadline) },
            Ask::Hostname { table, local } => {
                let name = hostname(&policy, &table, local, deadline).map_err(Into::into);
                Answer::Hostname { name }
            }
            Ask::Login { table, user, password } => {
                let found = shared.check_password(&policy, &table, &user, &password, deadline);
                Answer::Login { user: found.map_err(Into::into) }
            }
            Ask::MaySend { table, user, sender } => {
                let yes = may_send(&policy, &table, &user, &sender, deadline);
                Answer::MaySend { yes: yes.map_err(Into::into) }
            }
            Ask::Rcpt { origin, sender, rcpt } => {
                let verdict = match address_of(&rcpt, &policy.server) {
                    Some(rcpt) => {
                        let x = shared.expander(&policy);
                        x.expand(&origin, false, &sender, &rcpt, deadline)
                    }
                    None => no_address(),
                };
                if let Verdict::Unavailable { why } = &verdict {
                    log::warn!("rcpt", to = rcpt.as_str(), msg = why.as_str());
                }
                Answer::Rcpt { verdict }
            }
            Ask::UserName { uid } => {
                // Without a name the session has none: nothing is refused for it.
                Answer::UserName { name: shared.users.name_of(uid, deadline).ok().flatten() }
            }
        }
    }
}

/// What a session took for an address and this process does not.
fn no_address() -> Verdict {
    Verdict::NoSuchUser { why: "not an address".to_string() }
}

fn hostname(
    policy: &Policy,
    table: &str,
    local: std::net::IpAddr,
    deadline: Deadline,
) -> Result<Option<String>, Unavailable> {
    policy.may_ask(table, Use::AddrName)?;
    let table = policy.tables.named(table)?;
    for key in route::keys_of(local) {
        if let Some(Value::Text(name)) = table.lookup(Service::Mapping, &key, deadline)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Whether the user's line of a `senders` table has the address.
fn may_send(
    policy: &Policy,
    table: &str,
    user: &str,
    sender: &str,
    deadline: Deadline,
) -> Result<bool, Unavailable> {
    policy.may_ask(table, Use::MailAddrMap)?;
    let found = policy.tables.named(table)?.lookup(Service::Mapping, user, deadline)?;
    let Some(Value::Text(patterns)) = found else { return Ok(false) };
    let sender = if sender.is_empty() { "<>" } else { sender };
    let (local, domain) = sender.rsplit_once('@').unwrap_or((sender, ""));
    let delim = policy.config.sub_addr_delim();
    Ok(patterns.split(',').any(|p| pattern::mail_address(p.trim(), local, domain, delim)))
}

struct FromQueue;

impl Edge for FromQueue {
    type Ask = queue_lookup::Ask;
    type Answer = queue_lookup::Answer;
    const NAME: &'static str = "queue";

    fn pool<'a>(shared: &'a Shared, _: &Self::Ask) -> &'a Pool {
        &shared.rules
    }

    fn answer(shared: &Shared, ask: Self::Ask, deadline: Deadline) -> Self::Answer {
        use queue_lookup::{Answer, Ask, NoOpening};
        let policy = shared.policy();
        let x = shared.expander(&policy);
        match ask {
            Ask::Deliver { request, sid, to, sender, rcpt, forward } => {
                let opening = x.deliver(&to, &sender, &rcpt, forward, deadline);
                let opening = opening.and_then(|(opening, target)| {
                    let asked = shared.open(target, Kind::Queue, request, sid);
                    asked.map(|()| opening).map_err(|e| NoOpening::Temporary { why: e.0 })
                });
                Answer::Deliver { opening }
            }
            Ask::Route { sender, rcpt } => {
                let verdict = match address_of(&rcpt, &policy.server) {
                    Some(rcpt) => {
                        let origin = smtp_lookup::Origin::default();
                        x.expand(&origin, true, &sender, &rcpt, deadline)
                    }
                    None => no_address(),
                };
                if let Verdict::NoSuchUser { why } = &verdict {
                    log::info!("rcpt", to = rcpt.as_str(), msg = "no mailbox", why = why.as_str());
                }
                Answer::Route { verdict }
            }
        }
    }
}

struct FromImap;

impl Edge for FromImap {
    type Ask = imap_lookup::Ask;
    type Answer = imap_lookup::Answer;
    const NAME: &'static str = "imap";

    fn pool<'a>(shared: &'a Shared, _: &Self::Ask) -> &'a Pool {
        &shared.auth
    }

    fn answer(shared: &Shared, ask: Self::Ask, deadline: Deadline) -> Self::Answer {
        let imap_lookup::Ask::Login { table, user, password, request, sid } = ask;
        let policy = shared.policy();
        let outcome = (|| {
            use imap_lookup::Login;
            let found = shared.check_password(&policy, &table, &user, &password, deadline)?;
            let Some(name) = found else { return Ok(Login::Wrong) };
            let account = match shared.expander(&policy).login(&table, &name, deadline)? {
                Ok(account) => account,
                Err(why) => return Ok(Login::NoMailbox { why }),
            };
            let name = account.name.clone();
            let target = Target::Store { account, role: Role::Session };
            shared.open(target, Kind::Imap, request, sid)?;
            Ok(Login::Welcome { account: name })
        })();
        imap_lookup::Answer::Login { outcome: outcome.map_err(|e: Unavailable| e.into()) }
    }
}

struct FromMta;

impl Edge for FromMta {
    type Ask = mta_lookup::Ask;
    type Answer = mta_lookup::Answer;
    const NAME: &'static str = "mta";

    fn pool<'a>(shared: &'a Shared, ask: &Self::Ask) -> &'a Pool {
        match ask {
            mta_lookup::Ask::Route { .. } => &shared.dns,
            _ => &shared.rules,
        }
    }

    fn answer(shared: &Shared, ask: Self::Ask, deadline: Deadline) -> Self::Answer {
        use mta_lookup::{Answer, Ask};
        let policy = shared.policy();
        let router = policy.router();
        match ask {
            Ask::Route { action, domain } => {
                Answer::Route { route: router.route(&action, &domain, deadline) }
            }
            Ask::Credentials { action, label } => {
                Answer::Credentials { found: router.credentials(&action, &label, deadline) }
            }
            Ask::Helo { action, local } => {
                Answer::Helo { name: router.helo(&action, local, deadline) }
            }
            Ask::Socket { action, request } => {
                let path = lmtp_socket(&policy.config, &action);
                let asked = path.and_then(|path| {
                    let target = Target::Socket { path: path.into() };
                    shared.open(target, Kind::Mta, request, 0).map_err(|e| e.0)
                });
                Answer::Socket { asked }
            }
        }
    }
}

/// The socket of an `lmtp` action.
fn lmtp_socket(config: &Config, action: &str) -> Result<String, String> {
    match config.action(action).map(|a| &a.method) {
        Some(Method::Local(local)) => match &local.deliver {
            Deliver::Lmtp { dest: LmtpDest::Unix(path), .. } => Ok(path.clone()),
            _ => Err(format!("action \"{action}\" has no socket")),
        },
        _ => Err(format!("action \"{action}\" is not lmtp")),
    }
}

/// Parent's events, on the main thread.
struct Main {
    shared: Arc<Shared>,
    smtp: Peer<(), ()>,
    queue: Peer<(), ()>,
    imap: Peer<(), ()>,
    mta: Peer<(), ()>,
}

impl Events for Main {
    fn config(&self, part: Part) -> Result<(), String> {
        let before = lock::read(&self.shared.policy).clone();
        let policy = Policy::build(&part, &self.shared.hostname, Some(&before))?;
        *lock::write(&self.shared.policy) = Arc::new(policy);
        report_logins(&self.shared);
        Ok(())
    }

    fn peer(&self, kind: Kind, channel: Channel) {
        let attached = match kind {
            Kind::Smtp => self.smtp.attach(channel),
            Kind::Queue => self.queue.attach(channel),
            Kind::Imap => self.imap.attach(channel),
            Kind::Mta => self.mta.attach(channel),
            // keyd and control have nothing to ask here yet.
            _ => Ok(()),
        };
        if let Err(e) = attached {
            log::fatal("lookup", &e.to_string());
        }
    }

    fn user(&self, request: u64, user: Option<SystemUser>) {
        self.shared.users.asked.complete(request, user);
    }

    fn stats(&self) -> Vec<Stat> {
        let stat = |name: &str, value| Stat { name: name.to_string(), value };
        let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let kept = self.shared.policy().dns.kept();
        vec![
            stat("lookup.questions", count(&self.shared.asked)),
            stat("lookup.logins", count(&self.shared.logins)),
            stat("lookup.logins.wrong", count(&self.shared.wrong)),
            stat("lookup.dns.kept", u64::try_from(kept).unwrap_or(u64::MAX)),
        ]
    }

    fn stop(&self) {
        // Answers change nothing: there is nothing to finish.
        crate::sys::spawn::exit_now(0);
    }
}

/// Logs each login that opens no mailbox, or another than its mail goes to.
/// On a thread of its own, since it asks for users.
fn report_logins(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    let job = move || {
        let policy = shared.policy();
        let x = shared.expander(&policy);
        for line in x.check_logins(Deadline::after(ANSWER)) {
            log::warn!("login", msg = line.as_str());
        }
        for line in x.check_actions(Deadline::after(ANSWER)) {
            log::warn!("action", msg = line.as_str());
        }
    };
    let spawned = std::thread::Builder::new().name("logins".into()).spawn(job);
    if let Err(e) = spawned {
        log::warn!("login", msg = "not checked", error = Show(&e));
    }
}

/// For `rmaild -n`, which runs no process: local actions that lose sight of mail,
/// aliases that lead in a circle, and each login of a passwd table that opens no
/// mailbox, or another than its mail goes to.
pub fn check_logins(part: &Part, hostname: &str) -> Vec<String> {
    let policy = Policy::build(part, hostname, None);
    match policy.and_then(|policy| Ok((policy, Own::load()?))) {
        Ok((policy, own)) => {
            let x = Expander { rules: policy.rules(), users: &users::Direct, own: &own };
            let deadline = Deadline::after(ANSWER);
            let lines = [x.check_actions(deadline), x.check_logins(deadline)].concat();
            // Not at each start: a user of the system is asked for each alias.
            [lines, x.check_aliases(Deadline::after(ALIASES))].concat()
        }
        Err(e) => vec![e],
    }
}

/// The process's main function.
pub fn run(greeted: Greeted) -> Result<ExitCode, StartError> {
    // resolv.conf is read here too: it may be a link to where unveil does not reach.
    let policy =
        Policy::build(&greeted.part, &greeted.hostname, None).map_err(StartError::Other)?;
    // Here it is root still, if parent is.
    let own = Own::load().map_err(StartError::Other)?;
    let child = greeted.confine()?;
    let cpus = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let pool = |name, threads, waiting| {
        Pool::start(name, threads, waiting).map_err(|e| StartError::Other(e.to_string()))
    };
    let shared = Arc::new(Shared {
        policy: RwLock::new(Arc::new(policy)),
        hostname: child.hostname.clone(),
        own,
        users: System::new(child.parent.clone()),
        parent: child.parent.clone(),
        rules: pool("rules", RULE_THREADS, WAITING)?,
        dns: pool("dns", DNS_THREADS, WAITING)?,
        auth: pool("auth", cpus, AUTH_WAITING)?,
        asked: AtomicU64::new(0),
        logins: AtomicU64::new(0),
        wrong: AtomicU64::new(0),
    });
    let main = Main {
        smtp: serve::<FromSmtp>("smtp", &shared),
        queue: serve::<FromQueue>("queue", &shared),
        imap: serve::<FromImap>("imap", &shared),
        mta: serve::<FromMta>("mta", &shared),
        shared,
    };
    report_logins(&main.shared);
    Ok(child.serve(&main))
}
