//! The canonical form of a script: what `rmailctl sieve check -p` prints.
//!
//! `parse(print(tree))` is the same tree but for positions; a test and the fuzz
//! target hold it to that.  Comments are not in the tree and are lost.

use super::ast::{Node, Nodes, Tree, Value};

/// The script as text: CRLF line ends, four blanks per level, strings in their shortest form.
pub fn print(tree: &Tree<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    commands(&mut out, tree.commands(), 0);
    out
}

fn commands(out: &mut Vec<u8>, nodes: Nodes<'_, '_>, depth: usize) {
    for node in nodes {
        indent(out, depth);
        print_node(out, node);
        if !node.has_block {
            out.extend_from_slice(b";\r\n");
            continue;
        }
        out.extend_from_slice(b" {\r\n");
        commands(out, node.block(), depth.saturating_add(1));
        indent(out, depth);
        out.extend_from_slice(b"}\r\n");
    }
}

fn indent(out: &mut Vec<u8>, depth: usize) {
    out.resize(out.len().saturating_add(depth.saturating_mul(4)), b' ');
}

fn print_node(out: &mut Vec<u8>, node: Node<'_, '_>) {
    out.extend_from_slice(node.name.as_bytes());
    for arg in node.args() {
        out.push(b' ');
        match &arg.value {
            Value::Tag(name) => {
                out.push(b':');
                out.extend_from_slice(name.as_bytes());
            }
            Value::Number(n) => number(out, *n),
            Value::Text(text) => string(out, text),
            Value::List(list) => {
                out.push(b'[');
                for (i, text) in node.strings(list).iter().enumerate() {
                    if i > 0 {
                        out.extend_from_slice(b", ");
                    }
                    string(out, text);
                }
                out.push(b']');
            }
        }
    }
    if node.test_list {
        out.extend_from_slice(b" (");
    }
    for (i, test) in node.tests().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        if i > 0 || !node.test_list {
            out.push(b' ');
        }
        print_node(out, test);
    }
    if node.test_list {
        out.push(b')');
    }
}

/// With the largest quantifier that loses nothing.
fn number(out: &mut Vec<u8>, n: u64) {
    let (n, unit) = match n.trailing_zeros() {
        _ if n == 0 => (0, ""),
        30.. => (n >> 30, "G"),
        20.. => (n >> 20, "M"),
        10.. => (n >> 10, "K"),
        _ => (n, ""),
    };
    out.extend_from_slice(n.to_string().as_bytes());
    out.extend_from_slice(unit.as_bytes());
}

/// Quoted, or as multi-line text where it consists of more than one whole line.
fn string(out: &mut Vec<u8>, text: &[u8]) {
    let lines = text.split(|b| *b == b'\n').count();
    let plain = text.ends_with(b"\r\n") && !has_bare(text);
    if lines > 2 && plain {
        out.extend_from_slice(b"text:\r\n");
        for line in text.split_inclusive(|b| *b == b'\n') {
            if line.starts_with(b".") {
                out.push(b'.');
            }
            out.extend_from_slice(line);
        }
        out.extend_from_slice(b".\r\n");
        return;
    }
    out.push(b'"');
    for b in text {
        match b {
            // A bare CR must not meet the LF of a line end when read again.
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *b]),
            b => out.push(*b),
        }
    }
    out.push(b'"');
}

/// True if there is a CR that no LF follows.
fn has_bare(text: &[u8]) -> bool {
    let mut bytes = text.iter().peekable();
    while let Some(b) = bytes.next() {
        if *b == b'\r' && bytes.peek() != Some(&&b'\n') {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    #[test]
    fn printing_and_parsing_gives_the_same_tree() {
        let script = b"require [\"a\",\"b\\\"\\\\\"]; if anyof(not true,size :over 3M) \
            { keep; } else { set \"x\" text:\na\n..b\n.\n; set \"y\" \"one\nline\"; s 18000 0; }";
        let mut errors = Vec::new();
        let mut first = parse(script, &mut errors);
        let text = print(&first);
        let mut second = parse(&text, &mut errors);
        assert_eq!(errors, []);
        first.strip_positions();
        second.strip_positions();
        assert_eq!(first, second);
        assert_eq!(print(&second), text);
    }
}
