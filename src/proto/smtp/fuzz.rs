//! Fuzz targets: an SMTP session from both sides, and the message between them.

use crate::proto::addr::{Charset, Domain, Mailbox};
use crate::proto::date::DateTime;
use crate::proto::limits;
use crate::proto::mime::Fields;
use crate::proto::smtp::client::{Offers, ReplyReader, Stuffer};
use crate::proto::smtp::command::{self, Command, HeloName};
use crate::proto::smtp::data::{BareLineEnds, Data, Fault, Fed, Framing, Summary};
use crate::proto::smtp::edit::{Edit, EditError, Edits};
use crate::proto::smtp::fixup::{Fixup, FixupError, Rules};
use crate::proto::smtp::handover::handover;
use crate::proto::smtp::header::{Field, HeaderReader};
use crate::proto::smtp::reply::{table, Reply};
use crate::proto::smtp::sasl::{Dialogue, SaslError, Step};
use crate::proto::smtp::server::{Action, AuthPolicy, Chunk, Config, Server, TlsPolicy};
use crate::proto::smtp::trace::{Peer, Trace, With};

/// Fuzz target: a byte that chooses a listener, then the lines of a client.
///
/// Nothing that was not allowed is done, what a command says can be said again,
/// every reply can be read by a client, and errors come to an end.
pub fn fuzz_session(bytes: &[u8]) {
    let Some((options, text)) = bytes.split_first() else { return };
    let mut server = Server::new(listener(*options));
    let mut refusals = 0_u64;
    let mut lines = text.split(|b| *b == b'\n');
    while let Some(line) = lines.next() {
        if let Ok(command) = command::parse(line, server.features()) {
            again(&command);
        }
        let had = (server.transaction().is_some(), server.recipients());
        let action = server.line(line);
        let answer = match action {
            Action::StartTls => {
                server.tls_started();
                assert!(server.user().is_none() && server.hello().is_none());
                assert!(server.transaction().is_none(), "TLS begins anew");
                continue;
            }
            Action::Auth { mechanism, initial } => {
                assert!(server.is_tls() && server.user().is_none() && !had.0);
                let outcome = Dialogue::begin(mechanism, initial.as_deref());
                match log_in(outcome, &mut lines) {
                    Ok(user) => server.auth_ok(user),
                    Err(error) => server.reply(error.into()),
                }
            }
            Action::Mail(mail) => {
                let c = server.config();
                assert!(server.hello().is_some() && !had.0, "one greeting, one transaction");
                assert!(c.tls != TlsPolicy::Required || server.is_tls());
                assert!(c.auth != AuthPolicy::Required || server.user().is_some());
                server.mail_ok(mail)
            }
            Action::Rcpt(_) => {
                assert!(had.0 && had.1 < server.config().max_rcpt);
                server.rcpt_ok()
            }
            Action::Data => {
                assert!(had.1 > 0, "a message has a recipient");
                done(&mut server, had.1)
            }
            Action::Bdat { last, chunk, .. } => match chunk {
                Chunk::Refused(reply) => server.reply(reply),
                Chunk::First | Chunk::Next if last => done(&mut server, had.1),
                Chunk::First | Chunk::Next => server.reply(table::CHUNK_OK),
            },
            other => other,
        };
        let (reply, closed) = match answer {
            Action::Reply(reply) => (reply, false),
            Action::Close(reply) => (reply, true),
            _ => continue,
        };
        readable(&reply);
        refusals = refusals.saturating_add(u64::from(!reply.is_positive()));
        assert!(refusals <= server.config().max_errors, "errors come to an end");
        if closed {
            return;
        }
    }
}

