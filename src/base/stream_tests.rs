//! TLS between two streams, with keys here and elsewhere.

use super::*;
use crate::base::remotekey;
use crate::base::signing::SigningKey;
use crate::base::testcert::{ec_key, make, rsa_key, Made};
use crate::base::tls::{
    Client, ClientCertificate, ClientConfig, Identity, Server, ServerConfig, Verify, Versions,
};
use crate::sys::fdpass::socketpair;
use std::sync::Mutex;
use std::time::Duration;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

fn pair() -> (Stream, Stream) {
    let (a, b) = socketpair().unwrap();
    (Stream::new(a).unwrap(), Stream::new(b).unwrap())
}

fn identity(made: &Made) -> Identity {
    Identity::new(vec![made.cert.clone()], made.key.clone()).unwrap()
}

/// A handshake and an exchange; what each side says of it.
fn meet(
    server: &Server,
    client: &Client,
    name: &str,
    verify: Verify,
) -> (Result<TlsInfo, StreamError>, Result<TlsInfo, StreamError>) {
    let (mut s, mut c) = pair();
    std::thread::scope(|scope| {
        let s = scope.spawn(move || {
            let info = s.start_tls_server(server, soon())?.clone();
            s.write_all(b"220 hello\r\n", soon())?;
            let mut buf = [0; 64];
            let n = s.read(&mut buf, soon())?;
            assert_eq!(&buf[..n], b"QUIT\r\n");
            assert_eq!(s.read(&mut buf, soon())?, 0);
            s.close(soon());
            Ok(info)
        });
        let client = (|| {
            let info = c.start_tls_client(client, name, verify, soon())?.clone();
            let mut buf = [0; 64];
            let n = c.read(&mut buf, soon())?;
            assert_eq!(&buf[..n], b"220 hello\r\n");
            c.write_all(b"QUIT\r\n", soon())?;
            c.close(soon());
            Ok(info)
        })();
        (s.join().unwrap(), client)
    })
}

#[test]
fn a_session_is_verified_by_chain_and_name() {
    let ca = make(&[], ec_key(), None);
    let leaf = make(&["mx.example.org"], ec_key(), Some(&ca));
    let server =
        Server::new(&ServerConfig { identities: vec![identity(&leaf)], ..Default::default() })
            .unwrap();
    let authorities = [ca.cert.clone()];
    let client = Client::new(&ClientConfig { ca: &authorities, ..Default::default() }).unwrap();
    let (s, c) = meet(&server, &client, "mx.example.org", Verify::Yes);
    let (s, c) = (s.unwrap(), c.unwrap());
    assert_eq!((c.version, c.verified, c.peer), ("TLSv1.3", true, true));
    assert_eq!(s.sni.as_deref(), Some("mx.example.org"));
    assert!(!s.peer && !s.verified);
    // Another name, and another authority.
    let (_, c) = meet(&server, &client, "mx.example.net", Verify::Yes);
    assert!(matches!(c, Err(StreamError::Tls(_))));
    let stranger = Client::new(&ClientConfig::default()).unwrap();
    let (_, c) = meet(&server, &stranger, "mx.example.org", Verify::Yes);
    assert!(matches!(c, Err(StreamError::Tls(_))));
    // Opportunistic: it is known, but no hindrance.
    let (_, c) = meet(&server, &client, "mx.example.net", Verify::No);
    assert_eq!((c.as_ref().unwrap().verified, c.unwrap().verdict.is_some()), (false, true));
}

#[test]
fn sni_chooses_among_certificates() {
    let ca = make(&[], ec_key(), None);
    let first = make(&["a.example.org"], ec_key(), Some(&ca));
    let second = make(&["b.example.org", "*.c.example.org"], rsa_key(), Some(&ca));
    let identities = vec![identity(&first), identity(&second)];
    let server = Server::new(&ServerConfig { identities, ..Default::default() }).unwrap();
    let authorities = [ca.cert.clone()];
    let client = Client::new(&ClientConfig { ca: &authorities, ..Default::default() }).unwrap();
    for name in ["a.example.org", "b.example.org", "x.c.example.org"] {
        meet(&server, &client, name, Verify::Yes).1.unwrap();
    }
    let (_, c) = meet(&server, &client, "other.example.org", Verify::Yes);
    assert!(c.is_err());
    meet(&server, &client, "other.example.org", Verify::No).1.unwrap();
}

