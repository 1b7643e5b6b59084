//! What the configuration means for imap: one value per listener, built whole
//! and swapped whole at a reload.  A session keeps the one it began with.

use crate::base::logins;
use crate::base::tls;
use crate::conf;
use crate::conf::ast::{Config, Listen, Service, Tls};
use crate::ipc::parent::{File, Part};
use crate::proc::listening;
use crate::proto::limits;
use std::sync::Arc;
use std::time::Duration;

/// Everything that sessions need to know of the configuration.
pub struct Snapshot {
    /// By the number of the `listen` statement; `None`: it is another's.
    pub listeners: Vec<Option<Arc<Listener>>>,
    /// Times and bounds.
    pub limits: Limits,
}

/// A listener: what its sessions offer.
pub struct Listener {
    /// The name in the greeting.
    pub hostname: String,
    /// TLS from the first byte.
    pub implicit: bool,
    /// Without it nobody can log in.
    pub tls: Option<tls::Server>,
    /// The table of credentials.
    pub credentials: String,
}

/// Times and bounds of all listeners.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For an answer of another process.
    pub answer: Duration,
    /// To log in.
    pub login_time: Duration,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one address.
    pub per_peer: usize,
    /// Of logins that fail.
    pub logins: logins::Limits,
}

impl Snapshot {
    /// The options of the `listen` statement with this number, if it is ours.
    pub fn listener(&self, number: u32) -> Option<Arc<Listener>> {
        let number = usize::try_from(number).ok()?;
        self.listeners.get(number)?.clone()
    }

    /// Builds it from this process's part.  `here` is the machine's name.
    pub fn build(part: &Part, here: &str) -> Result<Snapshot, String> {
        let config = conf::part(&part.text)?;
        let size = |l| usize::try_from(config.limit(l)).unwrap_or(usize::MAX);
        let limits = Limits {
            answer: config.limit_time(&limits::ANSWER_TIME),
            login_time: config.limit_time(&limits::IMAP_LOGIN_TIME),
            connections: size(&limits::IMAP_CONNECTIONS),
            per_peer: size(&limits::IMAP_CONNECTIONS_PEER),
            logins: listening::logins(&config),
        };
        let here = config.hostname().unwrap_or(here);
        let mut listeners = Vec::new();
        for (i, listen) in config.listeners().enumerate() {
            listeners.push(match listen.service {
                Service::Imap => Some(Arc::new(listener(&config, &part.files, listen, i, here)?)),
                Service::Smtp | Service::Lmtp => None,
            });
        }
        Ok(Snapshot { listeners, limits })
    }
}

fn listener(
    config: &Config,
    files: &[File],
    listen: &Listen,
    number: usize,
    here: &str,
) -> Result<Listener, String> {
    let auth = listen.auth.as_ref();
    let auth = auth.ok_or_else(|| format!("listen on {}: no credentials", listen.on))?;
    let tls = match listen.tls {
        Tls::None => None,
        _ => Some(listening::tls::build(config, files, listen, number)?),
    };
    Ok(Listener {
        hostname: listen.hostname.as_deref().unwrap_or(here).to_owned(),
        implicit: listen.tls == Tls::Implicit,
        tls,
        credentials: auth.table.clone(),
    })
}
