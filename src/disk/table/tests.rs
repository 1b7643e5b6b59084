use super::*;

fn get(t: &dyn Table, s: Service, key: &str) -> Option<Value> {
    t.lookup(s, key, Deadline::NEVER).unwrap()
}
fn text(s: &str) -> Option<Value> {
    Some(Value::Text(s.into()))
}

#[test]
fn a_mapping_with_every_separator() {
    let t = Static::parse(
        b"# comment\n\n Key: v1 \nb v2\nc:v3\nd\tv4\n[::1]: v5\ne : v6\nb v7\nf: a:b c\n",
    )
    .unwrap();
    assert!(t.is_mapping());
    for (k, v) in [
        ("key", "v1"),
        ("KEY", "v1"),
        ("b", "v7"),
        ("c", "v3"),
        ("d", "v4"),
        ("[::1]", "v5"),
        ("e", "v6"),
        ("f", "a:b c"),
    ] {
        assert_eq!(get(&t, Service::Mapping, k), text(v), "{k}");
    }
    assert_eq!(get(&t, Service::Mapping, "no"), None);
}

#[test]
fn the_first_line_decides_and_a_comment_can_force_a_list() {
    let list = Static::parse(b"a\nb c\n").unwrap();
    assert!(!list.is_mapping());
    assert_eq!(get(&list, Service::Text, "b c"), Some(Value::Present));
    let forced = Static::parse(b"# @list\na b\n").unwrap();
    assert!(!forced.is_mapping());
    let late = Static::parse(b"a b\n# @list\nc d\n").unwrap();
    assert!(late.is_mapping());
    assert!(Static::parse(b"").unwrap().is_mapping());
    assert!(!Static::parse(b"[::1]\n").unwrap().is_mapping());
}

fn bad(bytes: &[u8]) -> Vec<BadLine> {
    Static::parse(bytes).err().unwrap_or_default()
}

fn check_passwd(bytes: &[u8]) -> Vec<BadLine> {
    Passwd::parse(bytes).err().unwrap_or_default()
}

