//! TLS contexts: servers with SNI, clients with a CA store of their own.
//!
//! Runs in smtp and imap (server), mta (client).  Contexts are built before
//! chroot or from bytes that were handed over; afterwards no file is needed:
//! `SslConnector::builder()` and the default verify paths would open
//! /etc/ssl/cert.pem and be killed.  TLS 1.2 and newer; no RSA key exchange, so
//! that a private key in `keyd` is only ever asked to sign.
//!
//! A session ticket of one listener is worth nothing at another: each has its
//! own context, with its own ticket keys and session id context.
//!
//! RFC 8446, RFC 5246; RFC 6066 3 (SNI); RFC 6125 6.4 (names); RFC 7301 (ALPN).

use crate::base::crypto;
use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Private};
use openssl::ssl::{
    AlpnError, NameType, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions,
    SslRef, SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509CheckFlags;
use openssl::x509::{X509Ref, X509VerifyResult};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// A certificate: an authority that a connection is checked with.
pub use openssl::x509::X509;

/// Ciphers where the configuration names none.
pub const DEFAULT_CIPHERS: &str = "HIGH:!aNULL:!MD5:!kRSA";

/// A certificate, key, bundle or cipher list that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(pub String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// Initialises the library: before the sandbox and before chroot, for it reads
/// its configuration file, and makes use of all that is loaded lazily.
pub fn init() {
    openssl::init();
    // Whether these succeed is seen when they are needed.
    let _ = openssl::rand::rand_bytes(&mut [0; 16]);
    let _ = crypto::sha256(b"");
    let _ = Client::new(&ClientConfig::default());
}

/// What the library says, without its source files and function names.
fn failed(what: &str) -> impl Fn(ErrorStack) -> TlsError + '_ {
    move |stack| {
        let reason = stack.errors().iter().find_map(openssl::error::Error::reason);
        TlsError(format!("{what}: {}", reason.unwrap_or("failed")))
    }
}

/// What a session agreed on, for Received, the log and `match tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.3`.
    pub version: &'static str,
    /// `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Bits of the cipher's key.
    pub bits: i32,
    /// The host that the client asked for, lower case; hostile.
    pub sni: Option<String>,
    /// Whether the peer showed a certificate.
    pub peer: bool,
    /// Whether that certificate holds: chain, dates and, for a client, name.
    pub verified: bool,
    /// Why it does not hold.
    pub verdict: Option<&'static str>,
}

impl TlsInfo {
    /// Reads it off an established session.
    pub(super) fn of(ssl: &SslRef) -> Self {
        let verdict = ssl.verify_result();
        let peer = ssl.peer_certificate().is_some();
        let cipher = ssl.current_cipher();
        Self {
            version: ssl.version_str(),
            cipher: cipher.map(|c| c.name().to_owned()).unwrap_or_default(),
            bits: cipher.map(|c| c.bits().secret).unwrap_or_default(),
            sni: ssl.servername(NameType::HOST_NAME).map(str::to_ascii_lowercase),
            peer,
            verified: peer && verdict == X509VerifyResult::OK,
            verdict: (peer && verdict != X509VerifyResult::OK).then(|| verdict.error_string()),
        }
    }
}

/// A certificate chain, leaf first, and its key (as a rule one that `keyd`
/// keeps: [`super::remotekey`]).
#[derive(Clone)]
pub struct Identity {
    chain: Vec<X509>,
    key: PKey<Private>,
}

/// The certificates of a PEM file, in its order; none is an error.
pub fn certificates(pem: &[u8]) -> Result<Vec<X509>, TlsError> {
    let chain = X509::stack_from_pem(pem).map_err(failed("certificate"))?;
    if chain.is_empty() {
        return Err(TlsError("no certificate in it".to_owned()));
    }
    Ok(chain)
}

/// How long before its end a certificate is told of.
const SOON_DAYS: u32 = 14;

