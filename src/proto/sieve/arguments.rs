//! Arguments in their places: tags, positional arguments, match types.
//! RFC 5228 2.6 and 2.7.
//!
//! A part of the [checker](super::check): what a verb takes stands in its row of
//! the language's table, and each use of it is held against that here.

use super::ast::{Arg, Node, Value as Raw};
use super::check::Check;
use super::code::{Given, Op, Text, Value};
use super::compare::{Comparator, MatchType, Relation};
use super::fault::Pos;
use super::language::{Shape, Tag, Verb, MATCHES};
use super::template;

impl Check<'_> {
    /// Puts tags and positional arguments in their places.
    pub(super) fn arguments(&mut self, node: &Node<'_>, op: &mut Op) {
        let tags = node.args.iter().filter(|arg| matches!(arg.value, Raw::Tag(_))).count();
        op.tags.reserve_exact(tags);
        let mut args = node.args.iter().peekable();
        let mut positional: Vec<&Arg<'_>> = Vec::with_capacity(node.args.len());
        let title = op.verb.title();
        while let Some(arg) = args.next() {
            let Raw::Tag(name) = &arg.value else {
                positional.push(arg);
                continue;
            };
            let Some(tag) = self.tag(op.verb, name, arg.pos) else { return };
            if !positional.is_empty() {
                let text = format!("unexpected tag ':{name}' after the arguments of {title}");
                return self.error(arg.pos, text);
            }
            if let Some(pos) = self.conflict(op, tag, arg.pos) {
                return self
                    .error(pos, format!("{title} takes only one of its {} tags", tag.group));
            }
            let value = match tag.value {
                None => None,
                Some(shape) => match args.peek().and_then(|next| self.given(next, shape)) {
                    Some(given) => {
                        args.next();
                        Some(given)
                    }
                    None => {
                        let text =
                            format!("the tag ':{name}' of {title} needs {}", shape.describe());
                        return self.error(arg.pos, text);
                    }
                },
            };
            op.tags.push((tag.name, value));
            if tag.on.contains(&MATCHES) || op.verb.classes.contains(&MATCHES) {
                if let Err(text) = self.matching(op, tag.name) {
                    return self.error(arg.pos, text);
                }
            }
        }
        for i in 0..op.tags.len() {
            let name = op.tags.get(i).map_or("", |(name, _)| *name);
            let needs = self.tag_rule(op.verb, name).and_then(|(_, tag)| tag.with);
            if let Some(needs) = needs.filter(|needs| !op.has(needs)) {
                let text = format!("the tag ':{name}' of {title} needs ':{needs}'");
                return self.error(node.pos, text);
            }
        }
        self.positional(node, op, &positional);
    }

    /// The rule for a tag: a verb's own, or one that an extension adds.
    pub(super) fn tag_rule(
        &self,
        verb: &'static Verb,
        name: &str,
    ) -> Option<(usize, &'static Tag)> {
        let own = verb.tags.iter().find(|tag| tag.name == name);
        if let Some(own) = own {
            return Some((usize::MAX, own));
        }
        let on = |i: usize| {
            let core = self.language.extension(i).is_some_and(|e| e.name.is_empty());
            core || self.enabled.get(i) == Some(&true)
        };
        self.language.tags(verb, name).find(|(i, _)| on(*i))
    }

    fn tag(&mut self, verb: &'static Verb, name: &str, pos: Pos) -> Option<&'static Tag> {
        if let Some((_, tag)) = self.tag_rule(verb, name) {
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

    /// The place of the mistake if another tag of the same group has been given.
    fn conflict(&self, op: &Op, tag: &Tag, pos: Pos) -> Option<Pos> {
        let mut names = op.tags.iter().map(|(name, _)| *name);
        let same = names.any(|name| {
            name == tag.name
                || self.tag_rule(op.verb, name).is_some_and(|(_, other)| other.group == tag.group)
        });
        same.then_some(pos)
    }

    /// An argument in the shape that is wanted; `None` if it has another.
    fn given(&mut self, arg: &Arg<'_>, shape: Shape) -> Option<Given> {
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
                Value::List(list.iter().map(|raw| template::text(self, pos, raw)).collect())
            }
            _ => return None,
        };
        Some(Given { pos, value })
    }

    fn positional(&mut self, node: &Node<'_>, op: &mut Op, given: &[&Arg<'_>]) {
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
            return self.error(node.pos, text);
        }
        // Optional parameters are filled from the left as far as there are arguments.
        let mut spare = given.len().saturating_sub(required);
        let mut given = given.iter();
        for (i, param) in params.iter().enumerate() {
            let skip = param.optional && spare == 0;
            if param.optional {
                spare = spare.saturating_sub(1);
            }
            let Some(arg) = (if skip { None } else { given.next() }) else {
                op.args.push(None);
                continue;
            };
            let before = self.errors.len();
            match self.given(arg, param.shape) {
                Some(given) => op.args.push(Some(given)),
                None if self.errors.len() > before => return,
                None => {
                    let text = format!(
                        "{title} expects {} as argument {} ({}), but {} was found",
                        param.shape.describe(),
                        i.saturating_add(1),
                        param.name,
                        arg.value.kind(),
                    );
                    return self.error(arg.pos, text);
                }
            }
        }
        if matches!(op.matching.kind, MatchType::Matches | MatchType::Regex) {
            let keys = op.args.last().and_then(Option::as_ref).map_or(0, |k| k.texts().len());
            op.matching.compiled.resize_with(keys, Default::default);
        }
        if op.verb.classes.contains(&MATCHES) {
            self.keys(op);
        }
    }

    /// Takes a tag of the matching class into the operation.
    fn matching(&mut self, op: &mut Op, name: &str) -> Result<(), String> {
        let value = op.tag(name).and_then(|given| given.constants().next()).map(<[u8]>::to_vec);
        let relation = || {
            let name = value.as_deref().unwrap_or_default();
            Relation::parse(name)
                .ok_or_else(|| format!("'{}' is no relation", String::from_utf8_lossy(name)))
        };
        match name {
            "is" => op.matching.kind = MatchType::Is,
            "contains" => op.matching.kind = MatchType::Contains,
            "matches" => op.matching.kind = MatchType::Matches,
            "regex" => op.matching.kind = MatchType::Regex,
            "list" => op.matching.kind = MatchType::List,
            "count" => op.matching.kind = MatchType::Count(relation()?),
            "value" => op.matching.kind = MatchType::Value(relation()?),
            "comparator" => {
                let name = value.unwrap_or_default();
                op.matching.comparator = self.comparator(&name)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn comparator(&self, name: &[u8]) -> Result<Comparator, String> {
        let shown = String::from_utf8_lossy(name);
        let capability = [b"comparator-", name].concat();
        let found = self.language.find(&capability);
        let comparator = found.and_then(|i| self.language.extension(i)?.comparator);
        let Some(comparator) = comparator else {
            return Err(format!("unknown comparator '{shown}'"));
        };
        let always = matches!(comparator, Comparator::Octet | Comparator::AsciiCasemap);
        if !always && found.and_then(|i| self.enabled.get(i)) != Some(&true) {
            return Err(format!("the comparator '{shown}' needs require \"comparator-{shown}\""));
        }
        Ok(comparator)
    }

    /// Match type, comparator and constant keys have to fit together.
    fn keys(&mut self, op: &mut Op) {
        let (kind, comparator) = (op.matching.kind, op.matching.comparator);
        let substring = matches!(kind, MatchType::Contains | MatchType::Matches | MatchType::Regex);
        if substring && !comparator.has_substring() {
            let name = comparator.name();
            return self.error(op.pos, format!("the comparator '{name}' finds no substrings"));
        }
        let fold = comparator.fold();
        let last = op.args.iter().rev().flatten().next();
        let mut wrong = None;
        if let (MatchType::Regex, Some(keys)) = (kind, last) {
            let bad = |key| super::ere::check(key, fold).err();
            wrong = keys.constants().find_map(bad).map(|why| (keys.pos, why));
        }
        if let Some((pos, why)) = wrong {
            self.error(pos, why);
        }
    }
}
