//! `listen`: what is served where, and to whom.

/// `listen on INTERFACE ...`
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// Interface, interface group, address or host name, as written.
    pub on: String,
    /// What is spoken there.
    pub service: Service,
    /// Only addresses of this family.
    pub family: Option<Family>,
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// When TLS begins.
    pub tls: Tls,
    /// True: the client must show a certificate that `ca` vouches for.
    pub verify: bool,
    /// Certificates, the first is for clients that name no host.
    pub pki: Vec<String>,
    /// Who vouches for client certificates.
    pub ca: Option<String>,
    /// Who may log in, and whether they must.
    pub auth: Option<Auth>,
    /// Ciphers, in the TLS library's notation.
    pub ciphers: Option<String>,
    /// TLS versions.
    pub protocols: Option<Protocols>,
    /// The name in greeting and Received.
    pub hostname: Option<String>,
    /// The name of the table of the same by local address; it goes before `hostname`.
    pub hostnames: Option<String>,
    /// True: Received names no client.
    pub mask_src: bool,
    /// True: Received says who logged in.
    pub received_auth: bool,
    /// True: DSN is not offered.
    pub no_dsn: bool,
    /// The name of the table of logged-in users and the senders they may use.
    pub senders: Option<String>,
    /// The mark that `match tag` looks for.
    pub tag: Option<String>,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// SMTP.
    Smtp,
    /// LMTP.
    Lmtp,
    /// IMAP.
    Imap,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `inet4`
    Inet4,
    /// `inet6`
    Inet6,
}

/// When a listener's sessions are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Never.
    None,
    /// `tls`: STARTTLS is offered.
    Offered,
    /// `tls-require`: STARTTLS is demanded before anything else.
    Required,
    /// `smtps`, `imaps`: from the first byte.
    Implicit,
}

/// `auth` and `auth-optional` of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// True: no mail without it.
    pub required: bool,
    /// The name of the table of credentials.
    pub table: String,
}

/// The TLS versions of a listener or relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// TLS 1.2.
    pub v1_2: bool,
    /// TLS 1.3.
    pub v1_3: bool,
}

/// `listen on socket ...`
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ListenSocket {
    /// True: Received names no client.
    pub mask_src: bool,
    /// True: DSN is not offered.
    pub no_dsn: bool,
    /// The mark that `match tag` looks for.
    pub tag: Option<String>,
}
