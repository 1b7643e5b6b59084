use super::super::own::Own;
use super::super::rules::Rules;
use super::super::tables::Tables;
use super::super::users::tests::{own, Few};
use super::*;
use crate::conf;
use crate::ipc::parent::File;

const CONFIG: &str = r#"
table passwd passwd:/passwd
table virtuals { "joe@v.example" = vmail, "me@v.example" = "joe@v.example", "kim@v.example" = vmail,
    "team@v.example" = "joe@v.example, kim@v.example", "run@v.example" = "|/bin/run 'a b'",
    "file@v.example" = "/srv/box" }
table base { "eve" = "3000:mail:/home/eve", "sam" = "vmail:8:/home/sam", "low" = "499:8:/l",
    "group" = "3000:0:/g", "own" = "_rmaild:8:/o", "zero" = "0:8:/z" }
pki mx.example cert "/c" key "/k"
listen on lo0 imaps pki mx.example auth <passwd>
mda wrapper w "/bin/w %{mda}"
action v maildir "/m/%{dest.domain}/%{dest.user:lowercase}" junk virtual <virtuals>
action home maildir
action based maildir "~/M" userbase <base>
action as maildir "/as/%{dest.user}" user vmail
action box mbox
action low maildir "/low/%{dest.user}" user sys
action prog mda "/bin/x -f %{sender} %{dest}" wrapper w
match from any for domain v.example action v
match from any for domain h.example action home
match from any for domain b.example action based
match from any for domain as.example action as
match from any for domain box.example action box
match from any for domain low.example action low
match from any for domain prog.example action prog
"#;

const PASSWD: &[u8] = b"joe@v.example:$2b$x:vmail:2000::/home/j\n\
        own@v.example:$2b$x:vmail:2000::/home/own::userdb_mail=maildir:/own\n\
        kim@v.example:$2b$x:vmail:2000::/home/kim::userdb_mail=maildir:/kim\n";

