//! How a value becomes the bytes of a message, and back.
//!
//! Runs in every process.  The reader trusts nothing: a length is checked
//! against what is there before anything is allocated, and what is left over
//! after a message is an error.  Numbers are big-endian; a build talks only to
//! itself (the `Hello` of a channel carries the build id), so there are no
//! versions and no optional fields.
//!
//! [`wire!`] declares a struct or enum together with both directions, so that
//! they cannot drift apart.

use crate::proto::cursor::Cursor;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// A message that is not what its edge allows: the peer is broken or hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("malformed message")
    }
}

impl std::error::Error for Malformed {}

/// Where a message is written.
#[derive(Default)]
pub struct Enc(Vec<u8>);

impl Enc {
    /// An empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The finished message.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Where a message is read.
pub struct Dec<'a>(Cursor<'a>);

impl<'a> Dec<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Dec(Cursor::new(bytes))
    }

    /// The next `n` bytes.
    pub fn raw(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        self.0.take(n).ok_or(Malformed)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.raw(N)?.try_into().map_err(|_| Malformed)
    }

    /// How many bytes are left: the bound of every allocation.
    pub fn left(&self) -> usize {
        self.0.left()
    }
}

/// A value that can be sent.
pub trait Wire: Sized {
    /// Writes it.
    fn put(&self, to: &mut Enc);
    /// Reads it; [`Malformed`] if the bytes are not one.
    fn get(from: &mut Dec<'_>) -> Result<Self, Malformed>;

    /// The whole message.
    fn to_bytes(&self) -> Vec<u8> {
        let mut e = Enc::new();
        self.put(&mut e);
        e.finish()
    }

    /// A whole message: bytes left over make it malformed.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut d = Dec::new(bytes);
        let v = Self::get(&mut d)?;
        if d.left() == 0 {
            Ok(v)
        } else {
            Err(Malformed)
        }
    }
}

macro_rules! numbers {
    ($($t:ty),*) => {$(
        impl Wire for $t {
            fn put(&self, to: &mut Enc) {
                to.raw(&self.to_be_bytes());
            }
            fn get(from: &mut Dec<'_>) -> Result<Self, Malformed> {
                Ok(Self::from_be_bytes(from.array()?))
            }
        }
    )*};
}
numbers!(u8, u16, u32, u64, u128, i32, i64);

impl Wire for () {
    fn put(&self, _: &mut Enc) {}
    fn get(_: &mut Dec<'_>) -> Result<Self, Malformed> {
        Ok(())
    }
}