#[test]
fn clients_may_have_to_show_a_certificate() {
    let ca = make(&[], ec_key(), None);
    let leaf = make(&["mx.example.org"], ec_key(), Some(&ca));
    let authorities = [ca.cert.clone()];
    let bare = Client::new(&ClientConfig { ca: &authorities, ..Default::default() }).unwrap();
    let user = make(&["user.example.org"], ec_key(), Some(&ca));
    let shown = Client::new(&ClientConfig {
        ca: &authorities,
        identity: Some(identity(&user)),
        ..Default::default()
    })
    .unwrap();
    let forged = make(&["user.example.org"], ec_key(), None);
    let forged = Client::new(&ClientConfig {
        ca: &authorities,
        identity: Some(identity(&forged)),
        ..Default::default()
    })
    .unwrap();
    let server = |client| {
        Server::new(&ServerConfig {
            identities: vec![identity(&leaf)],
            client,
            ca: &authorities,
            ..Default::default()
        })
        .unwrap()
    };
    let require = server(ClientCertificate::Require);
    assert!(meet(&require, &bare, "mx.example.org", Verify::Yes).0.is_err());
    assert!(meet(&require, &forged, "mx.example.org", Verify::Yes).0.is_err());
    assert!(meet(&require, &shown, "mx.example.org", Verify::Yes).0.unwrap().verified);
    let request = server(ClientCertificate::Request);
    let info = meet(&request, &bare, "mx.example.org", Verify::Yes).0.unwrap();
    assert!(!info.peer && !info.verified);
    let info = meet(&request, &forged, "mx.example.org", Verify::Yes).0.unwrap();
    assert!(info.peer && !info.verified);
}

#[test]
fn versions_and_protocols_are_kept_apart() {
    let leaf = make(&["mx.example.org"], ec_key(), None);
    let server = |versions, alpn: &[&[u8]]| {
        Server::new(&ServerConfig {
            identities: vec![identity(&leaf)],
            versions,
            alpn,
            ..Default::default()
        })
        .unwrap()
    };
    let client = |versions| Client::new(&ClientConfig { versions, ..Default::default() }).unwrap();
    let only = |v1_2, v1_3| Versions { v1_2, v1_3 };
    let (old, new) = (only(true, false), only(false, true));
    let (_, c) = meet(&server(old, &[]), &client(Versions::default()), "x", Verify::No);
    assert_eq!(c.unwrap().version, "TLSv1.2");
    let (_, c) = meet(&server(old, &[]), &client(new), "x", Verify::No);
    assert!(c.is_err());
    // A client that names no protocol is served.
    let (_, c) = meet(&server(new, &[b"imap"]), &client(new), "x", Verify::No);
    assert_eq!(c.unwrap().version, "TLSv1.3");
}

/// A keyd in a closure.
fn install_keys(made: &[&Made]) {
    let keys: Vec<(remotekey::KeyId, SigningKey)> = made
        .iter()
        .map(|m| {
            let pem = m.key.private_key_to_pem_pkcs8().unwrap();
            let key = SigningKey::from_pem(&pem).unwrap();
            assert_eq!(key.id().unwrap(), remotekey::key_id(&m.cert).unwrap());
            (remotekey::key_id(&m.cert).unwrap(), key)
        })
        .collect();
    remotekey::install(Arc::new(move |id, op, input| {
        let (_, key) = keys.iter().find(|(k, _)| k == id)?;
        key.sign(op, input).ok()
    }));
}

