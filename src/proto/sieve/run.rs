//! The evaluator: runs checked scripts.
//!
//! Commands run from an explicit stack of [`Frame`]s, so that neither blocks
//! nor includes use the thread's stack; only tests nest, and their depth is
//! bounded.  Every command, test and octet looked at costs fuel; without fuel
//! the script ends with an error, whatever it is doing.  RFC 5228 2.10, 10.
//!
//! What commands and tests do is in the files of `ext`; this file knows none.

use std::any::Any;
use std::borrow::Cow;

use super::action::{Action, Outcome, Store};
use super::code::{Op, Part, Script, Text, Unit, Value, Variable};
use super::fault::{Fault, Pos};
use super::language::Kind;
use super::message::Message;
use super::result::{Refused, Results};
use super::settings::Settings;
use super::surroundings::{Answer, Envelope, Surroundings, Trace};
use super::template;
use crate::proto::limits;

/// Why a script ended early.
pub type Ended = Box<Fault>;

/// What a command costs beside the octets that it looks at.
const STEP: u64 = 64;

/// Runs a script over a message.
///
/// Blocks as long as the surroundings do.  The outcome is complete: after an error it is the
/// implicit keep, after a temporary error nothing.
pub fn run(
    script: &Script,
    message: Message,
    envelope: &Envelope,
    settings: &Settings,
    world: &mut dyn Surroundings,
) -> Outcome {
    run_all(&[script], message, envelope, settings, world)
}

/// Runs several scripts, one after the other, as long as each keeps the message.
///
/// That is how a site's scripts stand before and after the user's: the keep of one script is
/// the question to the next.  Actions of scripts that ended well remain if a later one fails.
pub fn run_all(
    scripts: &[&Script],
    message: Message,
    envelope: &Envelope,
    settings: &Settings,
    world: &mut dyn Surroundings,
) -> Outcome {
    let mut message = message;
    let (results, fault) =
        sequence(scripts, Results::default(), &mut message, envelope, settings, world);
    conclude(results, &message, fault)
}

/// Runs several scripts after what `results` holds; the results of a script that fails are left
/// out.
pub fn sequence(
    scripts: &[&Script],
    mut results: Results,
    message: &mut Message,
    envelope: &Envelope,
    settings: &Settings,
    world: &mut dyn Surroundings,
) -> (Results, Option<Fault>) {
    for (i, script) in scripts.iter().enumerate() {
        if i > 0 || !results.is_fresh() {
            if results.keeps() {
                results.take_keep();
            } else if i > 0 {
                break;
            }
        }
        let before = results.clone();
        let envelope = envelope.clone();
        let mut run = Run::new(script, message.clone(), envelope, settings, &mut *world);
        run.results = results;
        let ended = run.execute();
        results = run.results;
        *message = run.message;
        if let Err(ended) = ended {
            return (before, Some(*ended));
        }
    }
    (results, None)
}

/// What is to be done: the actions and, if it is due, the implicit keep.  RFC 5228 2.10.2.
pub fn conclude(mut results: Results, message: &Message, fault: Option<Fault>) -> Outcome {
    if fault.as_ref().is_some_and(|fault| fault.temporary) {
        return Outcome { fault, ..Outcome::default() };
    }
    let kept = |a: &Action| matches!(a, Action::Store(Store { mailbox: None, .. }));
    if !results.keep_cancelled && !results.actions.iter().any(kept) {
        let flags = if fault.is_some() { Vec::new() } else { std::mem::take(&mut results.flags) };
        let keep = Store { flags, message: message.version(), implicit: true, ..Store::default() };
        results.actions.push(Action::Store(keep));
    }
    Outcome { actions: results.actions, records: results.records, fault }
}

