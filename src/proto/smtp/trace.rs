//! The Received field that every message gets on its way in.
//!
//! *Runs in* smtp.  What a client says of itself (HELO), and what its DNS says
//! (rDNS), is hostile: of both only the bytes of host names get through, the
//! rest shows as `?`, so that neither ends the field nor opens a comment.
//!
//! RFC 5321 4.4; RFC 3848 and RFC 6531 4.3 (protocol names).

use std::net::IpAddr;

use crate::proto::addr::{Charset, Domain, Mailbox};
use crate::proto::chars;
use crate::proto::date::DateTime;
use crate::proto::smtp::command::HeloName;

/// What the field is made of.
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    /// Who sends; `None` with `mask-src`: there is no from clause then.
    pub from: Option<Peer<'a>>,
    /// Our name.
    pub by: &'a str,
    /// How it came.
    pub with: With,
    /// Protocol, cipher and bits, as `TLSv1.3:TLS_AES_256_GCM_SHA384:256`.
    pub tls: Option<&'a str>,
    /// Who logged in, where `received-auth` asks for it.
    pub user: Option<&'a str>,
    /// The queue id.
    pub id: &'a str,
    /// The recipient, if it is the only one: others are nobody's business.
    pub recipient: Option<&'a Mailbox>,
    /// When it came.
    pub date: DateTime,
}

/// The sending host or user.
#[derive(Clone, Debug)]
pub enum Peer<'a> {
    /// Over the network.
    Host {
        /// The name that it gave.
        helo: Option<&'a HeloName>,
        /// The name that its address has.
        rdns: Option<&'a str>,
        /// Its address.
        address: IpAddr,
    },
    /// Over the socket.
    Local {
        /// The peer's user id, as the kernel tells.
        uid: u32,
    },
}

/// The protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct With {
    /// LMTP instead of SMTP.
    pub lmtp: bool,
    /// EHLO instead of HELO.
    pub esmtp: bool,
    /// The transaction has SMTPUTF8.
    pub utf8: bool,
    /// TLS is active.
    pub tls: bool,
    /// Somebody logged in.
    pub auth: bool,
}

impl With {
    /// The registered name, `ESMTPSA` and its like.
    pub fn name(self) -> String {
        let mut name = String::from(match (self.utf8, self.lmtp) {
            (true, true) => "UTF8LMTP",
            (true, false) => "UTF8SMTP",
            (false, true) => "LMTP",
            (false, false) if self.esmtp || self.tls || self.auth => "ESMTP",
            (false, false) => "SMTP",
        });
        if self.tls {
            name.push('S');
        }
        if self.auth {
            name.push('A');
        }
        name
    }
}

impl Trace<'_> {
    /// The whole field with its CRLF, folded at its clauses.
    pub fn field(&self) -> String {
        let mut out = String::from("Received: ");
        if let Some(from) = &self.from {
            out.push_str(&format!("from {}\r\n\t", from.clause()));
        }
        out.push_str(&format!("by {} (rmail) with {}", host(self.by), self.with.name()));
        out.push_str(&format!(" id {}", host(self.id)));
        if let Some(comment) = self.comment() {
            out.push_str(&format!("\r\n\t({comment})"));
        }
        if let Some(recipient) = self.recipient {
            out.push_str(&format!("\r\n\tfor <{recipient}>"));
        }
        out.push_str(&format!(";\r\n\t{}\r\n", self.date.rfc5322()));
        out
    }

    fn comment(&self) -> Option<String> {
        let mut words = Vec::new();
        words.extend(self.tls.map(ctext));
        if let Some(user) = self.user {
            words.push(String::from("auth=yes"));
            words.push(format!("user={}", ctext(user)));
        }
        (!words.is_empty()).then(|| words.join(" "))
    }
}

impl Peer<'_> {
    /// Extended-Domain = Domain FWS "(" TCP-info ")"
    fn clause(&self) -> String {
        match self {
            Peer::Host { helo, rdns, address } => {
                let helo = helo.map_or("unknown", HeloName::as_str);
                let known = rdns.filter(|n| Domain::parse(n.as_bytes(), Charset::Ascii).is_ok());
                format!(
                    "{} ({} {})",
                    host(helo),
                    known.unwrap_or("unknown"),
                    Domain::from(*address)
                )
            }
            Peer::Local { uid } => format!("localhost (uid {uid} [local])"),
        }
    }
}

