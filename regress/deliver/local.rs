//! Deliveries on this machine.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::Duration;

use super::post::{self, config, daemon, files, post, Client};
use crate::daemon::{eventually, Daemon};
use crate::{Env, Outcome};

pub const TEXT: &str = "From: a@sender.example\r\nReturn-Path: <old@x>\r\nSubject: hello\r\n\r\n\
                    line\r\n..dot\r\n";

pub fn maildir(env: &Env) -> Outcome {
    let daemon = daemon(env, "", "");
    post(&daemon, "joe@example.com", TEXT);
    daemon.drained();
    let all = files(&env.dir.join("mail/joe"));
    assert_eq!(all.len(), 1, "{}", daemon.log());
    let text = std::fs::read_to_string(&all[0]).unwrap();
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(lines[0], "Return-Path: <a@sender.example>");
    assert_eq!(lines[1], "Delivered-To: joe@example.com");
    assert!(lines[2].starts_with("Received: "), "{text}");
    assert!(text.ends_with("Subject: hello\n\nline\n.dot\n"), "{text}");
    assert!(!text.contains('\r') && !text.contains("old@x"));
    let name = all[0].file_name().unwrap().to_str().unwrap();
    let lf = text.matches('\n').count();
    assert!(name.ends_with(&format!(",S={},W={}", text.len(), text.len() + lf)), "{name}");
    assert!(name.contains("R1C0."), "{name}");
    let meta = std::fs::metadata(&all[0]).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o777, meta.nlink()), (post::user(), 0o600, 1));
    assert_eq!(std::fs::read_dir(env.dir.join("mail/joe/tmp")).unwrap().count(), 0);
    Outcome::Passed
}

pub fn junk(env: &Env) -> Outcome {
    let named = "mailbox \"Spam.Box\" special-use junk\n";
    let daemon = daemon(env, "junk", named);
    post(&daemon, "joe@example.com", &format!("X-Spam: Yes, sure\r\n{TEXT}"));
    post(&daemon, "joe@example.com", &format!("X-Spam: no\r\n{TEXT}"));
    daemon.drained();
    assert_eq!(files(&env.dir.join("mail/joe/.Spam.Box")).len(), 1, "{}", daemon.log());
    assert_eq!(files(&env.dir.join("mail/joe")).len(), 1);
    assert!(env.dir.join("mail/joe/.Spam.Box/maildirfolder").exists());
    Outcome::Passed
}

pub fn sub_address(env: &Env) -> Outcome {
    let daemon = daemon(env, "", "");
    post(&daemon, "joe+lists@example.com", TEXT);
    daemon.drained();
    assert_eq!(files(&env.dir.join("mail/joe")).len(), 1, "{}", daemon.log());
    let lists = env.dir.join("mail/joe/.lists");
    std::fs::create_dir(&lists).unwrap();
    if rmail::sys::user::is_root() {
        std::os::unix::fs::chown(&lists, Some(post::user()), Some(post::user())).unwrap();
    }
    post(&daemon, "joe+lists@example.com", TEXT);
    // A name that leads elsewhere is no mailbox's.
    post(&daemon, "\"joe+../jim\"@example.com", TEXT);
    daemon.drained();
    assert_eq!(files(&lists).len(), 1, "{}", daemon.log());
    assert_eq!(files(&env.dir.join("mail/joe")).len(), 2, "{}", daemon.log());
    assert!(!env.dir.join("mail/jim").exists());
    Outcome::Passed
}

