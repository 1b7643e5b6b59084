//! Private keys that live in another process.
//!
//! A process that speaks TLS holds the public half and this module's method
//! table; when the library wants a signature the table's functions hand digest
//! or encoded block to a closure, which asks `keyd`.  The peer waits for that
//! one round trip.
//!
//! RSA comes as PKCS #1 DigestInfo (TLS 1.2) or as a whole block that the
//! library has encoded for PSS (TLS 1.2 and 1.3); ECDSA as a bare digest.
//! Decryption is never asked for: RSA key exchange is excluded by the cipher
//! list (`base::tls`), and the table has no function for it that would work.
//! Ed25519 has no such table; its certificates are refused by name.
//!
//! The library's C code calls in here: no panic may cross it, and no pointer
//! that it hands over outlives a call.  OpenSSL 3 and LibreSSL 4 have the same
//! prototypes; openssl-sys declares none of them.
#![allow(unsafe_code, reason = "method tables of the C library; see architecture, layers")]

use crate::base::crypto::{self, SHA256_LEN};
use crate::base::lock;
use crate::base::tls::TlsError;
use foreign_types::ForeignType;
use openssl::ec::EcKey;
use openssl::ecdsa::EcdsaSig;
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::rsa::Rsa;
use openssl::x509::X509Ref;
use openssl_sys as ffi;
use std::ffi::{c_char, c_int, c_uchar, c_uint, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::sync::{Arc, OnceLock, RwLock};

/// The name of a key on the way to keyd: SHA-256 of the public half as
/// SubjectPublicKeyInfo (RFC 5280 4.1.2.7).  A certificate and its key find each
/// other by it, whatever was renewed or moved in the configuration meanwhile.
pub type KeyId = [u8; SHA256_LEN];

/// What is to be done with a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// RSASSA-PKCS1-v1_5: the input is a DigestInfo (RFC 8017 9.2).
    RsaPkcs1,
    /// RSA on a block of the key's size: an EMSA-PSS encoding (RFC 8017 9.1).
    RsaBlock,
    /// ECDSA: the input is a digest, the result DER (RFC 3279 2.2.3).
    Ecdsa,
}

/// Asks keyd; None if there is no signature: refused, too late, keyd gone.
pub type Signer = dyn Fn(&KeyId, Op, &[u8]) -> Option<Vec<u8>> + Send + Sync;

static SIGNER: RwLock<Option<Arc<Signer>>> = RwLock::new(None);

/// The keys that were ever made here: what the C library is given to keep is a
/// place in this list.  It grows only with new certificates.
static KEYS: RwLock<Vec<KeyId>> = RwLock::new(Vec::new());

/// Sets how keyd is asked, for the whole process; a later call replaces it
/// (a fresh channel after keyd's restart).
pub fn install(signer: Arc<Signer>) {
    *lock::write(&SIGNER) = Some(signer);
}

/// The name of a certificate's key.
pub fn key_id(certificate: &X509Ref) -> Result<KeyId, TlsError> {
    let public = certificate.public_key().and_then(|key| key.public_key_to_der());
    public
        .map(|der| crypto::sha256(&der))
        .map_err(|_| TlsError("key of a certificate: cannot be read".to_owned()))
}

/// The key of a certificate, as something that TLS can be given: the public
/// half is the certificate's, what needs the private one is asked of keyd.
pub fn private_key(certificate: &X509Ref) -> Result<PKey<Private>, TlsError> {
    let failed = |what: &str| TlsError(format!("key of a certificate: {what}"));
    let public = certificate.public_key().map_err(|_| failed("cannot be read"))?;
    let place = place_of(key_id(certificate)?);
    match public.id() {
        Id::RSA => {
            let rsa = public.rsa().map_err(|_| failed("cannot be read"))?;
            remote_rsa(place, &rsa).ok_or_else(|| failed("out of memory"))
        }
        Id::EC => {
            let ec = public.ec_key().map_err(|_| failed("cannot be read"))?;
            remote_ec(place, &ec).ok_or_else(|| failed("out of memory"))
        }
        Id::ED25519 => Err(failed("Ed25519 cannot be used for TLS, take ECDSA or RSA")),
        _ => Err(failed("of a kind that is not supported, take ECDSA or RSA")),
    }
}

