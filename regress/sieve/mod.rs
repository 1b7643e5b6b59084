//! Tests of kind sieve: the `.svtest` files of this directory.
use std::process::Command;

use crate::{svtest, Env, Outcome, Test};

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "actions", run: |env| file(env, "actions.svtest") },
    Test { name: "base", run: |env| file(env, "base.svtest") },
    Test { name: "bounds", run: bounds },
    Test { name: "ctl", run: ctl },
    Test { name: "date", run: |env| file(env, "date.svtest") },
    Test { name: "errors", run: |env| file(env, "errors.svtest") },
    Test { name: "extensions", run: |env| file(env, "extensions.svtest") },
    Test { name: "hostile", run: |env| file(env, "hostile.svtest") },
    Test { name: "include", run: |env| file(env, "include.svtest") },
    Test { name: "match", run: |env| file(env, "match.svtest") },
    Test { name: "messages", run: |env| file(env, "messages.svtest") },
    Test { name: "mime", run: |env| file(env, "mime.svtest") },
    Test { name: "requires", run: |env| file(env, "requires.svtest") },
    Test { name: "variables", run: |env| file(env, "variables.svtest") },
];

/// Runs one file; every one of its test blocks has to hold.
fn file(env: &Env, name: &str) -> Outcome {
    let report = svtest::run_file(&env.root().join("regress/sieve").join(name));
    if let Some(why) = report.skipped {
        return Outcome::Failed(why);
    }
    let failed: Vec<String> =
        report.failed.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    if failed.is_empty() && report.passed > 0 {
        Outcome::Passed
    } else {
        Outcome::Failed(failed.join("; "))
    }
}

/// `rmailctl sieve`: what it prints, where, and how it ends.
fn ctl(env: &Env) -> Outcome {
    // As large as a script may be, and one octet larger.
    let big = format!("keep;{}", "\n".repeat((1 << 20) - 5));
    let bigger = format!("{big}\n");
    let files = [
        (
            "good.sieve",
            "require [\"fileinto\", \"variables\", \"include\"];\n\
             if header :matches \"subject\" \"*[*]*\" {\n\
             set :lower \"l\" \"${2}\"; fileinto \"lists/${l}\"; stop; }\n\
             include \"more\";\n",
        ),
        ("more.sieve", "if not size :over 1M { keep; }\n"),
        ("bad.sieve", "require [\"fileinto\", \"no\"]\nif header \"a\" { fileinto 5; }\nfoo;\n"),
        ("failing.sieve", "require \"ihave\";\nerror \"so not\";\n"),
        ("alone.sieve", "require \"include\";\ninclude \"nowhere\";\n"),
        ("big.sieve", big.as_str()),
        ("bigger.sieve", bigger.as_str()),
        ("around.sieve", "require \"include\";\ninclude \"bigger\";\n"),
        ("list", "Subject: a [List] b\n\nx\n"),
        ("other", "Subject: b\n\nx\n"),
    ];
    for (name, text) in files {
        if std::fs::write(env.dir.join(name), text).is_err() {
            return Outcome::Failed("cannot write".into());
        }
    }
    let bad = "bad.sieve:1:9: the extension 'no' is not supported\n\
               bad.sieve:2:1: missing semicolon after the require command\n\
               bad.sieve:2:4: the header test requires 2 positional arguments, but 1 specified\n\
               bad.sieve:2:26: the fileinto command expects a string as argument 1 (mailbox), \
               but a number was found\n\
               bad.sieve:3:1: unknown command 'foo'\n";
    let traced = "2: header :matches \"subject\" \"*[*]*\" is true\n\
                  3: set :lower \"l\" \"${2}\"\n3: fileinto \"lists/${...}\"\n3: stop\n\
                  fileinto \"lists/list\"\n";
    let included = "2: header :matches \"subject\" \"*[*]*\" is false\n4: include \"more\"\n\
                    more:1: size :over 1048576 is false\nmore:1: not is true\nmore:1: keep\nkeep\n";
    let failing = "rmailctl: failing.sieve:2:1: so not\n";
    let alone = "alone.sieve:2:1: there is no script 'nowhere' (warning)\n";
    let gone = "rmailctl: gone: No such file or directory\n";
    let larger = "rmailctl: bigger.sieve: longer than 1048576 octets\n";
    let around = "around.sieve:bigger: the script is larger than 1048576 octets\n";
    for (args, code, out, err) in [
        ("check good.sieve", 0, "", ""),
        ("check big.sieve", 0, "", ""),
        ("check bigger.sieve", 65, "", larger),
        ("test bigger.sieve other", 65, "", larger),
        // Only its beginning is read: there is no end.
        ("check /dev/zero", 65, "", "rmailctl: /dev/zero: longer than 1048576 octets\n"),
        ("check around.sieve", 65, "", around),
        ("check bad.sieve", 65, "", bad),
        ("check gone", 66, "", gone),
        ("check alone.sieve", 0, "", alone),
        ("test good.sieve list", 0, "fileinto \"lists/list\"\n", ""),
        ("test -v good.sieve list", 0, traced, ""),
        ("test -v good.sieve other", 0, included, ""),
        ("test failing.sieve other", 65, "keep (implicit)\n", failing),
        ("test good.sieve gone", 66, "", gone),
        ("test good.sieve", 64, "", "usage: "),
    ] {
        let run = Command::new(env.rmailctl())
            .current_dir(&env.dir)
            .arg("sieve")
            .args(args.split(' '))
            .output();
        let Ok(ran) = run else { return Outcome::Failed("cannot run".into()) };
        let said = String::from_utf8_lossy(&ran.stderr);
        let printed = String::from_utf8_lossy(&ran.stdout);
        if ran.status.code() != Some(code) || printed != out || !said.starts_with(err) {
            return Outcome::Failed(format!("{args}: {}: {printed}{said}", ran.status));
        }
    }
    Outcome::Passed
}