pub fn success(env: &Env) -> Outcome {
    let daemon = daemon(env, "junk", "");
    let mut client = Client::connect(daemon.address("smtp", 0));
    for (command, want) in [
        ("MAIL FROM:<jim@example.com> RET=HDRS ENVID=id+2B7", "250"),
        ("RCPT TO:<joe@example.com> NOTIFY=SUCCESS ORCPT=rfc822;Joe+2Bx@example.com", "250"),
        ("DATA", "354"),
        ("X-Spam: yes\r\nSubject: hello\r\n\r\nsecret line\r\n.", "250"),
    ] {
        let said = client.ask(command);
        assert!(said.starts_with(want), "{command}: {said}");
    }
    daemon.drained();
    assert_eq!(files(&env.dir.join("mail/joe/.Junk")).len(), 1, "{}", daemon.log());
    let all = files(&env.dir.join("mail/jim"));
    assert_eq!(all.len(), 1, "{}", daemon.log());
    let text = std::fs::read_to_string(&all[0]).unwrap();
    for line in [
        "Return-Path: <>",
        "Original-Envelope-Id: id+7",
        "Original-Recipient: rfc822;Joe+x@example.com",
        "Final-Recipient: rfc822; joe@example.com",
        "Action: delivered",
        "Status: 2.1.5",
        "Content-Type: text/rfc822-headers",
        "Subject: hello",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    // What came of it inside is not told, nor is the text returned.
    assert!(!text.contains("Junk") && !text.contains("secret line"), "{text}");
    Outcome::Passed
}

pub fn circle(env: &Env) -> Outcome {
    let daemon = daemon(env, "", "");
    let mut client = Client::connect(daemon.address("smtp", 0));
    let text = format!("Delivered-To: joe@example.com\r\n{TEXT}");
    let said = client.post("", "joe@example.com", &text);
    // Refused at once, or by the store.
    if said.starts_with('2') {
        daemon.drained();
        assert!(daemon.log().contains("5.4.6"), "{}", daemon.log());
    } else {
        assert!(said.contains("5.4.6"), "{said}");
    }
    assert!(files(&env.dir.join("mail/joe")).is_empty());
    Outcome::Passed
}

pub fn exactly_once(env: &Env) -> Outcome {
    const MESSAGES: usize = 60;
    let daemon = daemon(env, "", "");
    let address = daemon.address("smtp", 0);
    let posting = std::thread::spawn(move || {
        let mut client = Client::connect(address);
        for n in 0..MESSAGES {
            let user = ["joe", "jim"][n % 2];
            let text = format!("X-Number: {n}.\r\n{TEXT}");
            let said = client.post("a@sender.example", &format!("{user}@example.com"), &text);
            assert!(said.starts_with("250"), "{said}");
        }
    });
    let mut killed = 0;
    for _ in 0..400 {
        for pid in daemon.pids("store") {
            // Between two deliveries or in the midst of one.
            let _ = Command::new("kill").arg("-9").arg(pid.to_string()).status();
            killed += 1;
        }
        std::thread::sleep(Duration::from_millis(15));
        if killed >= 5 && posting.is_finished() {
            break;
        }
    }
    assert!(posting.join().is_ok(), "{}", daemon.log());
    assert!(killed > 0, "no store was killed");
    // What a death put off is due again later; now is late enough.
    let empty = || {
        daemon.ctl_ok(&["schedule", "all"]);
        daemon.ctl(&["wait", "queue-empty", "1"]).status.success()
    };
    assert!(eventually(Duration::from_secs(60), empty), "{}", daemon.log());
    let mut seen = vec![0; MESSAGES];
    for user in ["joe", "jim"] {
        for file in files(&env.dir.join("mail").join(user)) {
            let text = std::fs::read_to_string(file).unwrap();
            let number = text.split("X-Number: ").nth(1).unwrap().split('.').next().unwrap();
            seen[number.parse::<usize>().unwrap()] += 1;
        }
    }
    let wrong: Vec<_> = seen.iter().enumerate().filter(|(_, n)| **n != 1).collect();
    assert!(wrong.is_empty(), "{killed} kills: (message, copies) {wrong:?}");
    Outcome::Passed
}

/// A small file system, unmounted when dropped.
struct Small(std::path::PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status(); // the test is over
    }
}