/// One test, since the signer is the process's: keys elsewhere, in both
/// versions, and their process gone.
#[test]
fn keys_of_another_process_sign_handshakes() {
    let ca = make(&[], ec_key(), None);
    let made =
        [make(&["rsa.example"], rsa_key(), Some(&ca)), make(&["ec.example"], ec_key(), Some(&ca))];
    install_keys(&made.iter().collect::<Vec<_>>());
    let authorities = [ca.cert.clone()];
    let mut servers = Vec::new();
    for made in &made {
        let key = remotekey::private_key(&made.cert).unwrap();
        let identity = Identity::new(vec![made.cert.clone()], key).unwrap();
        let name = identity.names()[0].clone();
        for versions in [Versions { v1_2: true, v1_3: false }, Versions { v1_2: false, v1_3: true }]
        {
            let identities = vec![identity.clone()];
            let server =
                Server::new(&ServerConfig { identities, versions, ..Default::default() }).unwrap();
            let client =
                Client::new(&ClientConfig { ca: &authorities, ..Default::default() }).unwrap();
            let (s, c) = meet(&server, &client, &name, Verify::Yes);
            assert!(c.unwrap().verified && s.is_ok());
            servers.push((server, client, name.clone()));
        }
    }
    remotekey::install(Arc::new(|_, _, _| None));
    for (server, client, name) in &servers {
        let (s, c) = meet(server, client, name, Verify::Yes);
        assert!(s.is_err() && c.is_err());
    }
    remotekey::install(Arc::new(|_, _, _| panic!("the closure may panic")));
    let (server, client, name) = &servers[0];
    assert!(meet(server, client, name, Verify::Yes).0.is_err());
}

/// A ticket is taken back by the listener that gave it and by no other, though
/// both show the same certificate.
#[test]
fn tickets_do_not_cross_listeners() {
    use openssl::ssl::{Ssl, SslContextBuilder, SslMethod, SslSession, SslSessionCacheMode};
    let leaf = make(&["mx.example.org"], ec_key(), None);
    let server = |name: &[u8]| {
        Server::new(&ServerConfig {
            identities: vec![identity(&leaf)],
            listener: name,
            ..Default::default()
        })
        .unwrap()
    };
    let (smtp, imap) = (server(b"smtp"), server(b"imap"));
    let ticket: Arc<Mutex<Option<SslSession>>> = Arc::default();
    let mut builder = SslContextBuilder::new(SslMethod::tls_client()).unwrap();
    builder.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
    let keep = Arc::clone(&ticket);
    builder.set_new_session_callback(move |_, session| {
        *keep.lock().unwrap() = Some(session);
    });
    let context = builder.build();
    let visit = |server: &Server, session: Option<SslSession>| {
        let (a, b) = socketpair().unwrap();
        let mut s = Stream::new(a).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                s.start_tls_server(server, soon()).unwrap();
                s.write_all(b"x", soon()).unwrap();
                let _ = s.read(&mut [0], soon());
            });
            let mut ssl = Ssl::new(&context).unwrap();
            if let Some(session) = session {
                // SAFETY: the session comes from this very context.
                #[allow(unsafe_code, reason = "the crate's only way to resume")]
                unsafe {
                    ssl.set_session(&session).unwrap();
                }
            }
            let socket = std::os::unix::net::UnixStream::from(b);
            let mut client = SslStream::new(ssl, socket).unwrap();
            client.connect().unwrap();
            client.read_exact(&mut [0]).unwrap();
            let reused = client.ssl().session_reused();
            // A connection that is cut off takes its session with it.
            let _ = client.shutdown();
            reused
        })
    };
    assert!(!visit(&smtp, None));
    let given = ticket.lock().unwrap().take();
    assert!(given.is_some(), "a ticket was given");
    assert!(visit(&smtp, given), "the listener knows its own ticket");
    let given = ticket.lock().unwrap().take();
    assert!(!visit(&imap, given));
}

