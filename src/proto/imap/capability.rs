//! The capability lists: one before login, one after it.
//!
//! A list is the same in the greeting, in the tagged OK of a login and on
//! request: clients read whichever comes first (tb-android#2431).  RFC 3501
//! 7.2.1.

/// What is announced after login.
pub const SESSION: &str = "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN UIDPLUS \
     UNSELECT MOVE ESEARCH LIST-EXTENDED LIST-STATUS SPECIAL-USE";

/// What a listener allows before login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    /// STARTTLS is possible now.
    pub starttls: bool,
    /// Passwords may be sent now.
    pub passwords: bool,
}

impl Login {
    /// The list.
    pub const fn list(self) -> &'static str {
        match (self.starttls, self.passwords) {
            (false, true) => "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE AUTH=PLAIN AUTH=LOGIN",
            (true, true) => {
                "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE STARTTLS AUTH=PLAIN AUTH=LOGIN"
            }
            (true, false) => "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE STARTTLS LOGINDISABLED",
            (false, false) => "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE LOGINDISABLED",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_the_clear_are_announced_as_disabled() {
        let list = Login { starttls: true, passwords: false }.list();
        assert!(list.contains("STARTTLS") && list.contains("LOGINDISABLED"));
        assert!(!list.contains("AUTH="));
        assert!(!SESSION.contains("STARTTLS") && !SESSION.contains("AUTH="));
        assert!(!SESSION.contains("  "));
    }
}