pub fn full_disk(env: &Env) -> Outcome {
    if !rmail::sys::user::is_root() {
        return Outcome::Skipped("mounting a small tmpfs needs root".into());
    }
    let text = config(env, "", "");
    let mail = env.dir.join("mail");
    let options = format!("size=256k,mode=755,uid={0},gid={0}", post::user());
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &options, "none"])
        .arg(&mail)
        .status()
        .unwrap();
    if !mount.success() {
        return Outcome::Skipped("a tmpfs cannot be mounted here".into());
    }
    let _small = Small(mail.clone());
    let daemon = Daemon::start(env, &text);
    let ballast = mail.join("ballast");
    std::fs::write(&ballast, vec![0; 180 * 1024]).unwrap();
    let big = format!("{TEXT}{}", "0123456789abcdef\r\n".repeat(6000));
    post(&daemon, "joe@example.com", &big);
    assert!(
        eventually(Duration::from_secs(30), || daemon.log().contains("4.3.1")),
        "{}",
        daemon.log()
    );
    assert!(files(&mail.join("joe")).is_empty());
    assert_eq!(std::fs::read_dir(mail.join("joe/tmp")).unwrap().count(), 0, "tmp is not empty");
    std::fs::remove_file(&ballast).unwrap();
    daemon.ctl_ok(&["schedule", "all"]);
    daemon.drained();
    let all = files(&mail.join("joe"));
    assert_eq!(all.len(), 1);
    assert!(std::fs::read_to_string(&all[0]).unwrap().ends_with("0123456789abcdef\n"));
    Outcome::Passed
}

pub fn locked(env: &Env) -> Outcome {
    let daemon = daemon(env, "", "");
    post(&daemon, "joe@example.com", TEXT);
    daemon.drained();
    // The store leaves after two seconds without work; then somebody else has the account.
    let lock = env.dir.join("mail/joe/rmail.lock");
    let gone = || daemon.pids("store").is_empty();
    assert!(eventually(Duration::from_secs(20), gone), "the store does not leave");
    let file = std::fs::File::open(&lock).unwrap();
    assert!(rmail::sys::file::try_lock(&file, rmail::sys::file::Lock::Exclusive).unwrap());
    post(&daemon, "joe@example.com", TEXT);
    let tried = || {
        let queue = daemon.ctl_ok(&["show", "queue"]);
        !queue.is_empty() && !queue.contains(" tries 0 ")
    };
    assert!(eventually(Duration::from_secs(20), tried), "not tried: {}", daemon.log());
    assert_eq!(files(&env.dir.join("mail/joe")).len(), 1);
    drop(file);
    let there = || {
        daemon.ctl_ok(&["schedule", "all"]);
        files(&env.dir.join("mail/joe")).len() == 2
    };
    assert!(eventually(Duration::from_secs(60), there), "{}", daemon.log());
    Outcome::Passed
}

pub fn mda(env: &Env) -> Outcome {
    let id = post::user();
    let rules =
        "action \"mda\" mda \"cat > @DIR@/home/%{dest.user:lowercase}.txt\" userbase <users>\n\
                 match from any for domain \"mda.example\" action \"mda\"\n";
    let daemon = daemon(env, "", rules);
    post(&daemon, "joe@mda.example", TEXT);
    daemon.drained();
    let file = env.dir.join("home/joe.txt");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    assert!(text.contains("Subject: hello\n\nline\n.dot\n"), "{text}");
    assert_eq!(std::fs::metadata(&file).unwrap().uid(), id);
    Outcome::Passed
}

/// A program knows the end of a message by the end of its input, so there is none
/// when the process that feeds it dies.
pub fn half_fed(env: &Env) -> Outcome {
    let program = env.dir.join("take");
    let home = env.dir.join("home");
    let place = home.display();
    // It leaves the message in its input until it may go on.
    let script = format!(
        "#!/bin/sh\nset -e\ntouch {place}/begun\n\
         until test -e {place}/go; do sleep 0.05; done\n\
         cat > {place}/$$.part\nmv {place}/$$.part {place}/$$.whole\n"
    );
    crate::daemon::write(&program, script);
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let rules = "action \"mda\" mda \"@DIR@/take\" userbase <users>\n\
                 match from any for domain \"mda.example\" action \"mda\"\n";
    let daemon = daemon(env, "", rules);
    let lines = "a line of a long message\r\n".repeat(200_000);
    post(&daemon, "joe@mda.example", &format!("{TEXT}{lines}"));
    assert!(eventually(Duration::from_secs(20), || home.join("begun").exists()));
    for pid in daemon.pids("queue") {
        let _ = Command::new("kill").arg("-9").arg(pid.to_string()).status();
    }
    let recovered = || daemon.log().contains("recovered messages=1");
    assert!(eventually(Duration::from_secs(20), recovered), "{}", daemon.log());
    std::fs::write(home.join("go"), "").unwrap();
    let empty = || {
        daemon.ctl(&["schedule", "all"]);
        daemon.ctl(&["wait", "queue-empty", "1"]).status.success()
    };
    assert!(eventually(Duration::from_secs(60), empty), "{}", daemon.log());
    let all: Vec<_> = std::fs::read_dir(&home).unwrap().map(|e| e.unwrap().path()).collect();
    let whole: Vec<_> =
        all.iter().filter(|p| p.extension().is_some_and(|e| e == "whole")).collect();
    assert_eq!(whole.len(), 1, "{all:?}: {}", daemon.log());
    let text = std::fs::read_to_string(whole[0]).unwrap();
    assert_eq!(text.matches("a line of a long message\n").count(), 200_000);
    Outcome::Passed
}

