//! The AUTH dialogue: PLAIN and LOGIN, with or without initial response.
//!
//! *Runs in* smtp; input is hostile.  The dialogue gives a user name and a
//! password; whether they are right is asked of lookup.  A user name with a
//! control byte never gets that far: it would end a line of a table's protocol
//! (OpenSMTPD, 2026-03).  imap and ManageSieve use the same mechanisms with
//! their own framing.
//!
//! RFC 4954 4; RFC 4616 (PLAIN); RFC 4422.  LOGIN is draft-murchison-sasl-login.

use crate::proto::limits;
use crate::proto::secret::{wipe, Secret};
use crate::proto::text::base64;

/// Who logs in and with what.
pub struct Credentials {
    /// The user name: UTF-8 without control characters, not empty.
    pub user: String,
    /// The password: not empty, no NUL.
    pub password: Secret,
}

/// Why a dialogue ended without credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslError {
    /// The client sent `*`.
    Cancelled,
    /// A response that is not base64.
    Base64,
    /// A response over the limit.
    TooLong,
    /// Decoded, but not what the mechanism takes.
    Form,
}

/// The mechanisms that we have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// The old one of Outlook.
    Login,
}

impl Mechanism {
    /// As EHLO and CAPABILITY list them.
    pub const ALL: &'static [&'static str] = &["PLAIN", "LOGIN"];

    /// Finds a mechanism by its name, in any case.
    pub fn by_name(name: &str) -> Option<Mechanism> {
        if name.eq_ignore_ascii_case("PLAIN") {
            Some(Mechanism::Plain)
        } else if name.eq_ignore_ascii_case("LOGIN") {
            Some(Mechanism::Login)
        } else {
            None
        }
    }
}

/// What comes next in a dialogue.
pub enum Step {
    /// Send this challenge, already base64, and hand in the next line.
    Challenge(&'static str),
    /// The client has said all.
    Done(Credentials),
}

/// A dialogue under way.
pub struct Dialogue {
    mechanism: Mechanism,
    user: Option<String>,
}

impl Dialogue {
    /// Begins; gives the first challenge, or the end if the initial response had all.
    ///
    /// `initial` is as in the AUTH command, `=` meaning an empty response.
    pub fn begin(
        mechanism: Mechanism,
        initial: Option<&[u8]>,
    ) -> Result<(Dialogue, Step), SaslError> {
        let mut dialogue = Dialogue { mechanism, user: None };
        let step = match (initial, mechanism) {
            (Some(b"="), _) => dialogue.decoded(Vec::new())?,
            (Some(text), _) => dialogue.response(text)?,
            (None, Mechanism::Plain) => Step::Challenge(""),
            (None, Mechanism::Login) => Step::Challenge(USERNAME),
        };
        Ok((dialogue, step))
    }

    /// Takes the client's next line, without CRLF.
    pub fn response(&mut self, line: &[u8]) -> Result<Step, SaslError> {
        if line == b"*" {
            return Err(SaslError::Cancelled);
        }
        if line.len() > limits::SASL_RESPONSE.size() {
            return Err(SaslError::TooLong);
        }
        self.decoded(base64::decode(line).ok_or(SaslError::Base64)?)
    }

    fn decoded(&mut self, mut bytes: Vec<u8>) -> Result<Step, SaslError> {
        match (self.mechanism, self.user.take()) {
            (Mechanism::Plain, _) => {
                let done = plain(&bytes);
                wipe(&mut bytes);
                done.map(Step::Done)
            }
            (Mechanism::Login, None) => {
                self.user = Some(user_name(&bytes)?);
                Ok(Step::Challenge(PASSWORD))
            }
            (Mechanism::Login, Some(user)) => {
                Ok(Step::Done(Credentials { user, password: password(bytes)? }))
            }
        }
    }
}

/// "Username:"
const USERNAME: &str = "VXNlcm5hbWU6";
/// "Password:"
const PASSWORD: &str = "UGFzc3dvcmQ6";

/// message = [authzid] UTF8NUL authcid UTF8NUL passwd.  RFC 4616 2.
///
/// Nobody acts for another here: an authorisation identity must be the user.
fn plain(message: &[u8]) -> Result<Credentials, SaslError> {
    let mut parts = message.split(|b| *b == 0);
    let (Some(authzid), Some(authcid), Some(passwd), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslError::Form);
    };
    if !authzid.is_empty() && authzid != authcid {
        return Err(SaslError::Form);
    }
    Ok(Credentials { user: user_name(authcid)?, password: password(passwd.to_vec())? })
}