fn listener(options: u8) -> Config {
    let bit = |n: u8| options & n != 0;
    Config {
        hostname: String::from("mx.example.org"),
        lmtp: bit(1),
        tls: match options & 6 {
            0 => TlsPolicy::None,
            2 => TlsPolicy::Offered,
            4 => TlsPolicy::Required,
            _ => TlsPolicy::Implicit,
        },
        auth: match options & 24 {
            0 => AuthPolicy::None,
            8 => AuthPolicy::Optional,
            _ => AuthPolicy::Required,
        },
        dsn: !bit(32),
        max_size: 100_000,
        max_mails: 3,
        max_rcpt: 3,
        max_errors: 12,
        max_idle_commands: 30,
    }
}

fn done(server: &mut Server, rcpts: u64) -> Action {
    let (action, times) = server.message_done(table::OK);
    assert!(server.transaction().is_none(), "the transaction is over");
    assert_eq!(times, if server.config().lmtp { rcpts } else { 1 });
    action
}

/// Runs the dialogue with the lines that follow; what it gives is harmless.
fn log_in<'a>(
    begun: Result<(Dialogue, Step), SaslError>,
    lines: &mut impl Iterator<Item = &'a [u8]>,
) -> Result<String, SaslError> {
    let (mut dialogue, mut step) = begun?;
    for _ in 0..3 {
        match step {
            Step::Done(who) => {
                assert!(!who.user.is_empty() && !who.user.chars().any(char::is_control));
                let password = who.password.expose();
                assert!(!password.is_empty() && !password.contains(&0));
                return Ok(who.user);
            }
            Step::Challenge(_) => {
                step = dialogue.response(lines.next().ok_or(SaslError::Cancelled)?)?;
            }
        }
    }
    unreachable_dialogue()
}

fn unreachable_dialogue<T>() -> Result<T, SaslError> {
    assert!(std::hint::black_box(false), "a dialogue has three steps at most");
    Err(SaslError::Form)
}

/// What a command says can be written and read again, and ends no line.
fn again(command: &Command) {
    let same = |m: &Mailbox| {
        let text = m.to_string();
        assert_eq!(Mailbox::parse(text.as_bytes(), Charset::Utf8).as_ref(), Ok(m));
        assert!(!text.chars().any(char::is_control));
    };
    let printed = |text: &str| {
        assert!(!text.chars().any(char::is_control));
        let xtext = command::write_xtext(text.as_bytes());
        assert!(xtext.bytes().all(|b| b.is_ascii_graphic()));
        assert_eq!(command::xtext(xtext.as_bytes()).as_deref(), Some(text.as_bytes()));
    };
    match command {
        Command::Mail(mail) => {
            mail.from.mailbox().into_iter().for_each(same);
            mail.envid.iter().for_each(|t| printed(t));
        }
        Command::Rcpt(rcpt) => {
            let here = Domain::parse(b"example.org", Charset::Ascii);
            here.into_iter().for_each(|d| same(&rcpt.to.clone().into_mailbox(&d)));
            rcpt.orcpt.iter().for_each(|o| printed(&o.address));
        }
        Command::Helo(name) | Command::Ehlo(name) | Command::Lhlo(name) => trace(name),
        _ => {}
    }
}

/// Whatever a client calls itself, the trace field is one field.
fn trace(name: &HeloName) {
    let address = std::net::IpAddr::from([192, 0, 2, 1]);
    let field = Trace {
        from: Some(Peer::Host { helo: Some(name), rdns: Some(name.as_str()), address }),
        by: "mx.example.org",
        with: With { esmtp: true, ..With::default() },
        tls: Some(name.as_str()),
        user: Some(name.as_str()),
        id: "abcdefghijkl",
        recipient: None,
        date: DateTime::utc(0),
    }
    .field();
    let fields: Vec<_> = Fields::new(field.as_bytes()).collect();
    assert!(matches!(fields.as_slice(), [f] if f.is(b"Received") && f.raw.len() == field.len()));
    assert!(is_clean(field.as_bytes()));
    // A comment that HELO or rDNS opens or closes would hide what comes after it.
    let depth = field.bytes().try_fold(0_usize, |depth, b| match b {
        b'(' => depth.checked_add(1),
        b')' => depth.checked_sub(1),
        _ => Some(depth),
    });
    assert_eq!(depth, Some(0), "parentheses match");
}