impl Wire for bool {
    fn put(&self, to: &mut Enc) {
        u8::from(*self).put(to);
    }
    fn get(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        match u8::get(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
}

/// A length, as 32 bits; nothing longer than a frame is ever sent.
fn put_len(n: usize, to: &mut Enc) {
    u32::try_from(n).unwrap_or(u32::MAX).put(to);
}

fn get_len(from: &mut Dec<'_>) -> Result<usize, Malformed> {
    usize::try_from(u32::get(from)?).map_err(|_| Malformed)
}

/// Elements, with a length before them.  `Vec<u8>` is the common case: a
/// byte costs a byte.
impl<T: Wire> Wire for Vec<T> {
    fn put(&self, to: &mut Enc) {
        put_len(self.len(), to);
        for v in self {
            v.put(to);
        }
    }
    fn get(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        let n = get_len(from)?;
        // Every element takes a byte at least.  In memory it takes more, so a
        // lie about the length may ask for no more room than the message has.
        if n > from.left() {
            return Err(Malformed);
        }
        let room = from.left().checked_div(size_of::<T>()).unwrap_or(0);
        let mut all = Vec::with_capacity(n.min(room));
        for _ in 0..n {
            all.push(T::get(from)?);
        }
        Ok(all)
    }
}

impl Wire for String {
    fn put(&self, to: &mut Enc) {
        put_len(self.len(), to);
        to.raw(self.as_bytes());
    }
    fn get(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        let n = get_len(from)?;
        String::from_utf8(from.raw(n)?.to_vec()).map_err(|_| Malformed)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, to: &mut Enc) {
        self.is_some().put(to);
        if let Some(v) = self {
            v.put(to);
        }
    }
    fn get(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        Ok(if bool::get(from)? { Some(T::get(from)?) } else { None })
    }
}

impl<T: Wire> Wire for Box<T> {
    fn put(&self, to: &mut Enc) {
        (**self).put(to);
    }
    fn get(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        Ok(Box::new(T::get(from)?))
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, to: &mut Enc) {
        self.0.put(to);
        self.1.put(to);
    }
    fn get(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        Ok((A::get(from)?, B::get(from)?))
    }
}

impl<T: Wire, E: Wire> Wire for Result<T, E> {
    fn put(&self, to: &mut Enc) {
        self.is_ok().put(to);
        match self {
            Ok(v) => v.put(to),
            Err(e) => e.put(to),
        }
    }
    fn get(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        Ok(if bool::get(from)? { Ok(T::get(from)?) } else { Err(E::get(from)?) })
    }
}

impl<const N: usize> Wire for [u8; N] {
    fn put(&self, to: &mut Enc) {
        to.raw(self);
    }
    fn get(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        from.array()
    }
}

impl Wire for IpAddr {
    fn put(&self, to: &mut Enc) {
        match self {
            IpAddr::V4(a) => {
                4u8.put(to);
                to.raw(&a.octets());
            }
            IpAddr::V6(a) => {
                6u8.put(to);
                to.raw(&a.octets());
            }
        }
    }
    fn get(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        match u8::get(from)? {
            4 => Ok(IpAddr::V4(Ipv4Addr::from(from.array::<4>()?))),
            6 => Ok(IpAddr::V6(Ipv6Addr::from(from.array::<16>()?))),
            _ => Err(Malformed),
        }
    }
}

impl Wire for SocketAddr {
    fn put(&self, to: &mut Enc) {
        self.ip().put(to);
        self.port().put(to);
    }
    fn get(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        Ok(SocketAddr::new(IpAddr::get(from)?, u16::get(from)?))
    }
}

/// Milliseconds; longer than u64 milliseconds is never meant.
impl Wire for Duration {
    fn put(&self, to: &mut Enc) {
        u64::try_from(self.as_millis()).unwrap_or(u64::MAX).put(to);
    }
    fn get(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        Ok(Duration::from_millis(u64::get(from)?))
    }
}

/// Paths are bytes.
impl Wire for std::path::PathBuf {
    fn put(&self, to: &mut Enc) {
        use std::os::unix::ffi::OsStrExt;
        self.as_os_str().as_bytes().to_vec().put(to);
    }
    fn get(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        use std::os::unix::ffi::OsStringExt;
        Ok(std::ffi::OsString::from_vec(Vec::get(from)?).into())
    }
}

/// Declares structs and enums of messages with both directions of [`Wire`].
///
/// A variant's tag is its place, so a variant is added anywhere: both ends are
/// the same build.
#[macro_export]
macro_rules! wire {
    () => {};
    ($(#[$m:meta])* $v:vis struct $name:ident { $($(#[$fm:meta])* $fv:vis $f:ident : $t:ty),* $(,)? } $($rest:tt)*) => {
        $(#[$m])* $v struct $name { $($(#[$fm])* $fv $f: $t),* }
        impl $crate::ipc::wire::Wire for $name {
            fn put(&self, to: &mut $crate::ipc::wire::Enc) {
                $( $crate::ipc::wire::Wire::put(&self.$f, to); )*
                let _ = to; // an empty struct writes nothing
            }
            fn get(from: &mut $crate::ipc::wire::Dec<'_>) -> Result<Self, $crate::ipc::wire::Malformed> {
                let _ = &from; // an empty struct reads nothing
                Ok($name { $($f: $crate::ipc::wire::Wire::get(from)?),* })
            }
        }
        $crate::wire! { $($rest)* }
    };
    ($(#[$m:meta])* $v:vis enum $name:ident { $($(#[$vm:meta])* $var:ident $({ $($(#[$fm:meta])* $f:ident : $t:ty),* $(,)? })? ),* $(,)? } $($rest:tt)*) => {
        $(#[$m])*
        #[allow(missing_docs, reason = "a variant's doc speaks for its fields")]
        $v enum $name { $($(#[$vm])* $var $({ $($(#[$fm])* $f: $t),* })? ),* }
        impl $crate::ipc::wire::Wire for $name {
            fn put(&self, to: &mut $crate::ipc::wire::Enc) {
                /// The variants' places.
                #[allow(clippy::enum_variant_names, reason = "the variants' own names")]
                enum Tag { $($var),* }
                match self {
                    $( Self::$var $({ $($f),* })? => {
                        #[expect(clippy::as_conversions, reason = "an enum of fewer than 256 variants")]
                        { $crate::ipc::wire::Wire::put(&(Tag::$var as u8), to); }
                        $( $( $crate::ipc::wire::Wire::put($f, to); )* )?
                    } )*
                }
            }
            fn get(from: &mut $crate::ipc::wire::Dec<'_>) -> Result<Self, $crate::ipc::wire::Malformed> {
                #[allow(clippy::enum_variant_names, reason = "the variants' own names")]
                enum Tag { $($var),* }
                let tag = <u8 as $crate::ipc::wire::Wire>::get(from)?;
                $(
                    if tag == Tag::$var as u8 {
                        return Ok(Self::$var $({ $($f: $crate::ipc::wire::Wire::get(from)?),* })?);
                    }
                )*
                Err($crate::ipc::wire::Malformed)
            }
        }
        $crate::wire! { $($rest)* }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::wire! {
        /// A struct.
        #[derive(Debug, PartialEq)]
        struct Point {
            /// One.
            x: u32,
            y: Option<Vec<u8>>,
        }
        /// An enum.
        #[derive(Debug, PartialEq)]
        enum Shape {
            Nothing,
            At { point: Point, names: Vec<String> },
            Since { when: Duration },
        }
    }

    #[test]
    fn messages_come_back_as_they_were() {
        for shape in [
            Shape::Nothing,
            Shape::At { point: Point { x: 7, y: Some(b"abc".to_vec()) }, names: vec!["é".into()] },
            Shape::Since { when: Duration::from_millis(1500) },
        ] {
            assert_eq!(Shape::from_bytes(&shape.to_bytes()), Ok(shape));
        }
    }

    #[test]
    fn every_truncation_and_every_tail_is_malformed() {
        let whole =
            Shape::At { point: Point { x: 1, y: None }, names: vec!["a".into()] }.to_bytes();
        for n in 0..whole.len() {
            assert_eq!(Shape::from_bytes(&whole[..n]), Err(Malformed), "{n}");
        }
        let mut long = whole;
        long.push(0);
        assert_eq!(Shape::from_bytes(&long), Err(Malformed));
        assert_eq!(Shape::from_bytes(&[3]), Err(Malformed));
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        assert_eq!(Vec::<u64>::from_bytes(&[0xff, 0xff, 0xff, 0xff, 1]), Err(Malformed));
        assert_eq!(String::from_bytes(&[0xff, 0xff, 0xff, 0xff, 1]), Err(Malformed));
    }
}
