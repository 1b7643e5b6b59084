//! The Author Domain: that of the addresses in From.  RFC 9989 3.2.2, 5.3.1.
//!
//! The places where this is broken on purpose: several From fields, several
//! addresses, groups, routes, an address within the display name, comments
//! around the dots (CVE-2019-16378, CVE-2021-34555).  What leaves a doubt about
//! the domain that a reader shows is a fault, and a fault is no DMARC pass.

use crate::proto::dns::Name;
use crate::proto::mime::Field;
use crate::proto::text::idna;

/// Why there is no Author Domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorFault {
    /// There is no From field.
    NoField,
    /// There are several.
    ManyFields,
    /// There is no address in it.
    NoAddress,
    /// It is a group.  RFC 6854.
    Group,
    /// The addresses have different domains.
    ManyDomains,
    /// It cannot be read without doubt.
    Syntax,
    /// The domain is an address literal or no name of the DNS.
    NoName,
}

impl std::fmt::Display for AuthorFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            AuthorFault::NoField => "no From field",
            AuthorFault::ManyFields => "more than one From field",
            AuthorFault::NoAddress => "no address in From",
            AuthorFault::Group => "From is a group",
            AuthorFault::ManyDomains => "From has addresses of different domains",
            AuthorFault::Syntax => "From cannot be read",
            AuthorFault::NoName => "the domain of From is no domain name",
        })
    }
}

impl AuthorFault {
    /// The reply to a sender who is turned away for it: with no one domain that
    /// a reader shows, there is none that could vouch.  RFC 9989 5.3.1, 11.5.
    pub const fn reply(self) -> (u16, &'static str) {
        (550, "5.7.1")
    }
}

