//! What is put right in the header of a message that a user of ours submits.
//!
//! *Runs in* smtp, in submission sessions (logged in, or over the socket) on any
//! port; mail from elsewhere is not touched.  Each field is looked at once as it
//! streams by, and what has to change becomes an [`Edit`]:
//!
//! * Date, Message-ID and From are added where they are missing;
//! * addresses without a domain get ours;
//! * Bcc, Return-Path, results that claim to be our own, and with `mask-src` the
//!   client's Received fields, are taken out;
//! * two of From, Date, To or Message-ID are refused: readers differ in which
//!   one they show;
//! * where `senders` says who may write as whom, From and Sender are held to it
//!   too; where nothing says it, Sender tells who logged in if From does not.
//!
//! RFC 6409 8 (8.1 of Sender); RFC 5322 3.6; RFC 8601 5.

use crate::proto::addr::{list, Charset, Domain, Mailbox};
use crate::proto::authres::is_ours;
use crate::proto::date::DateTime;
use crate::proto::limits;
use crate::proto::smtp::edit::{Edit, EditError, Edits};
use crate::proto::smtp::header::{End, Field};

/// What a session knows.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The domain of addresses that have none, and of the Message-ID.
    pub domain: Domain,
    /// The user, for a From that is missing.
    pub author: Option<Mailbox>,
    /// `author` logged in and may write as anybody: if From has another, Sender
    /// tells who it was, and no Sender tells of somebody else.
    pub tell_sender: bool,
    /// Whose results RFC 8601 5 wants gone: our own, which nobody else may write.
    pub authserv_id: String,
    /// Received fields of the client are taken out.
    pub mask_src: bool,
    /// For a Date that is missing.
    pub now: DateTime,
    /// For a Message-ID that is missing: what is before the `@`, never used twice.
    pub unique: String,
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixupError {
    /// The field stands twice.
    Twice(&'static str),
    /// From or Sender has an address that the user may not use, or none that
    /// can be read without doubt.
    NotOwned,
    /// More would have to be changed than the limits allow.
    TooMany,
}

impl From<EditError> for FixupError {
    fn from(_: EditError) -> FixupError {
        FixupError::TooMany
    }
}

/// Fields that stand at most once.
const ONCE: [&str; 4] = ["From", "Date", "To", "Message-ID"];

/// Fields whose addresses are completed.
const ADDRESSES: [&str; 9] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
];

/// Looks at the fields of one message.
#[derive(Debug)]
pub struct Fixup {
    rules: Rules,
    edits: Edits,
    seen: [u8; ONCE.len()],
    /// The addresses of From; `None` for one that cannot be read without doubt.
    from: Vec<Option<Mailbox>>,
    sender: Option<Option<Mailbox>>,
    error: Option<FixupError>,
}

impl Fixup {
    /// Begins a message.
    pub fn new(rules: Rules) -> Fixup {
        Fixup {
            rules,
            edits: Edits::new(),
            seen: [0; ONCE.len()],
            from: Vec::new(),
            sender: None,
            error: None,
        }
    }

    /// Looks at the next field.
    pub fn field(&mut self, field: &Field<'_>) {
        if self.error.is_none() {
            self.error = self.look(field).err();
        }
    }

    /// The addresses under which the message claims to be written: ask of each
    /// whether the user owns it, where that matters.
    pub fn authors(&self) -> impl Iterator<Item = &Mailbox> {
        self.from.iter().chain(&self.sender).flatten()
    }

