//! `rmailctl auth check` with a zone in a file.

use std::process::Command;

use crate::{Env, Outcome};

const ZONE: &str = "football.example.com TXT \"v=spf1 ip4:192.0.2.1 -all\"\n\
    _dmarc.football.example.com TXT \"v=DMARC1; p=reject\"\n\
    brisbane._domainkey.football.example.com TXT \"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\n";

fn run(env: &Env, name: &str, message: &[u8], extra: &[&str]) -> String {
    let (zone, file) = (env.dir.join("zone"), env.dir.join(name));
    let key = std::fs::read_to_string(env.suites("dkim").ok().unwrap_or_default().join("test.txt"));
    let zone_text = format!(
        "{ZONE}test._domainkey.football.example.com TXT \"{}\"\n",
        key.unwrap_or_default().trim()
    );
    std::fs::write(&zone, zone_text).expect("write the zone");
    std::fs::write(&file, message).expect("write the message");
    let out = Command::new(env.rmailctl())
        .args(["auth", "check", "--zone"])
        .arg(&zone)
        .args(extra)
        .arg(&file)
        .output()
        .expect("run rmailctl");
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// The message of RFC 8463 with SPF, DKIM and DMARC, in words and as JSON.
pub fn check(env: &Env) -> Outcome {
    let dir = match env.suites("dkim") {
        Ok(dir) => dir,
        Err(skipped) => return skipped,
    };
    let message = std::fs::read(dir.join("rfc6376.signed.msg")).expect("read the suite");
    let options = ["-c", "192.0.2.1", "-h", "mail.example.net", "-m", "joe@football.example.com"];
    let text = run(env, "good", &message, &options);
    for wanted in [
        "spf mail from: pass for football.example.com, by \"ip4:192.0.2.1\"",
        "dkim: pass by football.example.com, selector brisbane, ed25519-sha256, 256 bits",
        "arc: none",
        "dmarc: pass for football.example.com: football.example.com asks for reject; DKIM and SPF are aligned",
        "dmarc=pass (p=reject dis=none) header.from=football.example.com",
    ] {
        if !text.contains(wanted) {
            return Outcome::Failed(format!("no {wanted:?} in {text}"));
        }
    }
    let bad = String::from_utf8_lossy(&message).replace("hungry", "angry");
    let json = run(
        env,
        "bad",
        bad.as_bytes(),
        &["-j", "-c", "198.51.100.1", "-m", "joe@football.example.com"],
    );
    for wanted in [
        "\"result\":\"fail\",\"reason\":\"body hash did not verify\"",
        "\"disposition\":\"reject\"",
    ] {
        if !json.contains(wanted) {
            return Outcome::Failed(format!("no {wanted:?} in {json}"));
        }
    }
    let trace = [b"Return-Path: <joe@football.example.com>\r\nReceived: from mail.x (a [192.0.2.1]) by mx\r\n", message.as_slice()].concat();
    let text = run(env, "trace", &trace, &[]);
    if !text.contains("spf mail from: pass") {
        return Outcome::Failed(format!("trace fields: {text}"));
    }
    Outcome::Passed
}