/// A program that is not there, or cannot be run, is told as such; the mail waits.
pub fn missing_mda(env: &Env) -> Outcome {
    let rules = "action \"none\" mda \"/nonexistent/mda -x\" userbase <users>\n\
                 action \"data\" mda \"@DIR@/rmail.conf\" userbase <users>\n\
                 match from any for domain \"none.example\" action \"none\"\n\
                 match from any for domain \"data.example\" action \"data\"\n";
    let daemon = daemon(env, "", rules);
    let conf = env.dir.join("rmail.conf");
    for (to, why) in [
        ("joe@none.example", "execve /nonexistent/mda: No such file or directory".to_string()),
        ("joe@data.example", format!("execve {}: Permission denied", conf.display())),
    ] {
        post(&daemon, to, TEXT);
        let told = || {
            let queue = daemon.ctl_ok(&["show", "queue"]);
            queue.lines().any(|l| l.contains(to) && l.contains(" pending ") && l.ends_with(&why))
        };
        assert!(eventually(Duration::from_secs(20), told), "{}", daemon.log());
    }
    Outcome::Passed
}

/// A program that does not end is killed with all that it has started.
pub fn killed_mda(env: &Env) -> Outcome {
    let rules = "limit program-time 300ms\n\
                 action \"mda\" mda \"sleep 300 & echo $! > @DIR@/home/pid; wait\" userbase <users>\n\
                 match from any for domain \"mda.example\" action \"mda\"\n";
    let daemon = daemon(env, "", rules);
    post(&daemon, "joe@mda.example", TEXT);
    let pid = || std::fs::read_to_string(env.dir.join("home/pid")).unwrap_or_default();
    let started = || pid().ends_with('\n');
    assert!(eventually(Duration::from_secs(20), started), "{}", daemon.log());
    let first = pid();
    let gone = || {
        let out = Command::new("ps").args(["-o", "stat=", "-p", first.trim()]).output().unwrap();
        let stat = String::from_utf8_lossy(&out.stdout).trim().to_string();
        stat.is_empty() || stat.starts_with('Z')
    };
    assert!(eventually(Duration::from_secs(20), gone), "it runs on: {}", daemon.log());
    let queue = daemon.ctl_ok(&["show", "queue"]);
    assert!(queue.contains("the program did not end in time"), "{queue}");
    Outcome::Passed
}

/// Recipients of one message that fail here fail in one report.
pub fn told_once(env: &Env) -> Outcome {
    let id = post::user();
    let names: Vec<String> = (0..12).map(|n| format!("user{n}")).collect();
    let people: Vec<String> =
        names.iter().map(|n| format!("{n} = \"{id}:{id}:@DIR@/home\"")).collect();
    let rules = format!(
        "queue retry local 100ms\ntable people {{ {} }}\n\
         action \"no\" mda \"echo 'not here' && exit 67\" userbase <people>\n\
         action \"later\" mda \"exit 75\" ttl 1s userbase <people>\n\
         match from any for domain \"no.example\" action \"no\"\n\
         match from any for domain \"later.example\" action \"later\"\n",
        people.join(", ")
    );
    let daemon = daemon(env, "", &rules);
    for (n, (domain, status)) in
        [("no.example", "5.1.1"), ("later.example", "5.4.7")].into_iter().enumerate()
    {
        let mut client = Client::connect(daemon.address("smtp", 0));
        client.ask("MAIL FROM:<joe@example.com>");
        for name in &names {
            let said = client.ask(&format!("RCPT TO:<{name}@{domain}>"));
            assert!(said.starts_with("250"), "{said}");
        }
        client.ask("DATA");
        assert!(client.ask(&format!("{TEXT}.")).starts_with("250"));
        daemon.drained();
        let reports = files(&env.dir.join("mail/joe"));
        assert_eq!(reports.len(), n + 1, "{domain}: {}", daemon.log());
        let texts = reports.iter().map(|f| std::fs::read_to_string(f).unwrap());
        let text = texts.into_iter().find(|t| t.contains(domain)).expect("a report");
        let lines = |line: String| text.lines().filter(|l| **l == line).count();
        assert_eq!(lines(format!("Status: {status}")), names.len(), "{text}");
        for name in &names {
            assert_eq!(lines(format!("Final-Recipient: rfc822; {name}@{domain}")), 1, "{text}");
        }
    }
    Outcome::Passed
}