/// A host name as it may stand outside of a comment: a domain, an address
/// literal, or something of their bytes.
fn host(name: &str) -> String {
    if Domain::parse(name.as_bytes(), Charset::Ascii).is_ok() {
        return name.to_owned();
    }
    let shown: String = name
        .chars()
        .map(
            |ch| if ch.is_ascii_alphanumeric() || matches!(ch, '.' | '-' | '_') { ch } else { '?' },
        )
        .collect();
    if shown.is_empty() {
        String::from("unknown")
    } else {
        shown
    }
}

/// ctext without parentheses and backslashes.  RFC 5322 3.2.2.
fn ctext(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'(' | b')' | b'\\' => '?',
            b if chars::is_vchar(b) => char::from(b),
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace<'a>(helo: &'a HeloName, rdns: Option<&'a str>) -> Trace<'a> {
        Trace {
            from: Some(Peer::Host {
                helo: Some(helo),
                rdns,
                address: "192.0.2.7".parse().unwrap(),
            }),
            by: "mx.example",
            with: With { esmtp: true, ..With::default() },
            tls: None,
            user: None,
            id: "abcdefghijkl",
            recipient: None,
            date: DateTime::utc(1_795_473_261),
        }
    }

    #[test]
    fn the_whole_field() {
        let helo = HeloName::parse(b"client.example").unwrap();
        let to = Mailbox::parse(b"joe@here.example", Charset::Ascii).unwrap();
        let mut t = trace(&helo, Some("host.example"));
        assert_eq!(
            t.field(),
            "Received: from client.example (host.example [192.0.2.7])\r\n\
             \tby mx.example (rmail) with ESMTP id abcdefghijkl;\r\n\
             \tMon, 23 Nov 2026 22:34:21 +0000\r\n"
        );
        t.recipient = Some(&to);
        t.tls = Some("TLSv1.3:TLS_AES_256_GCM_SHA384:256");
        t.user = Some("joe@here.example");
        t.with = With { esmtp: true, tls: true, auth: true, ..With::default() };
        t.from = None;
        assert_eq!(
            t.field(),
            "Received: by mx.example (rmail) with ESMTPSA id abcdefghijkl\r\n\
             \t(TLSv1.3:TLS_AES_256_GCM_SHA384:256 auth=yes user=joe@here.example)\r\n\
             \tfor <joe@here.example>;\r\n\
             \tMon, 23 Nov 2026 22:34:21 +0000\r\n"
        );
    }

    #[test]
    fn the_socket_names_the_user() {
        let helo = HeloName::parse(b"x").unwrap();
        let t = Trace { from: Some(Peer::Local { uid: 1000 }), ..trace(&helo, None) };
        assert!(t.field().starts_with("Received: from localhost (uid 1000 [local])\r\n"));
    }

    #[test]
    fn hostile_names_stay_in_their_place() {
        for (helo, shown) in [
            ("[192.0.2.9]", "[192.0.2.9]"),
            ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
            ("a(b)c", "a?b?c"),
            ("x;by", "x?by"),
            ("<script>", "?script?"),
            ("\"", "?"),
            ("my_pc", "my_pc"),
        ] {
            let name = HeloName::parse(helo.as_bytes()).unwrap();
            let field = trace(&name, Some("evil)\r\nX: y")).field();
            let first = field.lines().next().unwrap();
            assert_eq!(first, format!("Received: from {shown} (unknown [192.0.2.7])"));
        }
        let name = HeloName::parse(b"a").unwrap();
        let t = Trace { user: Some("x)\r\nY: (\\"), ..trace(&name, None) };
        assert!(t.field().contains("(auth=yes user=x???Y:???);\r\n"));
    }

    #[test]
    fn protocol_names() {
        let w = With::default();
        assert_eq!(w.name(), "SMTP");
        assert_eq!(With { esmtp: true, ..w }.name(), "ESMTP");
        assert_eq!(With { esmtp: true, tls: true, ..w }.name(), "ESMTPS");
        assert_eq!(With { esmtp: true, auth: true, ..w }.name(), "ESMTPA");
        assert_eq!(
            With { esmtp: true, tls: true, auth: true, utf8: true, ..w }.name(),
            "UTF8SMTPSA"
        );
        assert_eq!(With { lmtp: true, esmtp: true, ..w }.name(), "LMTP");
    }

    #[test]
    fn a_scoped_address_has_no_scope_here() {
        let helo = HeloName::parse(b"a").unwrap();
        let mut t = trace(&helo, None);
        t.from = Some(Peer::Host { helo: None, rdns: None, address: "fe80::1".parse().unwrap() });
        assert!(t.field().starts_with("Received: from unknown (unknown [IPv6:fe80::1])\r\n"));
    }
}
