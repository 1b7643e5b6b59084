//! The listening sockets: bound by parent, accepted on by smtp, imap and
//! control.
//!
//! Parent keeps its copy of each, so that a client that connects while a child
//! is dead is answered by the next one, and so that a reload does not close
//! what stays.  `listen on all` binds the two wildcard addresses: addresses
//! that come later are served too.

use super::load::Loaded;
use super::Supervisor;
use crate::base::clock::Deadline;
use crate::base::log::{self, Show};
use crate::conf::ast::{Family, Listen, Service};
use crate::ipc::parent::{Down, Listener};
use crate::proc::table::{self, Kind};
use crate::sys::errno::{SysError, EADDRNOTAVAIL, EAFNOSUPPORT, EAGAIN};
use crate::sys::net;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One socket.
pub struct Bound {
    /// Who accepts on it.
    pub kind: Kind,
    /// What the child is told.
    pub listener: Listener,
    /// The statement's words for the log and for matching at a reload.
    pub wanted: SocketAddr,
    fd: OwnedFd,
}

/// All of them, and the control socket.
#[derive(Default)]
pub struct Listeners {
    /// TCP sockets, in the order of the configuration.
    pub all: Vec<Bound>,
    control: Option<Control>,
    /// What could not be handed on, and when that is tried again.
    due: Vec<(Instant, Kind)>,
}

/// The control socket, and which name is ours.
struct Control {
    path: PathBuf,
    fd: OwnedFd,
    inode: Option<(u64, u64)>,
}

/// What a name stands for now.
fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

/// The addresses that `listen on ON` means now.
fn addresses(listen: &Listen) -> Result<Vec<IpAddr>, String> {
    let on = listen.on.as_str();
    let literal = on.strip_prefix('[').and_then(|o| o.strip_suffix(']')).unwrap_or(on);
    let mut all = if on == "all" || on == "*" {
        vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
    } else {
        net::interface_addresses(on).map_err(|e| e.to_string())?
    };
    if all.is_empty() {
        if let Ok(ip) = literal.parse() {
            all.push(ip);
        } else if let Ok(found) = (on, 0u16).to_socket_addrs() {
            all.extend(found.map(|a| a.ip()));
        }
    }
    all.retain(|ip| match listen.family {
        Some(Family::Inet4) => ip.is_ipv4(),
        Some(Family::Inet6) => ip.is_ipv6(),
        None => true,
    });
    all.sort_unstable();
    all.dedup();
    if all.is_empty() {
        return Err(format!("listen on {on}: no interface, address or host of that name"));
    }
    Ok(all)
}

/// Whether the machine has no addresses of this family.
fn no_family(e: &SysError) -> bool {
    matches!(e.errno, EAFNOSUPPORT | EADDRNOTAVAIL)
}

fn service_kind(listen: &Listen) -> Kind {
    match listen.service {
        Service::Smtp | Service::Lmtp => Kind::Smtp,
        Service::Imap => Kind::Imap,
    }
}

/// When a listener that could not be handed on is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// How long the children of a daemon that was killed may hold its socket.
const ORPHANED: Duration = Duration::from_secs(3);

