//! Fuzz target: addresses as the envelope and as header fields have them.

use super::{list, Charset, Domain, ForwardPath, Mailbox, ReversePath};
use crate::proto::limits;

/// Fuzz target: any octets as an address, a path, a domain and an address list.
///
/// What is taken can be written and read again, is harmless wherever it is
/// shown, and the lenient reader of header fields sees the same address in it.
pub fn fuzz_address(bytes: &[u8]) {
    for charset in [Charset::Ascii, Charset::Utf8] {
        if let Ok(mailbox) = Mailbox::parse(bytes, charset) {
            same(&mailbox, charset);
            assert!(charset == Charset::Utf8 || mailbox.is_ascii());
        }
        if let Ok(domain) = Domain::parse(bytes, charset) {
            assert_eq!(Domain::parse(domain.as_str().as_bytes(), charset).as_ref(), Ok(&domain));
            let literal = domain.as_str().starts_with('[');
            assert_eq!(domain.address().is_some(), literal);
            assert!(domain.as_str().len() <= limits::SMTP_DOMAIN.size());
        }
        if let Ok(ReversePath::Mailbox(mailbox)) = ReversePath::parse(bytes, charset) {
            same(&mailbox, charset);
            assert!(bytes.len() <= limits::SMTP_PATH.size());
        }
        if let Ok(ForwardPath::Mailbox(mailbox)) = ForwardPath::parse(bytes, charset) {
            same(&mailbox, charset);
        }
    }
    assert!(
        Mailbox::parse(bytes, Charset::Ascii).is_err()
            || Mailbox::parse(bytes, Charset::Ascii) == Mailbox::parse(bytes, Charset::Utf8)
    );
    let entries = list::parse(bytes);
    assert!(entries.len() <= limits::HEADER_ADDRESSES.size());
    let mut open = false;
    for entry in &entries {
        match entry {
            list::Entry::GroupStart(_) => assert!(!std::mem::replace(&mut open, true)),
            list::Entry::GroupEnd => assert!(std::mem::replace(&mut open, false)),
            list::Entry::Mailbox(m) => assert!(bytes.get(m.spec.clone()).is_some()),
        }
    }
    assert!(!open, "groups are closed");
}

fn same(mailbox: &Mailbox, charset: Charset) {
    let text = mailbox.to_string();
    assert!(!text.chars().any(char::is_control));
    assert_eq!(Mailbox::parse(text.as_bytes(), charset).as_ref(), Ok(mailbox));
    let again = Mailbox::new(mailbox.local(), mailbox.domain().clone());
    assert_eq!(again.as_ref(), Ok(mailbox));
    let upper = Mailbox::new(&mailbox.local().to_ascii_uppercase(), mailbox.domain().clone());
    assert_eq!(upper.map(|m| m.key()), Ok(mailbox.key()), "case does not count");
    assert!(!mailbox.without_detail('+').local().is_empty());
    // Filters judge what readers show.
    for written in [text.clone(), format!("x <{text}> (y)"), format!("g: {text};")] {
        let found: Vec<_> = list::mailboxes(written.as_bytes()).collect();
        let [one] = found.as_slice() else {
            assert_eq!(found.len(), 1, "{written}");
            return;
        };
        assert_eq!(one.local, mailbox.local().as_bytes(), "{written}");
        assert_eq!(one.domain, mailbox.domain().as_str().as_bytes(), "{written}");
        let spec = written.as_bytes().get(one.spec.clone()).unwrap_or_default();
        assert_eq!(Mailbox::parse(spec, charset).as_ref(), Ok(mailbox), "{written}");
    }
}
