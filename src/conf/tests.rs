//! Every rule of the language: what it takes, in its canonical form, and what it
//! refuses, with line and way out.

use super::ast::*;
use super::*;

fn read(text: &str) -> Result<Config, Vec<Error>> {
    parse("t", text.as_bytes(), &[], &mut NoFiles)
}

/// Statements that the others refer to; six lines.
const GROUND: &str =
    "table t { a = b }\ntable l { a }\ntable c { u = h }\ntable h { \"::1\" = a.b }\n\
    pki mx.example.org cert \"/c\" key \"/k\"\naction x mbox\n";

/// The canonical form of one statement.
fn canonical(text: &str) -> String {
    let whole = format!("{GROUND}{text}\nmatch from any for any action x\n");
    let config = read(&whole).unwrap_or_else(|e| panic!("{text}: {}", errors(&e)));
    let printed = config.print();
    let again = read(&printed).unwrap_or_else(|e| panic!("{printed}: {}", errors(&e)));
    assert!(config.stmts().eq(again.stmts()), "{text} is not the same after print and parse");
    assert_eq!(printed, again.print());
    let ground = GROUND.lines().count();
    let lines: Vec<&str> = printed.lines().skip(ground).collect();
    lines.get(..lines.len() - 1).unwrap().join("\n")
}