/// What is to be told of a certificate's time: that it has ended, that it has
/// not begun, or that it ends within 14 days.  `None`: nothing.
pub fn time_left(certificate: &X509Ref) -> Result<Option<String>, TlsError> {
    let wrong = failed("certificate");
    let (begin, end) = (certificate.not_before(), certificate.not_after());
    let now = Asn1Time::days_from_now(0).map_err(&wrong)?;
    let soon = Asn1Time::days_from_now(SOON_DAYS).map_err(&wrong)?;
    // The library's order of times fails for those that it cannot read.
    let before = |a: &openssl::asn1::Asn1TimeRef, b: &openssl::asn1::Asn1TimeRef| {
        a.compare(b).map(|order| order.is_lt()).map_err(&wrong)
    };
    Ok(if before(end, &now)? {
        Some(format!("expired on {end}"))
    } else if before(&now, begin)? {
        Some(format!("is not valid before {begin}"))
    } else if before(end, &soon)? {
        Some(format!("expires on {end}"))
    } else {
        None
    })
}

/// Whether a private key as PEM has a passphrase.
#[must_use]
pub fn is_encrypted(pem: &[u8]) -> bool {
    let has = |words: &[u8]| pem.windows(words.len()).any(|w| w == words);
    has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED")
}

/// A private key as PEM.  One with a passphrase is an error: nobody is there to
/// be asked for it.
pub fn private_key(pem: &[u8]) -> Result<PKey<Private>, TlsError> {
    PKey::private_key_from_pem_callback(pem, |_| Ok(0)).map_err(failed("key"))
}

/// Whether the library knows a cipher of this list.
pub fn check_ciphers(list: &str) -> Result<(), TlsError> {
    context(SslMethod::tls(), Versions::default(), Some(list)).map(drop)
}

impl Identity {
    /// A chain and its key; an error if they do not belong together.
    pub fn new(chain: Vec<X509>, key: PKey<Private>) -> Result<Self, TlsError> {
        let leaf = chain.first().ok_or_else(|| TlsError("no certificate in it".to_owned()))?;
        let public = leaf.public_key().map_err(failed("certificate"))?;
        if !public.public_eq(&key) {
            return Err(TlsError("the key is not the certificate's".to_owned()));
        }
        Ok(Self { chain, key })
    }

    /// A chain and a key as PEM: for tests and tools; a server's key is in keyd.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::new(certificates(chain)?, private_key(key)?)
    }

    /// Whether a listener can use it: keyd signs with keys of its kind, and the
    /// library holds it for strong enough.
    pub fn check_server(self) -> Result<(), TlsError> {
        if !matches!(self.key.id(), Id::RSA | Id::EC) {
            return Err(TlsError("its kind cannot be used for TLS: take ECDSA or RSA".to_owned()));
        }
        let server = ServerConfig { identities: vec![self], ..ServerConfig::default() };
        Server::new(&server).map(drop)
    }

    /// The host names that the certificate is for, lower case, `*.` kept.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.chain.first().map(|leaf| names(leaf)).unwrap_or_default()
    }

    fn install(&self, builder: &mut SslContextBuilder) -> Result<(), TlsError> {
        let Some((leaf, rest)) = self.chain.split_first() else {
            return Err(TlsError("no certificate in it".to_owned()));
        };
        builder.set_certificate(leaf).map_err(failed("certificate"))?;
        for certificate in rest {
            builder
                .add_extra_chain_cert(certificate.clone())
                .map_err(failed("certificate chain"))?;
        }
        builder.set_private_key(&self.key).map_err(failed("key"))?;
        builder.check_private_key().map_err(failed("key"))
    }
}

