//! Sockets that listen, and the addresses of this machine.

use super::errno::{Result, SysError};
use nix::sys::socket::{
    bind, connect, listen, setsockopt, socket, sockopt, AddressFamily, Backlog, SockFlag, SockType,
    SockaddrIn, SockaddrIn6, UnixAddr,
};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Connections that wait to be accepted; the kernel may cap it lower.
const BACKLOG: i32 = 1024;

fn nix_error(op: &'static str, e: nix::Error) -> SysError {
    SysError::new(op, e as i32)
}

/// A TCP socket that listens, close-on-exec and non-blocking.  Port 0 lets the
/// system choose; [`local_addr`] tells.
pub fn listen_tcp(addr: SocketAddr) -> Result<OwnedFd> {
    let family = if addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None).map_err(|e| nix_error("socket", e))?;
    setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(|e| nix_error("setsockopt", e))?;
    let bound = match addr {
        SocketAddr::V4(a) => bind(fd.as_raw_fd(), &SockaddrIn::from(a)),
        SocketAddr::V6(a) => {
            // OpenBSD knows nothing else; here it makes `listen on all` two
            // sockets there as well.
            only_v6(&fd)?;
            bind(fd.as_raw_fd(), &SockaddrIn6::from(a))
        }
    };
    bound.map_err(|e| nix_error("bind", e).at(addr.to_string()))?;
    let backlog = Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN);
    listen(&fd, backlog).map_err(|e| nix_error("listen", e).at(addr.to_string()))?;
    Ok(fd)
}

#[cfg(not(target_os = "openbsd"))]
fn only_v6(fd: &OwnedFd) -> Result<()> {
    setsockopt(fd, sockopt::Ipv6V6Only, &true).map_err(|e| nix_error("setsockopt", e))
}

#[cfg(target_os = "openbsd")]
fn only_v6(_: &OwnedFd) -> Result<()> {
    Ok(())
}

/// The TCP port of a service of services(5).
pub fn service_port(name: &str) -> Option<u16> {
    let name = std::ffi::CString::new(name).ok()?;
    // SAFETY: two NUL-terminated strings; single-threaded parent, and the
    // static result is read at once.
    let entry = unsafe { libc::getservbyname(name.as_ptr(), c"tcp".as_ptr()) };
    if entry.is_null() {
        return None;
    }
    // SAFETY: not null; s_port is a port in network order.
    let port = unsafe { (*entry).s_port };
    u16::try_from(port).ok().map(u16::from_be)
}

/// The machine's name.
pub fn hostname() -> Result<String> {
    let name = nix::unistd::gethostname().map_err(|e| nix_error("gethostname", e))?;
    Ok(name.to_string_lossy().into_owned())
}

/// Where a socket listens.
pub fn local_addr(fd: &OwnedFd) -> Result<SocketAddr> {
    let socket = std::net::TcpListener::from(fd.try_clone().map_err(|e| SysError::of("dup", &e))?);
    socket.local_addr().map_err(|e| SysError::of("getsockname", &e))
}

/// A unix-domain socket that listens at `path`, with this mode from its first
/// moment: it is made under another name and renamed.  Parent only: it changes
/// the umask.
pub fn listen_unix(path: &Path, mode: u32) -> Result<OwnedFd> {
    let mut temporary = path.as_os_str().to_os_string();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    match std::fs::remove_file(temporary) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(SysError::of("unlink", &e).at(temporary));
        }
        _ => {}
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .map_err(|e| nix_error("socket", e))?;
    let addr = UnixAddr::new(temporary).map_err(|e| nix_error("bind", e).at(path))?;
    let old = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let bound = bind(fd.as_raw_fd(), &addr);
    nix::sys::stat::umask(old);
    bound.map_err(|e| nix_error("bind", e).at(path))?;
    std::fs::set_permissions(temporary, std::fs::Permissions::from_mode(mode))
        .map_err(|e| SysError::of("chmod", &e).at(temporary))?;
    let backlog = Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN);
    listen(&fd, backlog).map_err(|e| nix_error("listen", e).at(path))?;
    std::fs::rename(temporary, path).map_err(|e| SysError::of("rename", &e).at(path))?;
    Ok(fd)
}

/// Sends one datagram to a unix-domain socket: how systemd(1) wants to be told
/// that a service is ready.  A path that begins with `@` is an abstract name.
pub fn notify(path: &Path, message: &[u8]) -> Result<()> {
    let socket =
        std::os::unix::net::UnixDatagram::unbound().map_err(|e| SysError::of("socket", &e))?;
    socket.set_nonblocking(true).map_err(|e| SysError::of("fcntl", &e))?;
    let sent = match abstract_address(path) {
        Some(addr) => socket.send_to_addr(message, &addr),
        None => socket.send_to(message, path),
    };
    sent.map(|_| ()).map_err(|e| SysError::of("sendto", &e).at(path))
}

