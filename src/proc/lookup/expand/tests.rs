use super::super::tables::Tables;
use super::super::users::tests::{own, Few};
use super::*;
use crate::conf;

const CONFIG: &str = r#"
table virtuals { "joe@v.example" = vmail, "me@v.example" = "joe@v.example", "@cat.example" = "vmail",
"out@v.example" = "far@away.example", "gone@v.example" = nobody,
"two@v.example" = "joe@v.example, far@away.example", "ring@v.example" = "gnir@v.example",
"gnir@v.example" = "ring@v.example", "bad@v.example" = "a b",
"tag+x@v.example" = "far@away.example", "tag@v.example" = "vmail",
"filed@v.example" = "vmail+Box", "@all.example" = "vmail+Box" }
table aliases { "postmaster" = root, "root" = "ann", "ann" = "ann, bob", "list" = "|/bin/list",
"box" = "/var/mail/box", "no" = "error:550 go away", "a1" = a2, "a2" = a3, "a3" = a4, "a4" = a5,
"a5" = a6, "a6" = a7, "a7" = a8, "a8" = a9, "a9" = a10, "a10" = a11, "a11" = a12, "a12" = bob,
"ring" = "gnir", "gnir" = "ring", "inc" = ":include:/inc",
"sales" = "ann", "sales+now" = "sales", "bob+x" = "bob+x, ann",
"eve+x" = "eve+x", "eve" = "ann", "lst" = "Bob+Lists, bob", "ann2" = "bob" }
action virtual maildir "/m/%{dest.user}" virtual <virtuals>
action local mbox alias <aliases>
action only expand-only alias <aliases>
action fwd forward-only virtual <virtuals>
action plain maildir
action out relay
match from any for domain { v.example, cat.example, all.example } action virtual
match from any for domain only.example action only
match from any for domain plain.example action plain
match from any for domain deny.example reject
match from any for local action "local"
match from local for any action out
match from auth for any action out
"#;

