//! Everything that authenticates one message, evaluated together.
//!
//! *Runs in* filter and in `rmailctl auth check`.  SPF, DKIM, ARC and DMARC
//! share the pass over the body, the set of DNS answers and so the budget: who
//! drives [`Message::evaluate`] looks up what is needed and calls again (see
//! [`crate::proto::dns::step`]).  [`Findings::results`] says it in the words of
//! RFC 8601.

use crate::proto::arc;
use crate::proto::authres::{Method, Results};
use crate::proto::dkim::signature::FieldIndex;
use crate::proto::dkim::{self, Crypto, Sha256};
use crate::proto::dmarc::report::{Auth, Published, Row};
use crate::proto::dmarc::tally::Counted;
use crate::proto::dmarc::{self, AuthorFault};
use crate::proto::dns::{Answers, Name, Need, Step};
use crate::proto::mime::Fields;
use crate::proto::spf::{self, Identity};

/// Fields that may occur once.  RFC 5322 3.6.
const SINGLE: &[&[u8]] = &[
    b"from",
    b"sender",
    b"reply-to",
    b"to",
    b"cc",
    b"message-id",
    b"in-reply-to",
    b"references",
    b"subject",
    b"date",
    b"content-type",
    b"content-transfer-encoding",
    b"mime-version",
];

/// What the operator decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Of SPF.
    pub spf: spf::Policy,
    /// Of DKIM.
    pub dkim: dkim::Policy,
}

/// A message whose body is being read.
pub struct Reader<'a, D> {
    sender: Option<spf::Sender>,
    policy: Policy,
    author: Result<Name, AuthorFault>,
    duplicates: bool,
    index: FieldIndex<'a>,
    chain: arc::Chain<'a>,
    dkim: dkim::Verifier<'a, D>,
}

impl<'a, D: Sha256> Reader<'a, D> {
    /// Reads the header.  `sender` is what SPF needs, if it is known; `now` is
    /// seconds since 1970.
    pub fn new(
        header: &'a [u8],
        sender: Option<spf::Sender>,
        policy: Policy,
        now: u64,
    ) -> Reader<'a, D> {
        let most = crate::proto::limits::HEADER_FIELDS.size();
        let mut fields: Vec<_> = Fields::new(header).take(most.saturating_add(1)).collect();
        let cut = fields.len() > most;
        fields.truncate(most);
        // Of a header that is cut, readers show the fields below as well.
        let named = |name| Fields::new(header).filter(move |f| f.is(name));
        let author = if cut {
            dmarc::author_domain(&named(b"from".as_slice()).take(2).collect::<Vec<_>>())
        } else {
            dmarc::author_domain(&fields)
        };
        let mut verifier = dkim::Verifier::new(header, author.as_ref().ok(), policy.dkim, now);
        let index = FieldIndex::new(&fields);
        let chain = if cut && arc::FIELDS.iter().any(|name| named(name).next().is_some()) {
            arc::Chain::of_too_many_fields()
        } else {
            arc::Chain::new(&index)
        };
        chain.want(verifier.hashes());
        let duplicates = SINGLE
            .iter()
            .any(|name| index.named(name).len() > 1 || (cut && named(name).nth(1).is_some()));
        Reader { sender, policy, author, duplicates, index, chain, dkim: verifier }
    }

    /// Takes the next bytes of the body.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.dkim.feed(chunk);
    }

    /// The end of the body.
    pub fn finish(self) -> Message {
        let (dkim, body) = self.dkim.finish();
        let arc = self.chain.check::<D>(&self.index, &body);
        let Reader { sender, policy, author, duplicates, .. } = self;
        Message { sender, policy: policy.spf, author, duplicates, dkim, arc }
    }
}

/// A message that was read: what is left asks the DNS.
pub struct Message {
    sender: Option<spf::Sender>,
    policy: spf::Policy,
    author: Result<Name, AuthorFault>,
    duplicates: bool,
    dkim: dkim::Checked,
    arc: arc::Checked,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// SPF of HELO, and of MAIL FROM; `None` if the client is not known.
    pub spf: Option<(spf::Outcome, spf::Outcome)>,
    /// The HELO name and reverse-path, as they came.
    pub sender: Option<spf::Sender>,
    /// Each signature, in the order of the header.
    pub dkim: Vec<dkim::Verified>,
    /// The chain.
    pub arc: arc::Outcome,
    /// The Author Domain.
    pub author: Result<Name, AuthorFault>,
    /// DMARC.
    pub dmarc: dmarc::Outcome,
    /// A field that may occur once occurs twice.
    pub duplicates: bool,
}

impl Message {
    /// Evaluates all of it.
    pub fn evaluate(&self, crypto: &impl Crypto, answers: &Answers) -> Step<Findings> {
        self.findings(crypto, answers).into()
    }