#[cfg(target_os = "linux")]
fn abstract_address(path: &Path) -> Option<std::os::unix::net::SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    let name = path.as_os_str().as_encoded_bytes().strip_prefix(b"@")?;
    std::os::unix::net::SocketAddr::from_abstract_name(name).ok()
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &Path) -> Option<std::os::unix::net::SocketAddr> {
    None
}

/// Connects to a unix-domain socket and does not wait: a full backlog is an
/// error (EAGAIN).  The socket is non-blocking.
pub fn connect_unix(path: &Path) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .map_err(|e| nix_error("socket", e))?;
    let addr = UnixAddr::new(path).map_err(|e| nix_error("connect", e).at(path))?;
    connect(fd.as_fd().as_raw_fd(), &addr).map_err(|e| nix_error("connect", e).at(path))?;
    Ok(fd)
}

/// The addresses of a network interface, or of an interface group where the
/// system has groups; empty if there is none of that name.
pub fn interface_addresses(name: &str) -> Result<Vec<IpAddr>> {
    let members = group_members(name);
    let mut all = Vec::new();
    for interface in nix::ifaddrs::getifaddrs().map_err(|e| nix_error("getifaddrs", e))? {
        let wanted =
            interface.interface_name == name || members.contains(&interface.interface_name);
        if !wanted {
            continue;
        }
        let Some(address) = interface.address else { continue };
        if let Some(v4) = address.as_sockaddr_in() {
            all.push(IpAddr::V4(v4.ip()));
        } else if let Some(v6) = address.as_sockaddr_in6() {
            // A link-local address needs its scope to be bound; mail does not
            // come over it.
            let link_local = v6.ip().segments()[0] & 0xffc0 == 0xfe80;
            if !link_local {
                all.push(IpAddr::V6(v6.ip()));
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// The interfaces with a default route: what OpenBSD's group `egress` holds.
#[cfg(target_os = "linux")]
fn group_members(name: &str) -> Vec<String> {
    if name != "egress" {
        return Vec::new();
    }
    let v4 = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    let v4 = v4.lines().skip(1).filter_map(|l| {
        let f: Vec<&str> = l.split_whitespace().collect();
        (f.get(1) == Some(&"00000000") && f.get(7) == Some(&"00000000")).then(|| f[0].to_string())
    });
    let v6 = v6.lines().filter_map(|l| {
        let f: Vec<&str> = l.split_whitespace().collect();
        let default = f.first().is_some_and(|d| d.bytes().all(|b| b == b'0'));
        (default && f.get(1) == Some(&"00")).then(|| f.last().copied().unwrap_or("").to_string())
    });
    v4.chain(v6).filter(|n| n != "lo").collect()
}

/// The members of an interface group.  SIOCGIFGMEMB, see netintro(4).
#[cfg(target_os = "openbsd")]
fn group_members(name: &str) -> Vec<String> {
    const IFNAMSIZ: usize = 16;
    /// struct ifgroupreq of <net/if.h>: the group's name, the size of the
    /// list, and a union whose largest member is a name.
    #[repr(C)]
    struct IfGroupReq {
        name: [u8; IFNAMSIZ],
        len: libc::c_uint,
        groups: IfGroups,
    }
    #[repr(C)]
    union IfGroups {
        list: *mut [u8; IFNAMSIZ],
        name: [u8; IFNAMSIZ],
    }
    // _IOWR('i', 138, struct ifgroupreq)
    const SIOCGIFGMEMB: libc::c_ulong = 0xc000_0000
        | ((core::mem::size_of::<IfGroupReq>() as libc::c_ulong & 0x1fff) << 16)
        | ((b'i' as libc::c_ulong) << 8)
        | 138;
    if name.len() >= IFNAMSIZ {
        return Vec::new();
    }
    let flags = SockFlag::SOCK_CLOEXEC;
    let Ok(fd) = socket(AddressFamily::Inet, SockType::Datagram, flags, None) else {
        return Vec::new();
    };
    let mut request =
        IfGroupReq { name: [0; IFNAMSIZ], len: 0, groups: IfGroups { name: [0; IFNAMSIZ] } };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: netintro(4): with ifgr_len 0 only the size is written.
    if unsafe { libc::ioctl(fd.as_raw_fd(), SIOCGIFGMEMB, &mut request) } == -1 {
        return Vec::new();
    }
    let count = request.len as usize / IFNAMSIZ;
    let mut list = vec![[0u8; IFNAMSIZ]; count];
    request.len = (count * IFNAMSIZ) as libc::c_uint;
    request.groups.list = list.as_mut_ptr();
    // SAFETY: the list has room for the ifgr_len bytes that the kernel fills.
    if unsafe { libc::ioctl(fd.as_raw_fd(), SIOCGIFGMEMB, &mut request) } == -1 {
        return Vec::new();
    }
    let text = |n: &[u8; IFNAMSIZ]| {
        let end = n.iter().position(|b| *b == 0).unwrap_or(IFNAMSIZ);
        String::from_utf8_lossy(&n[..end]).into_owned()
    };
    list.iter().map(text).collect()
}

#[cfg(not(any(target_os = "linux", target_os = "openbsd")))]
fn group_members(_: &str) -> Vec<String> {
    Vec::new()
}

/// Begins to connect by TCP, from the address `source` if one is given.  The
/// socket is non-blocking, close-on-exec and without Nagle's delay; it is
/// connected when it is writable and [`socket_error`] has nothing to say.
pub fn connect_tcp(addr: SocketAddr, source: Option<IpAddr>) -> Result<OwnedFd> {
    let family = if addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None).map_err(|e| nix_error("socket", e))?;
    set_nodelay(fd.as_fd())?;
    if let Some(ip) = source {
        bind_addr(&fd, SocketAddr::new(ip, 0))?;
    }
    match connect_addr(&fd, addr) {
        Ok(()) | Err(nix::Error::EINPROGRESS) => Ok(fd),
        Err(e) => Err(nix_error("connect", e)),
    }
}

/// A UDP socket that takes datagrams from `addr` alone, on a port that the
/// system chose at random; non-blocking, close-on-exec.
pub fn connect_udp(addr: SocketAddr) -> Result<OwnedFd> {
    let family = if addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Datagram, flags, None).map_err(|e| nix_error("socket", e))?;
    connect_addr(&fd, addr).map_err(|e| nix_error("connect", e))?;
    Ok(fd)
}

fn connect_addr(fd: &OwnedFd, addr: SocketAddr) -> nix::Result<()> {
    match addr {
        SocketAddr::V4(a) => connect(fd.as_raw_fd(), &SockaddrIn::from(a)),
        SocketAddr::V6(a) => connect(fd.as_raw_fd(), &SockaddrIn6::from(a)),
    }
}

fn bind_addr(fd: &OwnedFd, addr: SocketAddr) -> Result<()> {
    match addr {
        SocketAddr::V4(a) => bind(fd.as_raw_fd(), &SockaddrIn::from(a)),
        SocketAddr::V6(a) => bind(fd.as_raw_fd(), &SockaddrIn6::from(a)),
    }
    .map_err(|e| nix_error("bind", e).at(addr.to_string()))
}

/// The error that a connect ended with, or that waits on a socket: SO_ERROR.
pub fn socket_error(fd: std::os::fd::BorrowedFd<'_>) -> Result<()> {
    use nix::sys::socket::getsockopt;
    match getsockopt(&fd, sockopt::SocketError) {
        Ok(0) => Ok(()),
        Ok(errno) => Err(SysError::new("connect", errno)),
        Err(e) => Err(nix_error("getsockopt", e)),
    }
}

/// Sends small segments at once (TCP_NODELAY); no error on a unix socket.
pub fn set_nodelay(fd: std::os::fd::BorrowedFd<'_>) -> Result<()> {
    match setsockopt(&fd, sockopt::TcpNoDelay, &true) {
        // EINVAL: the peer has already gone; the next read will say so.
        Ok(()) | Err(nix::Error::EOPNOTSUPP | nix::Error::ENOPROTOOPT | nix::Error::EINVAL) => {
            Ok(())
        }
        Err(e) => Err(nix_error("setsockopt", e)),
    }
}

/// Closes one or both directions of a connection; the peer being gone already
/// is no error.
pub fn shutdown(fd: std::os::fd::BorrowedFd<'_>, how: std::net::Shutdown) -> Result<()> {
    let how = match how {
        std::net::Shutdown::Read => nix::sys::socket::Shutdown::Read,
        std::net::Shutdown::Write => nix::sys::socket::Shutdown::Write,
        std::net::Shutdown::Both => nix::sys::socket::Shutdown::Both,
    };
    match nix::sys::socket::shutdown(fd.as_raw_fd(), how) {
        Ok(()) | Err(nix::Error::ENOTCONN) => Ok(()),
        Err(e) => Err(nix_error("shutdown", e)),
    }
}

/// Takes a connection from a listening socket; None if none waits.  A peer
/// that went away again before is passed over.  The connection is non-blocking
/// and close-on-exec; the address is None for a unix socket.
pub fn accept(
    listener: std::os::fd::BorrowedFd<'_>,
) -> Result<Option<(OwnedFd, Option<SocketAddr>)>> {
    use nix::sys::socket::{accept4, getpeername, SockaddrStorage};
    use std::os::fd::FromRawFd;
    loop {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        match accept4(listener.as_raw_fd(), flags) {
            Ok(raw) => {
                // SAFETY: accept4 has just made this descriptor; it is nobody
                // else's.
                let fd = unsafe { OwnedFd::from_raw_fd(raw) };
                // A peer that is gone already has no name: take the next one.
                let Ok(name) = getpeername::<SockaddrStorage>(raw) else { continue };
                let addr = if let Some(v4) = name.as_sockaddr_in() {
                    Some(SocketAddr::V4((*v4).into()))
                } else {
                    name.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into()))
                };
                return Ok(Some((fd, addr)));
            }
            Err(nix::Error::EAGAIN) => return Ok(None),
            Err(nix::Error::ECONNABORTED | nix::Error::EINTR | nix::Error::EPROTO) => {}
            Err(e) => return Err(nix_error("accept", e)),
        }
    }
}
