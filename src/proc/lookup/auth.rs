//! Passwords: is this the one that the table's hash was made of?
//!
//! A hash takes a third of a second by design, so checks have a pool of their
//! own, and a full pool says "busy", never "wrong".  A name that does not exist
//! takes as long as one that does: it is checked against somebody else's hash.

use super::tables::Tables;
use crate::base::clock::Deadline;
use crate::disk::table::{Service, Table, Unavailable, Value};
use crate::proto::secret::Secret;
use crate::sys::crypt;

/// The user's name as the table has it; `None`: wrong name or password.
/// Blocks for the cost of the hash.
pub fn check(
    tables: &Tables,
    table: &str,
    user: &str,
    password: &Secret,
    deadline: Deadline,
) -> Result<Option<String>, Unavailable> {
    let table = tables.named(table)?;
    let found = table.lookup(Service::Credentials, user, deadline)?;
    let Some(Value::Hash(name, hash)) = found else {
        if let Some(hash) = any_hash(table, deadline)? {
            // Only its time is wanted: the answer is no.
            let _ = crypt::check(password.expose(), &hash);
        }
        return Ok(None);
    };
    match crypt::check(password.expose(), &hash) {
        Ok(true) => Ok(Some(name)),
        Ok(false) => Ok(None),
        Err(e) => Err(Unavailable(format!("password of {name}: {e}"))),
    }
}

/// The hash of whoever comes first.
fn any_hash(table: &dyn Table, deadline: Deadline) -> Result<Option<String>, Unavailable> {
    let Some(first) = table.first(deadline)? else { return Ok(None) };
    Ok(match table.lookup(Service::Credentials, &first, deadline)? {
        Some(Value::Hash(_, hash)) => Some(hash),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf;

    #[test]
    fn right_wrong_and_unknown() {
        let hash = crypt::new_hash(b"secret", 4).unwrap();
        let text = format!("table c {{ Joe = \"{hash}\", ann = \"ann@a.b:{hash}\", off = \"*\" }}\naction x mbox\nmatch action x");
        let config = conf::parse("t", text.as_bytes(), &[], &mut conf::NoFiles).unwrap();
        let tables = Tables::build(&config, &[]).unwrap();
        let check = |user: &str, password: &str| {
            let password = Secret::new(password.as_bytes().to_vec());
            check(&tables, "c", user, &password, Deadline::NEVER).unwrap()
        };
        assert_eq!(check("joe", "secret").as_deref(), Some("joe"));
        assert_eq!(check("JOE", "secret").as_deref(), Some("joe"));
        assert_eq!(check("ann", "secret").as_deref(), Some("ann@a.b"));
        assert_eq!(check("joe", "Secret"), None);
        assert_eq!(check("zoe", "secret"), None);
        assert_eq!(check("off", ""), None);
        let password = Secret::new(b"secret".to_vec());
        assert!(super::check(&tables, "no", "joe", &password, Deadline::NEVER).is_err());
    }
}
