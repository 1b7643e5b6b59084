//! What the configuration demands of an action's connections, built whole and
//! swapped whole.
//!
//! TLS is used wherever it is offered (RFC 7435): without `tls` a certificate
//! is not looked at, and where the handshake fails the message goes in clear,
//! as it would have to a host that offers none.  `tls` demands it and verifies;
//! `tls no-verify` demands it.  `smtps` and `smtp+tls` in a host's URL demand
//! and verify too, `smtp+notls` never asks.

use crate::base::remotekey;
use crate::base::tls::X509;
use crate::base::tls::{self, Client, ClientConfig, Identity, Verify, Versions};
use crate::conf;
use crate::conf::ast::{Config, Deliver, LmtpDest, Method, Relay};
use crate::ipc::mta_lookup::Scheme;
use crate::ipc::parent::{File, Part};
use crate::proto::limits;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Everything that jobs need to know of the configuration.
pub struct Snapshot {
    /// By the action's name.
    pub actions: HashMap<String, Arc<Action>>,
    /// Jobs at a time.
    pub jobs: usize,
    /// Times and bounds.
    pub limits: Limits,
    /// The server's name.
    pub server: String,
}

/// Times and bounds of all connections.  RFC 5321 4.5.3.2.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For an answer of another process.
    pub answer: Duration,
    /// To connect.
    pub connect: Duration,
    /// Until the greeting, and for the reply to a command.
    pub command: Duration,
    /// For the reply to DATA.
    pub data: Duration,
    /// For a piece of the message to be taken.
    pub block: Duration,
    /// For the reply to the message.
    pub end: Duration,
    /// How long a connection waits for another message.
    pub idle: Duration,
    /// Messages of a connection.
    pub mails: u64,
}

/// An action, as mta performs it.
pub struct Action {
    /// Local delivery by LMTP over a socket, which parent connects.
    pub socket: bool,
    /// Our name in EHLO.
    pub helo: String,
    /// A table has names by local address.
    pub helo_table: bool,
    /// The sender in place of the real one.
    pub mail_from: Option<String>,
    /// `tls` of the action; true: verified.
    pub tls: Option<bool>,
    /// How TLS is spoken.
    pub client: Client,
}

/// What is done about TLS on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsUse {
    /// Never.
    Never,
    /// If offered, whatever the certificate.
    Offered,
    /// STARTTLS or nothing.
    Required {
        /// The certificate must hold.
        verify: bool,
    },
    /// From the first byte.
    Implicit {
        /// The certificate must hold.
        verify: bool,
    },
}

impl TlsUse {
    /// Whether the certificate must hold.
    pub const fn verify(self) -> Verify {
        match self {
            TlsUse::Required { verify: true } | TlsUse::Implicit { verify: true } => Verify::Yes,
            _ => Verify::No,
        }
    }
}

impl Action {
    /// For a host of this scheme.
    pub fn tls_use(&self, scheme: Scheme) -> TlsUse {
        let verify = self.tls != Some(false);
        match (scheme, self.tls) {
            (Scheme::SmtpNoTls, _) => TlsUse::Never,
            (Scheme::Smtps, _) => TlsUse::Implicit { verify },
            (Scheme::SmtpTls, _) | (Scheme::Smtp | Scheme::Lmtp, Some(_)) => {
                TlsUse::Required { verify }
            }
            (Scheme::Smtp, None) => TlsUse::Offered,
            (Scheme::Lmtp, None) => TlsUse::Never,
        }
    }
}

impl Snapshot {
    /// Builds it from this process's part.  `here` is the machine's name,
    /// `system` the authorities where the configuration names none.
    pub fn build(part: &Part, here: &str, system: &[X509]) -> Result<Snapshot, String> {
        let config = conf::part(&part.text)?;
        let here = config.hostname().unwrap_or(here).to_owned();
        let mut actions = HashMap::new();
        let plain = Relay::default();
        for action in config.actions() {
            let (relay, socket) = match &action.method {
                Method::Relay(relay) => (relay.as_ref(), false),
                Method::Local(local) => match &local.deliver {
                    Deliver::Lmtp { dest, .. } => (&plain, matches!(dest, LmtpDest::Unix(_))),
                    _ => continue,
                },
            };
            let built = Action {
                socket,
                helo: relay.helo.clone().unwrap_or_else(|| here.clone()),
                helo_table: relay.helo_src.is_some(),
                mail_from: relay.mail_from.clone(),
                tls: relay.tls,
                client: client(&config, &part.files, relay, system)
                    .map_err(|e| format!("action \"{}\": {e}", action.name))?,
            };
            actions.insert(action.name.clone(), Arc::new(built));
        }
        let time = |l| config.limit_time(l);
        let limits = Limits {
            answer: time(&limits::ANSWER_TIME),
            connect: time(&limits::MTA_CONNECT_TIME),
            command: time(&limits::MTA_COMMAND_TIME),
            data: time(&limits::MTA_DATA_TIME),
            block: time(&limits::MTA_BLOCK_TIME),
            end: time(&limits::MTA_END_TIME),
            idle: time(&limits::MTA_IDLE_TIME),
            mails: config.limit(&limits::MTA_SESSION_MAILS),
        };
        let jobs = config.limit(&crate::proto::limits::MTA_JOBS);
        Ok(Snapshot { actions, jobs: usize::try_from(jobs).unwrap_or(64), limits, server: here })
    }
}

fn client(
    config: &Config,
    files: &[File],
    relay: &Relay,
    system: &[X509],
) -> Result<Client, String> {
    let named = match config.ca(relay.ca.as_deref()) {
        Some(ca) => Some(tls::certificates(file(files, &ca.cert)?).map_err(|e| e.to_string())?),
        None => None,
    };
    let identity = match &relay.pki {
        Some(name) => {
            let pki = config.pki(name).ok_or_else(|| format!("pki {name}: not there"))?;
            let chain = tls::certificates(file(files, &pki.cert)?).map_err(|e| e.to_string())?;
            let leaf = chain.first().ok_or_else(|| format!("pki {name}: no certificate"))?;
            let key = remotekey::private_key(leaf).map_err(|e| e.to_string())?;
            Some(Identity::new(chain, key).map_err(|e| e.to_string())?)
        }
        None => None,
    };
    let versions =
        relay.protocols.map_or_else(Versions::default, |p| Versions { v1_2: p.v1_2, v1_3: p.v1_3 });
    Client::new(&ClientConfig {
        ca: named.as_deref().unwrap_or(system),
        versions,
        ciphers: relay.ciphers.as_deref(),
        identity,
    })
    .map_err(|e| e.to_string())
}

fn file<'a>(files: &'a [File], path: &str) -> Result<&'a [u8], String> {
    let found = files.iter().find(|f| f.path == Path::new(path));
    found.map(|f| f.bytes.as_slice()).ok_or_else(|| format!("{path}: parent did not send it"))
}
