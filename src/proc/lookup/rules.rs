//! The rules: which action takes a recipient.  First match wins.
//!
//! Pure but for the tables.  All conditions of a rule must hold.  A table that
//! cannot be asked ends the whole evaluation: a rule that cannot be decided
//! must not let a later one decide (smtpd does the same, with a 451).

use super::tables::Tables;
use crate::base::clock::Deadline;
use crate::conf::ast::{Cond, Config, For, From, Match, Pattern};
use crate::disk::table::{Service, Unavailable};
use crate::ipc::smtp_lookup::Origin;
use crate::proto::addr::Mailbox;
use crate::proto::text::idna;

/// What rules are asked about.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The session; for the daemon's own envelopes the default.
    pub origin: &'a Origin,
    /// True: a product of expansion, whose `from` is this machine.
    pub internal: bool,
    /// The sender, empty for `<>`.
    pub sender: &'a str,
    /// The recipient.
    pub rcpt: &'a Mailbox,
}

/// What rules are evaluated with.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Its tables.
    pub tables: &'a Tables,
    /// The server's name: with `localhost` what `for local` means.
    pub server: &'a str,
}

impl<'a> Rules<'a> {
    /// The first rule that matches; `None`: no rule does.
    pub fn evaluate(
        &self,
        facts: &Facts<'_>,
        deadline: Deadline,
    ) -> Result<Option<&'a Match>, Unavailable> {
        for rule in self.config.rules() {
            if self.matches(rule, facts, deadline)? {
                return Ok(Some(rule));
            }
        }
        Ok(None)
    }

    fn matches(&self, m: &Match, f: &Facts<'_>, d: Deadline) -> Result<bool, Unavailable> {
        // The cheap ones first: any of them decides alone.
        Ok(holds(m.tls.as_ref(), |()| Ok(f.origin.tls))?
            && holds(Some(&m.from), |from| self.from(from, f, d))?
            && holds(Some(&m.dest), |dest| self.dest(dest, f, d))?
            && holds(m.auth.as_ref(), |p| self.auth(p.as_ref(), f, d))?
            && holds(m.tag.as_ref(), |p| match &f.origin.tag {
                Some(tag) => self.ask(p, Service::Text, tag, d),
                None => Ok(false),
            })?
            && holds(m.helo.as_ref(), |p| self.ask(p, Service::Domain, &f.origin.helo, d))?
            && holds(m.mail_from.as_ref(), |p| self.sender(p, f, d))?
            && holds(m.rcpt_to.as_ref(), |p| self.rcpt(p, f, d))?)
    }

    fn from(&self, from: &From, f: &Facts<'_>, d: Deadline) -> Result<bool, Unavailable> {
        let here = f.internal || f.origin.addr.is_none();
        match from {
            From::Any => Ok(true),
            From::Local => Ok(here || f.origin.addr.is_some_and(is_loopback)),
            From::Socket => Ok(!f.internal && f.origin.addr.is_none()),
            From::Src(p) => {
                let addr = f.origin.addr.filter(|_| !here).map(|a| a.to_canonical().to_string());
                self.ask(p, Service::NetAddr, addr.as_deref().unwrap_or("local"), d)
            }
            From::Rdns(None) => Ok(!here && f.origin.rdns.is_some()),
            From::Rdns(Some(p)) => {
                let name =
                    if here { "local" } else { f.origin.rdns.as_deref().unwrap_or("<unknown>") };
                self.ask(p, Service::Domain, name, d)
            }
            From::Auth(p) => self.auth(p.as_ref(), f, d),
            From::MailFrom(p) => self.sender(p, f, d),
        }
    }

    fn dest(&self, dest: &For, f: &Facts<'_>, d: Deadline) -> Result<bool, Unavailable> {
        let domain = f.rcpt.domain().to_ascii();
        match dest {
            For::Any => Ok(true),
            For::Local => Ok(domain == "localhost" || domain == idna::domain_key(self.server)),
            For::Domain(p) => self.either(p, Service::Domain, &domain, f.rcpt.domain().as_str(), d),
            For::RcptTo(p) => self.rcpt(p, f, d),
        }
    }

    fn auth(&self, p: Option<&Pattern>, f: &Facts<'_>, d: Deadline) -> Result<bool, Unavailable> {
        let Some(user) = f.origin.user.as_deref().filter(|_| f.origin.authenticated) else {
            return Ok(false);
        };
        match p {
            None => Ok(true),
            Some(p) if user.contains('@') => {
                Ok(self.ask(p, self.mail_addr(), user, d)?
                    || self.ask(p, Service::Text, user, d)?)
            }
            Some(p) => self.ask(p, Service::Text, user, d),
        }
    }

    fn sender(&self, p: &Pattern, f: &Facts<'_>, d: Deadline) -> Result<bool, Unavailable> {
        // The null sender has a name of its own, and `@` means it too.
        let sender = if f.sender.is_empty() { "<>" } else { f.sender };
        self.ask(p, self.mail_addr(), sender, d)
    }

    fn rcpt(&self, p: &Pattern, f: &Facts<'_>, d: Deadline) -> Result<bool, Unavailable> {
        let local = f.rcpt.local();
        let rcpt = format!("{local}@{}", f.rcpt.domain().to_ascii());
        let written = format!("{local}@{}", f.rcpt.domain().as_str());
        self.either(p, self.mail_addr(), &rcpt, &written, d)
    }

    /// Asks for the form in A-labels, and regular expressions, which may be
    /// written for U-labels, also for the form that the client wrote.
    fn either(
        &self,
        p: &Pattern,
        plain: Service,
        ascii: &str,
        written: &str,
        d: Deadline,
    ) -> Result<bool, Unavailable> {
        Ok(self.ask(p, plain, ascii, d)?
            || (p.regex && ascii != written && self.ask(p, plain, written, d)?))
    }

    fn mail_addr(&self) -> Service {
        Service::MailAddr(self.config.sub_addr_delim())
    }

    fn ask(
        &self,
        p: &Pattern,
        plain: Service,
        key: &str,
        d: Deadline,
    ) -> Result<bool, Unavailable> {
        let service = if p.regex { Service::Regex } else { plain };
        Ok(self.tables.ask(&p.table, service, key, d)?.is_some())
    }
}

