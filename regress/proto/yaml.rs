//! The YAML of the conformance suites: block mappings and sequences, block
//! scalars, quoted and plain scalars over several lines, flow sequences.
//!
//! No anchors, tags or flow mappings: no suite has them, and what is not
//! understood is an error, so that no test is lost silently.

/// A YAML value; every scalar is text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Yaml {
    Text(String),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    pub fn get(&self, key: &str) -> Option<&Yaml> {
        match self {
            Yaml::Map(pairs) => pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some(Yaml::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub fn pairs(&self) -> &[(String, Yaml)] {
        match self {
            Yaml::Map(pairs) => pairs,
            _ => &[],
        }
    }

    /// The texts of a list, or the one text.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Yaml::Text(text) => vec![text],
            Yaml::List(list) => list.iter().flat_map(Yaml::texts).collect(),
            Yaml::Map(_) => Vec::new(),
        }
    }
}

/// Reads all documents of a file.
pub fn parse(file: &str) -> Result<Vec<Yaml>, String> {
    let mut documents = Vec::new();
    let lines: Vec<&str> = file.lines().collect();
    let mut begin = 0;
    for end in 0..=lines.len() {
        if end == lines.len() || lines[end].trim_end() == "---" {
            let mut reader = Reader { lines: &lines[begin..end], at: 0, first: begin };
            if reader.peek().is_some() {
                documents.push(reader.block(0)?);
            }
            if let Some(left) = reader.peek() {
                return Err(reader.error(&format!("left over: {left}")));
            }
            begin = end + 1;
        }
    }
    Ok(documents)
}

struct Reader<'a> {
    lines: &'a [&'a str],
    at: usize,
    first: usize,
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

impl<'a> Reader<'a> {
    fn error(&self, what: &str) -> String {
        format!("line {}: {what}", self.first + self.at + 1)
    }

    /// The next line that is not blank and no comment.
    fn peek(&mut self) -> Option<&'a str> {
        while let Some(line) = self.lines.get(self.at) {
            let text = line.trim();
            if !text.is_empty() && !text.starts_with('#') {
                return Some(line);
            }
            self.at += 1;
        }
        None
    }

    /// A mapping or sequence whose lines are indented by `least` or more.
    fn block(&mut self, least: usize) -> Result<Yaml, String> {
        let Some(line) = self.peek().filter(|l| indent(l) >= least) else {
            return Ok(Yaml::Text(String::new()));
        };
        let depth = indent(line);
        if line.trim_start().starts_with("- ") || line.trim() == "-" {
            let mut list = Vec::new();
            while let Some(line) = self.peek().filter(|l| indent(l) == depth) {
                let item = line.trim_start().strip_prefix('-').ok_or(self.error("not an item"))?;
                let inner = depth + 1 + indent(item);
                list.push(self.item(item.trim_start(), inner)?);
            }
            return Ok(Yaml::List(list));
        }
        let mut pairs = Vec::new();
        while let Some(line) = self.peek().filter(|l| indent(l) == depth) {
            let (key, rest) = split_key(line.trim_start()).ok_or(self.error("not a pair"))?;
            pairs.push((key, self.value(rest, depth)?));
        }
        Ok(Yaml::Map(pairs))
    }

    /// What follows `- `: a pair of a mapping of its own, or a scalar.
    fn item(&mut self, text: &str, depth: usize) -> Result<Yaml, String> {
        match split_key(text).filter(|_| !text.starts_with(['"', '\'', '['])) {
            Some((key, rest)) => Ok(Yaml::Map(vec![(key, self.value(rest, depth)?)])),
            None => self.value(text, depth),
        }
    }

    /// A value that begins with `rest` on the current line, of a key at `depth`.
    fn value(&mut self, rest: &str, depth: usize) -> Result<Yaml, String> {
        let rest = rest.trim();
        self.at += 1;
        if rest.is_empty() || rest.starts_with('#') {
            return match self.peek() {
                Some(next) if indent(next) > depth => {
                    let next = next.trim_start();
                    if split_key(next).is_some() || next.starts_with("- ") {
                        self.block(depth + 1)
                    } else {
                        Ok(Yaml::Text(self.plain(String::new(), depth)))
                    }
                }
                Some(next) if indent(next) == depth && next.trim_start().starts_with("- ") => {
                    self.block(depth)
                }
                _ => Ok(Yaml::Text(String::new())),
            };
        }
        if let Some(style) = rest.strip_prefix('|').or_else(|| rest.strip_prefix('>')) {
            if matches!(style, "" | "-" | "+") {
                return Ok(Yaml::Text(self.scalar(depth, rest.starts_with('>'), style)));
            }
        }
        let mut whole = rest.to_string();
        match rest.as_bytes()[0] {
            b'[' | b'"' | b'\'' => {
                while !closed(&whole) {
                    let line = self.lines.get(self.at).ok_or(self.error("no end"))?;
                    self.at += 1;
                    whole = format!("{} {}", whole.trim_end(), line.trim());
                }
                flow(&mut whole.trim_end().chars().peekable()).ok_or(self.error("flow value"))
            }
            b'{' | b'&' | b'*' | b'!' => Err(self.error("not of the subset")),
            _ => Ok(Yaml::Text(self.plain(whole, depth))),
        }
    }

    /// A plain scalar and the lines that continue it.
    fn plain(&mut self, first: String, depth: usize) -> String {
        let cut = |s: &str| s.split(" #").next().unwrap_or_default().trim().to_string();
        let mut text = cut(&first);
        while let Some(line) = self.peek().filter(|l| indent(l) > depth) {
            if !text.is_empty() {
                text.push(' ');
            }
            text += &cut(line);
            self.at += 1;
        }
        text
    }

    /// A block scalar: literal, or folded.
    fn scalar(&mut self, depth: usize, folded: bool, chomp: &str) -> String {
        let mut lines: Vec<&str> = Vec::new();
        let mut margin = None;
        while let Some(line) = self.lines.get(self.at) {
            if !line.trim_matches(' ').is_empty() {
                if indent(line) <= depth {
                    break;
                }
                margin.get_or_insert(indent(line));
            }
            lines.push(line);
            self.at += 1;
        }
        let margin = margin.unwrap_or(0);
        let mut lines: Vec<&str> = lines.iter().map(|l| l.get(margin..).unwrap_or("")).collect();
        let kept = lines.len() - lines.iter().rev().take_while(|l| l.is_empty()).count();
        lines.truncate(kept);
        let mut text = lines.join(if folded { " " } else { "\n" });
        if chomp != "-" && !text.is_empty() {
            text.push('\n');
        }
        text
    }
}