    /// What others can make long comes last: the keys of DKIM and the walks of
    /// DMARC are few, but the SPF record of a HELO name, or a chain of ARC, is a
    /// stranger's to write, and must not use up the budget of what protects the
    /// author's domain.
    fn findings(&self, crypto: &impl Crypto, answers: &Answers) -> Result<Findings, Need> {
        let dkim = self.dkim.evaluate(crypto, answers).done()?;
        let signers = |verdict| {
            let of = dkim.iter().filter(move |v| v.verdict == verdict);
            of.filter_map(|v| domain(&v.domain)).collect()
        };
        let mut identifiers = dmarc::Identifiers {
            dkim: signers(dkim::Verdict::Pass),
            dkim_unknown: signers(dkim::Verdict::TempError),
            spf_skipped: self.sender.is_none(),
            ..dmarc::Identifiers::default()
        };
        if let Ok(author) = &self.author {
            dmarc::evaluate(author, &identifiers, answers).done()?;
        }
        let spf = match &self.sender {
            Some(sender) => {
                let check = |identity| spf::check(identity, sender, self.policy, answers);
                let mail_from = check(Identity::MailFrom).done()?;
                // RFC 9989 4.4.2: MAIL FROM counts, HELO only for the null path,
                // for which the check of MAIL FROM was one of HELO.
                match mail_from.verdict {
                    spf::Verdict::Pass => identifiers.spf = domain(&mail_from.domain),
                    spf::Verdict::TempError => identifiers.spf_unknown = domain(&mail_from.domain),
                    _ => {}
                }
                Some((check(Identity::Helo).done()?, mail_from))
            }
            None => None,
        };
        let dmarc = match &self.author {
            Ok(author) => dmarc::evaluate(author, &identifiers, answers).done()?,
            Err(_) => dmarc::Outcome::without(dmarc::Verdict::PermError),
        };
        let arc = self.arc.evaluate(crypto, answers).done()?;
        Ok(Findings {
            spf,
            sender: self.sender.clone(),
            dkim,
            arc,
            author: self.author.clone(),
            dmarc,
            duplicates: self.duplicates,
        })
    }
}

fn domain(text: &str) -> Option<Name> {
    Name::from_dotted(text.as_bytes()).ok().filter(|name| !name.is_root())
}

impl Findings {
    /// As an Authentication-Results field.  `disposition` is what was decided
    /// about a message that fails DMARC.
    pub fn results(&self, authserv_id: &str, disposition: dmarc::Disposition) -> Results {
        let mut methods = Vec::new();
        if let (Some((helo, mail_from)), Some(sender)) = (&self.spf, &self.sender) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            if sender.mail_from.is_empty() || helo.verdict != spf::Verdict::None {
                methods.push(spf_method(helo).with("smtp", "helo", &text(&sender.helo)));
            }
            if !sender.mail_from.is_empty() {
                let path = text(&sender.mail_from);
                methods.push(spf_method(mail_from).with("smtp", "mailfrom", &path));
            }
        }
        for v in &self.dkim {
            let algorithm = v.algorithm.map_or("", dkim::Algorithm::word);
            methods.push(
                Method::new("dkim", v.verdict.word())
                    .because(v.fault.map(|f| f.to_string()))
                    .with("header", "d", &v.domain)
                    .with("header", "s", &v.selector)
                    .with("header", "a", algorithm)
                    .with("header", "b", &v.b_prefix),
            );
        }
        if self.dkim.is_empty() {
            methods.push(Method::new("dkim", "none"));
        }
        let mut method = Method::new("dmarc", self.dmarc.verdict.word());
        match &self.author {
            Ok(author) => {
                method = method.because(self.dmarc.problem.map(|p| p.to_string()));
                if self.dmarc.policy.is_some() {
                    let (asked, done) = (self.dmarc.requested.word(), disposition.word());
                    method.comment = Some(format!("p={asked} dis={done}"));
                }
                method = method.with("header", "from", &author.to_string());
            }
            Err(fault) => method = method.because(Some(fault.to_string())),
        }
        methods.push(method);
        if self.arc.validation != arc::Validation::None {
            methods.push(
                Method::new("arc", self.arc.validation.word())
                    .because(self.arc.fault.map(|f| f.to_string())),
            );
        }
        Results { authserv_id: authserv_id.into(), methods }
    }
}