/// A condition that is not there holds; `!` turns it round.
fn holds<T>(
    cond: Option<&Cond<T>>,
    test: impl FnOnce(&T) -> Result<bool, Unavailable>,
) -> Result<bool, Unavailable> {
    match cond {
        None => Ok(true),
        Some(c) => Ok(test(&c.is)? != c.not),
    }
}

/// Loopback, also as an IPv4 address inside IPv6.
fn is_loopback(addr: std::net::IpAddr) -> bool {
    addr.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf;
    use crate::proto::addr::Charset;

    /// Whether the rule, the only one, takes it.
    fn takes(rule: &str, origin: &Origin, internal: bool, sender: &str, rcpt: &str) -> bool {
        let text = format!(
            "table nets {{ 192.0.2.0/24, \"local\" }}\ntable doms {{ \"*.example.org\" }}\naction x mbox\n\
             listen on lo0 tag in\nlisten on lo0 port 26 tag out\n{rule}\n"
        );
        let config = conf::parse("t", text.as_bytes(), &[], &mut conf::NoFiles)
            .unwrap_or_else(|e| panic!("{rule}: {e:?}"));
        let tables = Tables::build(&config, &[]).unwrap();
        let rules = Rules { config: &config, tables: &tables, server: "mx.example.org" };
        let rcpt = Mailbox::parse(rcpt.as_bytes(), Charset::Utf8).unwrap();
        let facts = Facts { origin, internal, sender, rcpt: &rcpt };
        rules.evaluate(&facts, Deadline::NEVER).unwrap().is_some()
    }

    fn remote() -> Origin {
        Origin {
            addr: Some("192.0.2.7".parse().unwrap()),
            rdns: Some("a.example.org".into()),
            helo: "helo.example.org".into(),
            user: None,
            authenticated: false,
            tag: Some("in".into()),
            tls: false,
        }
    }

    fn joe() -> Origin {
        Origin { user: Some("joe@example.org".into()), authenticated: true, tls: true, ..remote() }
    }

    #[test]
    fn every_condition_and_its_negation() {
        let (sender, rcpt) = ("ann@example.net", "bob+x@mx.example.org");
        for (condition, origin, holds) in [
            ("from any", remote(), true),
            ("from local", remote(), false),
            ("from local", Origin::default(), true),
            ("from local", Origin { addr: Some("127.1.2.3".parse().unwrap()), ..remote() }, true),
            ("from local", Origin { addr: Some("::1".parse().unwrap()), ..remote() }, true),
            (
                "from local",
                Origin { addr: Some("::ffff:127.0.0.1".parse().unwrap()), ..remote() },
                true,
            ),
            ("from socket", Origin::default(), true),
            ("from socket", Origin { addr: Some("::1".parse().unwrap()), ..remote() }, false),
            ("from src 192.0.2.7", remote(), true),
            ("from src <nets>", remote(), true),
            ("from src <nets>", Origin::default(), true),
            ("from src 192.0.3.0/24", remote(), false),
            ("from src regex \"^192\"", remote(), true),
            ("from rdns", remote(), true),
            ("from rdns", Origin { rdns: None, ..remote() }, false),
            ("from rdns <doms>", remote(), true),
            ("from rdns \"<unknown>\"", Origin { rdns: None, ..remote() }, true),
            ("from rdns regex \"^a[.]\"", remote(), true),
            ("from auth", joe(), true),
            ("from auth", remote(), false),
            ("from auth", Origin { user: Some("joe".into()), ..Origin::default() }, false),
            ("from auth \"joe@example.org\"", joe(), true),
            ("from auth \"@example.org\"", joe(), true),
            ("from auth ann", joe(), false),
            ("from auth regex \"^joe\"", joe(), true),
            ("from mail-from \"@example.net\"", remote(), true),
            ("from mail-from \"@example.org\"", remote(), false),
        ] {
            for (not, expected) in [("", holds), ("!", !holds)] {
                let rule = format!("match {not}{condition} for any action x");
                assert_eq!(
                    takes(&rule, &origin, false, sender, rcpt),
                    expected,
                    "{rule} {origin:?}"
                );
            }
        }
        for (condition, holds) in [
            ("for any", true),
            ("for local", true),
            ("for domain mx.example.org", true),
            ("for domain <doms>", true),
            ("for domain example.org", false),
            ("for domain regex \"^mx\"", true),
            ("for rcpt-to \"bob@mx.example.org\"", true),
            ("for rcpt-to \"bob+y@mx.example.org\"", false),
            ("for rcpt-to bob", true),
            ("for any rcpt-to \"@mx.example.org\"", true),
            ("for any rcpt-to regex \"^bob[+]x@\"", true),
            ("for any helo helo.example.org", true),
            ("for any helo <doms>", true),
            ("for any helo example.org", false),
            ("for any mail-from \"ann@*.net\"", true),
            ("for any mail-from \"<>\"", false),
            ("for any tag in", true),
            ("for any tag out", false),
            ("for any tag regex \"^i\"", true),
            ("for any tls", false),
            ("for any auth", false),
        ] {
            let rule = format!("match from any {condition} action x");
            assert_eq!(takes(&rule, &remote(), false, sender, rcpt), holds, "{rule}");
            let (head, tail) = match condition.strip_prefix("for any ") {
                Some(rest) => ("for any ", rest),
                None => ("", condition),
            };
            let rule = format!("match from any {head}!{tail} action x");
            assert_eq!(takes(&rule, &remote(), false, sender, rcpt), !holds, "{rule}");
        }
    }

    #[test]
    fn both_forms_of_a_domain_match() {
        let forms = ["bücher.example", "xn--bcher-kva.example"];
        for (written, asked) in [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(a, b)| (forms[a], forms[b]))
        {
            let rcpt = format!("joe@{asked}");
            for condition in [
                format!("for domain \"{written}\""),
                format!("for rcpt-to \"@{written}\""),
                format!("for rcpt-to \"joe@{written}\""),
                "for domain \"*.example\"".to_string(),
            ] {
                let rule = format!("match from any {condition} action x");
                assert!(takes(&rule, &remote(), false, "", &rcpt), "{rule} {rcpt}");
            }
            let rule = format!("match from any for domain \"{written}\" action x");
            assert!(!takes(&rule, &remote(), false, "", "joe@bucher.example"), "{rule}");
            let rule = format!("match from any for domain \"*.{written}\" action x");
            assert!(takes(&rule, &remote(), false, "", &format!("joe@mx.{asked}")), "{rule}");
        }
        let rule = "match from any for domain regex \"^bü\" action x";
        assert!(takes(rule, &remote(), false, "", "joe@bücher.example"));
    }

    #[test]
    fn a_rule_without_from_and_for_is_for_this_machine() {
        assert!(takes("match action x", &Origin::default(), false, "", "a@localhost"));
        assert!(!takes("match action x", &remote(), false, "", "a@localhost"));
        assert!(!takes("match action x", &Origin::default(), false, "", "a@example.net"));
    }

    #[test]
    fn products_of_expansion_are_local_and_keep_the_session() {
        assert!(takes("match from local for any action x", &remote(), true, "", "a@b.example"));
        assert!(takes(
            "match from src \"local\" for any action x",
            &remote(),
            true,
            "",
            "a@b.example"
        ));
        assert!(!takes("match from socket for any action x", &remote(), true, "", "a@b.example"));
        assert!(takes("match from any auth for any action x", &joe(), true, "", "a@b.example"));
    }

    #[test]
    fn the_null_sender_has_a_name() {
        for (rule, is) in [("\"<>\"", true), ("\"@\"", true), ("\"@example.org\"", false)] {
            let rule = format!("match from any for any mail-from {rule} action x");
            assert_eq!(takes(&rule, &remote(), false, "", "a@b.example"), is, "{rule}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let text = "action a mbox\naction b mbox\nmatch from any for domain x.example reject\n\
                    match from any for any action b\nmatch from any for any action a";
        let config = conf::parse("t", text.as_bytes(), &[], &mut conf::NoFiles).unwrap();
        let tables = Tables::build(&config, &[]).unwrap();
        let rules = Rules { config: &config, tables: &tables, server: "mx" };
        let origin = remote();
        let action = |rcpt: &str| {
            let rcpt = Mailbox::parse(rcpt.as_bytes(), Charset::Ascii).unwrap();
            let facts = Facts { origin: &origin, internal: false, sender: "", rcpt: &rcpt };
            rules.evaluate(&facts, Deadline::NEVER).unwrap().unwrap().action.clone()
        };
        assert_eq!(action("a@x.example"), None);
        assert_eq!(action("a@y.example").as_deref(), Some("b"));
    }

    #[test]
    fn a_table_that_cannot_be_asked_ends_the_evaluation() {
        let text = "table t file:/t\naction x mbox\nmatch !from src <t> for any action x\n\
                    match from any for any action x";
        let config = conf::parse("t", text.as_bytes(), &[], &mut conf::NoFiles).unwrap();
        let tables = Tables::default();
        let rules = Rules { config: &config, tables: &tables, server: "mx" };
        let rcpt = Mailbox::parse(b"a@b", Charset::Ascii).unwrap();
        let origin = remote();
        let facts = Facts { origin: &origin, internal: false, sender: "", rcpt: &rcpt };
        assert!(rules.evaluate(&facts, Deadline::NEVER).is_err());
    }
}
