//! The result, and what follows from it.  RFC 9989 4.4, 4.7, 5.3, 5.4.
//!
//! A check that the DNS left unfinished is no failure: where an identifier that
//! would be aligned might still pass, the result is temperror, and no policy is
//! applied (5.3.6).

use super::record::{Alignment, Record, Request};
use super::walk::{own, walk, Failed, Walk};
use crate::proto::dns::{Answers, Name, Need, Query, Status, Step, Type};

/// The result.  RFC 9989 5.3.5, 9.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No policy.
    None,
    /// An aligned identifier passed.
    Pass,
    /// None did.
    Fail,
    /// The DNS failed.
    TempError,
    /// There is no Author Domain.
    PermError,
}

impl Verdict {
    /// The word for Authentication-Results.
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::None => "none",
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::TempError => "temperror",
            Verdict::PermError => "permerror",
        }
    }
}

/// What SPF and DKIM found: names that were authenticated.
#[derive(Clone, Debug, Default)]
pub struct Identifiers {
    /// The domain of MAIL FROM if SPF passed for it; that of HELO only for the
    /// null path.
    pub spf: Option<Name>,
    /// `d=` of each signature that passed.
    pub dkim: Vec<Name>,
    /// What `spf` would be if the DNS had answered: SPF came to temperror.
    pub spf_unknown: Option<Name>,
    /// SPF was not evaluated, as nobody knows who brought the message.
    pub spf_skipped: bool,
    /// `d=` of each signature whose check came to temperror.
    pub dkim_unknown: Vec<Name>,
}

/// Why the result is temperror.  RFC 9989 5.3.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The DNS did not say which policy there is.
    Policy,
    /// The DNS did not say which organization an identifier belongs to.
    Alignment,
    /// A check of SPF or DKIM that might have passed, aligned, was not finished.
    Identifier,
    /// The DNS did not say whether the Author Domain exists, and the record asks
    /// for something else if it does not.
    Existence,
    /// SPF, which might have passed, aligned, was not evaluated.
    Skipped,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Problem::Policy => "the DNS did not answer about the policy",
            Problem::Alignment => "the DNS did not answer about the alignment",
            Problem::Identifier => "SPF or DKIM of the domain could not be checked",
            Problem::Existence => "the DNS did not answer whether the domain exists",
            Problem::Skipped => "SPF was not checked, and might have passed",
        })
    }
}

/// Which tag of a record applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// `p`
    P,
    /// `sp`
    Sp,
    /// `np`
    Np,
}

impl Tag {
    /// The tag's name.
    pub const fn word(self) -> &'static str {
        match self {
            Tag::P => "p",
            Tag::Sp => "sp",
            Tag::Np => "np",
        }
    }
}

/// All that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The result.
    pub verdict: Verdict,
    /// For temperror.
    pub problem: Option<Problem>,
    /// The domain whose record sets the policy, and the record.
    pub policy: Option<(Name, Record)>,
    /// The Organizational Domain of the author, if the DNS told it.
    pub organization: Option<Name>,
    /// What is asked for, `t=y` not counted.
    pub requested: Request,
    /// Which tag said so.
    pub tag: Tag,
    /// An identifier of SPF is aligned.
    pub spf: bool,
    /// An identifier of DKIM is aligned.
    pub dkim: bool,
}

impl Outcome {
    /// Without a policy.
    pub const fn without(verdict: Verdict) -> Outcome {
        Outcome {
            verdict,
            problem: None,
            policy: None,
            organization: None,
            requested: Request::None,
            tag: Tag::P,
            spf: false,
            dkim: false,
        }
    }

    /// The reply to a message that is refused as the policy asks, or put off
    /// because the DNS failed; `None` for what is no reason to, and where another
    /// attempt would leave the same out again.  It names the record, so that who
    /// is wrongly refused can find it.  RFC 9989 7.2; RFC 7372 3.4.
    pub fn reply(
        &self,
        author: &Name,
        disposition: Disposition,
    ) -> Option<(u16, &'static str, String)> {
        match (self.verdict, disposition, &self.policy) {
            (Verdict::TempError, ..) if self.problem == Some(Problem::Skipped) => None,
            (Verdict::TempError, ..) => {
                let problem = self.problem.unwrap_or(Problem::Policy);
                Some((451, "4.4.3", format!("DMARC of {author}: {problem}, try again later")))
            }
            (Verdict::Fail, Disposition::Reject, Some((name, _))) => Some((
                550,
                "5.7.26",
                format!(
                    "{author} asks to refuse its mail without aligned SPF or DKIM: see \
                     _dmarc.{name} and https://www.rfc-editor.org/info/rfc9989"
                ),
            )),
            _ => None,
        }
    }