/// A client reads the reply as it was meant.
fn readable(reply: &Reply) {
    let mut out = Vec::new();
    reply.write(&mut out);
    assert!(is_clean(&out) && out.ends_with(b"\r\n"));
    let mut reader = ReplyReader::new();
    let mut whole = None;
    for line in out.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l)) {
        if line.is_empty() {
            break;
        }
        assert!(whole.is_none() && line.len() <= 510);
        whole = reader.line(line).unwrap_or(None);
    }
    let seen = whole.map(|w| (w.code, w.status));
    assert_eq!(seen, Some((reply.code, reply.status)));
}

/// No CR without LF, no LF without CR, no NUL.
fn is_clean(text: &[u8]) -> bool {
    let mut before = 0;
    let mut clean = true;
    for b in text.iter().chain([&0]) {
        clean &= (before == b'\r') == (*b == b'\n');
        before = *b;
    }
    clean && !text.contains(&0)
}

/// What a message off the wire came to: where it ended, and what it is.
type Taken = (Option<usize>, Vec<u8>, Vec<(u64, u64, u64)>, Result<Summary, Fault>);

/// Reads a message in pieces; `None` for one that has no end, or a false one.
fn take(framing: Framing, policy: BareLineEnds, input: &[u8], step: usize) -> Option<Taken> {
    let mut data = Data::new(framing, policy, 100_000);
    let (mut out, mut fields, mut at, mut end) = (Vec::new(), Vec::new(), 0_usize, None);
    for piece in input.chunks(step) {
        match data.feed(piece, &mut out, |f| fields.push((f.start, f.value_start, f.end))) {
            Fed::More => at = at.saturating_add(piece.len()),
            Fed::End(n) => {
                end = Some(at.saturating_add(n));
                break;
            }
            Fed::Desync => return None,
        }
    }
    if end.is_none() && framing == Framing::Dots {
        return None;
    }
    let summary = data.finish(&mut out, |f| fields.push((f.start, f.value_start, f.end)));
    Some((end, out, fields, summary))
}

/// Fuzz target: a byte of options, then a message as DATA or BDAT brings it.
///
/// It ends at the first CRLF.CRLF and nowhere else, whatever the pieces; what
/// is let through has clean line ends; and sent on, it ends where it ends.
pub fn fuzz_data(bytes: &[u8]) {
    let Some((options, input)) = bytes.split_first() else { return };
    let framing = if options & 1 == 0 { Framing::Dots } else { Framing::Chunks };
    let policy = if options & 2 == 0 { BareLineEnds::Refuse } else { BareLineEnds::Normalise };
    let whole = take(framing, policy, input, usize::MAX);
    let step = usize::from(options.wrapping_shr(2)).saturating_add(1);
    let pieces = take(framing, policy, input, step);
    stuffed(input);
    assert_eq!(whole.is_some(), pieces.is_some(), "the end does not depend on the pieces");
    let (Some((end, body, fields, summary)), Some(pieces)) = (whole, pieces) else { return };
    assert_eq!(end, pieces.0);
    assert_eq!(summary.is_ok(), pieces.3.is_ok());
    if let Some(end) = end {
        is_first_end(input.get(..end).unwrap_or_default());
    }
    let Ok(summary) = summary else { return };
    assert_eq!((&body, &fields), (&pieces.1, &pieces.2));
    assert_eq!(Ok(&summary), pieces.3.as_ref());
    assert_eq!(u64::try_from(body.len()), Ok(summary.size));
    assert_eq!(summary.eight_bit, !body.is_ascii());
    assert!(is_clean(&body) && (body.is_empty() || body.ends_with(b"\r\n")));
    assert!(body
        .split(|b| *b == b'\n')
        .all(|line| line.len() <= limits::TEXT_LINE.size().saturating_add(1)));
    let mut at = 0;
    for (start, value, end) in fields {
        assert!(start == at && start < value && value < end, "fields follow each other");
        at = end;
    }
    assert_eq!(at, summary.header.offset);
    // The next hop, as strict as we are, takes the same message.
    let mut wire = Vec::new();
    let mut stuffer = Stuffer::new();
    stuffer.feed(&body, &mut wire);
    stuffer.finish(&mut wire);
    let next = take(Framing::Dots, BareLineEnds::Refuse, &wire, usize::MAX);
    let same = next.is_some_and(|n| n.0 == Some(wire.len()) && n.1 == body);
    assert!(same, "what is sent on is what came in");
}