/// The place of a key in [`KEYS`].
fn place_of(id: KeyId) -> usize {
    let mut keys = lock::write(&KEYS);
    if let Some(place) = keys.iter().position(|known| *known == id) {
        return place;
    }
    keys.push(id);
    keys.len().wrapping_sub(1)
}

/// One question to keyd.  Nothing unwinds through it.
fn ask(place: usize, op: Op, input: &[u8]) -> Option<Vec<u8>> {
    let id = *lock::read(&KEYS).get(place)?;
    let signer = lock::read(&SIGNER).clone()?;
    catch_unwind(AssertUnwindSafe(|| signer(&id, op, input))).ok().flatten()
}

#[allow(non_camel_case_types)]
enum EC_KEY_METHOD {}

type RsaOp =
    unsafe extern "C" fn(c_int, *const c_uchar, *mut c_uchar, *mut ffi::RSA, c_int) -> c_int;
type EcSign = unsafe extern "C" fn(
    c_int,
    *const c_uchar,
    c_int,
    *mut c_uchar,
    *mut c_uint,
    *const ffi::BIGNUM,
    *const ffi::BIGNUM,
    *mut ffi::EC_KEY,
) -> c_int;
type EcSetup = unsafe extern "C" fn(
    *mut ffi::EC_KEY,
    *mut ffi::BN_CTX,
    *mut *mut ffi::BIGNUM,
    *mut *mut ffi::BIGNUM,
) -> c_int;
type EcSignSig = unsafe extern "C" fn(
    *const c_uchar,
    c_int,
    *const ffi::BIGNUM,
    *const ffi::BIGNUM,
    *mut ffi::EC_KEY,
) -> *mut ffi::ECDSA_SIG;

extern "C" {
    fn RSA_get_default_method() -> *const ffi::RSA_METHOD;
    fn RSA_meth_dup(method: *const ffi::RSA_METHOD) -> *mut ffi::RSA_METHOD;
    fn RSA_meth_set1_name(method: *mut ffi::RSA_METHOD, name: *const c_char) -> c_int;
    fn RSA_meth_set_priv_enc(method: *mut ffi::RSA_METHOD, op: RsaOp) -> c_int;
    fn RSA_meth_set_priv_dec(method: *mut ffi::RSA_METHOD, op: RsaOp) -> c_int;
    fn RSA_set_method(rsa: *mut ffi::RSA, method: *const ffi::RSA_METHOD) -> c_int;
    fn RSA_set_ex_data(rsa: *mut ffi::RSA, slot: c_int, data: *mut c_void) -> c_int;
    fn RSA_get_ex_data(rsa: *const ffi::RSA, slot: c_int) -> *mut c_void;
    fn ECDSA_size(key: *const ffi::EC_KEY) -> c_int;
    fn EC_KEY_OpenSSL() -> *const EC_KEY_METHOD;
    fn EC_KEY_METHOD_new(method: *const EC_KEY_METHOD) -> *mut EC_KEY_METHOD;
    fn EC_KEY_METHOD_set_sign(
        method: *mut EC_KEY_METHOD,
        sign: Option<EcSign>,
        setup: Option<EcSetup>,
        sign_sig: Option<EcSignSig>,
    );
    fn EC_KEY_set_method(key: *mut ffi::EC_KEY, method: *const EC_KEY_METHOD) -> c_int;
    fn EC_KEY_set_ex_data(key: *mut ffi::EC_KEY, slot: c_int, data: *mut c_void) -> c_int;
    fn EC_KEY_get_ex_data(key: *const ffi::EC_KEY, slot: c_int) -> *mut c_void;
}