fn with<T>(config: &str, f: impl FnOnce(&Expander<'_>) -> T) -> T {
    // `local` and `virtual` are keywords.
    let text = config
        .replace("action virtual maildir", "action \"virtual\" maildir")
        .replace("action local mbox", "action \"local\" mbox")
        .replace("action virtual\n", "action \"virtual\"\n");
    let config = conf::parse("t", text.as_bytes(), &[], &mut conf::NoFiles)
        .unwrap_or_else(|e| panic!("{e:?}"));
    let files = [crate::ipc::parent::File {
        path: "/inc".into(),
        bytes: b"# list\nann\nfar@away.example\n".to_vec(),
    }];
    let tables = Tables::build(&config, &files).unwrap();
    let rules = Rules { config: &config, tables: &tables, server: "mx.example" };
    let users = Few;
    let x = Expander { rules, users: &users, own: &own() };
    f(&x)
}

fn expand_with(config: &str, rcpt: &str) -> Verdict {
    let origin = Origin { addr: Some("192.0.2.1".parse().unwrap()), ..Origin::default() };
    let rcpt = address_of(rcpt, "mx.example").unwrap();
    with(config, |x| x.expand(&origin, false, "s@x.example", &rcpt, Deadline::NEVER))
}

fn expand(rcpt: &str) -> Verdict {
    expand_with(CONFIG, rcpt)
}

/// `action dest user`, joined.
fn to(rcpt: &str) -> String {
    match expand(rcpt) {
        Verdict::Accepted { to } => to
            .iter()
            .map(|d| {
                let user = d.user.as_deref().unwrap_or(if d.item.is_some() { "item" } else { "-" });
                format!("{} {} {user}", d.action, d.dest)
            })
            .collect::<Vec<_>>()
            .join(", "),
        other => format!("{other:?}"),
    }
}

#[test]
fn virtual_users_and_aliases() {
    assert_eq!(to("joe@v.example"), "virtual joe@v.example vmail");
    assert_eq!(to("JOE@V.example"), "virtual JOE@v.example vmail");
    assert_eq!(to("me@v.example"), "virtual joe@v.example vmail");
    assert_eq!(to("joe+tag@v.example"), "virtual joe+tag@v.example vmail");
    assert_eq!(to("any@cat.example"), "virtual any@cat.example vmail");
    assert_eq!(to("tag@v.example"), "virtual tag@v.example vmail");
    assert_eq!(to("tag+x@v.example"), "out far@away.example -");
    assert_eq!(to("two@v.example"), "out far@away.example -, virtual joe@v.example vmail");
    assert!(matches!(expand("none@v.example"), Verdict::NoSuchUser { .. }));
    assert!(matches!(expand("gone@v.example"), Verdict::NoSuchUser { .. }));
}

#[test]
fn circles_of_aliases_are_told_and_what_reaches_somebody_is_not() {
    let lines = with(CONFIG, |x| x.check_aliases(Deadline::NEVER));
    let circle = |key: &str| format!("{key}: aliases lead in a circle");
    let deep = |key: &str| format!("{key}: more than 10 levels of aliases");
    let told = [
        circle("<virtuals> ring@v.example"),
        circle("<virtuals> gnir@v.example"),
        deep("<aliases> a1"),
        deep("<aliases> a2"),
        circle("<aliases> ring"),
        circle("<aliases> gnir"),
    ];
    assert_eq!(lines, told);
    let many: String = (0..500).map(|n| format!("\"x{n}\" = y{n}, \"y{n}\" = x{n},")).collect();
    let config = CONFIG.replace("\"ring\" = \"gnir\",", &many);
    assert_eq!(with(&config, |x| x.check_aliases(Deadline::NEVER)).len(), TOLD);
}

#[test]
fn an_at_sign_in_a_local_part_makes_no_other_address() {
    assert!(matches!(expand("\"joe@v.example\"@v.example"), Verdict::NoSuchUser { .. }));
    assert!(matches!(expand("\"@cat.example\"@v.example"), Verdict::NoSuchUser { .. }));
    assert!(matches!(expand("\"joe@v.example+x\"@v.example"), Verdict::NoSuchUser { .. }));
    // The catch-all of its own domain takes it as it takes everything.
    let key = |rcpt: &str| virtual_keys(&address_of(rcpt, "mx").unwrap(), '+');
    assert_eq!(
        key("\"joe@v.example\"@cat.example"),
        ["joe@v.example@cat.example", "@cat.example", "@"]
    );
    assert_eq!(key("joe@v.example"), ["joe@v.example", "joe", "@v.example", "@"]);
    assert_eq!(
        key("\"a+b@c\"@v.example"),
        ["a+b@c@v.example", "a@v.example", "a", "@v.example", "@"]
    );
    // A user of a table may have an address for a name.
    let config =
        CONFIG.replace("action plain maildir", "action \"plain\" maildir userbase <people>");
    let config = format!("table people {{ \"ann@x.example\" = \"3000:3000:/h\" }}\n{config}");
    assert!(matches!(
        expand_with(&config, "\"ann@x.example\"@plain.example"),
        Verdict::NoSuchUser { .. }
    ));
}

#[test]
fn aliases_lead_on_until_a_user() {
    assert_eq!(to("bob@localhost"), "local bob@localhost bob");
    assert_eq!(to("Bob+y@mx.example"), "local Bob+y@mx.example bob");
    assert_eq!(
        to("postmaster@localhost"),
        "local postmaster@localhost ann, local postmaster@localhost bob"
    );
    assert_eq!(to("list@localhost"), "local list@localhost item");
    assert_eq!(to("box@localhost"), "local box@localhost item");
    assert_eq!(
        to("inc@localhost"),
        "out far@away.example -, local inc@localhost ann, local inc@localhost bob"
    );
    assert!(matches!(expand("nouser@localhost"), Verdict::NoSuchUser { .. }));
    assert_eq!(expand("no@localhost"), Verdict::Refused { code: 550, text: "go away".into() });
}

#[test]
fn only_an_alias_that_names_itself_means_the_user() {
    // sales is an alias of its own, and ann names herself in hers.
    assert_eq!(
        to("sales+now@localhost"),
        "local sales+now@localhost ann, local sales+now@localhost bob"
    );
    assert_eq!(to("bob+x@localhost"), "local bob+x@localhost bob, local bob+x@localhost ann");
}

#[test]
fn the_sub_address_of_an_alias_target_counts() {
    assert_eq!(to("lst@localhost"), "local lst+Lists@localhost bob, local lst@localhost bob");
    assert_eq!(
        to("lst+mine@localhost"),
        "local lst+Lists@localhost bob, local lst+mine@localhost bob"
    );
    assert_eq!(to("ann2+mine@localhost"), "local ann2+mine@localhost bob");
    assert_eq!(to("filed@v.example"), "virtual filed+Box@v.example vmail");
    assert_eq!(to("filed+mine@v.example"), "virtual filed+Box@v.example vmail");
    let long = "x".repeat(255);
    assert!(matches!(expand(&format!("{long}@all.example")), Verdict::NoSuchUser { .. }));
}

#[test]
fn nothing_goes_to_root_by_itself() {
    let config = CONFIG.replace("\"root\" = \"ann\"", "\"x\" = \"ann\"");
    assert!(matches!(expand_with(&config, "root@localhost"), Verdict::Refused { code: 550, .. }));
}

#[test]
fn circles_and_depth_are_bounded() {
    assert!(matches!(expand("ring@v.example"), Verdict::Loop { .. }));
    assert!(matches!(expand("a1@localhost"), Verdict::Loop { .. }));
    assert_eq!(to("a3@localhost"), "local a3@localhost bob");
    // ring -> gnir -> ring, which then is a user, and there is none.
    let why = "aliases lead in a circle".to_string();
    assert_eq!(expand("ring@localhost"), Verdict::NoSuchUser { why });
}

#[test]
fn who_is_nobody_is_told_to_the_log() {
    for (rcpt, said) in [
        ("none@v.example", "not in <virtuals>"),
        ("gone@v.example", "no user \"nobody\""),
        ("nouser@localhost", "not in <aliases>, no user \"nouser\""),
        ("zoe@plain.example", "no user \"zoe\""),
        ("\"ann@x.example\"@plain.example", "a quoted local part with \"@\" is nobody's name"),
    ] {
        assert_eq!(expand(rcpt), Verdict::NoSuchUser { why: said.into() }, "{rcpt}");
    }
}

#[test]
fn a_list_is_bounded() {
    let many: Vec<String> = (0..600).map(|i| format!("u{i}@away.example")).collect();
    let half = many.join(",");
    let config = CONFIG.replace("\"bad@v.example\" = \"a b\"", &format!(
        "\"big@v.example\" = \"x@v.example,y@v.example\", \"x@v.example\" = \"{}\", \"y@v.example\" = \"{}\"",
        many.iter().take(300).cloned().collect::<Vec<_>>().join(","),
        many.iter().skip(300).cloned().collect::<Vec<_>>().join(",")
    ));
    assert!(half.len() > 8095);
    match expand_with(&config, "big@v.example") {
        Verdict::Accepted { to } => assert_eq!(to.len(), 600),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_may_relay() {
    assert!(matches!(expand("x@away.example"), Verdict::Denied { .. }));
    assert!(matches!(expand("x@deny.example"), Verdict::Denied { .. }));
    // What an alias names is this machine's own mail.
    assert_eq!(to("out@v.example"), "out far@away.example -");
}

#[test]
fn a_bad_alias_is_our_own_fault() {
    assert!(matches!(expand("bad@v.example"), Verdict::Unavailable { .. }));
}

#[test]
fn expand_only_and_forward_only_end_as_they_say() {
    assert_eq!(to("list@only.example"), "only list@only.example item");
    assert!(matches!(expand("bob@only.example"), Verdict::Refused { .. }));
    let config = CONFIG.replace(
        "v.example, cat.example, all.example } action virtual",
        "v.example, cat.example, all.example } action fwd",
    );
    assert!(matches!(expand_with(&config, "out@v.example"), Verdict::Accepted { .. }));
    assert!(matches!(expand_with(&config, "joe@v.example"), Verdict::Refused { .. }));
    assert!(matches!(
        expand_with(&config, "two@v.example"),
        Verdict::Denied { .. } | Verdict::Refused { .. }
    ));
}

#[test]
fn system_users_need_no_alias() {
    assert_eq!(to("ann@plain.example"), "plain ann@plain.example ann");
    assert!(matches!(expand("zoe@plain.example"), Verdict::NoSuchUser { .. }));
}
