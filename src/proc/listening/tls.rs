//! A listener's TLS, from the configuration: for every process that listens.
//!
//! Contexts are built from the certificates that parent read; the private half
//! of each stays in keyd, which is asked for each signature.

use crate::base::remotekey;
use crate::base::tls::X509;
use crate::base::tls::{self, ClientCertificate, Identity, ServerConfig, Versions};
use crate::conf::ast::{Config, Listen, Pki, Service};
use crate::ipc::parent::File;
use std::path::Path;

/// Its certificates, and who may connect.  `number` is that of the `listen`
/// statement, so that no session is resumed at another listener.
pub fn build(
    config: &Config,
    files: &[File],
    listen: &Listen,
    number: usize,
) -> Result<tls::Server, String> {
    let mut identities = Vec::new();
    for name in &listen.pki {
        let pki = config.pki(name).ok_or_else(|| format!("pki {name}: not there"))?;
        identities.push(identity(files, pki)?);
    }
    let ca = match config.ca(listen.ca.as_deref()) {
        Some(ca) if listen.verify => authorities(files, &ca.cert)?,
        _ => Vec::new(),
    };
    let versions = listen
        .protocols
        .map_or_else(Versions::default, |p| Versions { v1_2: p.v1_2, v1_3: p.v1_3 });
    let protocol = match listen.service {
        Service::Smtp | Service::Lmtp => "smtp",
        Service::Imap => "imap",
    };
    let client = if listen.verify { ClientCertificate::Require } else { ClientCertificate::Ignore };
    tls::Server::new(&ServerConfig {
        identities,
        versions,
        ciphers: Some(listen.ciphers.as_deref().unwrap_or_else(|| config.smtp_ciphers())),
        client,
        ca: &ca,
        // A browser that is led here offers http: it gets no session.
        alpn: &[protocol.as_bytes()],
        listener: format!("{protocol} {number}").as_bytes(),
    })
    .map_err(|e| format!("listen on {}: {e}", listen.on))
}

fn identity(files: &[File], pki: &Pki) -> Result<Identity, String> {
    let fail = |e: tls::TlsError| format!("pki {}: {e}", pki.name);
    let chain = tls::certificates(file(files, &pki.cert)?).map_err(fail)?;
    let leaf = chain.first().ok_or_else(|| format!("pki {}: no certificate", pki.name))?;
    let key = remotekey::private_key(leaf).map_err(fail)?;
    Identity::new(chain, key).map_err(fail)
}

fn authorities(files: &[File], path: &str) -> Result<Vec<X509>, String> {
    tls::certificates(file(files, path)?).map_err(|e| format!("{path}: {e}"))
}

fn file<'a>(files: &'a [File], path: &str) -> Result<&'a [u8], String> {
    let found = files.iter().find(|f| f.path == Path::new(path));
    found.map(|f| f.bytes.as_slice()).ok_or_else(|| format!("{path}: parent did not send it"))
}