fn with<T>(config: &str, f: impl FnOnce(&Expander<'_>) -> T) -> T {
    let config = conf::parse("t", config.as_bytes(), &[], &mut conf::NoFiles)
        .unwrap_or_else(|e| panic!("{e:?}"));
    let file = File { path: "/passwd".into(), bytes: PASSWD.to_vec() };
    let tables = Tables::build(&config, &[file]).unwrap();
    let rules = Rules { config: &config, tables: &tables, server: "mx.example" };
    f(&Expander { rules, users: &Few, own: &own() })
}

fn deliver(rcpt: &str) -> Result<(Opening, Target), NoOpening> {
    with(CONFIG, |x| {
        let address = address_of(rcpt, "mx.example").unwrap();
        let verdict = x.expand(&Origin::default(), false, "s@x", &address, Deadline::NEVER);
        let Verdict::Accepted { to } = verdict else { panic!("{rcpt}: {verdict:?}") };
        x.deliver(&to[0], "s@x", rcpt, false, Deadline::NEVER)
    })
}

fn account(rcpt: &str) -> Account {
    match deliver(rcpt) {
        Ok((_, Target::Store { account, role: Role::Deliver })) => account,
        other => panic!("{other:?}"),
    }
}

fn login(name: &str) -> Result<Account, String> {
    with(CONFIG, |x| x.login("passwd", name, Deadline::NEVER).unwrap())
}

#[test]
fn delivery_and_login_lead_to_one_mail_root() {
    let a = account("me@v.example");
    assert_eq!((a.uid, a.gid), (2000, 2000));
    assert_eq!(a.mail_root.as_deref(), Some(Path::new("/m/v.example/joe")));
    assert_eq!(a.name, "joe@v.example");
    assert!(!a.system);
    assert_eq!(login("joe@v.example"), Ok(a.clone()));
    assert_eq!(login("me@v.example"), Ok(a));
    assert_eq!(
        login("ann@h.example").unwrap().mail_root.as_deref(),
        Some(Path::new("/home/ann/Maildir"))
    );
}

#[test]
fn a_sub_address_is_a_mailbox_of_the_same_account() {
    assert_eq!(
        account("joe+lists@v.example").mail_root.as_deref(),
        Some(Path::new("/m/v.example/joe"))
    );
    let (opening, _) = deliver("Joe+Lists@v.example").unwrap();
    assert_eq!(opening, Opening::Store { junk: true, detail: Some("Lists".into()) });
}

#[test]
fn userdb_mail_stands_in_place_of_the_path_both_ways() {
    assert_eq!(account("kim@v.example").mail_root.as_deref(), Some(Path::new("/kim")));
    assert_eq!(login("kim@v.example").unwrap().mail_root.as_deref(), Some(Path::new("/kim")));
}

#[test]
fn users_of_the_system_of_a_table_and_one_for_all() {
    let ann = account("ann@h.example");
    assert_eq!((ann.uid, ann.system, ann.name.as_str()), (1001, true, "ann"));
    let eve = account("eve@b.example");
    assert_eq!((eve.uid, eve.gid, eve.system), (3000, 8, false));
    assert_eq!(eve.mail_root.as_deref(), Some(Path::new("/home/eve/M")));
    assert_eq!(eve.home, Path::new("/home/eve"));
    assert_eq!(account("sam@b.example").uid, 2000);
    let as_vmail = account("ann@as.example");
    assert_eq!((as_vmail.uid, as_vmail.system), (2000, false));
}

fn verdict(config: &str, root: bool, rcpt: &str) -> Verdict {
    let address = address_of(rcpt, "mx.example").unwrap();
    with(config, |x| {
        let own = Own { guarded: own().guarded.filter(|_| root), ..own() };
        let x = Expander { own: &own, ..*x };
        x.expand(&Origin::default(), false, "s@x", &address, Deadline::NEVER)
    })
}

#[test]
fn who_gets_no_mail_is_refused_in_the_dialogue() {
    for (rcpt, why) in [
        ("sys@h.example", "below store-min-uid"),
        ("_rmaild@h.example", "rmail's own"),
        ("_rmaild@box.example", "rmail's own"),
        ("_rmaila@h.example", "rmail's own"),
        ("_rmaila@box.example", "rmail's own"),
        ("low@b.example", "below store-min-uid"),
        ("group@b.example", "the group"),
        ("own@b.example", "rmail's own"),
    ] {
        let refused = verdict(CONFIG, true, rcpt);
        let Verdict::NoSuchUser { why: said } = refused else { panic!("{rcpt}: {refused:?}") };
        assert!(said.contains(why), "{rcpt}: {said}");
        // Without root there are no users but one.
        assert!(matches!(verdict(CONFIG, false, rcpt), Verdict::Accepted { .. }), "{rcpt}");
    }
    assert!(matches!(verdict(CONFIG, false, "zero@b.example"), Verdict::Refused { .. }));
    // smtpd's mbox takes mail of system users.
    assert!(matches!(verdict(CONFIG, true, "sys@box.example"), Verdict::Accepted { .. }));
    // A user for many who gets none is the administrator's mistake.
    assert!(matches!(verdict(CONFIG, true, "ann@low.example"), Verdict::Unavailable { .. }));
}

#[test]
fn an_address_that_fits_no_path_is_refused_in_the_dialogue() {
    let config = CONFIG.replace("table virtuals {", "table virtuals { \"@v.example\" = vmail,");
    assert!(matches!(verdict(&config, true, "x@v.example"), Verdict::Accepted { .. }));
    for rcpt in ["a/b@v.example", "\"..\"@v.example", "\"x /../y\"@v.example"] {
        let refused = verdict(&config, true, rcpt);
        let Verdict::NoSuchUser { why } = refused else { panic!("{rcpt}: {refused:?}") };
        assert!(why.contains("may not stand in the path"), "{rcpt}: {why}");
    }
    // No path, no danger.
    assert!(matches!(verdict(CONFIG, true, "run@v.example"), Verdict::Accepted { .. }));
}

#[test]
fn a_login_that_is_no_mailbox_opens_none() {
    assert!(login("team@v.example").unwrap_err().contains("several"));
    assert!(login("run@v.example").unwrap_err().contains("Maildir"));
    assert!(login("ann@box.example").unwrap_err().contains("Maildir"));
    assert!(login("nobody@v.example").is_err());
    assert!(login("a b@").is_err());
}

#[test]
fn mailbox_root_is_for_logins_without_mail() {
    let config = format!("{CONFIG}mailbox root \"/r/%{{dest.user}}\"\n");
    let login = |name: &str| with(&config, |x| x.login("passwd", name, Deadline::NEVER).unwrap());
    assert_eq!(login("own@v.example").unwrap().mail_root.as_deref(), Some(Path::new("/own")));
    assert_eq!(
        login("joe@v.example").unwrap().mail_root.as_deref(),
        Some(Path::new("/m/v.example/joe"))
    );
    assert_eq!(login("bob").unwrap().mail_root.as_deref(), Some(Path::new("/r/bob")));
    assert!(login("zoe").is_err());
}

#[test]
fn programs_get_words_and_the_environment() {
    let Ok((Opening::Program, Target::Program { program })) = deliver("ann+x@prog.example") else {
        panic!()
    };
    let words: Vec<&str> = program.argv.iter().map(|w| std::str::from_utf8(w).unwrap()).collect();
    assert_eq!(words, ["/bin/w", "/bin/x", "-f", "s@x", "ann+x@prog.example"]);
    let env: Vec<String> =
        program.env.iter().map(|e| String::from_utf8(e.clone()).unwrap()).collect();
    for line in ["EXTENSION=x", "LOCAL=ann", "USER=ann", "HOME=/home/ann", "SENDER=s@x"] {
        assert!(env.iter().any(|e| e == line), "{line} {env:?}");
    }
    assert_eq!(program.uid, 1001);
}

#[test]
fn system_mailboxes() {
    let Ok((_, Target::Mbox { path, uid, .. })) = deliver("bob@box.example") else { panic!() };
    assert_eq!((path.as_path(), uid), (Path::new("/var/mail/bob"), 1002));
}

#[test]
fn what_is_gone_waits_and_who_is_gone_does_not() {
    let to = |action: &str, user: &str| Destination {
        action: action.into(),
        dest: "x@h.example".into(),
        user: Some(user.into()),
        item: None,
    };
    with(CONFIG, |x| {
        let deliver = |t: &Destination| x.deliver(t, "", "x@h.example", false, Deadline::NEVER);
        assert!(matches!(deliver(&to("old", "ann")), Err(NoOpening::Temporary { .. })));
        assert!(matches!(deliver(&to("home", "zoe")), Err(NoOpening::Permanent { .. })));
        assert!(matches!(deliver(&to("home", "down")), Err(NoOpening::Temporary { .. })));
        assert!(matches!(deliver(&to("home", "root")), Err(NoOpening::Permanent { .. })));
    });
}

#[test]
fn commands_and_files_of_aliases_are_for_a_user_of_their_own() {
    let Ok((Opening::Program, Target::Program { program })) = deliver("run@v.example") else {
        panic!()
    };
    assert_eq!((program.user.as_str(), program.uid, program.gid), ("_rmaila", 901, 901));
    let env = |line: &str| program.env.iter().any(|e| e == line.as_bytes());
    assert!(env("USER=_rmaila") && env("HOME=/var/empty") && env("SHELL=/bin/sh"));
    let Ok((Opening::File { user }, Target::Mbox { uid, gid, path, .. })) =
        deliver("file@v.example")
    else {
        panic!()
    };
    assert_eq!((user.as_str(), uid, gid), ("_rmaila", 901, 901));
    assert_eq!(path, Path::new("/srv/box"));
}

#[test]
fn an_alias_that_changed_runs_nothing() {
    let address = address_of("run@v.example", "mx").unwrap();
    let to = with(CONFIG, |x| {
        match x.expand(&Origin::default(), false, "", &address, Deadline::NEVER) {
            Verdict::Accepted { to } => to,
            other => panic!("{other:?}"),
        }
    });
    let changed = CONFIG.replace("|/bin/run 'a b'", "|/bin/other");
    let opened = with(&changed, |x| x.deliver(&to[0], "", "run@v.example", false, Deadline::NEVER));
    assert!(matches!(opened, Err(NoOpening::Temporary { why }) if why.contains("put it back")));
}

#[test]
fn logins_that_read_elsewhere_are_told() {
    let lines = with(CONFIG, |x| x.check_logins(Deadline::NEVER)).join("\n");
    assert!(lines.contains("kim@v.example: userdb_mail /kim"), "{lines}");
    assert!(lines.contains("own@v.example: the login opens no mailbox"), "{lines}");
    assert!(!lines.contains("joe@v.example"), "{lines}");
}

#[test]
fn actions_that_part_or_refuse_everybody_are_told() {
    let lines = with(CONFIG, |x| x.check_actions(Deadline::NEVER));
    let about = |action: &str| lines.iter().filter(|l| l.contains(action)).count();
    assert_eq!((about("\"v\""), about("\"as\""), about("\"low\"")), (0, 1, 2), "{lines:?}");
    assert!(lines.iter().any(|l| l.contains("%{dest.user:lowercase}")), "{lines:?}");
    assert!(lines.iter().any(|l| l.contains("store-min-uid")), "{lines:?}");
}