/// The application's slot of a key's extra data, in both libraries.
const SLOT: c_int = 0;

/// A place as the slot holds it; null is "none", hence one more.
fn stored(place: usize) -> *mut c_void {
    ptr::without_provenance_mut(place.wrapping_add(1))
}

/// The reverse of [`stored`].
fn restored(data: *mut c_void) -> Option<usize> {
    data.addr().checked_sub(1)
}

/// The input of a callback as a slice.
///
/// # Safety
/// `from` is null or points to `n` octets that live as long as `'a`.
unsafe fn input<'a>(from: *const c_uchar, n: c_int) -> Option<&'a [u8]> {
    let n = usize::try_from(n).ok().filter(|n| *n != 0 && *n <= 4096)?;
    if from.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(from, n) })
}

/// rsa_priv_enc of RSA_METHOD: signs.  -1 is the failure that both libraries
/// expect.
unsafe extern "C" fn rsa_sign(
    n: c_int,
    from: *const c_uchar,
    to: *mut c_uchar,
    rsa: *mut ffi::RSA,
    padding: c_int,
) -> c_int {
    // SAFETY: the library's contract for this function (RSA_meth_new(3)): `from`
    // has n octets, `to` has RSA_size(rsa), `rsa` is alive; the slot holds what
    // stored() made, or null.
    unsafe {
        let Some(place) = restored(RSA_get_ex_data(rsa, SLOT)) else { return -1 };
        let Some(input) = input(from, n) else { return -1 };
        let op = match padding {
            ffi::RSA_PKCS1_PADDING => Op::RsaPkcs1,
            ffi::RSA_NO_PADDING => Op::RsaBlock,
            _ => return -1,
        };
        let size = usize::try_from(ffi::RSA_size(rsa)).unwrap_or(0);
        match ask(place, op, input) {
            Some(signature) if signature.len() == size && !to.is_null() => {
                ptr::copy_nonoverlapping(signature.as_ptr(), to, size);
                c_int::try_from(size).unwrap_or(-1)
            }
            _ => -1,
        }
    }
}

/// rsa_priv_dec of RSA_METHOD: refused.
unsafe extern "C" fn rsa_decrypt(
    _: c_int,
    _: *const c_uchar,
    _: *mut c_uchar,
    _: *mut ffi::RSA,
    _: c_int,
) -> c_int {
    -1
}

/// What both functions of EC_KEY_METHOD have in common: DER.
///
/// # Safety
/// As for [`input`]; `key` is alive.
unsafe fn ecdsa(digest: *const c_uchar, n: c_int, key: *mut ffi::EC_KEY) -> Option<Vec<u8>> {
    // SAFETY: the caller's promise.
    unsafe {
        let place = restored(EC_KEY_get_ex_data(key, SLOT))?;
        ask(place, Op::Ecdsa, input(digest, n)?)
    }
}

/// `sign` of EC_KEY_METHOD: writes DER.
unsafe extern "C" fn ec_sign(
    _type: c_int,
    digest: *const c_uchar,
    n: c_int,
    to: *mut c_uchar,
    len: *mut c_uint,
    _kinv: *const ffi::BIGNUM,
    _r: *const ffi::BIGNUM,
    key: *mut ffi::EC_KEY,
) -> c_int {
    // SAFETY: the library's contract (EC_KEY_METHOD_new(3)): `digest` has n
    // octets, `to` has ECDSA_size(key), `len` is writable, `key` is alive.
    unsafe {
        *len = 0;
        let room = usize::try_from(ECDSA_size(key)).unwrap_or(0);
        match ecdsa(digest, n, key) {
            Some(der) if der.len() <= room && !to.is_null() => {
                ptr::copy_nonoverlapping(der.as_ptr(), to, der.len());
                *len = c_uint::try_from(der.len()).unwrap_or(0);
                1
            }
            _ => 0,
        }
    }
}