/// Checks what is to be looked up in tables and written to logs.
pub fn user_name(bytes: &[u8]) -> Result<String, SaslError> {
    match std::str::from_utf8(bytes) {
        Ok(name)
            if !name.is_empty()
                && name.len() <= limits::USER_NAME.size()
                && !name.chars().any(char::is_control) =>
        {
            Ok(name.to_owned())
        }
        _ => Err(SaslError::Form),
    }
}

/// Checks what is to be compared with a hash.
pub fn password(bytes: Vec<u8>) -> Result<Secret, SaslError> {
    let secret = Secret::new(bytes);
    let bytes = secret.expose();
    if bytes.is_empty() || bytes.len() > limits::PASSWORD.size() || bytes.contains(&0) {
        return Err(SaslError::Form);
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(step: Result<Step, SaslError>) -> (String, Vec<u8>) {
        match step {
            Ok(Step::Done(c)) => (c.user, c.password.expose().to_vec()),
            Ok(Step::Challenge(c)) => panic!("challenge {c}"),
            Err(e) => panic!("{e:?}"),
        }
    }

    fn plain_of(message: &[u8]) -> Result<Step, SaslError> {
        Dialogue::begin(Mechanism::Plain, Some(&base64::encode(message))).map(|(_, s)| s)
    }

    #[test]
    fn plain_with_and_without_initial_response() {
        assert_eq!(done(plain_of(b"\0joe\0pw")), ("joe".into(), b"pw".to_vec()));
        assert_eq!(done(plain_of(b"joe\0joe\0pw")), ("joe".into(), b"pw".to_vec()));
        let (mut d, step) = Dialogue::begin(Mechanism::Plain, None).unwrap();
        assert!(matches!(step, Step::Challenge("")));
        assert_eq!(done(d.response(b"AGpvZQBwdw==")).0, "joe");
    }

    #[test]
    fn login() {
        let (mut d, step) = Dialogue::begin(Mechanism::Login, None).unwrap();
        assert!(matches!(step, Step::Challenge("VXNlcm5hbWU6")));
        assert!(matches!(d.response(b"am9l"), Ok(Step::Challenge("UGFzc3dvcmQ6"))));
        assert_eq!(done(d.response(b"cHc=")), ("joe".into(), b"pw".to_vec()));
        let (mut d, step) = Dialogue::begin(Mechanism::Login, Some(b"am9l")).unwrap();
        assert!(matches!(step, Step::Challenge("UGFzc3dvcmQ6")));
        assert_eq!(done(d.response(b"cHc=")).1, b"pw");
    }

    #[test]
    fn a_star_cancels_at_every_place() {
        let (mut d, _) = Dialogue::begin(Mechanism::Plain, None).unwrap();
        assert_eq!(d.response(b"*").err(), Some(SaslError::Cancelled));
        let (mut d, _) = Dialogue::begin(Mechanism::Login, Some(b"am9l")).unwrap();
        assert_eq!(d.response(b"*").err(), Some(SaslError::Cancelled));
        assert_eq!(Dialogue::begin(Mechanism::Plain, Some(b"*")).err(), Some(SaslError::Cancelled));
    }

    #[test]
    fn garbage_is_not_base64() {
        for text in [&b"A"[..], b"AA=", b"A===", b"AG pv", b"AGpvZQBwdw=", b"\xff\xff\xff\xff"] {
            assert_eq!(
                Dialogue::begin(Mechanism::Plain, Some(text)).err(),
                Some(SaslError::Base64),
                "{text:?}"
            );
        }
        let long = vec![b'A'; limits::SASL_RESPONSE.size() + 4];
        assert_eq!(Dialogue::begin(Mechanism::Plain, Some(&long)).err(), Some(SaslError::TooLong));
    }

    #[test]
    fn line_ends_in_names_and_nul_in_passwords_are_refused() {
        for message in [
            &b"\0joe\nlookup\0pw"[..],
            b"\0joe\r\0pw",
            b"\0jo\x7fe\0pw",
            b"\0joe\0p\0w",
            b"\0\0pw",
            b"\0joe\0",
            b"joe\0pw",
            b"ann\0joe\0pw",
            b"\0\xff\0pw",
            b"",
        ] {
            assert_eq!(plain_of(message).err(), Some(SaslError::Form), "{message:?}");
        }
        assert_eq!(Dialogue::begin(Mechanism::Plain, Some(b"=")).err(), Some(SaslError::Form));
    }
}
