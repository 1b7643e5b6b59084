//! Tests of kind config: the language of rmail.conf, as files.
//!
//! `good/` and `refused/` have a file for each line of the lists that `rmaild
//! -n -v` prints; `broken/` has mistakes, each `NAME.conf` with what is said of
//! it in `NAME.expect`; `howto/` has the how-to's smtpd.conf and the sed script
//! that makes it ours.

mod certificates;
mod manual;
mod secrets;

use crate::{Env, Outcome, Test};
use rmail::conf::{self, ast::Config, FEATURES};
use rmail::sys::limits::{raised_by, Bounded, A_USERS_THREADS_COUNT};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "broken-files-say-what-and-where", run: broken },
    Test { name: "check-tells-bad-table-lines", run: bad_table },
    Test { name: "check-tells-bad-aliases-with-their-lines", run: bad_aliases },
    Test { name: "check-tells-logins-without-mailbox", run: logins },
    Test { name: "check-and-start-tell-a-user-that-is-missing", run: missing_user },
    Test { name: "check-tells-what-a-process-could-not-use", run: unusable },
    Test { name: "certificates-out-of-time-are-told", run: certificates::out_of_time },
    Test { name: "every-feature-has-its-file", run: features },
    Test { name: "howto-after-the-sed-script", run: howto },
    Test { name: "howto-unchanged", run: howto_unchanged },
    Test { name: "examples-of-the-manual-are-configurations", run: manual::examples },
    Test { name: "check-tells-what-there-is-room-for", run: room },
    Test { name: "check-tells-what-there-is-no-room-for", run: no_room },
    Test { name: "install-and-uninstall-in-a-scratch-root", run: install },
    Test { name: "limits-of-the-manual", run: manual::limits },
    Test { name: "manual-is-lint-clean", run: manual::lint },
    Test { name: "manual-knows-every-feature", run: manual::features },
    Test { name: "print-and-parse-round-trip", run: round_trip },
    Test { name: "secrets-that-others-can-read-are-refused", run: secrets::readable },
    Test { name: "secrets-that-others-can-write-are-refused", run: secrets::writable },
    Test { name: "shipped-files-are-good", run: shipped },
];

fn folder(env: &Env) -> PathBuf {
    env.root().join("regress/config")
}