/// A running script.
pub struct Run<'a> {
    /// What it runs.
    pub script: &'a Script,
    /// The message as it is now.
    pub message: Message,
    /// Its envelope.
    pub envelope: Envelope,
    /// The site's decisions.
    pub settings: &'a Settings,
    /// Everything outside.
    pub world: &'a mut dyn Surroundings,
    /// What it has decided so far.
    pub results: Results,
    /// What extensions keep, one value of a type of theirs.
    kept: Vec<Box<dyn Any>>,
    frames: Vec<Frame<'a>>,
    scopes: Vec<Scope>,
    globals: Vec<Vec<u8>>,
    fuel: u64,
    now: Option<i64>,
}

/// The variables of one script while it runs.
#[derive(Debug, Default)]
struct Scope {
    locals: Vec<Vec<u8>>,
    matches: Vec<Vec<u8>>,
    unit: usize,
}

/// A block that is being run.
pub struct Frame<'a> {
    ops: &'a [Op],
    next: usize,
    /// An `if` or `elsif` of the current chain has held.
    pub taken: bool,
    /// The command whose block it is, if that command can be left or repeated.
    pub owner: Option<&'a Op>,
    /// How it is repeated, if it is.
    repeat: Option<&'static Repeat>,
    /// It is a script of its own, with its own variables.
    is_unit: bool,
}

/// How a block is repeated.
pub struct Repeat {
    /// Asked at the block's end: true runs it once more.
    pub again: fn(&mut Run<'_>) -> Result<bool, Ended>,
    /// Told when the block is left, at its end or before.
    pub leave: fn(&mut Run<'_>),
}

impl<'a> Frame<'a> {
    /// A plain block.
    pub fn block(ops: &'a [Op]) -> Self {
        Frame { ops, next: 0, taken: false, owner: None, repeat: None, is_unit: false }
    }

    /// A block that belongs to a command and may be repeated.
    pub fn owned(op: &'a Op, repeat: Option<&'static Repeat>) -> Self {
        Frame { owner: Some(op), repeat, ..Frame::block(&op.block) }
    }
}

/// Where to go on after a command.
pub enum Flow<'a> {
    /// With the next command.
    Next,
    /// With a block.
    Enter(Frame<'a>),
    /// With an included script.
    Include(usize),
    /// After the end of this script.
    Return,
    /// Nowhere: the script is done.
    Stop,
    /// After the command with this many frames below it.
    Leave(usize),
}

impl<'a> Run<'a> {
    /// Makes a script ready to run.
    pub fn new(
        script: &'a Script,
        message: Message,
        envelope: Envelope,
        settings: &'a Settings,
        world: &'a mut dyn Surroundings,
    ) -> Self {
        let octets = u64::try_from(message.len()).unwrap_or(u64::MAX);
        let fuel = settings.fuel.saturating_add(octets.saturating_mul(settings.fuel_per_octet));
        Run {
            script,
            message,
            envelope,
            settings,
            world,
            results: Results::default(),
            kept: Vec::new(),
            frames: Vec::new(),
            scopes: Vec::new(),
            globals: vec![Vec::new(); script.globals],
            fuel,
            now: None,
        }
    }

    /// Runs it to its end.
    pub fn execute(&mut self) -> Result<(), Ended> {
        self.enter_unit(0);
        while let Some(frame) = self.frames.last_mut() {
            let Some(op) = frame.ops.get(frame.next) else {
                if let Some(repeat) = frame.repeat {
                    if (repeat.again)(self)? {
                        if let Some(frame) = self.frames.last_mut() {
                            frame.next = 0;
                            frame.taken = false;
                        }
                        continue;
                    }
                }
                self.leave_to(self.frames.len().saturating_sub(1));
                continue;
            };
            frame.next = frame.next.saturating_add(1);
            self.charge_at(op.pos, STEP)?;
            let script = self.unit_name();
            self.world.trace(Trace::Command { script, op });
            let Kind::Command { run, .. } = op.verb.kind else { continue };
            match run(self, op)? {
                Flow::Next => {}
                Flow::Enter(frame) => self.frames.push(frame),
                Flow::Include(unit) => self.enter_unit(unit),
                Flow::Return => {
                    let unit = self.frames.iter().rposition(|frame| frame.is_unit);
                    self.leave_to(unit.unwrap_or(0));
                }
                Flow::Stop => self.leave_to(0),
                Flow::Leave(depth) => self.leave_to(depth),
            }
        }
        Ok(())
    }

    fn enter_unit(&mut self, number: usize) {
        let Some(unit) = self.script.units.get(number) else { return };
        let locals = vec![Vec::new(); unit.locals];
        self.scopes.push(Scope { locals, matches: Vec::new(), unit: number });
        self.frames.push(Frame { is_unit: true, ..Frame::block(&unit.ops) });
    }

    /// Leaves blocks until this many are left.
    fn leave_to(&mut self, depth: usize) {
        while self.frames.len() > depth {
            let Some(frame) = self.frames.pop() else { return };
            if frame.is_unit {
                self.scopes.pop();
            }
            if let Some(repeat) = frame.repeat {
                (repeat.leave)(self);
            }
        }
    }

    /// How many scripts are being run, one including the other.
    pub fn nesting(&self) -> usize {
        self.scopes.len()
    }

    /// The script that is being run: the main one or an included one.
    pub fn unit(&self) -> Option<&'a Unit> {
        self.script.units.get(self.scopes.last().map_or(0, |s| s.unit))
    }

    /// Its name; empty for the main one.
    fn unit_name(&self) -> &'a str {
        self.unit().map_or("", |unit| unit.name.as_str())
    }

