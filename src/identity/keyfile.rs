//! The file `keypair.json`: `{"nonce","salt","ciphertext"}`, each in hex.
//!
//! The key is stretched from the password and the salt by Argon2i, with 3 passes over 256 MiB (libsodium's `MODERATE` of that
//! algorithm); the cipher is XSalsa20-Poly1305 (`crypto_secretbox_easy`). What is encrypted is JSON again, indented by two spaces:
//! `{"publicKey","secretKey","mnemonic","derivationPath"}`, both keys in hex and in libsodium's form. Later wallets add
//! properties, which are not looked at.

use std::path::Path;

use crypto::{KeyPair, pwhash, secretbox};
use encoding::json::{Object, Value, parse, stringify, stringify_pretty};
use rand::{TryRngCore, rngs::OsRng};
use zeroize::Zeroizing;

use super::{Identity, IdentityError, mnemonic};

/// Passes of Argon2i (`crypto_pwhash_OPSLIMIT_MODERATE`).
const OPERATIONS: u32 = 3;

/// Memory of Argon2i in bytes (`crypto_pwhash_MEMLIMIT_MODERATE`).
const MEMORY: usize = 256 << 20;

/// The content of a key file for `identity`. This blocks for about a second.
pub fn encrypt(identity: &Identity, password: &[u8]) -> String {
    let (nonce, salt) = (random::<24>(), random::<16>());
    let plain = Zeroizing::new(stringify_pretty(&Value::Object(to_object(identity))));
    let sealed = secretbox::seal(&stretch(password, &salt), &nonce, plain.as_bytes());
    let document = Object::new().with("nonce", hex(&nonce)).with("salt", hex(&salt)).with("ciphertext", hex(&sealed));
    stringify(&document.into())
}

/// The identity in the content of the key file at `path`. This blocks for about a second.
///
/// # Errors
/// [`IdentityError::Corrupt`] when the content is no key file, [`IdentityError::Locked`] when the password does not open it.
pub fn decrypt(path: &Path, content: &[u8], password: &[u8]) -> Result<Identity, IdentityError> {
    let corrupt = |why| IdentityError::Corrupt { path: path.into(), why };
    let document = parse(content).map_err(|_| corrupt("it is not JSON"))?;
    let field = |name: &str| document.get(name).and_then(Value::as_str).and_then(unhex);
    let nonce = field("nonce").and_then(|nonce| nonce.try_into().ok()).ok_or(corrupt("no nonce of 24 bytes"))?;
    let salt = field("salt").and_then(|salt| salt.try_into().ok()).ok_or(corrupt("no salt of 16 bytes"))?;
    let sealed = field("ciphertext").ok_or(corrupt("no ciphertext"))?;
    let plain = secretbox::open(&stretch(password, &salt), &nonce, &sealed);
    let plain = Zeroizing::new(plain.ok_or(IdentityError::Locked { path: path.into() })?);
    let value = parse(&*plain).map_err(|_| corrupt("what it encrypts is not JSON"))?;
    from_value(&value).map_err(corrupt)
}

/// What is encrypted.
pub(super) fn to_object(identity: &Identity) -> Object {
    Object::new()
        .with("publicKey", hex(identity.public_key()))
        .with("secretKey", hex(&*Zeroizing::new(identity.key_pair().secret_key())))
        .with("mnemonic", identity.mnemonic())
        .with("derivationPath", identity.derivation_path())
}

/// The identity in what was encrypted, or what is wrong with it. As in JavaScript, words and path that are not valid count as
/// unknown.
pub(super) fn from_value(value: &Value) -> Result<Identity, &'static str> {
    let field = |name: &str| value.get(name).and_then(Value::as_str);
    let public_key =
        field("publicKey").and_then(unhex).filter(|key| key.len() == 32).ok_or("no public key of 32 bytes")?;
    let secret_key = field("secretKey").and_then(unhex).map(Zeroizing::new).ok_or("no secret key")?;
    let secret_key: &[u8; 64] = secret_key.as_slice().try_into().map_err(|_| "no secret key of 64 bytes")?;
    let keys = KeyPair::from_secret_key(secret_key).map_err(|_| "the secret key does not fit itself")?;
    if keys.public_key != public_key[..] {
        return Err("the public key does not belong to the secret key");
    }
    Ok(Identity {
        keys,
        mnemonic: field("mnemonic").and_then(mnemonic::sanitize),
        derivation_path: field("derivationPath")
            .map(encoding::json::trim)
            .filter(|path| is_path(path))
            .map(str::to_owned),
    })
}

/// Whether a text is a path such as `m/44/0'`, hardened or not.
fn is_path(path: &str) -> bool {
    path.strip_prefix("m/").is_some_and(|steps| {
        steps.split('/').all(|step| {
            let digits = step.strip_suffix('\'').unwrap_or(step);
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    })
}

pub(super) fn stretch(password: &[u8], salt: &[u8; 16]) -> Zeroizing<[u8; 32]> {
    pwhash::argon2i(password, salt, OPERATIONS, MEMORY).expect("the parameters are valid").into()
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// The bytes of a text that is hex from its beginning to its end.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).map(|digit| digit as u8);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
