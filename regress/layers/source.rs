//! The source as the rules see it: no comments, no test code, every path from
//! the root of the crate.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A source file.
pub struct Source {
    /// Its path below src.
    pub name: String,
    /// Its module's path: `["proc", "smtp", "session"]`.
    pub module: Vec<String>,
    /// Its code, line by line as in the file; what is left out is empty.
    pub lines: Vec<String>,
}

/// The source files below a directory.
pub fn files(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("src").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
}

/// Every source file but those that are compiled for tests alone: behind
/// `#[cfg(test)] mod`, or below such a one.
pub fn read(src: &Path) -> Vec<Source> {
    let mut paths = Vec::new();
    files(src, &mut paths);
    paths.sort();
    let mut tests = BTreeSet::new();
    let mut all = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("source");
        let name = path.strip_prefix(src).expect("below src").display().to_string();
        let module = module_of(&name);
        let lines = code(&text, |test| {
            let mut path = module.clone();
            path.push(test.to_string());
            tests.insert(path);
        });
        all.push(Source { name, module, lines });
    }
    all.retain(|s| !(1..=s.module.len()).any(|n| tests.contains(&s.module[..n])));
    all
}

fn module_of(name: &str) -> Vec<String> {
    let stem = name.trim_end_matches(".rs").trim_end_matches("/mod");
    // A file that another name is given by #[path]: `line_tests` is `line::tests`.
    let stem = match stem.strip_suffix("_tests") {
        Some(of) => format!("{of}/tests"),
        None => stem.to_string(),
    };
    let parts = stem.split('/').filter(|p| *p != "lib").map(str::to_string);
    parts.collect()
}

/// The lines without comments and without what stands behind `#[cfg(test)]`;
/// `module` is told the name of a module of tests that is a file.
fn code(text: &str, mut module: impl FnMut(&str)) -> Vec<String> {
    let mut lines = Vec::new();
    let mut all = text.lines();
    while let Some(line) = all.next() {
        let bare = line.split("//").next().unwrap_or_default();
        if bare.trim() != "#[cfg(test)]" {
            lines.push(bare.to_string());
            continue;
        }
        // The item ends with a semicolon, or with a brace in its own column.
        let column = line.len() - line.trim_start().len();
        lines.push(String::new());
        for line in all.by_ref() {
            lines.push(String::new());
            let item = line.trim();
            if let Some(name) = item.strip_suffix(';').and_then(|i| i.split("mod ").nth(1)) {
                module(name);
            }
            let ends = line.get(column..).is_some_and(|l| l.starts_with('}'));
            if ends || item.ends_with(';') && !line.starts_with(&" ".repeat(column + 1)) {
                break;
            }
        }
    }
    lines
}

impl Source {
    /// The layer or crate root that the file belongs to.
    pub fn layer(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    /// What the file names of our own, from the root of the crate, with the
    /// line: `crate::`, `super::` and `self::` paths, groups opened up.
    pub fn paths(&self) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        let text = self.lines.join("\n");
        for (start, base) in [("crate::", &[][..]), ("super::", self.module.as_slice())] {
            for (at, _) in text.match_indices(start) {
                let before = text[..at].chars().next_back();
                let inner = before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
                // `super::super::` is met at its first word, `in super::` of a visibility is no use.
                if inner {
                    continue;
                }
                let line = text[..at].matches('\n').count() + 1;
                let mut root = base.to_vec();
                root.truncate(base.len().saturating_sub(usize::from(start == "super::")));
                expand(&text[at + start.len()..], root, &mut |p| found.push((line, p)));
            }
        }
        found
    }
}

/// Follows a path, and each path of a group; gives what it leads to.
fn expand(text: &str, mut path: Vec<String>, give: &mut dyn FnMut(Vec<String>)) {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0_usize;
            let mut begin = 0;
            for (at, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth > 0 => depth -= 1,
                    ',' | '}' if depth == 0 => {
                        expand(&group[begin..at], path.clone(), give);
                        begin = at + 1;
                        if c == '}' {
                            return;
                        }
                    }
                    _ => {}
                }
            }
            return;
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        match &rest[..end] {
            "super" => drop(path.pop()),
            "self" | "" => {}
            word => path.push(word.to_string()),
        }
        match rest[end..].strip_prefix("::") {
            Some(more) => rest = more,
            None => return give(path),
        }
    }
}