    /// The header is over.  `owned` says for each of [`Fixup::authors`] whether
    /// the user may use it; `None` where nobody asked for that.
    pub fn finish(
        mut self,
        end: End,
        owned: Option<&dyn Fn(&Mailbox) -> bool>,
    ) -> Result<Edits, FixupError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut added = String::new();
        let [from, date, _, message_id] = self.seen;
        let sender = self.missing_sender(owned)?;
        if from == 0 {
            if let Some(author) = &self.rules.author {
                added.push_str(&format!("From: {author}\r\n"));
            } else if owned.is_some() {
                return Err(FixupError::NotOwned);
            }
        } else if let Some(sender) = sender {
            added.push_str(&format!("Sender: {sender}\r\n"));
        }
        if date == 0 {
            added.push_str(&format!("Date: {}\r\n", self.rules.now.rfc5322()));
        }
        if message_id == 0 {
            added.push_str(&format!(
                "Message-ID: <{}@{}>\r\n",
                self.rules.unique, self.rules.domain
            ));
        }
        self.edits.push(Edit::Insert { offset: end.offset, bytes: added.into_bytes() })?;
        separate(&mut self.edits, end)?;
        Ok(self.edits)
    }

    fn look(&mut self, field: &Field<'_>) -> Result<(), FixupError> {
        for (name, seen) in ONCE.iter().zip(&mut self.seen) {
            if field.is(name) {
                *seen = seen.saturating_add(1);
                if *seen > 1 {
                    return Err(FixupError::Twice(name));
                }
            }
        }
        if self.is_unwanted(field) || self.is_another_sender(field) {
            let len = field.end.saturating_sub(field.start);
            self.edits.push(Edit::Delete { offset: field.start, len })?;
            return Ok(());
        }
        if ADDRESSES.iter().any(|name| field.is(name)) {
            self.addresses(field)?;
        }
        Ok(())
    }

    fn is_unwanted(&self, field: &Field<'_>) -> bool {
        if field.is("Bcc") || field.is("Resent-Bcc") || field.is("Return-Path") {
            return true;
        }
        if field.is("Received") {
            return self.rules.mask_src;
        }
        field.is("Authentication-Results") && is_ours(field.value, &self.rules.authserv_id)
    }

    /// A Sender that names anybody but the one who logged in.
    fn is_another_sender(&self, field: &Field<'_>) -> bool {
        let Some(author) = self.rules.author.as_ref().filter(|_| self.rules.tell_sender) else {
            return false;
        };
        if !field.is("Sender") {
            return false;
        }
        let mut found = list::mailboxes(field.value);
        let (one, more) = (found.next(), found.next());
        let named = one.filter(|_| more.is_none() && self.sender.is_none()).and_then(|one| {
            let spec = field.value.get(one.spec.clone())?;
            Mailbox::parse(spec, Charset::Utf8).ok()
        });
        named.is_none_or(|named| named.key() != author.key())
    }

    /// Completes the addresses of a field and keeps those of From and Sender.
    fn addresses(&mut self, field: &Field<'_>) -> Result<(), FixupError> {
        let (is_from, is_sender) = (field.is("From"), field.is("Sender"));
        let second = is_sender && self.sender.is_some();
        let mut count: usize = 0;
        for found in list::mailboxes(field.value) {
            count = count.saturating_add(1);
            let spec = field.value.get(found.spec.clone()).unwrap_or_default();
            let mut written = spec.to_vec();
            if found.domain.is_empty() && !spec.ends_with(b"@") {
                written.push(b'@');
                written.extend_from_slice(self.rules.domain.as_str().as_bytes());
            }
            let mailbox = Mailbox::parse(&written, Charset::Utf8).ok();
            if let (Some(_), Some(at)) = (&mailbox, written.get(spec.len()..)) {
                let end = u64::try_from(found.spec.end).unwrap_or(u64::MAX);
                let offset = field.value_start.saturating_add(end);
                self.edits.push(Edit::Insert { offset, bytes: at.to_vec() })?;
            }
            if is_from {
                self.from.push(mailbox);
            } else if is_sender {
                self.sender = Some(mailbox);
            }
        }
        // What has no address, or more than are read, has one that is in doubt.
        if is_from && (count == 0 || count >= limits::HEADER_ADDRESSES.size()) {
            self.from.push(None);
        }
        // Of two Sender fields readers show the one or the other.
        if is_sender && (count != 1 || second) {
            self.sender = Some(None);
        }
        Ok(())
    }

    /// The Sender that From needs if it has several authors, or another than the
    /// one who logged in.  RFC 5322 3.6.2, RFC 6409 8.1.
    ///
    /// Where ownership matters, every address must be the user's: in
    /// `me@here <boss@here>` readers show the one, filters judge the other.
    fn missing_sender(
        &self,
        owned: Option<&dyn Fn(&Mailbox) -> bool>,
    ) -> Result<Option<Mailbox>, FixupError> {
        let several = self.from.len() > 1;
        let Some(owned) = owned else {
            let is = |author: &Mailbox| self.from.iter().flatten().any(|m| m.key() == author.key());
            let wanted = |author: &Mailbox| several || self.rules.tell_sender && !is(author);
            let author = self.rules.author.clone().filter(|_| self.sender.is_none());
            return Ok(author.filter(wanted));
        };
        let own = |m: &Option<Mailbox>| m.as_ref().is_some_and(owned);
        if !self.from.iter().chain(&self.sender).all(own) {
            return Err(FixupError::NotOwned);
        }
        let wanted = several && self.sender.is_none();
        Ok(self.from.first().cloned().flatten().filter(|_| wanted))
    }
}