#[test]
fn a_flight_is_one_write_and_much_data_arrives() {
    let leaf = make(&["mx.example.org"], ec_key(), None);
    let server =
        Server::new(&ServerConfig { identities: vec![identity(&leaf)], ..Default::default() })
            .unwrap();
    let client = Client::new(&ClientConfig::default()).unwrap();
    let (mut s, mut c) = pair();
    let data: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
    let sent = data.clone();
    let writer = std::thread::spawn(move || {
        s.start_tls_server(&server, soon()).unwrap();
        s.write_all(&sent, soon()).unwrap();
        s.shutdown(soon()).unwrap();
        // The relay's way: nothing waits, everything arrives.
        let mut got = 0;
        let mut buf = [0; 4096];
        loop {
            match s.try_read(&mut buf).unwrap() {
                Some(0) => return got,
                Some(n) => got += n,
                None => {
                    poll::wait_for(s.as_fd(), s.interest(), Some(Duration::from_secs(5))).unwrap();
                }
            }
        }
    });
    c.start_tls_client(&client, "mx.example.org", Verify::No, soon()).unwrap();
    let (mut got, mut buf) = (Vec::new(), vec![0; 10_000]);
    loop {
        match c.read(&mut buf, soon()).unwrap() {
            0 => break,
            n => got.extend_from_slice(&buf[..n]),
        }
    }
    assert!(got == data);
    let mut rest = &data[..];
    while !rest.is_empty() {
        match c.try_write(rest).unwrap() {
            0 => {
                poll::wait_for(c.as_fd(), poll::OUT, Some(Duration::from_secs(5))).unwrap();
            }
            n => rest = &rest[n..],
        }
    }
    c.flush(soon()).unwrap();
    c.shutdown(soon()).unwrap();
    assert_eq!(writer.join().unwrap(), data.len());
}

#[test]
fn a_silent_peer_times_out() {
    let leaf = make(&["mx.example.org"], ec_key(), None);
    let server =
        Server::new(&ServerConfig { identities: vec![identity(&leaf)], ..Default::default() })
            .unwrap();
    let (mut s, _c) = pair();
    let soon = Deadline::after(Duration::from_millis(20));
    assert_eq!(s.start_tls_server(&server, soon).unwrap_err(), StreamError::Timeout);
    assert!(s.read(&mut [0; 1], soon).is_err());
    let (mut s, c) = pair();
    assert_eq!(s.read(&mut [0; 1], soon), Err(StreamError::Timeout));
    // A peer that does not read holds up a write until the deadline.
    let soon = Deadline::after(Duration::from_millis(50));
    assert_eq!(s.write_all(&vec![0; 10 << 20], soon), Err(StreamError::Timeout));
    drop(c);
}

/// The other side of [`sessions_work_in_the_sandbox`]: a process of its own.
#[test]
fn probe() {
    if std::env::var_os("RMAIL_TLS_PROBE").is_none() {
        return;
    }
    let (one, two) = (make(&["a.example"], rsa_key(), None), make(&["b.example"], ec_key(), None));
    tls::init();
    crate::sys::sandbox::enter(&[crate::sys::sandbox::Promise::Stdio], &[]).unwrap();
    install_keys(&[&one, &two]);
    let authorities = [one.cert.clone(), two.cert.clone()];
    let identities = [&one, &two]
        .map(|m| {
            let key = remotekey::private_key(&m.cert).unwrap();
            Identity::new(vec![m.cert.clone()], key).unwrap()
        })
        .to_vec();
    let server = Server::new(&ServerConfig { identities, ..Default::default() }).unwrap();
    let client = Client::new(&ClientConfig { ca: &authorities, ..Default::default() }).unwrap();
    for name in ["a.example", "b.example"] {
        let (s, c) = meet(&server, &client, name, Verify::Yes);
        assert!(s.is_ok() && c.is_ok());
    }
    crate::sys::spawn::exit_now(42);
}

/// Contexts, keys, handshakes and signing, all for the first time under
/// "stdio" alone: no file is opened, no option set, no process asked.
#[test]
fn sessions_work_in_the_sandbox() {
    use crate::sys::spawn::{exec_child, waitpid, Exec, Exit};
    use std::ffi::CString;
    use std::os::unix::ffi::OsStringExt;
    let me = std::env::current_exe().unwrap().into_os_string().into_vec();
    let text = |s: &str| CString::new(s).unwrap();
    let exec = Exec {
        path: CString::new(me).unwrap(),
        argv: ["rmail", "base::stream::tests::probe", "--nocapture"].map(text).to_vec(),
        env: vec![text("RMAIL_TLS_PROBE=1")],
        fds: vec![(File::create("/dev/null").unwrap().into(), 1)],
    };
    assert_eq!(waitpid(exec_child(exec).unwrap()).unwrap(), Exit::Code(42));
}