impl Findings {
    /// The message as an aggregate report counts it; `None` if no policy was
    /// applied, its owner wants no report that we send, or the client is not
    /// known.  RFC 9990 3.1.
    pub fn counted(
        &self,
        disposition: dmarc::Disposition,
        exception: Option<dmarc::Exception>,
    ) -> Option<Counted> {
        let evaluated = matches!(self.dmarc.verdict, dmarc::Verdict::Pass | dmarc::Verdict::Fail);
        let (name, record) = self.dmarc.policy.as_ref().filter(|_| evaluated)?;
        let ((_, mail_from), sender) = self.spf.as_ref().zip(self.sender.as_ref())?;
        let author = self.author.as_ref().ok().filter(|_| record.takes_reports())?;
        let aligned = |yes| if yes { "pass" } else { "fail" }.to_string();
        let signatures =
            self.dkim.iter().filter(|v| !v.domain.is_empty() && !v.selector.is_empty());
        let at = memchr::memrchr(b'@', &sender.mail_from).map(|at| at.saturating_add(1));
        let envelope = at.and_then(|at| sender.mail_from.get(at..)).unwrap_or_default();
        let row = Row {
            source: sender.ip.to_canonical().to_string(),
            count: 1,
            // RFC 9990 3.1.1.9: "pass" is that of a policy that is enforced, under
            // which "none" is what was done with a failure.
            disposition: match (self.dmarc.verdict, self.dmarc.requested) {
                (dmarc::Verdict::Fail, _) | (_, dmarc::Request::None) => disposition.word(),
                _ => "pass",
            }
            .into(),
            dkim_aligned: aligned(self.dmarc.dkim),
            spf_aligned: aligned(self.dmarc.spf),
            reasons: exception.iter().map(|e| (e.word().into(), String::new())).collect(),
            header_from: author.to_string(),
            envelope_from: String::from_utf8_lossy(envelope).into_owned(),
            dkim: signatures
                .map(|v| Auth {
                    domain: v.domain.clone(),
                    which: v.selector.clone(),
                    result: v.verdict.word().into(),
                })
                .collect(),
            // 3.1.1: that of MAIL FROM alone, once.
            spf: vec![Auth {
                domain: mail_from.domain.clone(),
                which: "mfrom".into(),
                result: mail_from.verdict.word().into(),
            }],
        };
        Some(Counted { published: Published::of(name, record), row })
    }
}

fn spf_method(outcome: &spf::Outcome) -> Method {
    let reason = outcome
        .problem
        .filter(|_| matches!(outcome.verdict, spf::Verdict::TempError | spf::Verdict::PermError));
    Method::new("spf", outcome.verdict.word()).because(reason.map(|p| p.to_string()))
}

/// Fuzz target: a zone, NUL, and a message of a client that the zone knows.
///
/// Everything ends within its questions, the pieces of the body do not matter,
/// and the results are a field that reads as it was meant.  Signatures are
/// checked with primitives that a fuzzer can satisfy: every digest is zeros,
/// and what begins with an even octet is a signature.
pub fn fuzz_message(bytes: &[u8]) {
    use crate::proto::dns::zone::Zone;
    let at = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    let (zone, message) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
    let Ok(zone) = Zone::parse(zone) else { return };
    let message = message.get(1..).unwrap_or_default();
    let (header, body) = crate::proto::mime::split(message);
    let sender = spf::Sender {
        ip: std::net::IpAddr::from([192, 0, 2, 1]),
        helo: b"mail.example.org".to_vec(),
        mail_from: b"joe@example.org".to_vec(),
        receiver: b"mx.example.net".to_vec(),
        now: 1_000_000,
    };
    let read = |step: usize| {
        let policy = Policy::default();
        let mut reader = Reader::<Zeros>::new(header, Some(sender.clone()), policy, sender.now);
        body.chunks(step).for_each(|piece| reader.feed(piece));
        let message = reader.finish();
        let mut asked = 0_usize;
        Answers::new().run(
            |answers| message.evaluate(&Zeros, answers),
            |query| {
                asked = asked.saturating_add(1);
                assert!(asked <= 400, "questions are bounded");
                zone.answer(query)
            },
        )
    };
    let findings = read(usize::MAX);
    assert!(findings.dkim.len() <= crate::proto::limits::DKIM_SIGNATURES.size());
    let word = |f: &Findings| (f.dkim.clone(), f.arc.validation, f.dmarc.verdict);
    assert_eq!(word(&read(3)), word(&findings), "the pieces do not matter");
    let (disposition, _) = dmarc::dispose(&findings.dmarc, None);
    let results = findings.results("mx.example.net", disposition);
    let field = results.write(true);
    let fields: Vec<_> = Fields::new(&field).collect();
    let [only] = fields.as_slice() else {
        assert_eq!(fields.len(), 1, "one field");
        return;
    };
    let again = crate::proto::authres::parse(only.value);
    let said = |r: &Results| -> Vec<(String, String)> {
        r.methods.iter().map(|m| (m.name.clone(), m.result.clone())).collect()
    };
    assert_eq!(again.as_ref().map(said), Some(said(&results)), "read as it was meant");
}

/// Digest and signatures of the fuzz target.
#[derive(Clone)]
struct Zeros;

impl Sha256 for Zeros {
    fn new() -> Zeros {
        Zeros
    }

    fn update(&mut self, _: &[u8]) {}

    fn finish(self) -> [u8; 32] {
        [0; 32]
    }
}

impl Crypto for Zeros {
    type Digest = Zeros;

    fn verify_rsa(&self, _: &dkim::key::RsaKey, _: &[u8; 32], signature: &[u8]) -> bool {
        signature.first().is_some_and(|b| b & 1 == 0)
    }

    fn verify_ed25519(&self, _: &[u8; 32], _: &[u8], signature: &[u8]) -> bool {
        signature.first().is_some_and(|b| b & 1 == 0)
    }
}

#[cfg(test)]
mod tests;