/// The Author Domain of a header, in A-labels.
pub fn author_domain(fields: &[Field<'_>]) -> Result<Name, AuthorFault> {
    let mut from = fields.iter().filter(|f| f.is(b"from"));
    let field = from.next().ok_or(AuthorFault::NoField)?;
    if from.next().is_some() {
        return Err(AuthorFault::ManyFields);
    }
    domain_of(field.value)
}

/// The domain of a From field's value.
pub fn domain_of(value: &[u8]) -> Result<Name, AuthorFault> {
    let mut found: Option<Name> = None;
    for address in addresses(value)? {
        let domain = name_of(domain_part(&address)?)?;
        match &found {
            Some(first) if *first != domain => return Err(AuthorFault::ManyDomains),
            _ => found = Some(domain),
        }
    }
    found.ok_or(AuthorFault::NoAddress)
}

/// What follows the one `@` of an addr-spec.  RFC 5322 3.4.1.
///
/// A second `@`, or a special that nothing quotes, is where readers part: one
/// shows the address before it, another that after it.
fn domain_part(address: &[u8]) -> Result<&[u8], AuthorFault> {
    let at = memchr::memchr(b'@', address).ok_or(AuthorFault::Syntax)?;
    let (local, domain) = address.split_at_checked(at).ok_or(AuthorFault::Syntax)?;
    let domain = domain.get(1..).unwrap_or_default();
    let special = |b: &u8| matches!(b, b'@' | b',' | b';' | b'\\');
    let literal = |b: &u8| matches!(b, b'[' | b']');
    // A quotation mark is what was quoted (see `addresses`): no domain has it.
    let broken = local.is_empty()
        || local.iter().any(|b| special(b) || literal(b))
        || domain.iter().any(|b| special(b) || *b == b'"');
    if broken {
        Err(AuthorFault::Syntax)
    } else {
        Ok(domain)
    }
}

fn name_of(domain: &[u8]) -> Result<Name, AuthorFault> {
    let ascii = idna::to_ascii(domain).ok_or(AuthorFault::NoName)?;
    let sound = ascii.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let name = Name::from_dotted(&ascii).map_err(|_| AuthorFault::NoName)?;
    if sound && !name.is_root() {
        Ok(name.to_lower())
    } else {
        Err(AuthorFault::NoName)
    }
}

/// What is being gathered of one mailbox.
#[derive(Default)]
struct Mailbox {
    /// What stands outside of angle brackets, without comments and white space.
    bare: Vec<u8>,
    /// What stands in them.
    angle: Option<Vec<u8>>,
    /// Words stood side by side outside of them: no addr-spec.
    phrase: bool,
    /// Words stood side by side in them.
    spaced: bool,
    /// A source route was dropped.
    routed: bool,
}

/// The addr-specs of a mailbox-list, without comments and folding.  One pass.
///
/// For each quoted byte a quotation mark is left, which nothing else leaves.
fn addresses(value: &[u8]) -> Result<Vec<Vec<u8>>, AuthorFault> {
    let mut found = Vec::new();
    let mut mailbox = Mailbox::default();
    let mut in_angle = false;
    let mut depth = 0_usize;
    let mut in_quotes = false;
    let mut space = false;
    let mut bytes = value.iter().copied();
    while let Some(b) = bytes.next() {
        // Quoted pairs stand for a byte wherever they are allowed.
        if b == b'\\' && (in_quotes || depth > 0) {
            bytes.next();
            if in_quotes {
                push(&mut mailbox, in_angle, b'"', &mut space);
            }
            continue;
        }
        if depth > 0 {
            match b {
                b'(' => depth = depth.saturating_add(1),
                b')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            continue;
        }
        if in_quotes {
            if b == b'"' {
                in_quotes = false;
            } else {
                push(&mut mailbox, in_angle, b'"', &mut space);
            }
            continue;
        }
        match b {
            b'"' => {
                in_quotes = true;
                push(&mut mailbox, in_angle, b'"', &mut space);
            }
            // A comment parts words as white space does.
            b'(' => {
                depth = 1;
                space = true;
            }
            b' ' | b'\t' | b'\r' | b'\n' => space = true,
            b'<' if in_angle || mailbox.angle.is_some() => return Err(AuthorFault::Syntax),
            b'<' => {
                in_angle = true;
                space = false;
                mailbox.angle = Some(Vec::new());
            }
            b'>' if !in_angle => return Err(AuthorFault::Syntax),
            b'>' => {
                in_angle = false;
                space = false;
            }
            // A source route is dropped: <@a,@b:c@d>.  RFC 5322 4.4.
            b':' if in_angle => {
                if let Some(angle) = &mut mailbox.angle {
                    if mailbox.routed || angle.first() != Some(&b'@') {
                        return Err(AuthorFault::Syntax);
                    }
                    angle.clear();
                    mailbox.routed = true;
                    mailbox.spaced = false;
                }
            }
            b',' if in_angle
                && mailbox.angle.as_ref().is_some_and(|a| a.first() == Some(&b'@')) => {}
            b':' | b';' if !in_angle => return Err(AuthorFault::Group),
            b',' if !in_angle => {
                finish(std::mem::take(&mut mailbox), &mut found)?;
                space = false;
            }
            0..=0x1f | 0x7f => return Err(AuthorFault::Syntax),
            b => push(&mut mailbox, in_angle, b, &mut space),
        }
    }
    if in_angle || in_quotes || depth > 0 {
        return Err(AuthorFault::Syntax);
    }
    finish(mailbox, &mut found)?;
    Ok(found)
}

fn push(mailbox: &mut Mailbox, in_angle: bool, b: u8, space: &mut bool) {
    let space = std::mem::take(space);
    let (text, apart) = match &mut mailbox.angle {
        Some(angle) if in_angle => (angle, &mut mailbox.spaced),
        Some(_) => return,
        None => (&mut mailbox.bare, &mut mailbox.phrase),
    };
    // Words side by side are a phrase; only dots and @ may be spaced.
    let joins = matches!(b, b'.' | b'@') || matches!(text.last(), None | Some(b'.' | b'@'));
    *apart |= space && !joins;
    text.push(b);
}

fn finish(mailbox: Mailbox, found: &mut Vec<Vec<u8>>) -> Result<(), AuthorFault> {
    match mailbox {
        // Text before and after the brackets is a name, whatever it looks like.
        Mailbox { angle: Some(angle), .. } if angle.is_empty() => {
            return Err(AuthorFault::NoAddress);
        }
        Mailbox { angle: Some(_), spaced: true, .. } => return Err(AuthorFault::Syntax),
        Mailbox { angle: Some(angle), .. } => found.push(angle),
        Mailbox { bare, .. } if bare.is_empty() => {}
        Mailbox { phrase: true, .. } => return Err(AuthorFault::Syntax),
        Mailbox { bare, .. } => found.push(bare),
    }
    Ok(())
}