/// `key: rest`; the key plain or quoted.
fn split_key(line: &str) -> Option<(String, &str)> {
    if let Some(quote) = line.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let end = line[1..].find(quote)? + 1;
        let rest = line[end + 1..].strip_prefix(':')?;
        return Some((line[1..end].to_string(), rest));
    }
    if line.starts_with('[') {
        return None;
    }
    let end = line.find(": ").or_else(|| line.ends_with(':').then_some(line.len() - 1))?;
    Some((line[..end].to_string(), &line[end + 1..]))
}

fn closed(text: &str) -> bool {
    let mut chars = text.chars().peekable();
    flow(&mut chars).is_some()
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// A quoted scalar or a flow sequence.
fn flow(chars: &mut Chars<'_>) -> Option<Yaml> {
    match chars.next()? {
        '[' => {
            let mut list = Vec::new();
            loop {
                while chars.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
                match chars.peek()? {
                    ']' => {
                        chars.next();
                        return Some(Yaml::List(list));
                    }
                    '[' | '"' | '\'' => list.push(flow(chars)?),
                    _ => {
                        let mut text = String::new();
                        while let Some(c) = chars.next_if(|c| !matches!(c, ',' | ']')) {
                            text.push(c);
                        }
                        list.push(Yaml::Text(text.trim().to_string()));
                    }
                }
            }
        }
        '"' => {
            let mut text = String::new();
            loop {
                match chars.next()? {
                    '"' => return Some(Yaml::Text(text)),
                    '\\' => text.push(match chars.next()? {
                        'x' => {
                            let hex: String = chars.by_ref().take(2).collect();
                            char::from_u32(u32::from_str_radix(&hex, 16).ok()?)?
                        }
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        '0' => '\0',
                        c => c,
                    }),
                    c => text.push(c),
                }
            }
        }
        '\'' => {
            let mut text = String::new();
            loop {
                match chars.next()? {
                    '\'' if chars.next_if_eq(&'\'').is_some() => text.push('\''),
                    '\'' => return Some(Yaml::Text(text)),
                    c => text.push(c),
                }
            }
        }
        _ => None,
    }
}