/// dNSName entries or, where there are none, common names (RFC 6125 6.4.4).
#[must_use]
pub fn names(certificate: &X509Ref) -> Vec<String> {
    let alternative: Vec<String> = certificate
        .subject_alt_names()
        .map(|all| all.iter().filter_map(|n| n.dnsname()).map(str::to_ascii_lowercase).collect())
        .unwrap_or_default();
    if !alternative.is_empty() {
        return alternative;
    }
    certificate
        .subject_name()
        .entries_by_nid(openssl::nid::Nid::COMMONNAME)
        .filter_map(|entry| entry.data().to_string().ok())
        .map(|name| name.to_ascii_lowercase())
        .collect()
}

/// Whether a name of a certificate covers a host: equal, or `*.` in place of
/// its first label (RFC 6125 6.4.3).
#[must_use]
pub fn covers(name: &str, host: &str) -> bool {
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    match (name.strip_prefix("*."), host.split_once('.')) {
        (Some(parent), Some((label, rest))) => {
            !label.is_empty() && parent.contains('.') && parent.eq_ignore_ascii_case(rest)
        }
        _ => false,
    }
}

/// The oldest and the newest version that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// TLS 1.2 is.
    pub v1_2: bool,
    /// TLS 1.3 is.
    pub v1_3: bool,
}

impl Default for Versions {
    fn default() -> Self {
        Self { v1_2: true, v1_3: true }
    }
}

/// What is asked of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ClientCertificate {
    /// Nothing.
    #[default]
    Ignore,
    /// A certificate; one that does not hold is noted in [`TlsInfo`].
    Request,
    /// A certificate that holds; without it there is no session.
    Require,
}

/// What a listener's TLS is to be like.
#[derive(Clone, Default)]
pub struct ServerConfig<'a> {
    /// Certificates; the first is for clients that name no host or another.
    pub identities: Vec<Identity>,
    /// Versions.
    pub versions: Versions,
    /// Ciphers of TLS 1.2 in the library's notation; else [`DEFAULT_CIPHERS`].
    pub ciphers: Option<&'a str>,
    /// Whether clients must show a certificate.
    pub client: ClientCertificate,
    /// Who vouches for it.
    pub ca: &'a [X509],
    /// Application protocols; a client that offers only others is refused
    /// (RFC 7301 3.2), so that it cannot be led from one service to another.
    /// Empty: not looked at.
    pub alpn: &'a [&'a [u8]],
    /// What tells this listener from others.
    pub listener: &'a [u8],
}

/// The TLS side of a listener.  Any thread; replaced whole when certificates
/// are renewed, while sessions keep what they have.
#[derive(Clone)]
pub struct Server {
    context: SslContext,
}

impl Server {
    /// Builds it; reads nothing.
    pub fn new(config: &ServerConfig<'_>) -> Result<Self, TlsError> {
        let mut others = Vec::new();
        for identity in config.identities.iter().skip(1) {
            let builder = server_context(config, identity)?;
            others.push((identity.names(), builder.build()));
        }
        let Some(first) = config.identities.first() else {
            return Err(TlsError("no certificate".to_owned()));
        };
        let mut builder = server_context(config, first)?;
        let first_names = first.names();
        let others = Arc::new(others);
        builder.set_servername_callback(move |ssl, _alert| {
            let Some(host) = ssl.servername(NameType::HOST_NAME).map(str::to_owned) else {
                return Ok(());
            };
            let fits = |names: &[String]| names.iter().any(|name| covers(name, &host));
            if !fits(&first_names) {
                if let Some((_, context)) = others.iter().find(|(names, _)| fits(names)) {
                    // Were it to fail, the first certificate would be shown.
                    let _ = ssl.set_ssl_context(context);
                }
            }
            Ok(())
        });
        Ok(Self { context: builder.build() })
    }

    /// A new session.
    pub(super) fn session(&self) -> Result<Ssl, TlsError> {
        Ssl::new(&self.context).map_err(failed("session"))
    }
}