/// Parts header and body where the client did not: the trace fields above a
/// message that begins with its body would make the body part of the header.
pub fn separate(edits: &mut Edits, end: End) -> Result<(), EditError> {
    if end.missing_line {
        edits.push(Edit::Insert { offset: end.offset, bytes: b"\r\n".to_vec() })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::smtp::header::HeaderReader;

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text.as_bytes(), Charset::Utf8).unwrap()
    }

    fn rules() -> Rules {
        Rules {
            domain: Domain::parse(b"mx.example", Charset::Ascii).unwrap(),
            author: Some(mailbox("joe@example.com")),
            tell_sender: false,
            authserv_id: "mx.example".into(),
            mask_src: false,
            now: DateTime::utc(1_795_473_261),
            unique: "u1".into(),
        }
    }

    fn fix_with(
        rules: Rules,
        body: &str,
        owned: Option<&dyn Fn(&Mailbox) -> bool>,
    ) -> Result<String, FixupError> {
        let mut fixup = Fixup::new(rules);
        let mut reader = HeaderReader::new();
        for chunk in body.as_bytes().chunks(5) {
            reader.feed(chunk, |f| fixup.field(&f)).unwrap();
        }
        let end = reader.finish(|f| fixup.field(&f));
        let edits = fixup.finish(end, owned)?;
        let mut out = Vec::new();
        let mut splice = edits.splice();
        splice.feed(body.as_bytes(), |b| out.extend_from_slice(b));
        splice.finish(|b| out.extend_from_slice(b));
        assert_eq!(edits.size(body.len() as u64), Ok(out.len() as u64));
        Ok(String::from_utf8(out).unwrap())
    }

    fn fix(body: &str) -> Result<String, FixupError> {
        fix_with(rules(), body, None)
    }

    const WHOLE: &str =
        "From: a@b\r\nDate: Mon, 23 Nov 2026 22:34:21 +0000\r\nMessage-ID: <x@y>\r\nTo: c@d\r\n";

    #[test]
    fn a_complete_message_stays_as_it_is() {
        let body = format!("{WHOLE}Subject: s\r\n\r\nhello\r\n");
        assert_eq!(fix(&body).unwrap(), body);
    }

    #[test]
    fn what_is_missing_is_added_at_the_end_of_the_header() {
        assert_eq!(
            fix("To: c@d\r\n\r\nhello\r\n").unwrap(),
            "To: c@d\r\nFrom: joe@example.com\r\nDate: Mon, 23 Nov 2026 22:34:21 +0000\r\n\
             Message-ID: <u1@mx.example>\r\n\r\nhello\r\n"
        );
    }

    #[test]
    fn header_and_body_are_parted() {
        for body in ["hello\r\n", " x: y\r\n", ""] {
            let fixed = fix(body).unwrap();
            let (header, rest) = fixed.split_once("\r\n\r\n").unwrap();
            assert!(header.starts_with("From: ") && rest == body, "{fixed}");
        }
    }

    #[test]
    fn addresses_without_domain_are_completed() {
        let body = "From: joe\r\nTo: ann, Bob <bob>,\r\n\t\"j q\" (c),x@y,G:eve;\r\n\
                    Cc: undisclosed recipients\r\nDate: x\r\nMessage-ID: y\r\n\r\n";
        assert_eq!(
            fix(body).unwrap(),
            "From: joe@mx.example\r\nTo: ann@mx.example, Bob <bob@mx.example>,\r\n\
             \t\"j q\"@mx.example (c),x@y,G:eve@mx.example;\r\n\
             Cc: undisclosed recipients\r\nDate: x\r\nMessage-ID: y\r\n\r\n"
        );
    }

    #[test]
    fn bcc_return_path_and_our_own_results_go() {
        let body = format!(
            "Return-Path: <x@y>\r\nReceived: from laptop\r\nbcc: secret@x,\r\n\tmore@x\r\n{WHOLE}\
             Authentication-Results: (c) MX.example; spf=pass\r\n\
             Authentication-Results: \"mx\\.example\"; spf=pass\r\n\
             Authentication-Results: mx\u{ff0e}example; spf=pass\r\n\
             Authentication-Results: \"mx.example; spf=pass\r\n\
             Authentication-Results: other.example; spf=pass\r\nResent-Bcc: z@z\r\n\r\nBcc: body\r\n"
        );
        let kept =
            format!("{WHOLE}Authentication-Results: other.example; spf=pass\r\n\r\nBcc: body\r\n");
        assert_eq!(fix(&body).unwrap(), format!("Received: from laptop\r\n{kept}"));
        let masked = Rules { mask_src: true, ..rules() };
        assert_eq!(fix_with(masked, &body, None).unwrap(), kept);
    }

    #[test]
    fn fields_that_stand_twice_are_refused() {
        for (name, line) in [
            ("From", "FROM: z@z"),
            ("Date", "date : x"),
            ("To", "to: z"),
            ("Message-ID", "message-id: z"),
        ] {
            let body = format!("{WHOLE}{line}\r\n\r\n");
            assert_eq!(fix(&body), Err(FixupError::Twice(name)));
        }
        assert!(fix(&format!("{WHOLE}\r\nFrom: body\r\n")).is_ok());
    }

    #[test]
    fn from_is_held_to_the_senders_of_the_user() {
        let owned: &dyn Fn(&Mailbox) -> bool = &|m| m.key() == "joe@example.com";
        let check = |from: &str| {
            let body = format!("{from}Date: x\r\nMessage-ID: y\r\n\r\n");
            fix_with(rules(), &body, Some(owned))
        };
        assert!(check("From: Joe <JOE@example.com>\r\n").is_ok());
        assert!(check("")
            .unwrap()
            .starts_with("Date: x\r\nMessage-ID: y\r\nFrom: joe@example.com"));
        for from in [
            "From: eve@example.com\r\n",
            "From: joe\r\n",
            "From: joe@example.com <eve@x>\r\n",
            "From: joe@example.com, eve@x\r\n",
            "From: <eve@x> joe@example.com\r\n",
            "From: g:eve@x;, joe@example.com\r\n",
            "From: \r\n",
            "From: joe@example.com <joe@example.com eve@x>\r\n",
            "From: <joe(x)@example.com>\r\n",
            "From: joe@example.com\r\nSender: eve@x\r\n",
            "From: joe@example.com\r\nSender: joe@example.com, eve@x\r\n",
            "From: joe@example.com,\r\n @x\r\n",
            "Sender: eve@x\r\n",
            "From: joe@example.com\r\nSender: eve@x\r\nSender: joe@example.com\r\n",
        ] {
            assert_eq!(check(from), Err(FixupError::NotOwned), "{from}");
        }
        let nobody = Rules { author: None, ..rules() };
        assert_eq!(fix_with(nobody, "\r\n", Some(owned)), Err(FixupError::NotOwned));
    }

    #[test]
    fn several_authors_need_a_sender() {
        let owned: &dyn Fn(&Mailbox) -> bool = &|m| m.domain().as_str() == "example.com";
        let body = "From: joe@example.com, ann@example.com\r\nDate: x\r\nMessage-ID: y\r\n\r\n";
        let with = "From: joe@example.com, ann@example.com\r\nDate: x\r\nMessage-ID: y\r\n\
                    Sender: joe@example.com\r\n\r\n";
        assert_eq!(fix_with(rules(), body, Some(owned)).unwrap(), with);
        assert_eq!(fix(body).unwrap(), with);
        assert_eq!(fix(with).unwrap(), with);
    }

    #[test]
    fn sender_tells_who_logged_in_where_from_does_not() {
        let rest = "Date: x\r\nMessage-ID: y\r\n";
        let told = Rules { tell_sender: true, ..rules() };
        for (given, kept, tells) in [
            ("From: eve@x\r\n", "From: eve@x\r\n", true),
            ("From: joe\r\n", "From: joe@mx.example\r\n", true),
            ("From: \r\n", "From: \r\n", true),
            ("From: joe@example.com <eve@x>\r\n", "From: joe@example.com <eve@x>\r\n", true),
            ("From: eve@x\r\nSender: ann@x\r\n", "From: eve@x\r\n", true),
            ("Sender: ann\r\nFrom: eve@x\r\n", "From: eve@x\r\n", true),
            ("From: eve@x\r\nSender: joe@example.com, ann@x\r\n", "From: eve@x\r\n", true),
            ("From: Joe <JOE@example.com>\r\n", "From: Joe <JOE@example.com>\r\n", false),
            ("From: joe@example.com\r\nSender: ann@x\r\n", "From: joe@example.com\r\n", false),
            (
                "From: eve@x\r\nSender: J <joe@example.com>\r\nSender: ann@x\r\n",
                "From: eve@x\r\nSender: J <joe@example.com>\r\n",
                false,
            ),
        ] {
            let fixed = fix_with(told.clone(), &format!("{given}{rest}\r\n"), None).unwrap();
            let sender = if tells { "Sender: joe@example.com\r\n" } else { "" };
            assert_eq!(fixed, format!("{kept}{rest}{sender}\r\n"), "{given}");
        }
        let body = format!("From: eve@x\r\nSender: ann@x\r\n{rest}\r\n");
        assert_eq!(fix(&body).unwrap(), body, "who did not log in is not told of");
        let nameless = Rules { author: None, ..told };
        assert_eq!(fix_with(nameless, &body, None).unwrap(), body, "a login that is no address");
    }

    #[test]
    fn changes_without_end_are_refused() {
        let body = format!("From: a@b\r\n{}\r\n", "Bcc: x\r\n".repeat(limits::EDITS.size() + 1));
        assert_eq!(fix(&body), Err(FixupError::TooMany));
    }
}
