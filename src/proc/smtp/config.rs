//! What the configuration means for smtp: one value per listener, built whole
//! and swapped whole at a reload.  A session keeps the one it began with.
//!
use crate::base::logins;
use crate::base::tls;
use crate::conf;
use crate::conf::ast::{Config, Listen, Service, Tls};
use crate::ipc::parent::{File, Part};
use crate::proc::listening;
use crate::proto::addr::{Charset, Domain};
use crate::proto::limits;
use crate::proto::smtp::data::BareLineEnds;
use crate::proto::smtp::server::{self, AuthPolicy, TlsPolicy};
use std::sync::Arc;
use std::time::Duration;

/// Everything that sessions need to know of the configuration.
pub struct Snapshot {
    /// By the number of the `listen` statement; `None`: it is another's.
    pub listeners: Vec<Option<Arc<Listener>>>,
    /// The socket of sendmail.
    pub socket: Arc<Listener>,
    /// Times and bounds.
    pub limits: Limits,
}

/// A listener: what its sessions offer and do.
pub struct Listener {
    /// The state machine's part; the host name may be replaced by that of the
    /// local address.
    pub server: server::Config,
    /// Without TLS there is none.
    pub tls: Option<tls::Server>,
    /// The table of host names by local address.
    pub hostnames: Option<String>,
    /// The table of credentials.
    pub credentials: Option<String>,
    /// The table of senders by user.
    pub senders: Option<String>,
    /// Received names no client.
    pub mask_src: bool,
    /// Received says who logged in.
    pub received_auth: bool,
    /// The mark for rules.
    pub tag: Option<String>,
    /// Our name in Authentication-Results.
    pub authserv_id: String,
    /// It is the socket.
    pub local: bool,
}

impl Listener {
    /// What a bare LF or CR in a message means: users' programs are forgiven.
    pub const fn bare(&self, submission: bool) -> BareLineEnds {
        if submission {
            BareLineEnds::Normalise
        } else {
            BareLineEnds::Refuse
        }
    }
}

/// Times and bounds of all listeners.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For an answer of another process.
    pub answer: Duration,
    /// For the next command, and for the next piece of a message.
    pub command: Duration,
    /// For a message.
    pub message: Duration,
    /// For a session.
    pub session: Duration,
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
            command: config.limit_time(&limits::SMTP_COMMAND_TIME),
            message: config.limit_time(&limits::SMTP_MESSAGE_TIME),
            session: config.limit_time(&limits::SMTP_SESSION_TIME),
            connections: size(&limits::SMTP_CONNECTIONS),
            per_peer: size(&limits::SMTP_CONNECTIONS_PEER),
            logins: listening::logins(&config),
        };
        let here = config.hostname().unwrap_or(here);
        let mut listeners = Vec::new();
        for (i, listen) in config.listeners().enumerate() {
            listeners.push(match listen.service {
                Service::Smtp | Service::Lmtp => {
                    Some(Arc::new(listener(&config, &part.files, listen, i, here)?))
                }
                Service::Imap => None,
            });
        }
        let socket = Arc::new(socket(&config, here));
        Ok(Snapshot { listeners, socket, limits })
    }
}

fn base(config: &Config, hostname: &str) -> server::Config {
    server::Config {
        hostname: hostname.to_owned(),
        lmtp: false,
        tls: TlsPolicy::None,
        auth: AuthPolicy::None,
        dsn: true,
        max_size: config.max_message_size(),
        max_mails: u64::from(config.max_mails()),
        max_rcpt: u64::from(config.max_rcpt()),
        max_errors: config.limit(&limits::SMTP_ERRORS),
        max_idle_commands: config.limit(&limits::SMTP_IDLE_COMMANDS),
    }
}

fn socket(config: &Config, here: &str) -> Listener {
    let options = config.listen_socket();
    Listener {
        server: server::Config { dsn: !options.no_dsn, ..base(config, here) },
        tls: None,
        hostnames: None,
        credentials: None,
        senders: None,
        mask_src: options.mask_src,
        received_auth: false,
        tag: options.tag,
        authserv_id: config.admd().unwrap_or(here).to_owned(),
        local: true,
    }
}

fn listener(
    config: &Config,
    files: &[File],
    listen: &Listen,
    number: usize,
    here: &str,
) -> Result<Listener, String> {
    let hostname = listen.hostname.as_deref().unwrap_or(here);
    Domain::parse(hostname.as_bytes(), Charset::Ascii)
        .map_err(|_| format!("{hostname}: not a host name"))?;
    let policy = match listen.tls {
        Tls::None => TlsPolicy::None,
        Tls::Offered => TlsPolicy::Offered,
        Tls::Required => TlsPolicy::Required,
        Tls::Implicit => TlsPolicy::Implicit,
    };
    let auth = match &listen.auth {
        None => AuthPolicy::None,
        Some(auth) if auth.required => AuthPolicy::Required,
        Some(_) => AuthPolicy::Optional,
    };
    let tls = match policy {
        TlsPolicy::None => None,
        _ => Some(listening::tls::build(config, files, listen, number)?),
    };
    Ok(Listener {
        server: server::Config {
            lmtp: listen.service == Service::Lmtp,
            tls: policy,
            auth,
            dsn: !listen.no_dsn,
            ..base(config, hostname)
        },
        tls,
        hostnames: listen.hostnames.clone(),
        credentials: listen.auth.as_ref().map(|a| a.table.clone()),
        senders: listen.senders.clone(),
        mask_src: listen.mask_src,
        received_auth: listen.received_auth,
        tag: listen.tag.clone(),
        authserv_id: config.admd().unwrap_or(here).to_owned(),
        local: false,
    })
}