/// What contexts of both sides have in common.
fn context(
    method: SslMethod,
    versions: Versions,
    ciphers: Option<&str>,
) -> Result<SslContextBuilder, TlsError> {
    let mut builder = SslContextBuilder::new(method).map_err(failed("context"))?;
    let (min, max) = match (versions.v1_2, versions.v1_3) {
        (true, true) => (SslVersion::TLS1_2, None),
        (true, false) => (SslVersion::TLS1_2, Some(SslVersion::TLS1_2)),
        (false, true) => (SslVersion::TLS1_3, None),
        (false, false) => return Err(TlsError("no version of TLS is left".to_owned())),
    };
    builder.set_min_proto_version(Some(min)).map_err(failed("protocols"))?;
    builder.set_max_proto_version(max).map_err(failed("protocols"))?;
    let list = ciphers.unwrap_or(DEFAULT_CIPHERS);
    // Whatever is configured: RSA key exchange would need decryption by keyd.
    let list = format!("{list}:!kRSA");
    builder.set_cipher_list(&list).map_err(failed("ciphers"))?;
    let mut options = SslOptions::NO_COMPRESSION | SslOptions::CIPHER_SERVER_PREFERENCE;
    if is_libressl() {
        // SSL_OP_NO_RENEGOTIATION as LibreSSL numbers it; OpenSSL 3 refuses
        // renegotiation by itself, and the number means something else there.
        options |= SslOptions::from_bits_retain(0x0004_0000);
    }
    builder.set_options(options);
    builder.set_mode(
        SslMode::RELEASE_BUFFERS
            | SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::ENABLE_PARTIAL_WRITE,
    );
    Ok(builder)
}

/// LibreSSL gives this constant for OpenSSL's version number.
fn is_libressl() -> bool {
    openssl::version::number() == 0x2000_0000
}

fn server_context(
    config: &ServerConfig<'_>,
    identity: &Identity,
) -> Result<SslContextBuilder, TlsError> {
    let mut builder = context(SslMethod::tls_server(), config.versions, config.ciphers)?;
    identity.install(&mut builder)?;
    // Tickets keep sessions with the client; nothing is kept here.
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder
        .set_session_id_context(&crypto::sha256(config.listener))
        .map_err(failed("session id context"))?;
    match config.client {
        ClientCertificate::Ignore => builder.set_verify(SslVerifyMode::NONE),
        ClientCertificate::Request => {
            builder.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
        }
        ClientCertificate::Require => {
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
    }
    if config.client != ClientCertificate::Ignore {
        builder.set_cert_store(store(config.ca)?);
        let mut known = Stack::new().map_err(failed("CA"))?;
        for ca in config.ca {
            known
                .push(ca.subject_name().to_owned().map_err(failed("CA"))?)
                .map_err(failed("CA"))?;
        }
        builder.set_client_ca_list(known);
    }
    if !config.alpn.is_empty() {
        let ours: Vec<Vec<u8>> = config.alpn.iter().map(|p| p.to_vec()).collect();
        builder.set_alpn_select_callback(move |_, offered| {
            select_alpn(&ours, offered).ok_or(AlpnError::ALERT_FATAL)
        });
    }
    Ok(builder)
}

/// The first of our protocols that is among the offered ones, which are
/// strings of a length octet and so many octets (RFC 7301 3.1).
fn select_alpn<'a>(ours: &[Vec<u8>], offered: &'a [u8]) -> Option<&'a [u8]> {
    ours.iter().find_map(|protocol| {
        let mut rest = offered;
        while let Some((len, tail)) = rest.split_first() {
            let (name, tail) = tail.split_at_checked(usize::from(*len))?;
            if name == protocol.as_slice() {
                return Some(name);
            }
            rest = tail;
        }
        None
    })
}

fn store(cas: &[X509]) -> Result<X509Store, TlsError> {
    let mut builder = X509StoreBuilder::new().map_err(failed("CA"))?;
    for ca in cas {
        builder.add_cert(ca.clone()).map_err(failed("CA"))?;
    }
    Ok(builder.build())
}