/// Every hostile script ends, with an answer, within 10 seconds of CPU time and 256 MB of address
/// space; what goes beyond either is killed by the kernel.
fn bounds(env: &Env) -> Outcome {
    let message = env.dir.join("message");
    let text = format!("Subject: {}\r\n\r\n{}\r\n", "a".repeat(900), "b".repeat(1 << 20));
    if std::fs::write(&message, text).is_err() {
        return Outcome::Failed("cannot write".into());
    }
    let Ok(dir) = std::fs::read_dir(env.root().join("regress/sieve/scripts")) else {
        return Outcome::Failed("no scripts".into());
    };
    let mut scripts: Vec<_> = dir.flatten().map(|entry| entry.path()).collect();
    scripts
        .retain(|path| path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"h-")));
    if scripts.len() < 10 {
        return Outcome::Failed("scripts are missing".into());
    }
    let automata = |i: usize| {
        let expression = format!("{}{}", "(a*)".repeat(900), "a?".repeat(i));
        format!("if header :regex \"subject\" \"{expression}\" {{ keep; }}\n")
    };
    let automata: String = (1..=40).map(automata).collect();
    let unknown = vec!["ihave \"no\""; 50_000].join(",\n");
    for (name, text) in [
        ("large", "keep;\n".repeat(1 << 17)),
        ("nested", format!("if {}", "not(".repeat(1 << 17))),
        ("automata", format!("require \"regex\";\n{automata}")),
        ("unknown", format!("require \"ihave\";\nif anyof({unknown}) {{ keep; }}\n")),
    ] {
        let script = env.dir.join(name).with_extension("sieve");
        if std::fs::write(&script, text).is_err() {
            return Outcome::Failed("cannot write".into());
        }
        scripts.push(script);
    }
    for script in scripts {
        let ended = Command::new("sh")
            .arg("-c")
            .arg("ulimit -t 10; ulimit -v 262144; exec \"$0\" sieve test \"$1\" \"$2\"")
            .args([env.rmailctl(), &script, &message])
            .output();
        let Ok(ended) = ended else { return Outcome::Failed("cannot run".into()) };
        let said = String::from_utf8_lossy(&ended.stderr);
        // 65: the script has a mistake, or ended with an error, and it was named.
        let good = match ended.status.code() {
            Some(0) => true,
            Some(65) => said.lines().all(|line| line.contains(".sieve:")) && !said.is_empty(),
            _ => false,
        };
        if !good {
            return Outcome::Failed(format!("{}: {}: {said}", script.display(), ended.status));
        }
    }
    Outcome::Passed
}