fn errors(all: &[Error]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The mistakes of one statement, which begins on line 7.
fn mistakes(text: &str) -> String {
    let whole = format!("{GROUND}{text}\nmatch from any for any action x\n");
    match read(&whole) {
        Ok(r) => panic!("{text} was taken: {}", r.print()),
        Err(e) => errors(&e),
    }
}

fn check(taken: &[(&str, &str)], refused: &[(&str, &str)]) {
    for (text, form) in taken {
        assert_eq!(canonical(text), *form, "{text}");
    }
    for (text, why) in refused {
        let said = mistakes(text);
        assert!(said.starts_with("t:7: "), "{text}: {said}");
        assert!(said.contains(why), "{text}: said {said}");
        assert_eq!(said.lines().count(), 1, "{text}: {said}");
    }
}

#[test]
fn macros() {
    check(
        &[("d = \"1h\"\nqueue ttl $d", "queue ttl 1h"), ("u=\"ttl 1h\"\nqueue $u", "queue ttl 1h")],
        &[
            ("d = 1", "write d = \"1\""),
            ("d = tag", "write d = \"tag\""),
            ("d = ", "the value of d"),
            ("d-e = \"x\"", "letters, digits and _"),
            ("queue ttl $d", "not defined"),
        ],
    );
}

#[test]
fn the_command_line_wins_over_the_text() {
    let text = b"a = \"mbox\"\naction x $a\nmatch action x";
    let defines = [("a".to_string(), "expand-only".to_string())];
    let config = parse("t", text, &defines, &mut NoFiles).unwrap();
    assert!(config.print().starts_with("action \"x\" expand-only\n"));
}

#[test]
fn an_unused_macro_is_a_warning() {
    let read = read("a = \"b\"\naction x mbox\nmatch action x").unwrap();
    assert_eq!(errors(&read.warnings), "t:1: macro \"a\" is not used");
}

#[test]
fn admd_bounce_hostname_socket_directories() {
    check(
        &[
            ("admd mx.example.org", "admd \"mx.example.org\""),
            ("bounce warn-interval 4h", "bounce warn-interval 4h"),
            ("bounce warn-interval 1h, 12h, 2d", "bounce warn-interval 1h, 12h, 2d"),
            ("hostname MX.example.org", "hostname \"mx.example.org\""),
            ("socket \"/tmp/s\"", "socket \"/tmp/s\""),
            ("queue directory \"/q\"", "queue directory \"/q\""),
        ],
        &[
            ("admd \"a b\"", "cannot have"),
            ("admd a\nadmd b", "the line ends"),
            ("bounce warn-interval 4", "s, m, h, d or ms"),
            ("bounce warn-interval 1h, 2h, 3h, 4h, 5h", "at most 4"),
            ("bounce warn-interval 2h, 1h", "longer"),
            ("bounce", "expected warn-interval"),
            ("hostname a/b", "not a host name"),
            ("socket s", "begin with /"),
            ("socket /s", "must be quoted"),
            ("queue directory q", "begin with /"),
            ("state directory \"/s\"", "state directory: not supported yet"),
        ]
        .iter()
        .filter(|(t, _)| !t.contains('\n'))
        .copied()
        .collect::<Vec<_>>(),
    );
    assert_eq!(
        mistakes("admd a\nadmd b"),
        "t:8: admd is set already at t:7: remove one of the two"
    );
}

#[test]
fn ca_and_pki() {
    check(
        &[
            ("ca \"*\" cert \"/f\"", "ca \"*\" cert \"/f\""),
            ("ca * cert \"/f\"", "ca \"*\" cert \"/f\""),
            ("ca Name cert \"/f\"", "ca \"name\" cert \"/f\""),
            ("pki a cert \"/f\"\npki A key \"/g\"", "pki \"a\" cert \"/f\" key \"/g\""),
            ("pki a key \"/g\" cert \"/f\" dhe none", "pki \"a\" cert \"/f\" key \"/g\""),
        ],
        &[
            ("ca a", "expected cert"),
            ("ca a/b cert \"/f\"", "neither a host name"),
            ("pki a cert \"/f\"", "has no key: add pki a key FILE"),
            ("pki a key \"/f\"", "has no cert"),
            ("pki a dhe none", "no cert and key"),
            ("pki a dhe auto", "pki dhe auto: not supported yet"),
            ("pki a dhe legacy", "pki dhe legacy: not supported yet"),
            ("pki a", "pki has cert FILE"),
            ("pki a cert f", "begin with /"),
            ("pki a dhe never", "none, auto or legacy"),
            ("pki mx.example.org cert \"/d\"", "has a cert already"),
            ("pki a cert \"/f\" cert \"/g\"", "given twice"),
        ],
    );
}

#[test]
fn queue_statements() {
    let hex = "0123456789abcdef".repeat(4);
    check(
        &[
            ("queue compression", "queue compression"),
            ("queue ttl 4d", "queue ttl 4d"),
            ("queue ttl 96h", "queue ttl 4d"),
            ("queue retry local 100ms", "queue retry local 100ms"),
            ("queue retry remote 7m", "queue retry remote 7m"),
            (
                "queue encryption 12345678901234567890123456789012",
                "queue encryption \"12345678901234567890123456789012\"",
            ),
            (&format!("queue encryption {hex}"), &format!("queue encryption \"{hex}\"")),
        ],
        &[
            ("queue encryption 0e12345678912345678912345678912", "has 31 characters"),
            ("queue encryption 0e12345678912345678912345678912", "openssl rand -hex 32"),
            (&format!("queue encryption {}", "x".repeat(64)), "not all hexadecimal"),
            ("queue encryption", "not supported yet"),
            ("queue encryption stdin", "not supported yet"),
            ("queue encryption -", "not supported yet"),
            ("queue ttl 4w", "s, m, h, d or ms"),
            ("queue ttl 0d", "s, m, h, d or ms"),
            ("queue retry 1s", "local and remote"),
            ("queue speed", "queue has"),
        ],
    );
}

#[test]
fn a_queue_key_is_raw_or_hexadecimal() {
    let key = |t: &str| {
        let text = format!("queue encryption \"{t}\"\naction x mbox\nmatch action x");
        read(&text).unwrap().queue_key().unwrap().octets()
    };
    assert_eq!(key("0123456789abcdef0123456789abcdef"), *b"0123456789abcdef0123456789abcdef");
    assert_eq!(key(&"00ff".repeat(16))[..4], [0, 255, 0, 255]);
}

#[test]
fn smtp_statements() {
    check(
        &[
            ("smtp max-message-size 35M", "smtp max-message-size 36700160"),
            ("smtp max-message-size 1000", "smtp max-message-size 1000"),
            ("smtp limit max-mails 5 max-rcpt 7", "smtp limit max-mails 5\nsmtp limit max-rcpt 7"),
            ("smtp ciphers HIGH:!x", "smtp ciphers \"HIGH:!x\""),
            ("smtp ciphers \"HIGH:!aNULL\"", "smtp ciphers \"HIGH:!aNULL\""),
            ("smtp sub-addr-delim \"-\"", "smtp sub-addr-delim \"-\""),
            ("smtp sub-addr-delim -", "smtp sub-addr-delim \"-\""),
        ]
        .iter()
        // An unquoted ! ends a word, as in smtpd.
        .filter(|(t, _)| *t != "smtp ciphers HIGH:!x")
        .copied()
        .collect::<Vec<_>>(),
        &[
            ("smtp max-message-size 35Q", "not a size"),
            ("smtp max-message-size 0", "refuse every message"),
            ("smtp limit max-mails 0", "out of range"),
            ("smtp limit max-mails x", "a number"),
            ("smtp limit", "max-mails N"),
            ("smtp limit max-mails 1 max-mails 2", "set already"),
            ("smtp sub-addr-delim @", "other than @"),
            ("smtp sub-addr-delim ab", "not one printable"),
            ("smtp speed", "smtp has"),
        ],
    );
}

#[test]
fn mda_and_mta() {
    check(
        &[
            ("mda wrapper w \"/bin/w %{mda}\"", "mda wrapper \"w\" \"/bin/w %{mda}\""),
            (
                "mda limit max-session 3 max-session-per-user 2",
                "mda limit max-session 3\nmda limit max-session-per-user 2",
            ),
            ("mta max-deferred 0", "mta max-deferred 0"),
        ],
        &[
            ("mda wrapper w \"%{md}\"", "no token"),
            ("mda limit task-hiwat 3", "not supported yet"),
            ("mda limit speed 3", "max-session and"),
            ("mda limit max-session 0", "out of range"),
            ("mda mda", "wrapper and limit"),
            ("mta limit max-conn-per-host 3", "not supported yet"),
            ("mta speed", "max-deferred"),
            ("scheduler limit max-inflight 3", "not supported yet"),
        ],
    );
    assert!(
        mistakes("mda wrapper w \"a\"\nmda wrapper w \"b\"").contains("t:8: there is a wrapper")
    );
}

#[test]
fn tables() {
    check(
        &[
            ("table n file:/etc/n", "table \"n\" \"file:/etc/n\""),
            ("table n \"/etc/n\"", "table \"n\" \"file:/etc/n\""),
            ("table n passwd:/etc/n", "table \"n\" \"passwd:/etc/n\""),
            ("table n { a, \"b c\" }", "table \"n\" { \"a\", \"b c\" }"),
            ("table n {\n a\n b,\n\n c }", "table \"n\" { \"a\", \"b\", \"c\" }"),
            ("table n { a = b, c => \"d e\" }", "table \"n\" { \"a\" = \"b\", \"c\" = \"d e\" }"),
            ("table n {\n a =\n b\n}", "table \"n\" { \"a\" = \"b\" }"),
            ("table n { 25 }", "table \"n\" { \"25\" }"),
        ],
        &[
            ("table n db:/etc/n.db", "table db: not supported yet"),
            ("table n sqlite:/etc/n", "table external: not supported yet"),
            ("table n file:n", "begin with /"),
            ("table n n", "file:/path"),
            ("table n /etc/n", "must be quoted"),
            ("table n", "the line ends too early"),
            ("table t { a }", "there is a table \"t\" already"),
            ("table n { a, b = c }", "not both"),
            ("table n { }", "no entries"),
            ("table n { tag }", "keyword"),
            ("table n { a", "not closed"),
        ],
    );
}

#[test]
fn a_table_that_failed_is_not_missed_again() {
    let said = mistakes("table n db:/x\nmatch from src <n> action x");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn listeners() {
    check(
        &[
            ("listen on all", "listen on \"all\" port 25"),
            ("listen on 192.0.2.1 port 2525 tag in", "listen on \"192.0.2.1\" port 2525 tag \"in\""),
            ("listen on \"::1\" inet6 port 0", "listen on \"::1\" inet6 port 0"),
            ("listen on lo0 port submission", "listen on \"lo0\" port 587"),
            (
                "listen on lo0 tls pki MX.example.org",
                "listen on \"lo0\" tls port 25 pki \"mx.example.org\"",
            ),
            (
                "listen on lo0 smtps verify pki mx.example.org auth <t> hostname a.b\nca \"*\" cert \"/a\"",
                "listen on \"lo0\" smtps verify port 465 pki \"mx.example.org\" auth <\"t\"> hostname \"a.b\"\nca \"*\" cert \"/a\"",
            ),
            (
                "listen on lo0 tls-require verify ca a pki mx.example.org\nca a cert \"/a\"",
                "listen on \"lo0\" tls-require verify port 25 pki \"mx.example.org\" ca \"a\"\nca \"a\" cert \"/a\"",
            ),
            (
                "listen on lo0 tls pki mx.example.org auth-optional <c> senders <t> received-auth mask-src no-dsn",
                "listen on \"lo0\" tls port 25 pki \"mx.example.org\" auth-optional <\"c\"> mask-src received-auth no-dsn senders <\"t\">",
            ),
            (
                "listen on lo0 tls protocols tlsv1.3 ciphers HIGH pki mx.example.org hostnames <h>",
                "listen on \"lo0\" tls port 25 pki \"mx.example.org\" ciphers \"HIGH\" protocols \"tlsv1.3\" hostnames <\"h\">",
            ),
            ("listen on lo0 lmtp", "listen on \"lo0\" lmtp port 24"),
            ("listen on lo0 lmtp port lmtp", "listen on \"lo0\" lmtp port 24"),
            (
                "listen on lo0 imap tls-require pki mx.example.org auth <c>",
                "listen on \"lo0\" imap tls-require port 143 pki \"mx.example.org\" auth <\"c\">",
            ),
            (
                "listen on lo0 imaps port 0 pki mx.example.org auth <c>",
                "listen on \"lo0\" imaps port 0 pki \"mx.example.org\" auth <\"c\">",
            ),
            ("listen on socket", "listen on socket"),
            ("listen on socket tag s no-dsn mask-src", "listen on socket mask-src no-dsn tag \"s\""),
        ],
        &[
            ("listen lo0", "expected on"),
            ("listen on", "the line ends too early"),
            ("listen on /x", "must be quoted"),
            ("listen on lo0 port 65536", "between 0 and 65535"),
            ("listen on lo0 port nosuch", "no service"),
            ("listen on lo0 port 25 port 26", "given twice"),
            ("listen on lo0 inet4 inet6", "given twice"),
            ("listen on lo0 tls smtps pki mx.example.org", "given twice"),
            ("listen on lo0 tls", "TLS needs a certificate"),
            ("listen on lo0 tls pki no.example.org", "no pki \"no.example.org\""),
            ("listen on lo0 tls pki mx.example.org pki mx.example.org", "given twice"),
            ("listen on lo0 pki mx.example.org", "pki without TLS"),
            ("listen on lo0 protocols tlsv1.3", "protocols without TLS"),
            ("listen on lo0 tls protocols sslv3 pki mx.example.org", "no TLS version"),
            ("listen on lo0 tls ciphers \"A B\" pki mx.example.org", "without blanks"),
            ("listen on lo0 tls ca a pki mx.example.org", "ca does nothing without verify"),
            ("listen on lo0 smtps verify ca a pki mx.example.org", "no ca \"a\""),
            ("listen on lo0 smtps verify pki mx.example.org", "verify needs somebody who vouches"),
            ("listen on lo0 auth <t>", "auth without TLS"),
            ("listen on lo0 tls auth <no> pki mx.example.org", "no table <no>"),
            ("listen on lo0 tls auth <l> pki mx.example.org", "each entry needs a value"),
            ("listen on lo0 tls auth x pki mx.example.org", "keys with values"),
            ("listen on lo0 tls pki mx.example.org auth", "auth without a table: not supported yet"),
            ("listen on lo0 tls pki mx.example.org senders <t>", "senders without auth"),
            ("listen on lo0 tls pki mx.example.org auth <c> senders <t> masquerade", "masquerade: not supported yet"),
            ("listen on lo0 filter f", "filter: not supported yet"),
            ("listen on lo0 filter { f, g }", "filter: not supported yet"),
            ("listen on lo0 proxy-v2", "proxy-v2: not supported yet"),
            ("listen on lo0 tag 01234567890123456789012345678901", "longer than 31"),
            ("listen on lo0 speed 3", "the options are"),
            ("listen on lo0 hostname \"a b\"", "not a host name"),
            ("listen on lo0 hostnames { a = b }", "not an address"),
            ("listen on lo0 imap pki mx.example.org auth <c>", "pki without TLS"),
            ("listen on lo0 imap auth <c>", "no login without TLS"),
            ("listen on lo0 imap tls auth <c> pki mx.example.org", "no login without TLS"),
            ("listen on lo0 imaps pki mx.example.org", "imap needs a table"),
            ("listen on lo0 imaps pki mx.example.org auth-optional <c>", "imap needs a table"),
            ("listen on lo0 imaps pki mx.example.org auth <c> tag x", "tag means nothing for imap"),
            ("listen on lo0 imaps pki mx.example.org auth", "not supported yet"),
            ("listen on lo0 imap imaps", "given twice"),
            ("listen on socket port 25", "options of the socket"),
            ("listen on socket filter x", "not supported yet"),
        ]
        .iter()
        .filter(|(t, _)| *t != "listen on lo0 imap pki mx.example.org auth <c>")
        .copied()
        .collect::<Vec<_>>(),
    );
}

#[test]
fn two_listeners_cannot_have_one_port() {
    let said = mistakes("listen on lo0\nlisten on lo0 inet4");
    assert_eq!(
        said,
        "t:8: listen on lo0 port 25 is there already at t:7: remove one or change its port"
    );
    canonical("listen on lo0 inet4\nlisten on lo0 inet6");
    canonical("listen on lo0 port 0\nlisten on lo0 port 0");
}

#[test]
fn a_fallback_pki_serves_listeners_that_name_none() {
    let form = canonical("pki * cert \"/a\" key \"/b\"\nlisten on lo0 tls");
    assert!(form.ends_with("listen on \"lo0\" tls port 25 pki \"*\""), "{form}");
}

#[test]
fn passwords_in_place_become_a_table() {
    let text = "listen on lo0 smtps pki mx.example.org auth { joe = secret }";
    let form = canonical(text);
    assert!(form.starts_with("table \"_1\" { \"joe\" = \"secret\" }\n"), "{form}");
    assert!(form.ends_with("auth <\"_1\">"), "{form}");
}

#[test]
fn actions() {
    check(
        &[
            ("action a mbox alias <t>", "action \"a\" mbox alias <\"t\">"),
            ("action a maildir", "action \"a\" maildir"),
            ("action a maildir junk", "action \"a\" maildir junk"),
            (
                "action a maildir \"/m/%{dest.user:lowercase}\" junk virtual <t> user vmail ttl 1d",
                "action \"a\" maildir \"/m/%{dest.user:lowercase}\" junk virtual <\"t\"> user \"vmail\" ttl 1d",
            ),
            ("action a maildir ttl 1h user joe", "action \"a\" maildir user \"joe\" ttl 1h"),
            ("action a maildir \"~/M\" userbase { joe = \"1:1:/h\" }", "action \"a\" maildir \"~/M\" userbase { \"joe\" = \"1:1:/h\" }"),
            ("action a lmtp \"/s\" rcpt-to", "action \"a\" lmtp \"/s\" rcpt-to"),
            ("action a lmtp 127.0.0.1:24", "action \"a\" lmtp \"127.0.0.1:24\""),
            ("action a lmtp \"[::1]:24\"", "action \"a\" lmtp \"[::1]:24\""),
            ("action a mda \"/bin/x %{user.username}\"", "action \"a\" mda \"/bin/x %{user.username}\""),
            (
                "mda wrapper w \"w %{mda}\"\naction a mda \"x\" wrapper w",
                "mda wrapper \"w\" \"w %{mda}\"\naction \"a\" mda \"x\" wrapper \"w\"",
            ),
            ("action a expand-only alias <t>", "action \"a\" expand-only alias <\"t\">"),
            ("action a forward-only", "action \"a\" forward-only"),
        ],
        &[
            ("action x mbox", "there is an action \"x\" already"),
            ("action a", "the line ends too early"),
            ("action a smtp", "the methods are"),
            ("action a mbox user joe", "user means nothing here"),
            ("action a maildir user root", "nothing is delivered as root"),
            ("action a maildir \"m\"", "begin with / or ~/"),
            ("action a maildir \"/m/../n\"", "without .."),
            ("action a maildir \"/m/%{dest.usr}\"", "no token"),
            ("action a maildir /m", "must be quoted"),
            ("action a maildir alias <t> virtual <t>", "given twice"),
            ("action a maildir alias <l>", "each entry needs a value"),
            ("action a maildir alias <no>", "no table <no>"),
            ("action a maildir wrapper w", "wraps a command"),
            ("action a mda \"x\" wrapper w", "no wrapper \"w\""),
            ("action a lmtp localhost", "host:port"),
            ("action a lmtp \"me@localhost:24\"", "host:port"),
            ("action a maildir ttl 1", "s, m, h, d or ms"),
            ("action a maildir junk speed", "the options are"),
            ("action a mbox junk", "the options are"),
        ],
    );
}

#[test]
fn relays() {
    check(
        &[
            ("action a relay", "action \"a\" relay"),
            ("action a relay backup", "action \"a\" relay backup"),
            ("action a relay backup mx mx2.example.org ttl 2d", "action \"a\" relay backup mx \"mx2.example.org\" ttl 2d"),
            (
                "action a relay host smtps://me@mx.example.org auth <t> tls",
                "action \"a\" relay host \"smtps://me@mx.example.org:465\" auth <\"t\"> tls",
            ),
            (
                "action a relay auth <t> host smtp+tls://me@h tls no-verify",
                "action \"a\" relay host \"smtp+tls://me@h:25\" auth <\"t\"> tls no-verify",
            ),
            ("action a relay host { a, b }", "action \"a\" relay host { \"smtp://a:25\", \"smtp://b:25\" }"),
            ("action a relay domain { \"example.org\" = \"smtp://h\" }", "action \"a\" relay domain { \"example.org\" = \"smtp://h\" }"),
            (
                "action a relay src 192.0.2.1 helo a.b helo-src { 192.0.2.1 = c.d } mail-from a@b.c",
                "action \"a\" relay helo \"a.b\" helo-src { \"192.0.2.1\" = \"c.d\" } src \"192.0.2.1\" mail-from \"a@b.c\"",
            ),
            (
                "action a relay pki mx.example.org ciphers HIGH protocols \"tlsv1.3,tlsv1.2\"",
                "action \"a\" relay pki \"mx.example.org\" ciphers \"HIGH\" protocols \"tlsv1.2,tlsv1.3\"",
            ),
        ]
        .iter()
        // `t` is no table of relay credentials; the others are told apart below.
        .filter(|(t, _)| !t.contains("auth <t>"))
        .copied()
        .collect::<Vec<_>>(),
        &[
            ("action a relay host h domain { a = b }", "exclude each other"),
            ("action a relay backup host h", "exclude each other"),
            ("action a relay auth <t>", "auth needs host"),
            ("action a relay host smtps://me@h", "label needs auth"),
            ("action a relay host h auth <t>", "auth needs a label"),
            ("action a relay host smtps://me@h auth <t>", "not user:password"),
            ("action a relay host smtp+notls://h tls", "never encrypted"),
            ("action a relay host ftp://h", "the schemes are"),
            ("action a relay host { a = b }", "write domain"),
            ("action a relay domain <l>", "each entry needs a value"),
            ("action a relay src h", "local addresses"),
            ("action a relay mail-from joe", "not an address"),
            ("action a relay pki no", "no pki \"no\""),
            ("action a relay ca no", "no ca \"no\""),
            ("action a relay srs", "srs: not supported yet"),
            ("action a relay filter f", "filter: not supported yet"),
            ("action a relay tls tls", "given twice"),
            ("action a relay speed", "the options of relay"),
        ],
    );
    let relay = "table s { me = \"u:p\" }\naction a relay host smtps://me@h auth <s> tls no-verify";
    assert!(canonical(relay).ends_with("host \"smtps://me@h:465\" auth <\"s\"> tls no-verify"));
}

#[test]
fn rules() {
    check(
        &[
            ("match action x", "match from local for local action \"x\""),
            ("match reject", "match from local for local reject"),
            ("match for any from any action x", "match from any for any action \"x\""),
            ("match from socket action x", "match from socket for local action \"x\""),
            (
                "match from src { 192.0.2.0/24, \"[fe80::]/10\" } action x",
                "match from src { \"192.0.2.0/24\", \"[fe80::]/10\" } for local action \"x\"",
            ),
            ("match ! from src 192.0.2.1 action x", "match !from src \"192.0.2.1\" for local action \"x\""),
            ("match from rdns action x", "match from rdns for local action \"x\""),
            ("match from rdns regex \"^a\" action x", "match from rdns regex \"^a\" for local action \"x\""),
            ("match from auth for any action x", "match from auth for any action \"x\""),
            ("match from auth <l> for any action x", "match from auth <\"l\"> for any action \"x\""),
            ("match from mail-from \"@a.b\" for any action x", "match from mail-from \"@a.b\" for any action \"x\""),
            ("match from any for domain { \"*.a.b\", a.b } action x", "match from any for domain { \"*.a.b\", \"a.b\" } action \"x\""),
            ("match from any for !domain a.b action x", ""),
            ("match from any ! for rcpt-to <l> action x", "match from any !for rcpt-to <\"l\"> action \"x\""),
            ("match auth from any for any action x", "match from any for any auth action \"x\""),
            ("match !auth regex \"x$\" action x", "match from local for local !auth regex \"x$\" action \"x\""),
            (
                "match tls ! tag <l> helo a.b mail-from <t> rcpt-to regex \"(?i)^a\" reject",
                "match from local for local helo \"a.b\" mail-from <\"t\"> rcpt-to regex \"(?i)^a\" !tag <\"l\"> tls reject",
            ),
            ("match !tls action x", "match from local for local !tls action \"x\""),
        ]
        .iter()
        .filter(|(_, form)| !form.is_empty())
        .copied()
        .collect::<Vec<_>>(),
        &[
            ("match", "the line ends too early"),
            ("match from any", "a rule ends with action NAME or reject"),
            ("match from any for !domain a.b action x", "for has any"),
            ("match action no", "no action \"no\""),
            ("match from any from any action x", "from is given twice"),
            ("match from auth auth action x", "auth is given twice"),
            ("match from mail-from a mail-from b action x", "mail-from is given twice"),
            ("match for rcpt-to a rcpt-to b action x", "rcpt-to is given twice"),
            ("match from nowhere action x", "from has any"),
            ("match for nobody action x", "for has any"),
            ("match from src 192.0.2 action x", "not an address or network"),
            ("match from src <t> action x", "entries have no values here"),
            ("match from rdns regex \"(\" action x", "not a regular expression"),
            ("match for domain action x", "action is a keyword"),
            ("match tag no action x", "no listener has the tag \"no\""),
            ("match from any action x junk", "the statement should end here"),
            ("match action <x>", "the name of an action"),
        ],
    );
}

#[test]
fn own_statements() {
    check(
        &[
            (
                "mailbox Junk special-use junk auto subscribe",
                "mailbox \"Junk\" special-use junk auto subscribe",
            ),
            ("mailbox \"A.B\" auto create", "mailbox \"A.B\" auto create"),
            ("mailbox \"root\" auto create", "mailbox \"root\" auto create"),
            ("mailbox root \"/m/%{user.username}\"", "mailbox root \"/m/%{user.username}\""),
            ("resolver 127.0.0.1", "resolver \"127.0.0.1\""),
            (
                "resolver 127.0.0.1:5353\nresolver \"::1\"",
                "resolver \"127.0.0.1:5353\"\nresolver \"::1\"",
            ),
            ("resolver \"[::1]:53\"", "resolver \"::1\""),
        ],
        &[
            ("mailbox INBOX auto create", "always there"),
            ("mailbox \"a/b\" auto create", "divided by dots"),
            ("mailbox \"a..b\" auto create", "a dot divides"),
            ("mailbox Junk", "mailbox has"),
            ("mailbox Junk auto no", "says nothing"),
            ("mailbox Junk special-use spam", "special-use has"),
            ("mailbox Junk auto always", "auto has"),
            ("mailbox root \"m\"", "begin with /"),
            ("mailbox root \"/m/%{sender}\"", "no message at login"),
            ("resolver localhost", "address:port"),
            ("resolver 127.0.0.1:0", "address:port"),
            ("limit no-such 3", "no limit \"no-such\""),
            ("limit 3", "limit NAME VALUE"),
            ("limit smtp-local-part 3", "cannot be changed"),
            ("listening on all", "no statement begins with"),
            ("port 25", "no statement begins so"),
            ("\"listen\" on all", "a statement begins with a word"),
            ("{", "a statement begins with a word"),
        ],
    );
    let said = mistakes("mailbox A special-use junk\nmailbox B special-use junk");
    assert!(said.starts_with("t:8: mailbox \"A\" has this special use"), "{said}");
}

#[test]
fn refused_statements() {
    check(
        &[],
        &[
            ("filter f proc-exec \"/x\"", "filter: not supported yet"),
            ("filter f chain { a,\n b }", "filter: not supported yet"),
            ("proc p \"/x\"", "proc: not supported yet"),
            ("srs key x", "srs: not supported yet"),
        ],
    );
}

#[test]
fn all_mistakes_of_a_run_are_told_in_order() {
    let text = "listen on lo0 speed\nqueue ttl 4\n$no\naction a mbox user b\nmatch action nono\n";
    let lines: Vec<u32> = read(text).unwrap_err().iter().map(|e| e.at.line).collect();
    assert_eq!(lines, [1, 2, 3, 4, 5]);
}

#[test]
fn a_missing_quote_is_told_with_the_line_where_it_begins() {
    let said = errors(&read("action \"x mbox\nmatch action \"x\"\n").unwrap_err());
    assert!(said.contains("begins on line 1 goes over several lines"), "{said}");
}

#[test]
fn no_rules_is_a_mistake() {
    assert_eq!(
        errors(&read("action x mbox\n").unwrap_err()),
        "t:2: no rules, nothing to do: add a line such as match from local for local action NAME"
    );
}

struct Files(&'static [(&'static str, &'static str)]);
impl Source for Files {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let found = self.0.iter().find(|(n, _)| *n == path);
        found.map(|(_, t)| t.as_bytes().to_vec()).ok_or_else(|| "No such file".to_string())
    }
}

#[test]
fn mistakes_in_included_files_have_their_names() {
    let mut files = Files(&[("/a", "queue ttl 4\ninclude \"/b\"\nqueue ttl 5\n"), ("/b", "x y")]);
    let text = b"include \"/a\"\ninclude \"/no\"\naction x mbox";
    let e = parse("t", text, &[], &mut files).unwrap_err();
    let places: Vec<String> = e.iter().map(|e| e.at.to_string()).collect();
    assert_eq!(places, ["/a:1", "/a:3", "/b:1", "t:2"]);
}

#[test]
fn a_part_has_no_secrets_of_others() {
    let text = "table c { joe = topsecret }\nqueue encryption 12345678901234567890123456789012\n\
        pki a cert \"/c\" key \"/topsecret\"\nlisten on lo0 smtps pki a auth <c>\n\
        action x maildir\naction r relay\nmatch from any for domain { d1, d2 } action x\n";
    let config = read(text).unwrap();
    for owner in [
        Owner::Keyd,
        Owner::Lookup,
        Owner::Smtp,
        Owner::Queue,
        Owner::Mta,
        Owner::Imap,
        Owner::Store,
        Owner::Control,
    ] {
        let part = config.print_for(owner);
        assert_eq!(part.contains("= \"topsecret\""), owner == Owner::Lookup, "{owner:?}: {part}");
        assert!(!part.contains("/topsecret"), "{owner:?}: {part}");
        assert_eq!(part.contains("encryption"), owner == Owner::Queue, "{owner:?}: {part}");
        assert_eq!(part.contains("d1"), owner == Owner::Lookup, "{owner:?}: {part}");
        let read = super::part(part.as_bytes()).unwrap_or_else(|e| panic!("{owner:?}: {e}"));
        assert_eq!(read.print_for(owner), part);
    }
}

#[test]
fn defaults_are_those_of_the_manual() {
    let config = read("action x mbox\nmatch action x").unwrap();
    assert_eq!(config.max_message_size(), 35 << 20);
    assert_eq!(config.queue_ttl().as_secs(), 4 * 86400);
    assert_eq!(config.warn_intervals(), [view::WARN_INTERVAL]);
    assert_eq!(config.sub_addr_delim(), '+');
    assert_eq!(config.listen_socket(), ListenSocket::default());
    assert_eq!(config.limit(&crate::proto::limits::SMTP_COMMAND_LINE), 2048);
    assert_eq!(config.socket(), "/var/run/rmaild.sock");
}

#[test]
fn debug_prints_no_secret() {
    let text = "table c { joe = topsecret }\nqueue encryption topsecret01234567890123456789012\n\
        action x mbox\nmatch action x";
    let shown = format!("{:?}", read(text).unwrap());
    assert!(!shown.contains("topsecret"), "{shown}");
}

#[test]
fn a_mistake_is_one_line_whatever_it_quotes() {
    let text = mistakes("include \"/a\r\x1b[2Jb\"");
    assert_eq!(text, "t:7: include \"/a\\r\\u{1b}[2Jb\": nothing can be included here");
}

#[test]
fn the_limits_are_those_of_the_table_and_of_statements() {
    let text = "smtp max-message-size 1M\nsmtp limit max-rcpt 5\nlimit smtp-errors 7\n\
                mda limit max-session 3\naction x mbox\nmatch action x";
    let all = read(text).unwrap().limits();
    let of = |name: &str| all.iter().find(|(n, _, _)| *n == name).map(|(_, v, d)| (*v, *d));
    assert_eq!(of("smtp max-message-size"), Some((1 << 20, 35 << 20)));
    assert_eq!(of("smtp limit max-mails"), Some((100, 100)));
    assert_eq!(of("smtp limit max-rcpt"), Some((5, 1000)));
    assert_eq!(of("smtp-errors"), Some((7, 50)));
    assert_eq!(of("mda limit max-session"), Some((3, 20)));
    assert_eq!(of("mta max-deferred"), Some((100, 100)));
}