/// Reads a file; what it includes lies in `good/included`.
fn parse(env: &Env, path: &Path) -> Result<Config, Vec<String>> {
    let text = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let included = folder(env).join("good/included");
    let mut source = |name: &str| {
        let base = Path::new(name).file_name().unwrap_or_default();
        std::fs::read(included.join(base)).map_err(|_| "No such file or directory".to_string())
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    conf::parse(&name, &text, &[], &mut source)
        .map_err(|all| all.iter().map(ToString::to_string).collect())
}

/// `action relay helo-src` is in `action-relay-helo-src.conf`.
fn file_of(env: &Env, works: bool, name: &str) -> PathBuf {
    let slug: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    folder(env).join(if works { "good" } else { "refused" }).join(format!("{slug}.conf"))
}

fn confs(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut all: Vec<PathBuf> = entries
        .map(|e| e.expect("a directory entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "conf"))
        .collect();
    all.sort();
    all
}

fn outcome(wrong: Vec<String>) -> Outcome {
    if wrong.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(wrong.join("\n"))
    }
}

fn features(env: &Env) -> Outcome {
    let mut wrong = Vec::new();
    for feature in FEATURES {
        let path = file_of(env, feature.works, feature.name);
        if !path.is_file() {
            wrong.push(format!("{} is missing", path.display()));
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        match parse(env, &path) {
            Ok(_) if feature.works => {}
            Ok(_) => wrong.push(format!("{}: was taken", feature.name)),
            Err(e) if feature.works => wrong.push(format!("{}: {}", feature.name, e.join("; "))),
            Err(e) => {
                let right = format!("{}: not supported yet: ", feature.name);
                if e.len() != 1 || !e[0].contains(&right) {
                    wrong.push(format!("{}: said {}", feature.name, e.join("; ")));
                }
            }
        }
        // The file must be about its feature: it has the name's words that are
        // words of the language.
        let words = feature.name.split(' ').filter(|w| {
            !["inline", "macro", "from", "stdin", "without", "a", "table", "external"].contains(w)
        });
        for word in words {
            if !text.contains(word) {
                wrong.push(format!("{}: its file has no \"{word}\"", feature.name));
            }
        }
    }
    for (dir, works) in [("good", true), ("refused", false)] {
        let known: Vec<PathBuf> = FEATURES
            .iter()
            .filter(|f| f.works == works)
            .map(|f| file_of(env, works, f.name))
            .collect();
        for path in confs(&folder(env).join(dir)) {
            if !known.contains(&path) {
                wrong.push(format!("{} belongs to no feature", path.display()));
            }
        }
    }
    outcome(wrong)
}

fn broken(env: &Env) -> Outcome {
    let files = confs(&folder(env).join("broken"));
    let mut wrong = Vec::new();
    if files.len() < 30 {
        wrong.push(format!("only {} broken files", files.len()));
    }
    for path in files {
        let said = match parse(env, &path) {
            Ok(_) => "was taken\n".to_string(),
            Err(all) => all.iter().map(|line| format!("{line}\n")).collect(),
        };
        let expect = path.with_extension("expect");
        let expected = std::fs::read_to_string(&expect).unwrap_or_default();
        if said != expected {
            wrong.push(format!("{}: said\n{said}expected\n{expected}", path.display()));
        }
    }
    outcome(wrong)
}

fn round_trip(env: &Env) -> Outcome {
    let mut wrong = Vec::new();
    let mut files = confs(&folder(env).join("good"));
    files.extend(confs(&env.root().join("etc")));
    files.extend(confs(&env.root().join("etc/examples")));
    for path in files {
        let Ok(config) = parse(env, &path) else { continue };
        let printed = config.print();
        match conf::parse("printed", printed.as_bytes(), &[], &mut conf::NoFiles) {
            Ok(again) if config.stmts().eq(again.stmts()) && again.print() == printed => {}
            Ok(again) => {
                wrong.push(format!("{}:\n{printed}became\n{}", path.display(), again.print()));
            }
            Err(e) => wrong.push(format!("{}: {}", path.display(), e[0])),
        }
    }
    outcome(wrong)
}

fn shipped(env: &Env) -> Outcome {
    let mut files = confs(&env.root().join("etc"));
    files.extend(confs(&env.root().join("etc/examples")));
    let mut wrong = Vec::new();
    if files.len() < 2 {
        wrong.push("etc/ has no examples".to_string());
    }
    for path in files {
        if let Err(e) = parse(env, &path) {
            wrong.push(format!("{}: {}", path.display(), e.join("; ")));
        }
    }
    outcome(wrong)
}

/// What only the TLS library can judge is judged before a process meets it.
fn unusable(env: &Env) -> Outcome {
    crate::daemon::certificate(&env.dir, "mx", &["mx.example"]);
    crate::daemon::certificate(&env.dir, "other", &["other.example"]);
    let locked = env.dir.join("locked.key");
    let done = Command::new("openssl")
        .args(["rsa", "-aes256", "-passout", "pass:x", "-in"])
        .arg(env.dir.join("mx.key"))
        .arg("-out")
        .arg(&locked)
        .stderr(std::process::Stdio::null())
        .status();
    assert!(done.expect("openssl").success());
    let done = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=mx.example"])
        .args(["-newkey", "ed25519", "-keyout"])
        .arg(env.dir.join("ed.key"))
        .arg("-out")
        .arg(env.dir.join("ed.pem"))
        .stderr(std::process::Stdio::null())
        .status();
    assert!(done.expect("openssl").success());
    std::fs::write(env.dir.join("nul"), "action\0").expect("write");
    let open = env.dir.join("open");
    std::fs::create_dir(&open).expect("mkdir");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).expect("chmod");
    let conf = env.dir.join("rmail.conf");
    let mut wrong = Vec::new();
    for (line, said) in [
        ("pki a cert \"@ed.pem\" key \"@ed.key\"", "@ed.key: not a key for a server: "),
        ("smtp ciphers NONSENSE", "ciphers \"NONSENSE\": "),
        ("listen on lo0 port 0 tls pki good ciphers NONSENSE", "ciphers \"NONSENSE\": "),
        ("action y relay ciphers NONSENSE", "ciphers \"NONSENSE\": "),
        ("pki a cert \"@mx.pem\" key \"@mx.pem\"", "@mx.pem: no private key in PEM form"),
        ("pki a cert \"@mx.pem\" key \"@locked.key\"", "@locked.key: the key is encrypted, "),
        (
            "pki a cert \"@mx.pem\" key \"@other.key\"",
            "@other.key: not for the certificate in @mx.pem",
        ),
        ("pki a cert \"@rmail.conf\" key \"@mx.key\"", "@rmail.conf: no certificate in PEM form"),
        ("ca a cert \"@mx.key\"", "@mx.key: no certificate in PEM form"),
        ("ca a cert \"@gone\"", "read @gone: No such file or directory"),
        (
            "table t { all = \":include:@gone\" }\naction z mbox alias <t>",
            "an alias includes a file: read @gone: No such file or directory",
        ),
        (
            "table t { all = \"a b\" }\naction z mbox alias <t>",
            "alias all: \"a b\": it is neither a user, ",
        ),
        ("include \"@nul\"", "include \"@nul\": @nul: not a text: "),
        ("queue directory \"@mx.pem\"", "queue directory: @mx.pem is no directory"),
        (
            "queue directory \"@open\"",
            "queue directory: others may write it (mode 777): chmod go-w @open",
        ),
    ] {
        let dir = format!("{}/", env.dir.display());
        let text = format!(
            "pki good cert \"@mx.pem\" key \"@mx.key\"\n{line}\naction x mbox\nmatch action x\n"
        );
        crate::daemon::write(&conf, text.replace('@', &dir));
        let out = Command::new(env.rmaild()).arg("-n").arg("-f").arg(&conf).output().expect("run");
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        let right = format!("{}:2: {}", conf.display(), said.replace('@', &dir));
        if out.status.code() != Some(78) || !text.contains(&right) {
            wrong.push(format!("{line}: said {text}"));
        }
    }
    outcome(wrong)
}

/// `rmaild -n -v` knows the limits that it is run under.
fn room(env: &Env) -> Outcome {
    let conf = env.dir.join("rmail.conf");
    crate::daemon::write(&conf, "action \"x\" mbox\nmatch action \"x\"\n");
    let out = Command::new("sh")
        .arg("-c")
        .arg("ulimit -n 364 && exec \"$0\" -n -v -f \"$1\"")
        .arg(env.rmaild())
        .arg(&conf)
        .output()
        .expect("sh");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with("this machine: 364 descriptors a process, "), "{text}");
    assert!(last.ends_with(": room for 100 connections of smtp and imap each"), "{text}");
    for list in ["action relay: works\n", "filter: not supported yet\n"] {
        assert!(text.contains(list), "{text}");
    }
    Outcome::Passed
}

/// `rmaild -n`, and the start, say what the limits need and the machine has not.
fn no_room(env: &Env) -> Outcome {
    let conf = env.dir.join("rmail.conf");
    let config = "limit store-processes 900\nlimit imap-connections 500\n\
                  action \"x\" mbox\nmatch action \"x\"\n";
    crate::daemon::write(&conf, config);
    let under = |ulimit: &str, args: &str| {
        let out = Command::new("sh")
            .arg("-c")
            .arg(format!("{ulimit} && exec \"$0\" {args} -f \"$1\""))
            .arg(env.rmaild())
            .arg(&conf)
            .output()
            .expect("sh");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    let said = under("ulimit -n 364", "-n");
    let line = said.lines().find(|l| l.contains("of=\"descriptors of a process\"")).unwrap_or("");
    assert!(line.contains(" need=1564 have=364 "), "{said}");
    assert!(line.contains("lower smtp-connections, imap-connections"), "{said}");
    let way = format!("or raise it: {}", raised_by(Bounded::Descriptors));
    assert!(line.contains(&way), "{said}");
    if A_USERS_THREADS_COUNT {
        // One of them, as the shell has it.
        let said = under("{ ulimit -p 200 || ulimit -u 200; } 2>/dev/null", "-n");
        assert!(said.contains("of=\"threads of a user\" need="), "{said}");
        assert!(said.contains(" have=200 "), "{said}");
        assert!(said.contains(raised_by(Bounded::OfUser)), "{said}");
    }
    // What fits is not spoken of.
    crate::daemon::write(&conf, "action \"x\" mbox\nmatch action \"x\"\n");
    assert_eq!(under("ulimit -n 2048", "-n"), "");
    Outcome::Passed
}

/// What `make install` puts where, and that both makes would do the same.
fn install(env: &Env) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let root = env.dir.join("root");
    let run = |what: &str| {
        let out = Command::new("sh")
            .arg("etc/install.sh")
            .arg(what)
            .env("DESTDIR", &root)
            .env("BIN", env.rmaild().parent().expect("a directory"))
            .current_dir(env.root())
            .output()
            .expect("sh");
        assert!(out.status.success(), "{what}: {}", String::from_utf8_lossy(&out.stderr));
    };
    run("install");
    let mode = |path: &str| {
        let meta = std::fs::metadata(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        meta.permissions().mode() & 0o7777
    };
    for (path, right) in [
        ("usr/local/sbin/rmaild", 0o755),
        ("usr/local/sbin/rmailctl", 0o755),
        ("usr/local/libexec/rmail/sendmail", 0o755),
        ("usr/local/libexec/rmail/mailq", 0o755),
        ("usr/local/libexec/rmail/newaliases", 0o755),
        ("usr/local/man/man5/rmail.conf.5", 0o644),
        ("usr/local/share/examples/rmail/virtual.conf", 0o644),
        ("etc/rmail.conf", 0o600),
        ("etc/mail/aliases", 0o644),
        ("etc/rmail", 0o700),
        ("var/empty", 0o755),
        ("var/spool/rmail", 0o711),
        ("var/db/rmail", 0o700),
    ] {
        assert_eq!(mode(path), right, "{path}");
    }
    // A second time nothing of the administrator's is touched.
    std::fs::write(root.join("etc/rmail.conf"), "mine").expect("write");
    std::fs::write(root.join("etc/mail/aliases"), "mine").expect("write");
    run("install");
    run("uninstall");
    let left = Command::new("find").arg(&root).args(["-type", "f"]).output().expect("find");
    let left = String::from_utf8_lossy(&left.stdout).into_owned();
    let mut left: Vec<&str> = left.lines().filter_map(|l| l.split("/root/").last()).collect();
    left.sort_unstable();
    assert_eq!(left, ["etc/mail/aliases", "etc/rmail.conf"]);
    assert_eq!(std::fs::read(root.join("etc/rmail.conf")).expect("read"), b"mine");
    // The commands, with what line ends and blanks a make prints left out.
    let dry = |make: &str, target: &str| {
        let out = Command::new(make)
            .args(["-n", target, "DESTDIR=/d", "PREFIX=/p"])
            .env_remove("MAKEFLAGS")
            .env_remove("MFLAGS")
            .env_remove("MAKELEVEL")
            .current_dir(env.root())
            .output();
        let out = out.ok().filter(|o| o.status.success())?;
        let text = String::from_utf8_lossy(&out.stdout).replace(['\\', '\n'], " ");
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    for target in ["all", "install", "uninstall", "demo", "regress", "lint", "clean"] {
        let (gnu, bsd) = (dry("make", target), dry("bmake", target));
        let Some(bsd) = bsd else { return Outcome::Skipped("bmake".into()) };
        assert_eq!(gnu.as_deref(), Some(bsd.as_str()), "{target}");
    }
    Outcome::Passed
}

/// The how-to's smtpd.conf after the sed script, with ports and paths put in.
fn howto(env: &Env) -> Outcome {
    let howto = folder(env).join("howto");
    let sed = Command::new("sed")
        .arg("-f")
        .arg(howto.join("smtpd.sed"))
        .arg(howto.join("smtpd.conf"))
        .output();
    let out = match sed {
        Ok(out) if out.status.success() => String::from_utf8_lossy(&out.stdout).into_owned(),
        Ok(out) => return Outcome::Failed(String::from_utf8_lossy(&out.stderr).into_owned()),
        Err(e) => return Outcome::Failed(format!("sed: {e}")),
    };
    let own = std::fs::read_to_string(howto.join("own.conf")).unwrap_or_default();
    let fill = |text: &str| {
        let mut text = text.replace("@DIR@", "/tmp/howto");
        for (i, port) in ["SUBMISSION", "SMTP", "SUBMISSIONS", "IMAPS"].iter().enumerate() {
            text = text.replace(&format!("@{port}@"), &(2500 + i).to_string());
        }
        text
    };
    let mut source = |_: &str| Ok(fill(&own).into_bytes());
    let config = match conf::parse("smtpd.conf", fill(&out).as_bytes(), &[], &mut source) {
        Ok(config) => config,
        Err(e) => return Outcome::Failed(format!("{}\n{}", e[0], fill(&out))),
    };
    let ports: Vec<u16> = config.listeners().map(|l| l.port).collect();
    let mut wrong = Vec::new();
    if ports != [2500, 2501, 2502, 2503] {
        wrong.push(format!("ports {ports:?}"));
    }
    if config.rules().count() != 4 || config.mailboxes().count() != 5 {
        wrong.push(config.print());
    }
    if config.queue_key().is_none() || !config.queue_compression() {
        wrong.push("the queue is neither compressed nor encrypted".to_string());
    }
    outcome(wrong)
}

/// Unchanged, it has four things that we cannot do, and each says where.
fn howto_unchanged(env: &Env) -> Outcome {
    let path = folder(env).join("howto/smtpd.conf");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let line = |start: &str| text.lines().position(|l| l.starts_with(start)).unwrap_or(0) + 1;
    let said = match parse(env, &path) {
        Ok(_) => return Outcome::Failed("it was taken".to_string()),
        Err(said) => said,
    };
    let expected = [
        (line("filter "), "filter: not supported yet"),
        (line("queue encryption "), "the key has 31 characters; it must have 32, or be 64 hexadecimal digits: make one with \"openssl rand -hex 32\""),
        (line("listen on all port submission"), "listen on filter: not supported yet"),
        (line("listen on all tls"), "listen on filter: not supported yet"),
    ];
    let right = said.len() == expected.len()
        && said.iter().zip(expected).all(|(said, (line, text))| {
            said.starts_with(&format!("smtpd.conf:{line}: ")) && said.contains(text)
        });
    if right {
        Outcome::Passed
    } else {
        Outcome::Failed(said.join("\n"))
    }
}

/// Runs `rmaild -n` over a configuration with one passwd table; its status, and
/// what it said.
fn check_passwd(env: &Env, passwd: &str) -> (bool, String) {
    use std::os::unix::fs::PermissionsExt;
    let (conf, table) = (env.dir.join("rmail.conf"), env.dir.join("passwd"));
    let (cert, key) = crate::daemon::certificate(&env.dir, "cert", &["mx.example.org"]);
    let text = format!(
        "table users passwd:{}\ntable v {{ \"joe@example.org\" = nobody }}\n\
         pki mx.example.org cert \"{}\" key \"{}\"\n\
         listen on lo imaps port 0 pki mx.example.org auth <users>\n\
         action in maildir \"/m/%{{dest.user}}\" virtual <v>\n\
         match from any for domain example.org action in\n",
        table.display(),
        cert.display(),
        key.display()
    );
    std::fs::write(&conf, text).expect("write");
    std::fs::write(&table, passwd).expect("write");
    std::fs::set_permissions(&table, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    let out = Command::new(env.rmaild()).arg("-n").arg("-f").arg(&conf).output().expect("rmaild");
    let said = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn logins(env: &Env) -> Outcome {
    let passwd = "joe@example.org:$2b$04$x:65534:65534::/h\n\
                  ann@example.org:$2b$04$x:65534:65534::/h\n";
    let (ok, said) = check_passwd(env, passwd);
    if ok && said.contains("ann@example.org: the login opens no mailbox") && !said.contains("joe@")
    {
        return Outcome::Passed;
    }
    Outcome::Failed(said)
}

fn bad_table(env: &Env) -> Outcome {
    let (ok, said) = check_passwd(env, "# a comment\njoe@example.org\n");
    if ok || !said.contains("passwd:2: \"joe@example.org\" has no password field") {
        return Outcome::Failed(said);
    }
    // A password in place of its hash is no mistake of form, but nobody logs in.
    let (ok, said) = check_passwd(env, "joe@example.org:secret\nann@example.org:$2b$04$x\nbob:*\n");
    let told: Vec<&str> = said.lines().filter(|l| l.contains("no hash of a password")).collect();
    if ok && told.len() == 1 && told[0].contains("/passwd: joe@example.org: no hash") {
        return Outcome::Passed;
    }
    Outcome::Failed(said)
}

/// As root nothing starts without all of rmail's own users: after an upgrade one
/// may be missing, and who is to be made is said.
fn missing_user(env: &Env) -> Outcome {
    if !rmail::sys::user::is_root() {
        return Outcome::Skipped("without root there is one user".into());
    }
    let conf = env.dir.join("rmail.conf");
    let text = "socket \"@/run/rmaild.sock\"\nqueue directory \"@/spool\"\n\
                action \"a\" maildir\nmatch action \"a\"\n";
    crate::daemon::write(&conf, text.replace('@', &env.dir.display().to_string()));
    let passwd = std::fs::read_to_string("/etc/passwd").expect("passwd");
    for absent in rmail::proc::table::USERS {
        let kept = passwd.lines().filter(|l| !l.starts_with(&format!("{absent}:")));
        let kept: String = kept.map(|l| format!("{l}\n")).collect();
        assert!(kept.len() < passwd.len(), "{absent}");
        let file = env.dir.join("passwd");
        std::fs::write(&file, kept).expect("write");
        for check in ["-n", "-d"] {
            let script = "mount --bind \"$1\" /etc/passwd && exec \"$2\" \"$3\" -f \"$4\"";
            let out = Command::new("unshare")
                .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
                .args([&file, env.rmaild(), Path::new(check), &conf])
                .output()
                .expect("unshare");
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            let told = format!("user {absent} does not exist: make install makes it");
            assert!(!out.status.success() && said.contains(&told), "{absent} {check}: {said}");
            assert_eq!(said.matches("does not exist").count(), 1, "{said}");
        }
    }
    Outcome::Passed
}

/// An alias that could not be used is no part of a configuration, and every one is told.
fn bad_aliases(env: &Env) -> Outcome {
    let aliases = env.dir.join("aliases");
    let list = env.dir.join("list");
    let dir = env.dir.display().to_string();
    let text = "root: joe, /var/mail/x\na: error:999 moved\nb: |\n\nc: , ,\nd: \"joe\n\
                joe gets all of it\nl: :include:@/list\n";
    crate::daemon::write(&aliases, text.replace('@', &dir));
    crate::daemon::write(&list, "joe\n# ann\nann and bob\n");
    let conf = env.dir.join("rmail.conf");
    let text = "table aliases file:@/aliases\naction x mbox alias <aliases>\nmatch action x\n";
    crate::daemon::write(&conf, text.replace('@', &dir));
    let out = Command::new(env.rmaild()).arg("-n").arg("-f").arg(&conf).output().expect("run");
    assert_eq!(out.status.code(), Some(78));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    let begins = [
        "aliases:2: alias a: \"error:999 moved\": ",
        "aliases:3: alias b: \"|\": ",
        "aliases:5: alias c leads to nobody",
        "aliases:6: alias d: ",
        "aliases:7: alias joe: \"gets all of it\": ",
        "list: \"ann and bob\": ",
    ];
    assert_eq!(lines.len(), begins.len(), "{said}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(&format!("{dir}/{begin}")), "{begin}: {line}");
    }
    Outcome::Passed
}