/// The wrapper gets the words of the command that it wraps.
pub fn wrapper(env: &Env) -> Outcome {
    let rules = "mda wrapper \"w\" \"sed s/hello/wrapped/ | %{mda}\"\n\
                 action \"mda\" mda \"tee '@DIR@/home/a b'\" userbase <users> wrapper \"w\"\n\
                 match from any for domain \"mda.example\" action \"mda\"\n";
    let daemon = daemon(env, "", rules);
    post(&daemon, "joe@mda.example", TEXT);
    daemon.drained();
    let file = env.dir.join("home/a b");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    assert!(text.contains("Subject: wrapped\n\nline\n"), "{text}");
    Outcome::Passed
}

/// A file that an alias names is a system mailbox in all but its place: the same process writes it.
pub fn mbox(env: &Env) -> Outcome {
    if !rmail::sys::user::is_root() {
        return Outcome::Skipped("writing another user's mailbox needs root".into());
    }
    std::fs::create_dir(env.dir.join("box")).unwrap();
    let rules = "table aliases { box = \"@DIR@/box/file\" }\n\
                 action \"mb\" mbox alias <aliases>\n\
                 match from any for domain \"mbox.example\" action \"mb\"\n";
    let daemon = daemon(env, "", rules);
    for _ in 0..2 {
        post(&daemon, "box@mbox.example", &format!("{TEXT}\r\nFrom here on\r\n"));
        daemon.drained();
    }
    let file = env.dir.join("box/file");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    let begins = text.lines().filter(|l| l.starts_with("From ")).count();
    assert_eq!(begins, 2, "{text}");
    assert!(text.starts_with("From a@sender.example "), "{text}");
    assert!(text.ends_with("\n.dot\n\n>From here on\n\n") && !text.contains('\r'), "{text}");
    let meta = std::fs::metadata(&file).unwrap();
    assert!(meta.uid() != 0 && meta.mode() & 0o777 == 0o600);
    assert!(!env.dir.join("box/file.lock").exists());
    Outcome::Passed
}

/// What every system's aliases have for users that get no mail.
pub fn nowhere(env: &Env) -> Outcome {
    let rules = "table aliases { null = \"/dev/null\" }\n\
                 action \"al\" expand-only alias <aliases>\n\
                 match from any for domain \"al.example\" action \"al\"\n";
    let daemon = daemon(env, "", rules);
    post(&daemon, "null@al.example", TEXT);
    daemon.drained();
    let log = daemon.log();
    assert!(log.contains("result=delivered") && log.contains("said=/dev/null"), "{log}");
    assert!(!log.contains("name=mbox"), "{log}");
    Outcome::Passed
}

