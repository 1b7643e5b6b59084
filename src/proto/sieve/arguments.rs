//! Arguments in their places: tags, positional arguments, match types.
//! RFC 5228 2.6 and 2.7.
//!
//! A part of the [checker](super::check): what a verb takes stands in its row of
//! the language's table, and each use of it is held against that here.

use super::ast::{Arg, Node, Value as Raw};
use super::check::Check;
use super::code::{Given, Op, Slot, Text, Value};
use super::compare::{Compiled, MatchType};
use super::fault::Pos;
use super::language::{Shape, Tag, Verb, MATCHES};
use super::template;

impl Check<'_> {
    /// Puts tags and positional arguments in their places.
    pub(super) fn arguments(&mut self, node: Node<'_, '_>, op: &mut Op) {
        let title = op.verb.title();
        let mut args = node.args();
        op.given = Vec::with_capacity(args.len());
        while let [Arg { pos, value: Raw::Tag(name) }, after @ ..] = args {
            let Some(tag) = self.tag(op.verb, name, *pos) else { return };
            if op.tags().any(|(other, _)| other.group == tag.group) {
                let text = format!("{title} takes only one of its {} tags", tag.group);
                return self.error(*pos, text);
            }
            args = after;
            let slot = Slot::Tag(tag);
            let mut given = Given { pos: *pos, slot, value: Value::Nothing };
            if let Some(shape) = tag.value {
                let value = after.first().and_then(|next| self.given(node, next, slot, shape));
                let Some(value) = value else {
                    let text = format!("the tag ':{name}' of {title} needs {}", shape.describe());
                    return self.error(*pos, text);
                };
                given = value;
                args = after.get(1..).unwrap_or_default();
            }
            if let Some(sets) = tag.sets {
                let constant = given.constants().next();
                if let Err(text) = sets(self, &mut op.matching, constant.unwrap_or_default()) {
                    return self.error(*pos, text);
                }
            }
            op.given.push(given);
        }
        if let Some(Arg { pos, value: Raw::Tag(name) }) = args.iter().find(|arg| is_tag(arg)) {
            if self.tag(op.verb, name, *pos).is_some() {
                let text = format!("unexpected tag ':{name}' after the arguments of {title}");
                self.error(*pos, text);
            }
            return;
        }
        let alone = |tag: &Tag| Some((tag.name, tag.with.filter(|with| !op.has(with))?));
        if let Some((name, needs)) = op.tags().find_map(|(tag, _)| alone(tag)) {
            let text = format!("the tag ':{name}' of {title} needs ':{needs}'");
            return self.error(node.pos, text);
        }
        if self.positional(node, op, args) && op.verb.classes.contains(&MATCHES) {
            self.keys(op);
        }
    }

    /// The rule for a tag: a verb's own, or one that an extension adds.
    pub(super) fn tag_rule(&self, verb: &'static Verb, name: &str) -> Option<&'static Tag> {
        let own = verb.tags.iter().find(|tag| tag.name == name);
        let added = || self.language.tags(verb, name).find(|(i, _)| self.is_on(*i));
        own.or_else(|| added().map(|(_, tag)| tag))
    }

    fn tag(&mut self, verb: &'static Verb, name: &str, pos: Pos) -> Option<&'static Tag> {
        if let Some(tag) = self.tag_rule(verb, name) {
            return Some(tag);
        }
        let offered = self.language.tags(verb, name).next();
        let text = match offered.and_then(|(i, _)| self.language.extension(i)) {
            Some(extension) => {
                let title = verb.title();
                format!("the tag ':{name}' of {title} needs require \"{}\"", extension.name)
            }
            None => format!("unknown tagged argument ':{name}' for {} here", verb.title()),
        };
        self.error(pos, text);
        None
    }

    /// An argument in the shape that is wanted; `None` if it has another.
    fn given(
        &mut self,
        node: Node<'_, '_>,
        arg: &Arg<'_>,
        slot: Slot,
        shape: Shape,
    ) -> Option<Given> {
        let pos = arg.pos;
        let value = match (&arg.value, shape) {
            (Raw::Number(n), Shape::Number) => Value::Number(*n),
            (Raw::Text(raw), Shape::Text | Shape::List) => {
                Value::Text(template::text(self, pos, raw))
            }
            (Raw::Text(raw), Shape::Constant) => match template::text(self, pos, raw) {
                text @ Text::Constant(_) => Value::Text(text),
                Text::Template(_) => return None,
            },
            (Raw::List(list), Shape::List) => {
                let list = node.strings(list).iter();
                Value::List(list.map(|raw| template::text(self, pos, raw)).collect())
            }
            _ => return None,
        };
        Some(Given { pos, slot, value })
    }

    /// Adds the positional arguments; false after an error.
    fn positional(&mut self, node: Node<'_, '_>, op: &mut Op, given: &[Arg<'_>]) -> bool {
        let params = op.verb.params;
        let title = op.verb.title();
        let required = params.iter().filter(|p| !p.optional).count();
        if given.len() < required || given.len() > params.len() {
            let wanted = match (required, params.len()) {
                (0, 0) => "no positional arguments".to_string(),
                (1, 1) => "1 positional argument".to_string(),
                (a, b) if a == b => format!("{a} positional arguments"),
                (a, b) => format!("{a} to {b} positional arguments"),
            };
            let verb = if required == 0 && params.is_empty() { "takes" } else { "requires" };
            let text = format!("{title} {verb} {wanted}, but {} specified", given.len());
            self.error(node.pos, text);
            return false;
        }
        // Optional parameters are filled from the left as far as there are arguments.
        let mut spare = given.len().saturating_sub(required);
        let mut given = given.iter();
        for (i, param) in params.iter().enumerate() {
            let skip = param.optional && spare == 0;
            if param.optional {
                spare = spare.saturating_sub(1);
            }
            let Some(arg) = (if skip { None } else { given.next() }) else { continue };
            let before = self.errors.len();
            match self.given(node, arg, Slot::Param(i), param.shape) {
                Some(given) => op.given.push(given),
                None if self.errors.len() > before => return false,
                None => {
                    let text = format!(
                        "{title} expects {} as argument {} ({}), but {} was found",
                        param.shape.describe(),
                        i.saturating_add(1),
                        param.name,
                        arg.value.kind(),
                    );
                    self.error(arg.pos, text);
                    return false;
                }
            }
        }
        true
    }

    /// Match type, comparator and constant keys have to fit together.
    fn keys(&mut self, op: &mut Op) {
        let (kind, comparator) = (op.matching.kind, op.matching.comparator);
        let substring = matches!(kind, MatchType::Contains | MatchType::Matches | MatchType::Regex);
        if substring && !comparator.has_substring() {
            let name = comparator.name();
            return self.error(op.pos, format!("the comparator '{name}' finds no substrings"));
        }
        let keys = |given: &&Given| matches!(given.slot, Slot::Param(_));
        let Some(given) = op.given.last().filter(keys) else { return };
        if op.matching.compiles() {
            let compiled = given.constants().map(|key| op.matching.compile(key));
            match compiled.collect::<Result<Box<[_]>, _>>() {
                Ok(mut compiled) if compiled.len() == given.texts().len() => {
                    for key in &mut compiled {
                        if let Compiled::Ere(ere) = key {
                            ere.keep = self.may_keep(ere.octets());
                        }
                    }
                    op.matching.compiled = compiled;
                }
                // Keys with variables are compiled when their values are known.
                Ok(_) => {}
                Err(why) => self.error(given.pos, why),
            }
        }
    }
}

fn is_tag(arg: &Arg<'_>) -> bool {
    matches!(arg.value, Raw::Tag(_))
}