/// The end of a message is CRLF.CRLF, and nothing before it looks like one.
fn is_first_end(taken: &[u8]) {
    let text = [b"\r\n", taken].concat();
    assert!(text.ends_with(b"\r\n.\r\n"));
    let before = text.len().saturating_sub(4);
    let sloppy = |w: &[u8]| matches!(w, [b'\r' | b'\n', b'.', b'\r' | b'\n']);
    let found = text.windows(3).position(sloppy);
    assert_eq!(found, Some(before), "no end within the message, for no reader");
}

/// Any octets can be sent: the wire has one end, at its end.
fn stuffed(input: &[u8]) {
    let (mut wire, mut pieces) = (Vec::new(), Vec::new());
    let mut stuffer = Stuffer::new();
    stuffer.feed(input, &mut wire);
    stuffer.finish(&mut wire);
    let mut stuffer = Stuffer::new();
    input.chunks(2).for_each(|piece| stuffer.feed(piece, &mut pieces));
    stuffer.finish(&mut pieces);
    assert_eq!(wire, pieces);
    assert!(is_clean(&wire));
    is_first_end(&wire);
}

/// Fuzz target: a byte of options, then a message that a user submits.
///
/// After the fix-ups it has the fields that a message must have, once each, and
/// none that are taken out; a second pass finds nothing to mend that the first
/// one should have.
pub fn fuzz_submit(bytes: &[u8]) {
    let Some((options, input)) = bytes.split_first() else { return };
    let taken = take(Framing::Chunks, BareLineEnds::Normalise, input, usize::MAX);
    let Some((_, body, _, Ok(_))) = taken else { return };
    let Some(rules) = rules(options & 1 != 0, options & 2 == 0) else { return };
    let own = |m: &Mailbox| m.key() == "joe@example.org";
    let owned: Option<&dyn Fn(&Mailbox) -> bool> = if options & 2 != 0 { Some(&own) } else { None };
    let Ok(edits) = fix(&rules, &body, owned) else { return };
    let message = apply(&edits, &body, usize::MAX);
    let step = usize::from(options.wrapping_shr(2)).saturating_add(1);
    assert_eq!(message, apply(&edits, &body, step), "edits do not depend on the pieces");
    let len = |b: &[u8]| u64::try_from(b.len()).unwrap_or(0);
    assert_eq!(edits.size(len(&body)), Ok(len(&message)));
    assert!(is_clean(&message));
    let mut counts = [0_u32; 3];
    let mut reader = HeaderReader::new();
    let mut count = |f: Field<'_>| {
        for (name, n) in ["From", "Date", "Message-ID"].iter().zip(&mut counts) {
            *n = n.saturating_add(u32::from(f.is(name)));
        }
        assert!(!f.is("Bcc") && !f.is("Return-Path"), "is taken out");
    };
    if reader.feed(&message, &mut count).is_err() {
        return; // Too large now; the next hop says so.
    }
    reader.finish(&mut count);
    assert_eq!(counts, [1, 1, 1], "stands once");
    let second = fix(&rules, &message, owned);
    assert!(second != Err(FixupError::NotOwned) || owned.is_none(), "still the user's");
    delivered(&message);
    arbitrary(input);
}

