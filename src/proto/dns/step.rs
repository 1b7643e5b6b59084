//! How pure code asks the DNS: evaluated against a set of answers, begun anew
//! when one is missing.
//!
//! SPF, DKIM, DMARC and ARC are recursive by nature: an `include` inside a
//! `redirect`, a tree walk inside an alignment.  Written as machines that stop
//! at each query and resume there, they become a tangle of saved states in
//! which no section of the RFC can be found again.  So they are plain
//! functions: they read an [`Answers`], and where an answer is missing they
//! return [`Need`] with `?`.  The caller looks it up, adds it and calls again;
//! time, transport, cache and budget stay the caller's.
//!
//! What that costs: an evaluation with n lookups parses its records n times,
//! and n is bounded: SPF has 10 terms of at most 11 lookups each, DKIM 4 keys,
//! ARC 100, DMARC a walk of 8 for the author and for each identifier that could
//! be aligned; the caller's budget is less than all of these together.  A record is a few hundred bytes and a lookup a millisecond, so it is
//! never measurable; DKIM hashes the message once, before the first question.
//! Evaluation must be a function of its input and the answers alone; then the
//! first n-1 questions are the same at every call, and it ends.

use std::collections::HashMap;

use super::{Answer, Name, Type};

/// A question to the DNS, class IN.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// What is asked about.
    pub name: Name,
    /// What is asked for.
    pub rtype: Type,
}

impl Query {
    /// Asks for the records of a type at a name.
    pub const fn new(name: Name, rtype: Type) -> Query {
        Query { name, rtype }
    }
}

/// The evaluation cannot go on without the answer to this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need(pub Query);

/// What an evaluation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// Look this up, add it to the [`Answers`] and evaluate again.
    Need(Query),
    /// The result.
    Done(T),
}

impl<T> Step<T> {
    /// The result, or the need with `?` in an evaluation that this is part of.
    pub fn done(self) -> Result<T, Need> {
        match self {
            Step::Done(done) => Ok(done),
            Step::Need(query) => Err(Need(query)),
        }
    }
}

impl<T> From<Result<T, Need>> for Step<T> {
    fn from(result: Result<T, Need>) -> Step<T> {
        match result {
            Ok(done) => Step::Done(done),
            Err(Need(query)) => Step::Need(query),
        }
    }
}

/// The answers known so far; one set may serve all evaluations of a message.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    known: HashMap<Query, Answer>,
}

impl Answers {
    /// Knows nothing yet.
    pub fn new() -> Answers {
        Answers::default()
    }

    /// The answer, or the need for it.
    pub fn get(&self, query: &Query) -> Result<&Answer, Need> {
        self.known.get(query).ok_or_else(|| Need(query.clone()))
    }

    /// Adds an answer.  A failure is an answer too, and stays for this message.
    pub fn insert(&mut self, query: Query, answer: Answer) {
        self.known.insert(query, answer);
    }

    /// How many lookups were made: what a budget counts.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// True before the first lookup.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Evaluates to the end with a function that answers each query.
    ///
    /// Blocks as long as `ask` does; `ask` answers [`Answer::failed`] when a
    /// budget or deadline is used up, and so brings every evaluation to an end.
    pub fn run<T>(
        &mut self,
        mut evaluate: impl FnMut(&Answers) -> Step<T>,
        mut ask: impl FnMut(&Query) -> Answer,
    ) -> T {
        loop {
            match evaluate(self) {
                Step::Done(done) => return done,
                Step::Need(query) => {
                    let answer = ask(&query);
                    self.insert(query, answer);
                }
            }
        }
    }
}