#[test]
fn a_bad_line_refuses_the_file_and_is_named() {
    assert_eq!(bad(b"a: b\nc\nd:\n").iter().map(|b| b.0).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(bad(b"a: b\n\xff\n"), [(2, "not UTF-8".to_string())]);
}

#[test]
fn each_service_compares_in_its_way() {
    let t = Static::parse(b"*.example.org\n192.0.2.0/24\njoe@example.net\nlocal\n").unwrap();
    assert!(get(&t, Service::Domain, "a.Example.org").is_some());
    assert!(get(&t, Service::Domain, "example.org").is_none());
    assert!(get(&t, Service::NetAddr, "192.0.2.7").is_some());
    assert!(get(&t, Service::NetAddr, "192.0.3.7").is_none());
    assert!(get(&t, Service::NetAddr, "local").is_some());
    assert!(get(&t, Service::MailAddr('+'), "joe+x@example.net").is_some());
    let t = Static::parse(b"^a.*b$\n").unwrap().with_regexes().unwrap();
    assert!(get(&t, Service::Regex, "axxb").is_some());
    assert!(get(&t, Service::Regex, "xaxxb").is_none());
}

#[test]
fn an_at_sign_in_a_local_part_makes_no_other_address() {
    let t = Static::parse(b"boss@corp.example\n@ok.example\nann\njoe@*.example\n").unwrap();
    let is_in = |address: &str| get(&t, Service::MailAddr('+'), address).is_some();
    for address in [
        "@ok.example@victim.org",
        "boss@corp.example@victim.org",
        "boss@corp.example+tag@victim.org",
        "ann@ok.example@victim.org",
        "joe@a.example@victim.org",
    ] {
        assert!(!is_in(address), "{address}");
    }
    // Of its own domain every local part is one.
    for address in ["boss@corp.example", "@ok.example@ok.example", "a@b@ok.example", "ann@x.org"] {
        assert!(is_in(address), "{address}");
    }
    // The sub-address may hold one too: the name before it is what counts.
    assert!(is_in("ann+a@b@victim.org"));
}

#[test]
fn credentials_and_users_of_a_mapping() {
    let t = Static::parse(b"joe $2b$10$x\nann ann2:$2b$10$y\nu 10:20:/home/u\nbad 1:2\n").unwrap();
    let hash = |u: &str, h: &str| Some(Value::Hash(u.into(), h.into()));
    assert_eq!(get(&t, Service::Credentials, "Joe"), hash("joe", "$2b$10$x"));
    assert_eq!(get(&t, Service::Credentials, "ann"), hash("ann2", "$2b$10$y"));
    let Some(Value::User(u)) = get(&t, Service::UserInfo, "u") else { panic!() };
    assert_eq!((u.uid, u.gid, u.home.as_str()), (Id::Number(10), Id::Number(20), "/home/u"));
    assert!(t.lookup(Service::UserInfo, "bad", Deadline::NEVER).is_err());
}

const HOW_TO: &[u8] = b"example_user@example.com:$2b$10$abc:vmail:2000:2000:/var/vmail/example.com/example_user::userdb_mail=maildir:/var/vmail/example.com/example_user\n";

#[test]
fn the_how_to_line_has_both_readings() {
    let t = Passwd::parse(HOW_TO).unwrap();
    let name = "Example_User@example.com";
    assert_eq!(
        get(&t, Service::Credentials, name),
        Some(Value::Hash("example_user@example.com".into(), "$2b$10$abc".into()))
    );
    let Some(Value::User(u)) = get(&t, Service::UserInfo, name) else { panic!() };
    assert_eq!(u.uid, Id::Name("vmail".into()));
    assert_eq!(u.gid, Id::Number(2000));
    assert_eq!(u.home, "/var/vmail/example.com/example_user");
    assert_eq!(u.mail_root.as_deref(), Some("/var/vmail/example.com/example_user"));
}

#[test]
fn passwd_lines() {
    let info = |line: &str| {
        let t = Passwd::parse(line.as_bytes()).unwrap();
        match get(&t, Service::UserInfo, "u@d") {
            Some(Value::User(u)) => Some(u),
            _ => None,
        }
    };
    assert!(info("u@d:h").is_none());
    assert!(info("u@d:h:1:2::/home/u").is_some());
    let root = |l| info(l).unwrap().mail_root;
    assert_eq!(root("u@d:h:1:2::/h::userdb_mail_path=/m/%d/%n/").as_deref(), Some("/m/d/u"));
    assert_eq!(root("u@d:h:1:2::/h::userdb_mail=maildir:~/M:INDEX=/x").as_deref(), Some("/h/M"));
    assert_eq!(info("u@d:h:::::x:userdb_uid=3 userdb_gid=4 userdb_home=/q").unwrap().home, "/q");
    assert_eq!(check_passwd(b"# only a comment\n\nu:h # tail\n"), []);
}

#[test]
fn bad_passwd_lines() {
    for bad in [
        "u",
        ":h",
        "u:{SSHA}x",
        "u:h:1:2::/h::userdb_mail=mbox:/x",
        "u:h:1:2::/h::userdb_mail=maildir:/x:LAYOUT=fs",
        "u:h:1:2::/h::userdb_mail=maildir:/x:CONTROL=/y",
        "u:h:1:2::/h::userdb_mail_path=/a/../b",
        "u:h:1:2::/h::userdb_mail_path=a",
        "u:h:1:2::/h::userdb_mail_path=/%x",
    ] {
        assert_eq!(check_passwd(bad.as_bytes()).len(), 1, "{bad}");
    }
}

#[test]
fn dovecot_names_of_crypt_schemes_are_taken_off() {
    let t = Passwd::parse(b"u:{BLF-CRYPT}$2y$05$x\n").unwrap();
    assert_eq!(
        get(&t, Service::Credentials, "u"),
        Some(Value::Hash("u".into(), "$2y$05$x".into()))
    );
}