    /// The policy is in test.
    pub fn testing(&self) -> bool {
        self.policy.as_ref().is_some_and(|(_, r)| r.testing)
    }
}

/// Evaluates a message by `author`.
pub fn evaluate(author: &Name, identifiers: &Identifiers, answers: &Answers) -> Step<Outcome> {
    evaluation(author, identifiers, answers).into()
}

fn evaluation(
    author: &Name,
    identifiers: &Identifiers,
    answers: &Answers,
) -> Result<Outcome, Need> {
    let (walked, organization) = match walk(author, answers)? {
        Ok(walked) => {
            let organization = walked.organizational_domain();
            (walked, Some(organization))
        }
        // The Author Domain's own record applies, whatever the names above it
        // answer: only alignment with another name needs them (4.10.1).
        Err(Failed) => match own(author, answers)? {
            Some(own) => (own, None),
            None => {
                let problem = Some(Problem::Policy);
                return Ok(Outcome { problem, ..Outcome::without(Verdict::TempError) });
            }
        },
    };
    let none = || Outcome { organization: organization.clone(), ..Outcome::without(Verdict::None) };
    let Some((name, record)) = walked.policy() else { return Ok(none()) };
    let Some(asked) = asked(author, name, record, answers)? else {
        return Ok(none());
    };
    let mut problem = asked.doubtful.then_some(Problem::Existence);
    let mut any = |identifiers: &[Name], mode| -> Result<bool, Need> {
        let mut found = false;
        for identifier in identifiers {
            match is_aligned(author, &walked, organization.as_ref(), identifier, mode, answers)? {
                Ok(yes) => found |= yes,
                Err(Failed) => problem = Some(Problem::Alignment),
            }
        }
        Ok(found)
    };
    let dkim = any(&identifiers.dkim, record.adkim)?;
    let spf = any(identifiers.spf.as_slice(), record.aspf)?;
    let verdict = if dkim || spf {
        Verdict::Pass
    } else {
        // What is not aligned could not have helped: its failure means nothing.
        let unfinished = any(&identifiers.dkim_unknown, record.adkim)?
            | any(identifiers.spf_unknown.as_slice(), record.aspf)?;
        if unfinished {
            problem = Some(Problem::Identifier);
        } else if identifiers.spf_skipped {
            problem = problem.or(Some(Problem::Skipped));
        }
        if problem.is_some() {
            Verdict::TempError
        } else {
            Verdict::Fail
        }
    };
    Ok(Outcome {
        verdict,
        problem: problem.filter(|_| verdict == Verdict::TempError),
        policy: Some((name.clone(), record.clone())),
        organization,
        requested: asked.request,
        tag: asked.tag,
        spf,
        dkim,
    })
}

/// What a record asks for at a name.
struct Asked {
    request: Request,
    tag: Tag,
    /// `np` asks for something else, and the DNS did not say whether it applies.
    doubtful: bool,
}

/// What the record asks for at the Author Domain.  RFC 9989 4.7, 4.10.1.
///
/// `None` if it asks for nothing and wants no reports: no DMARC then.
fn asked(
    author: &Name,
    at: &Name,
    record: &Record,
    answers: &Answers,
) -> Result<Option<Asked>, Need> {
    let found = |request, tag| Ok(Some(Asked { request, tag, doubtful: false }));
    // Without a valid p, or with an sp or np that is none, a record that names
    // somebody for reports is p=none and nothing else, and any other is as if it
    // were not there.  4.7 says p=none of every record without p, but refers to
    // 4.10.1 for it, which tells the two apart.
    let p = match record.p.filter(|_| !record.bad_policy) {
        Some(p) => p,
        None if record.wants_reports() => return found(Request::None, Tag::P),
        None => return Ok(None),
    };
    if at == author {
        return found(p, Tag::P);
    }
    let (inherited, tag) = record.sp.map_or((p, Tag::P), |sp| (sp, Tag::Sp));
    let Some(np) = record.np else { return found(inherited, tag) };
    // np is for names that do not exist: NXDOMAIN, and nothing else.
    let answer = answers.get(&Query::new(author.clone(), Type::A))?;
    match answer.status {
        Status::NxDomain => found(np, Tag::Np),
        Status::Failed(_) => Ok(Some(Asked { request: inherited, tag, doubtful: np != inherited })),
        Status::Found | Status::NoData => found(inherited, tag),
    }
}