/// The sender is told nothing of an alias, and no bounce comes of editing one.
pub fn alias_edited(env: &Env) -> Outcome {
    let aliases = env.dir.join("aliases");
    let write = |command: &str| crate::daemon::write(&aliases, format!("cmd: \"|{command}\"\n"));
    write("exit 0");
    let rules = "table aliases file:@DIR@/aliases\n\
                 action \"al\" expand-only alias <aliases>\n\
                 match from any for domain \"al.example\" action \"al\"\n";
    let daemon = daemon(env, "", rules);
    daemon.ctl_ok(&["pause", "mda"]);
    post(&daemon, "cmd@al.example", TEXT);
    write("exit 1");
    daemon.ctl_ok(&["update", "table", "aliases"]);
    daemon.ctl_ok(&["resume", "mda"]);
    daemon.ctl_ok(&["schedule", "all"]);
    let put_off = || daemon.log().contains("put it back");
    assert!(eventually(Duration::from_secs(20), put_off), "{}", daemon.log());
    assert!(daemon.ctl_ok(&["show", "queue"]).contains("cmd@al.example"), "{}", daemon.log());
    let last = || daemon.log().contains("said=\"the mailbox cannot be looked up now\"");
    assert!(eventually(Duration::from_secs(20), last), "{}", daemon.log());
    write("exit 0");
    daemon.ctl_ok(&["update", "table", "aliases"]);
    daemon.ctl_ok(&["schedule", "all"]);
    daemon.drained();
    assert!(daemon.log().contains("result=delivered"), "{}", daemon.log());
    Outcome::Passed
}

/// Killed in mid-message, or stopped with the whole server, mbox leaves a mailbox
/// in which the next attempt puts the message once, at once.
pub fn mbox_interrupted(env: &Env) -> Outcome {
    if !rmail::sys::user::is_root() {
        return Outcome::Skipped("writing another user's mailbox needs root".into());
    }
    std::fs::create_dir(env.dir.join("box")).unwrap();
    let rules = "table aliases { box = \"@DIR@/box/file\" }\n\
                 action \"mb\" mbox alias <aliases>\n\
                 match from any for domain \"mbox.example\" action \"mb\"\n";
    let file = env.dir.join("box/file");
    let size = || std::fs::metadata(&file).map_or(0, |m| m.len());
    let mut daemon = daemon(env, "", rules);
    post(&daemon, "box@mbox.example", TEXT);
    daemon.drained();
    let big = format!("{TEXT}{}", "a line of a long message\r\n".repeat(1_200_000));
    for kill in [true, false] {
        let before = size();
        post(&daemon, "box@mbox.example", &big);
        assert!(eventually(Duration::from_secs(20), || size() > before), "{}", daemon.log());
        let half = size() < before + 20_000_000;
        if kill {
            for pid in daemon.pids("mbox") {
                let _ = Command::new("kill").arg("-9").arg(pid.to_string()).status();
            }
        } else {
            daemon.stop();
            assert_eq!(size(), before, "half {half}: cut off at the stop");
            daemon = Daemon::launch(env, &env.dir);
        }
        let empty = || {
            daemon.ctl_ok(&["schedule", "all"]);
            daemon.ctl(&["wait", "queue-empty", "1"]).status.success()
        };
        assert!(eventually(Duration::from_secs(60), empty), "{}", daemon.log());
        assert!(half, "the message was too short to be interrupted");
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches("\n\nFrom a@sender.example ").count(), 2, "{} octets", text.len());
    assert_eq!(text.matches("a line of a long message\n").count(), 2 * 1_200_000);
    assert!(text.ends_with("a line of a long message\n\n"));
    assert!(!env.dir.join("box/file.lock").exists());
    Outcome::Passed
}

/// A stop waits for what runs, and nothing else begins meanwhile.
pub fn stop_begins_nothing(env: &Env) -> Outcome {
    let rules = "mda limit max-session 1 max-session-per-user 1\n\
                 action \"mda\" mda \"echo x >> @DIR@/home/began; sleep 1; \
                 echo x >> @DIR@/home/ended\" userbase <users>\n\
                 match from any for domain \"mda.example\" action \"mda\"\n";
    let daemon = daemon(env, "", rules);
    for _ in 0..4 {
        post(&daemon, "joe@mda.example", TEXT);
    }
    let count = |name: &str| {
        std::fs::read_to_string(env.dir.join("home").join(name)).unwrap_or_default().lines().count()
    };
    assert!(eventually(Duration::from_secs(20), || count("began") > 0), "{}", daemon.log());
    let before = count("began");
    assert!(daemon.stop().success());
    // One may have begun before the signal came.
    assert!(count("began") <= before + 1, "{} began after {before}", count("began"));
    assert_eq!(count("ended"), count("began"), "what ran was cut short");
    Outcome::Passed
}