/// The control socket's name is free, or left behind by a daemon that is gone.
/// Binding would take the name away from one that lives, which rmailctl(8) and
/// sendmail(8) could reach no more.
fn free(path: &Path) -> Result<(), String> {
    let until = Deadline::after(ORPHANED);
    loop {
        match net::connect_unix(path) {
            // EAGAIN: somebody listens, and has no room just now.
            Err(e) if e.errno != EAGAIN => return Ok(()),
            _ if until.expired() => {
                return Err(format!(
                    "{}: another rmaild listens on this socket: stop it, or give each its own \
                     with socket \"path\"",
                    path.display()
                ))
            }
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

impl Listeners {
    /// Binds everything.
    pub fn bind(loaded: &Loaded) -> Result<Listeners, String> {
        let mut none = Listeners::default();
        none.rebind(loaded)
    }

    /// The sockets of another configuration: those that both name are kept.
    /// On an error everything stays as it was.
    pub fn rebind(&mut self, loaded: &Loaded) -> Result<Listeners, String> {
        let mut new = Listeners::default();
        let mut kept = Vec::new();
        for (index, at, listen) in loaded.listens() {
            let wildcard = listen.on == "all" || listen.on == "*";
            for ip in addresses(listen).map_err(|e| format!("{at}: {e}"))? {
                let wanted = SocketAddr::new(ip, listen.port);
                let kind = service_kind(listen);
                let old = self.all.iter().position(|b| {
                    b.wanted == wanted && b.kind == kind && !kept.contains(&b.listener)
                });
                let fd = match old.and_then(|i| self.all.get(i)) {
                    Some(bound) => {
                        kept.push(bound.listener.clone());
                        bound.fd.try_clone().map_err(|e| format!("{at}: dup: {e}"))?
                    }
                    None => match net::listen_tcp(wanted) {
                        Ok(fd) => fd,
                        // A machine without IPv6 still has all of its addresses.
                        Err(e) if wildcard && ip.is_ipv6() && no_family(&e) => continue,
                        Err(e) => return Err(format!("{at}: {e}")),
                    },
                };
                let real = net::local_addr(&fd).map_err(|e| format!("{at}: {e}"))?;
                let listener = Listener { index, addr: Some(real) };
                new.all.push(Bound { kind, listener, wanted, fd });
            }
        }
        let path = loaded.socket_path();
        new.control = match self.control.take() {
            Some(old) if old.path == path => Some(old),
            other => {
                let fd = free(&path)
                    .and_then(|()| net::listen_unix(&path, 0o666).map_err(|e| e.to_string()));
                match fd {
                    Ok(fd) => Some(Control { inode: inode(&path), path, fd }),
                    Err(e) => {
                        self.control = other;
                        return Err(e);
                    }
                }
            }
        };
        new.due = std::mem::take(&mut self.due);
        Ok(new)
    }

    /// The control socket's name must not outlive the daemon.
    pub fn remove_sockets(&mut self) {
        let Some(Control { path, inode: ours, .. }) = self.control.take() else { return };
        // Another daemon may have bound the name since.
        if ours.is_some() && inode(&path) == ours {
            // One that somebody else removed is removed.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Supervisor {
    /// Tells a child its listeners, be it that there are none any more; nothing
    /// listens before all are ready.
    pub fn hand_listeners(&mut self, kind: Kind) {
        let listens = matches!(kind, Kind::Smtp | Kind::Imap | Kind::Control);
        if !listens || self.phase == super::Phase::Starting {
            return;
        }
        let mut all = Vec::new();
        let mut fds = Vec::new();
        for bound in self.listeners.all.iter().filter(|b| b.kind == kind) {
            all.push(bound.listener.clone());
            fds.push((bound.listener.clone(), bound.fd.try_clone()));
        }
        if let (Kind::Control, Some(control)) = (kind, &self.listeners.control) {
            let listener = Listener { index: 0, addr: None };
            all.push(listener.clone());
            fds.push((listener, control.fd.try_clone()));
        }
        self.tell(kind, &Down::Listeners { all }, None);
        self.listeners.due.retain(|(_, of)| *of != kind);
        for (listener, fd) in fds {
            match fd {
                Ok(fd) => self.tell(kind, &Down::Listen { listener }, Some(fd)),
                // It is named, so that a child that has it keeps it.
                Err(e) => {
                    log::crit!(
                        "listener",
                        name = table::process(kind).name,
                        msg = "cannot be handed on: tried again in 5 s",
                        error = Show(&e)
                    );
                    self.listeners.due.push((Instant::now() + AGAIN, kind));
                    return;
                }
            }
        }
    }

    /// Hands on what could not be.
    pub fn listeners_due(&mut self, now: Instant) {
        let due: Vec<Kind> =
            self.listeners.due.iter().filter(|(at, _)| *at <= now).map(|(_, k)| *k).collect();
        for kind in due {
            self.hand_listeners(kind);
        }
    }

    /// When that is tried again.
    pub fn next_listeners(&self) -> Option<Instant> {
        self.listeners.due.iter().map(|(at, _)| *at).min()
    }
}