    /// The block that is being run.
    pub fn frame(&mut self) -> Option<&mut Frame<'a>> {
        self.frames.last_mut()
    }

    /// The number of frames below the innermost block whose command is like this.
    pub fn find_block(&self, wanted: impl Fn(&Op) -> bool) -> Option<usize> {
        self.frames.iter().rposition(|frame| frame.owner.is_some_and(&wanted))
    }

    /// What an extension keeps while the script runs, if it has kept anything.
    pub fn kept<T: 'static>(&self) -> Option<&T> {
        self.kept.iter().find_map(|kept| kept.downcast_ref())
    }

    /// The same to be changed; at first the default.  The type tells whose it is.
    pub fn keep<T: Default + 'static>(&mut self) -> &mut T {
        let at = self.kept.iter().position(|kept| kept.is::<T>());
        let at = at.unwrap_or_else(|| {
            self.kept.push(Box::new(T::default()));
            self.kept.len().saturating_sub(1)
        });
        let kept = self.kept.get_mut(at).and_then(|kept| kept.downcast_mut());
        #[expect(clippy::expect_used, reason = "the place was found or made for this type")]
        kept.expect("what is kept has the type that it was kept with")
    }

    /// Decides a test.
    pub fn test(&mut self, op: &'a Op) -> Result<bool, Ended> {
        self.charge_at(op.pos, STEP)?;
        let Kind::Test { run } = op.verb.kind else { return Ok(false) };
        let held = run(self, op)?;
        let script = self.unit_name();
        self.world.trace(Trace::Test { script, op, held });
        Ok(held)
    }

    /// Takes fuel.
    pub fn charge(&mut self, amount: u64) -> Result<(), Ended> {
        match self.fuel.checked_sub(amount) {
            Some(left) => {
                self.fuel = left;
                Ok(())
            }
            None => self.exhausted(self.position()),
        }
    }

    /// Takes fuel for looking at octets.
    pub fn charge_bytes(&mut self, octets: usize) -> Result<(), Ended> {
        self.charge(u64::try_from(octets).unwrap_or(u64::MAX))
    }

    fn charge_at(&mut self, pos: Pos, amount: u64) -> Result<(), Ended> {
        match self.charge(amount) {
            Err(_) => self.exhausted(pos),
            charged => charged,
        }
    }

    fn exhausted<T>(&mut self, pos: Pos) -> Result<T, Ended> {
        self.fuel = 0;
        Err(self.fault(pos, "the script takes more CPU time than it may"))
    }

    /// The place of the command that is being run.
    fn position(&self) -> Pos {
        let frame = self.frames.last();
        let op = frame.and_then(|frame| frame.ops.get(frame.next.saturating_sub(1)));
        op.map(|op| op.pos).unwrap_or_default()
    }

    /// An error that ends the script.
    pub fn fault(&self, pos: Pos, text: impl Into<String>) -> Ended {
        let name = self.unit_name();
        let text = text.into();
        let text = if name.is_empty() { text } else { format!("in script '{name}': {text}") };
        Box::new(Fault { pos, text, temporary: false, by_script: false })
    }

    /// An answer of the surroundings; none is a temporary error.
    pub fn answer<T>(&self, op: &Op, answer: Answer<T>) -> Result<T, Ended> {
        answer.map_err(|_| {
            let text = format!("{} cannot be answered now", op.verb.title());
            Box::new(Fault { temporary: true, ..*self.fault(op.pos, text) })
        })
    }

    /// Turns a refused action into an error.
    pub fn added(&self, op: &Op, added: Result<(), Refused>) -> Result<(), Ended> {
        added.map_err(|why| self.fault(op.pos, why))
    }

    /// The value of a text: its variables replaced.  RFC 5229 3.
    pub fn text(&mut self, text: &'a Text) -> Result<Cow<'a, [u8]>, Ended> {
        let parts = match text {
            Text::Constant(text) => return Ok(Cow::Borrowed(text)),
            Text::Template(parts) => parts,
        };
        let mut out = Vec::new();
        for part in parts {
            let fits = match part {
                Part::Text(text) => template::append(&mut out, text),
                Part::Variable(variable) => {
                    let value = self.variable(variable);
                    template::append(&mut out, &value)
                }
            };
            if !fits {
                let text = format!("a string grows beyond {} octets", limits::SIEVE_STRING.default);
                return Err(self.fault(self.position(), text));
            }
        }
        self.charge_bytes(out.len())?;
        Ok(Cow::Owned(out))
    }

    /// The string in a parameter; empty if it was left out.
    pub fn string(&mut self, op: &'a Op, param: usize) -> Result<Cow<'a, [u8]>, Ended> {
        match op.arg(param).and_then(|given| given.texts().first()) {
            Some(text) => self.text(text),
            None => Ok(Cow::Borrowed(b"")),
        }
    }

    /// The strings in a parameter.
    pub fn list(&mut self, op: &'a Op, param: usize) -> Result<Vec<Cow<'a, [u8]>>, Ended> {
        let texts = op.arg(param).map(|given| given.texts()).unwrap_or_default();
        texts.iter().map(|text| self.text(text)).collect()
    }

    /// The string that a tag has, if it was given.
    pub fn tag(&mut self, op: &'a Op, name: &str) -> Result<Option<Cow<'a, [u8]>>, Ended> {
        match op.tag(name).and_then(|given| given.texts().first()) {
            Some(text) => self.text(text).map(Some),
            None => Ok(None),
        }
    }

    /// The strings that a tag has.
    pub fn tag_list(
        &mut self,
        op: &'a Op,
        name: &str,
    ) -> Result<Option<Vec<Cow<'a, [u8]>>>, Ended> {
        let Some(given) = op.tag(name) else { return Ok(None) };
        match &given.value {
            Value::Nothing | Value::Number(_) => Ok(None),
            _ => {
                given.texts().iter().map(|text| self.text(text)).collect::<Result<_, _>>().map(Some)
            }
        }
    }

    /// The value of a variable; one that was never set is empty.
    pub fn variable(&mut self, variable: &Variable) -> Vec<u8> {
        let scope = self.scopes.last();
        let found = match variable {
            Variable::Match(n) => scope.and_then(|scope| scope.matches.get(*n)),
            Variable::Local(n) => scope.and_then(|scope| scope.locals.get(*n)),
            Variable::Global(n) => self.globals.get(*n),
            Variable::Space(space, name) => return (space.get)(self, name).unwrap_or_default(),
        };
        found.cloned().unwrap_or_default()
    }

    /// Sets a variable; a value that is too long is cut between characters.  RFC 5229 4.
    pub fn set_variable(&mut self, variable: &Variable, mut value: Vec<u8>) {
        cut(&mut value, self.settings.variable_size);
        let slot = match variable {
            Variable::Local(n) => self.scopes.last_mut().and_then(|s| s.locals.get_mut(*n)),
            Variable::Global(n) => self.globals.get_mut(*n),
            Variable::Match(_) | Variable::Space(..) => None,
        };
        if let Some(slot) = slot {
            *slot = value;
        }
    }

    /// The time of the run: the same for all of a script.  RFC 5260 5.
    pub fn now(&mut self) -> i64 {
        let world = &mut self.world;
        *self.now.get_or_insert_with(|| world.now())
    }

    /// Sets the match variables: `${0}`, `${1}` and so on.  RFC 5229 3.2.
    pub fn set_match_values<'v>(
        &mut self,
        values: impl Iterator<Item = &'v [u8]>,
    ) -> Result<(), Ended> {
        if !self.unit().is_some_and(|unit| unit.requires.contains(&"variables")) {
            return Ok(());
        }
        let max = limits::SIEVE_STRING.size();
        let values = values.take(limits::SIEVE_MATCH_VALUES.size());
        let values: Vec<Vec<u8>> = values.map(|value| start(value, max).to_vec()).collect();
        self.charge_bytes(values.iter().map(Vec::len).sum())?;
        if let Some(scope) = self.scopes.last_mut() {
            scope.matches = values;
        }
        Ok(())
    }
}

/// The beginning of a text, cut before a character.
fn start(text: &[u8], max: usize) -> &[u8] {
    let mut at = max;
    while at > 0 && max.saturating_sub(at) < 4 && text.get(at).is_some_and(|b| b & 0xc0 == 0x80) {
        at = at.saturating_sub(1);
    }
    text.get(..at).unwrap_or(text)
}

/// Cuts a text to a length, before a character.
pub fn cut(text: &mut Vec<u8>, max: usize) {
    let len = start(text, max).len();
    text.truncate(len);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::check::compile;
    use super::super::fuzz::Nowhere;
    use super::super::language::Language;
    use super::super::surroundings::NoLibrary;
    use super::*;

    /// What becomes of a script whose fuel is only what the message brings.
    fn fault(source: &str, octets: usize) -> Option<String> {
        let script = compile(source.as_bytes(), &Language::default(), &mut NoLibrary).unwrap();
        let body = "a".repeat(octets);
        let message = Message::new(Arc::new(format!("Subject: x\r\n\r\n{body}").into_bytes()));
        let settings = Settings { fuel: 0, ..Settings::default() };
        let outcome = run(&script, message, &Envelope::default(), &settings, &mut Nowhere);
        outcome.fault.map(|fault| fault.text)
    }

    #[test]
    fn a_large_message_brings_the_fuel_to_look_at_it() {
        let keys: Vec<String> = (0..64).map(|i| format!("\"key{i}\"")).collect();
        let test = format!("if body :raw :contains [{}] {{ stop; }}\n", keys.join(", "));
        let script = format!("require \"body\";\n{}", test.repeat(3));
        assert_eq!(fault(&script, 200_000), None);
        let script = format!("require \"body\";\n{}", test.repeat(4));
        assert!(fault(&script, 200_000).unwrap().contains("CPU"));
    }

    #[test]
    fn what_a_message_brings_is_used_up_by_a_hostile_script() {
        let test = "if body :raw :matches \"*b?c*\" { stop; }\n";
        let script = format!("require \"body\";\n{}", test.repeat(100));
        assert!(fault(&script, 200_000).unwrap().contains("CPU"));
    }
}
