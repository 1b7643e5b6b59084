//! Certificates whose time is over, has not come, or is nearly over.

use crate::daemon::{write, Daemon};
use crate::{Env, Outcome};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::{X509Builder, X509NameBuilder};
use rmail::base::clock::now;
use std::path::Path;
use std::process::Command;

const DAY: i64 = 24 * 60 * 60;

/// Writes `NAME.pem` and `NAME.key`: a certificate for these days from now.
fn certificate(dir: &Path, name: &str, from: i64, to: i64) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("curve");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("key")).expect("key");
    let day = |n: i64| Asn1Time::from_unix(now().secs + n * DAY).expect("time");
    let mut subject = X509NameBuilder::new().expect("name");
    subject.append_entry_by_nid(Nid::COMMONNAME, name).expect("name");
    let subject = subject.build();
    let mut b = X509Builder::new().expect("certificate");
    b.set_version(2).expect("version");
    b.set_subject_name(&subject).expect("name");
    b.set_issuer_name(&subject).expect("name");
    b.set_pubkey(&key).expect("key");
    b.set_not_before(&day(from)).expect("time");
    b.set_not_after(&day(to)).expect("time");
    let serial = BigNum::from_u32(1).expect("number").to_asn1_integer().expect("number");
    b.set_serial_number(&serial).expect("number");
    b.sign(&key, MessageDigest::sha256()).expect("signature");
    write(&dir.join(format!("{name}.pem")), b.build().to_pem().expect("PEM"));
    write(&dir.join(format!("{name}.key")), key.private_key_to_pem_pkcs8().expect("PEM"));
}

pub fn out_of_time(env: &Env) -> Outcome {
    let all = [
        ("old.example", -20, -1, Some("certificate expired on ")),
        ("young.example", 1, 90, Some("certificate is not valid before ")),
        ("soon.example", -60, 13, Some("certificate expires on ")),
        ("good.example", -60, 15, None),
    ];
    let mut conf = String::new();
    for (name, from, to, _) in all {
        certificate(&env.dir, name, from, to);
        conf += &format!("pki {name} cert \"@DIR@/{name}.pem\" key \"@DIR@/{name}.key\"\n");
    }
    // Clients' authorities are others' affair.
    conf += "ca \"theirs\" cert \"@DIR@/old.example.pem\"\n\
             listen on socket\naction \"in\" maildir\nmatch action \"in\"\n";
    let told = |said: &str, times: usize| {
        let dir = env.dir.display();
        for (name, _, _, words) in all {
            let begin = format!(": pki {name}: {dir}/{name}.pem: {}", words.unwrap_or_default());
            let lines: Vec<&str> = said.lines().filter(|l| l.contains(&begin)).collect();
            assert_eq!(lines.len(), words.map_or(0, |_| times), "{name}: {said}");
            // A date: the year is in it.
            assert!(lines.iter().all(|l| l.contains(" 20") && l.contains("GMT")), "{said}");
        }
        assert_eq!(said.matches("/old.example.pem: ").count(), times, "{said}");
    };
    Daemon::configure(&env.dir, &conf);
    let check = Command::new(env.rmaild())
        .arg("-n")
        .arg("-f")
        .arg(env.dir.join("rmail.conf"))
        .output()
        .expect("rmaild");
    assert!(check.status.success());
    told(&String::from_utf8_lossy(&check.stderr), 1);
    let daemon = Daemon::launch(env, &env.dir);
    told(&daemon.log(), 1);
    daemon.ctl_ok(&["reload"]);
    told(&daemon.log(), 2);
    Outcome::Passed
}