/// `sign_sig` of EC_KEY_METHOD: makes an ECDSA_SIG, which the caller frees.
unsafe extern "C" fn ec_sign_sig(
    digest: *const c_uchar,
    n: c_int,
    _kinv: *const ffi::BIGNUM,
    _r: *const ffi::BIGNUM,
    key: *mut ffi::EC_KEY,
) -> *mut ffi::ECDSA_SIG {
    // SAFETY: as for ec_sign.
    match unsafe { ecdsa(digest, n, key) }.and_then(|der| EcdsaSig::from_der(&der).ok()) {
        Some(signature) => {
            let raw = signature.as_ptr();
            std::mem::forget(signature);
            raw
        }
        None => ptr::null_mut(),
    }
}

/// A method table; made once and never freed, since keys refer to it.
struct Table<T>(*const T);

// SAFETY: a table is only read once it has been made.
unsafe impl<T> Send for Table<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Table<T> {}

fn rsa_table() -> Option<*const ffi::RSA_METHOD> {
    static TABLE: OnceLock<Table<ffi::RSA_METHOD>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        // SAFETY: the default table is static; the copy is checked for null.
        unsafe {
            let method = RSA_meth_dup(RSA_get_default_method());
            if !method.is_null() {
                RSA_meth_set1_name(method, c"rmail keyd".as_ptr());
                RSA_meth_set_priv_enc(method, rsa_sign);
                RSA_meth_set_priv_dec(method, rsa_decrypt);
            }
            Table(method)
        }
    });
    (!table.0.is_null()).then_some(table.0)
}

fn ec_table() -> Option<*const EC_KEY_METHOD> {
    static TABLE: OnceLock<Table<EC_KEY_METHOD>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        // SAFETY: as in rsa_table().
        unsafe {
            let method = EC_KEY_METHOD_new(EC_KEY_OpenSSL());
            if !method.is_null() {
                EC_KEY_METHOD_set_sign(method, Some(ec_sign), None, Some(ec_sign_sig));
            }
            Table(method)
        }
    });
    (!table.0.is_null()).then_some(table.0)
}

fn remote_rsa(place: usize, public: &Rsa<Public>) -> Option<PKey<Private>> {
    let method = rsa_table()?;
    let (n, e) = (public.n().to_owned().ok()?, public.e().to_owned().ok()?);
    // A public key by another route: with n and e alone, and no d, p or q.
    let rsa = Rsa::from_public_components(n, e).ok()?;
    // SAFETY: all objects are alive; set1 takes a reference of its own, so that
    // `rsa` and the result are each freed by their owner.
    unsafe {
        if RSA_set_method(rsa.as_ptr(), method) != 1
            || RSA_set_ex_data(rsa.as_ptr(), SLOT, stored(place)) != 1
        {
            return None;
        }
        let key = ffi::EVP_PKEY_new();
        if key.is_null() {
            return None;
        }
        let key = PKey::<Private>::from_ptr(key);
        (ffi::EVP_PKEY_set1_RSA(key.as_ptr(), rsa.as_ptr()) == 1).then_some(key)
    }
}

fn remote_ec(place: usize, public: &EcKey<Public>) -> Option<PKey<Private>> {
    let method = ec_table()?;
    let ec = EcKey::from_public_key(public.group(), public.public_key()).ok()?;
    // SAFETY: as in remote_rsa().
    unsafe {
        if EC_KEY_set_method(ec.as_ptr(), method) != 1
            || EC_KEY_set_ex_data(ec.as_ptr(), SLOT, stored(place)) != 1
        {
            return None;
        }
        let key = ffi::EVP_PKEY_new();
        if key.is_null() {
            return None;
        }
        let key = PKey::<Private>::from_ptr(key);
        (ffi::EVP_PKEY_set1_EC_KEY(key.as_ptr(), ec.as_ptr()) == 1).then_some(key)
    }
}