fn rules(mask_src: bool, tell_sender: bool) -> Option<Rules> {
    Some(Rules {
        domain: Domain::parse(b"example.org", Charset::Ascii).ok()?,
        author: Mailbox::parse(b"joe@example.org", Charset::Ascii).ok(),
        tell_sender,
        authserv_id: String::from("mx.example.org"),
        mask_src,
        now: DateTime::utc(0),
        unique: String::from("u1"),
    })
}

fn fix(
    rules: &Rules,
    body: &[u8],
    owned: Option<&dyn Fn(&Mailbox) -> bool>,
) -> Result<Edits, FixupError> {
    let mut fixup = Fixup::new(rules.clone());
    let mut reader = HeaderReader::new();
    if reader.feed(body, |f| fixup.field(&f)).is_err() {
        return Err(FixupError::TooMany);
    }
    let end = reader.finish(|f| fixup.field(&f));
    fixup.finish(end, owned)
}

fn apply(edits: &Edits, body: &[u8], step: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut splice = edits.splice();
    body.chunks(step).for_each(|piece| splice.feed(piece, |b| out.extend_from_slice(b)));
    splice.finish(|b| out.extend_from_slice(b));
    out
}

/// Final delivery puts its two fields on top, and the rest stays what it was.
fn delivered(message: &[u8]) {
    let (header, _) = crate::proto::mime::split(message);
    let Ok(done) = handover(header, "a@example.org", "b@example.org") else { return };
    let mut fields = Fields::new(&done.header);
    assert!(fields.next().is_some_and(|f| f.is(b"Return-Path")));
    assert!(fields.next().is_some_and(|f| f.is(b"Delivered-To")));
    assert!(fields.all(|f| !f.is(b"Return-Path")));
    assert!(done.header.len() <= header.len().saturating_add(100));
}

/// Edits of any kind are refused, or give the size that they say.
fn arbitrary(input: &[u8]) {
    let mut edits = Edits::new();
    for piece in input.chunks_exact(3) {
        let &[kind, offset, n] = piece else { continue };
        let offset = u64::from(offset);
        let edit = match kind % 3 {
            0 => Edit::Insert { offset, bytes: vec![b'x'; usize::from(n)] },
            1 => Edit::Delete { offset, len: u64::from(n) },
            _ => Edit::Delete { offset, len: u64::MAX.saturating_sub(u64::from(n)) },
        };
        // That it is refused is an answer.
        let _ = edits.push(edit);
    }
    let body = [b'-'; 200];
    match edits.size(200) {
        Ok(size) => {
            let whole = apply(&edits, &body, usize::MAX);
            assert_eq!(u64::try_from(whole.len()), Ok(size));
            assert_eq!(whole, apply(&edits, &body, 7));
        }
        Err(error) => assert_eq!(error, EditError::PastEnd),
    }
}

/// Fuzz target: the lines of a server's replies.
///
/// They are taken whole or not at all, and nothing of them can do harm.
pub fn fuzz_reply(bytes: &[u8]) {
    let mut reader = ReplyReader::new();
    for line in bytes.split(|b| *b == b'\n') {
        let Ok(reply) = reader.line(line) else { return };
        let Some(reply) = reply else {
            assert!(reader.is_open());
            continue;
        };
        assert!(!reader.is_open() && (200..600).contains(&reply.code));
        assert!(reply.lines.len() <= limits::REPLY_LINES.size());
        assert!(!reply.text().chars().any(char::is_control));
        assert!(reply.status.is_none_or(|s| u16::from(s.class) == reply.class()));
        let offers = Offers::of(&reply);
        assert!(offers.auth.iter().all(|m| !m.is_empty()));
        // What we would say in its place reads the same.
        let ours = match reply.status {
            Some(status) => Reply::new(reply.code, status, reply.lines.join("\n")),
            None => Reply::plain(reply.code, "x"),
        };
        readable(&ours);
    }
}
