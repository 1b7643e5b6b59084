//! Compares what was said to the clients with what is there.
//!
//! 250 means that a message is in each Maildir exactly once, 4xx and 5xx that
//! it is nowhere, a lost connection that it is at most once in each.  A relay, a
//! program and a mailbox in one file get at least once what was taken, and
//! nothing that was refused.  What is there is there whole.

use super::kill::{Figures, Victim};
use super::plan::{self, Letter, ACCOUNTS, BOX, RUN, SENDER};
use super::post::Said;
use crate::sink::Sink;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Every file below a mail root.
fn mails(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for sub in ["", ".lists"] {
        all.extend(crate::deliver::post::files(&root.join(sub)));
    }
    all
}

/// The messages of a mailbox in one file, without the line that each ends in.
fn messages(text: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        match all.last_mut() {
            // What stands before the first is no message, and is found as that.
            Some(last) if !line.starts_with("From ") => last.push_str(line),
            _ => all.push(if line.starts_with("From ") { String::new() } else { line.into() }),
        }
    }
    all.into_iter().map(|m| m.strip_suffix('\n').map(str::to_owned).unwrap_or(m)).collect()
}

/// Compares what was said with what is there.
///
/// Where the whole daemon dies, nobody is left to end a program that it runs: the
/// program finds its input at an end and cannot know.  Such copies do not count.
pub fn judge(
    dir: &Path,
    sink: &Sink,
    sent: &[(Letter, Said)],
    victim: Victim,
    figures: &mut Figures,
) {
    // Copies by message and place; the relay's place is its address.
    let mut copies: BTreeMap<(String, String), usize> = BTreeMap::new();
    let by_id: BTreeMap<&str, &Letter> = sent.iter().map(|(l, _)| (l.id.as_str(), l)).collect();
    let mut found: Vec<(&str, PathBuf, String)> = Vec::new();
    let read = |file: &Path| std::fs::read_to_string(file).unwrap_or_default();
    for account in ACCOUNTS.iter().chain([&SENDER]) {
        for file in mails(&dir.join("mail").join(account)) {
            let text = read(&file);
            found.push((account, file, text));
        }
    }
    let file = dir.join(BOX).join("file");
    for text in messages(&read(&file)) {
        found.push((BOX, file.clone(), text));
    }
    for entry in std::fs::read_dir(dir.join(RUN)).into_iter().flatten().flatten() {
        // What has no such name is of a program that was killed.
        if entry.path().extension().is_some_and(|e| e == "mail") {
            let text = read(&entry.path());
            found.push((RUN, entry.path(), text));
        }
    }
    for (place, file, text) in found {
        let id = text.lines().find_map(|l| l.strip_prefix("X-Id: ")).unwrap_or_default();
        let body = text.split_once("\n\n").map_or("", |(_, body)| body);
        let whole = by_id.get(id).is_some_and(|letter| body == letter.body());
        if place == RUN && victim == Victim::Daemon && !whole {
            continue;
        }
        if !by_id.contains_key(id) {
            figures.wrong.push(format!("{}: nobody sent this", file.display()));
            continue;
        }
        if !whole {
            figures.wrong.push(format!("{}: not the body that was sent: {id}", file.display()));
        }
        *copies.entry((id.to_owned(), place.to_owned())).or_default() += 1;
    }
    for mail in sink.mails() {
        let id = mail.text.lines().find_map(|l| l.strip_prefix("X-Id: ")).unwrap_or_default();
        let body = mail.text.replace("\r\n", "\n");
        if by_id.get(id).is_none_or(|l| !body.ends_with(&l.body())) {
            figures.wrong.push(format!("{id}: the relay has another body"));
        }
        for rcpt in &mail.rcpts {
            let address = rcpt.trim_start_matches("RCPT TO:<").split('>').next().unwrap_or("");
            *copies.entry((id.to_owned(), address.to_owned())).or_default() += 1;
        }
    }
    for (letter, said) in sent {
        match said {
            Said::Accepted(_) => figures.accepted += 1,
            Said::Refused(_) => figures.refused += 1,
            Said::Lost => figures.lost += 1,
            Said::Hang => {
                figures.lost += 1;
                figures.wrong.push(format!("{}: no answer in a minute", letter.id));
            }
        }
        for (n, rcpt) in letter.rcpts.iter().enumerate() {
            let taken = matches!(said, Said::Accepted(taken) if taken.contains(&n));
            let maybe = matches!(said, Said::Lost | Said::Hang);
            for place in &rcpt.at {
                let there = copies.remove(&(letter.id.clone(), place.clone())).unwrap_or_default();
                let right = match (taken, maybe, rcpt.once) {
                    (true, _, true) => there == 1,
                    (true, _, false) => there >= 1,
                    (false, true, true) => there <= 1,
                    (false, true, false) => true,
                    (false, false, _) => there == 0,
                };
                if !right {
                    figures.wrong.push(format!("{}: {said:?}, {there} times {place}", letter.id));
                }
            }
        }
    }
    for ((id, place), n) in copies {
        figures.wrong.push(format!("{id}: {n} times {place}, which is no recipient"));
    }
    let total = plan::CLIENTS * plan::EACH;
    assert_eq!(sent.len(), total, "messages that were sent");
    // A server that refuses everything would be always right.
    if figures.accepted * 2 < total {
        figures.wrong.push(format!("only {} of {total} were accepted", figures.accepted));
    }
}