/// RFC 9989 4.4, 4.10.2.
///
/// An Organizational Domain is the name itself or an ancestor; so an identifier
/// that is not below the author's has another one, and need not be walked.
fn is_aligned(
    author: &Name,
    walked: &Walk,
    organization: Option<&Name>,
    identifier: &Name,
    mode: Alignment,
    answers: &Answers,
) -> Result<Result<bool, Failed>, Need> {
    if identifier == author {
        return Ok(Ok(true));
    }
    if mode == Alignment::Strict {
        return Ok(Ok(false));
    }
    let Some(organization) = organization else {
        // Names without a common top-level domain have no common ancestor.
        let apart = identifier.last_labels(1) != author.last_labels(1);
        return Ok(if apart { Ok(false) } else { Err(Failed) });
    };
    if !identifier.is_within(organization) {
        return Ok(Ok(false));
    }
    // On the author's own way up, nothing is to be asked twice.
    if author.is_within(identifier) && walked.at(identifier).is_some() && identifier == organization
    {
        return Ok(Ok(true));
    }
    Ok(walk(identifier, answers)?.map(|w| w.organizational_domain() == *organization))
}

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Nothing.
    None,
    /// It goes to Junk.
    Quarantine,
    /// It is refused.
    Reject,
}

impl Disposition {
    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Disposition::None => "none",
            Disposition::Quarantine => "quarantine",
            Disposition::Reject => "reject",
        }
    }
}

/// Why a policy was not followed to the letter.  RFC 9990 3.1.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// The operator's rules.
    LocalPolicy,
    /// A forwarder that is trusted, by name or by its ARC seal.
    TrustedForwarder,
    /// A mailing list.
    MailingList,
    /// The policy is in test.
    PolicyTestMode,
    /// Something else.
    Other,
}

impl Exception {
    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Exception::LocalPolicy => "local_policy",
            Exception::TrustedForwarder => "trusted_forwarder",
            Exception::MailingList => "mailing_list",
            Exception::PolicyTestMode => "policy_test_mode",
            Exception::Other => "other",
        }
    }
}

/// What follows from a result, and why if it is less than was asked for.
///
/// `excuse` is what the caller knows of the message's way here.  RFC 9989 5.4
/// and 7.4 ask not to refuse for the policy alone, which breaks lists and
/// forwarders: what came through those is quarantined.  Without a sign of them
/// p=reject does refuse, by decision and against the letter: what is left is for
/// the most part forged, a refusal tells a sender who is not, and Junk tells
/// nobody.
pub fn dispose(outcome: &Outcome, excuse: Option<Exception>) -> (Disposition, Option<Exception>) {
    if outcome.verdict != Verdict::Fail {
        return (Disposition::None, None);
    }
    let (wanted, tested) = if outcome.testing() {
        (outcome.requested.lowered(), Some(Exception::PolicyTestMode))
    } else {
        (outcome.requested, None)
    };
    match (wanted, excuse) {
        (Request::None, _) => {
            (Disposition::None, tested.filter(|_| outcome.requested != Request::None))
        }
        (Request::Quarantine, Some(Exception::TrustedForwarder | Exception::LocalPolicy)) => {
            (Disposition::None, excuse)
        }
        (Request::Quarantine, _) => (Disposition::Quarantine, tested),
        (Request::Reject, Some(_)) => (Disposition::Quarantine, excuse),
        (Request::Reject, None) => (Disposition::Reject, None),
    }
}