/// Whether a server's certificate must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// No: opportunistic encryption (RFC 7435).  [`TlsInfo`] says whether it
    /// would have.
    No,
    /// Chain, dates and name must.
    Yes,
}

/// What a client's TLS is to be like.
#[derive(Clone, Default)]
pub struct ClientConfig<'a> {
    /// Authorities that are trusted.
    pub ca: &'a [X509],
    /// Versions.
    pub versions: Versions,
    /// Ciphers of TLS 1.2 in the library's notation; else [`DEFAULT_CIPHERS`].
    pub ciphers: Option<&'a str>,
    /// A certificate to show.
    pub identity: Option<Identity>,
}

/// The TLS side of outgoing connections.  Any thread.
#[derive(Clone)]
pub struct Client {
    context: SslContext,
}

impl Client {
    /// Builds it; reads nothing.
    pub fn new(config: &ClientConfig<'_>) -> Result<Self, TlsError> {
        let mut builder = context(SslMethod::tls_client(), config.versions, config.ciphers)?;
        builder.set_cert_store(store(config.ca)?);
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        if let Some(identity) = &config.identity {
            identity.install(&mut builder)?;
        }
        Ok(Self { context: builder.build() })
    }

    /// A new session with the host `name`, or the address that it is.
    pub(super) fn session(&self, name: &str, verify: Verify) -> Result<Ssl, TlsError> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut ssl = Ssl::new(&self.context).map_err(failed("session"))?;
        match name.parse::<IpAddr>() {
            // RFC 6066 3: no address literals in SNI.
            Ok(ip) => ssl.param_mut().set_ip(ip).map_err(failed("address"))?,
            Err(_) => {
                ssl.set_hostname(name).map_err(failed("host name"))?;
                let param = ssl.param_mut();
                param.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
                param.set_host(name).map_err(failed("host name"))?;
            }
        }
        match verify {
            Verify::Yes => ssl.set_verify(SslVerifyMode::PEER),
            Verify::No => {
                ssl.set_verify(SslVerifyMode::NONE);
                // A short key is still better than none at all, which is what
                // the delivery would fall back to.
                ssl.set_security_level(1);
            }
        }
        Ok(ssl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cover_hosts_as_rfc_6125_says() {
        assert!(covers("mx.example.org", "MX.example.org"));
        assert!(covers("*.example.org", "mx.example.org"));
        assert!(!covers("*.example.org", "a.mx.example.org"));
        assert!(!covers("*.example.org", "example.org"));
        assert!(!covers("*.example.org", ".example.org"));
        assert!(!covers("*.org", "example.org"));
        assert!(!covers("m*.example.org", "mx.example.org"));
    }

    #[test]
    fn alpn_takes_ours_or_nothing() {
        let ours = [b"imap".to_vec()];
        assert_eq!(select_alpn(&ours, b"\x04http\x04imap"), Some(&b"imap"[..]));
        assert_eq!(select_alpn(&ours, b"\x04http"), None);
        assert_eq!(select_alpn(&ours, b"\x09imap"), None);
        assert_eq!(select_alpn(&ours, b""), None);
    }

    #[test]
    fn bad_material_is_an_error() {
        assert!(certificates(b"").is_err());
        assert!(certificates(b"-----BEGIN CERTIFICATE-----\nxx\n").is_err());
        assert!(Server::new(&ServerConfig::default()).is_err());
        let none = Versions { v1_2: false, v1_3: false };
        assert!(Client::new(&ClientConfig { versions: none, ..Default::default() }).is_err());
        let ciphers = Some("NONSENSE");
        assert!(check_ciphers("NONSENSE").is_err() && check_ciphers("HIGH:!aNULL").is_ok());
        assert!(Client::new(&ClientConfig { ciphers, ..Default::default() }).is_err());
        Client::new(&ClientConfig::default()).unwrap();
    }
}
