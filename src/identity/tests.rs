//! Identities against the wallet of JavaScript, and their files against accidents.

use std::{fs, path::Path};

use encoding::json::{Value, parse, stringify_pretty};
use proptest::prelude::*;
use testing::{hex, unhex, vector_bytes, vector_text};

use super::{unlocked::Cached, *};

/// The words of the vectors.
const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                     abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art";

fn vector_identity() -> Identity {
    Identity::from_mnemonic(WORDS, None).unwrap()
}

/// The value of `name: 'value'` or `name: "value"` in what JavaScript printed of an object.
fn printed<'a>(text: &'a str, name: &str) -> &'a str {
    let rest = text.split(&format!("{name}: ")).nth(1).unwrap();
    let quote = rest.chars().next().unwrap();
    rest[1..].split(quote).next().unwrap()
}

#[test]
fn wallet_vector() {
    let text = vector_text("app/wallet.txt");
    let identity = vector_identity();
    let public_key: [u8; 32] = unhex(printed(&text, "pk")).try_into().unwrap();
    assert_eq!(identity.public_key(), &public_key);
    assert_eq!(hex(&identity.key_pair().secret_key()), printed(&text, "sk"));
    assert_eq!(identity.address(), printed(&text, "addr"));
    assert_eq!(identity.derivation_path(), Some(printed(&text, "path")));
    assert_eq!(address::decode(printed(&text, "addr")).unwrap(), ("trac".to_owned(), public_key));
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    assert_eq!(hex(&identity.key_pair().sign(b"hello")), line("sig of \"hello\""));
    assert_eq!(address::encode("trac", &[0; 32]), line("zero pk addr"));
    assert_eq!(identity.address().len().to_string(), line("addr size"));
    // The plaintext of a key file, as the wallet indents it.
    let plain = &text[text.find("{\n  \"publicKey\"").unwrap()..];
    let plain = &plain[..plain.find("\n}").unwrap() + 2];
    assert_eq!(stringify_pretty(&keyfile::to_object(&identity).into()), plain);
    assert_eq!(keyfile::from_value(&parse(plain).unwrap()), Ok(identity));
}

#[test]
fn key_stretching_vector() {
    let text = vector_text("app/wallet.txt");
    let expected = text.lines().find_map(|line| line.strip_prefix("kdf(empty, salt=01*16)= ")).unwrap();
    assert_eq!(hex(&*keyfile::stretch(b"", &[1; 16])), expected);
}

#[test]
fn key_file_vector() {
    let sample = vector_bytes("app/keypair.sample.json");
    let printed = vector_text("app/wallet.txt");
    let printed = printed.lines().find(|line| line.starts_with("{\"nonce\"")).unwrap();
    for content in [&*sample, printed.as_bytes()] {
        let identity = keyfile::decrypt(Path::new("sample"), content, b"").unwrap();
        assert_eq!(identity.public_key_hex(), hex(&identity.key_pair().public_key));
        let words = identity.mnemonic().unwrap();
        assert_eq!(Identity::from_mnemonic(words, identity.derivation_path()).unwrap(), identity);
    }
    assert!(matches!(keyfile::decrypt(Path::new("sample"), &sample, b"password"), Err(IdentityError::Locked { .. })));
}

#[test]
fn words_are_understood_as_the_wallet_does() {
    let identity = vector_identity();
    let spaced =
        format!("\u{feff} {}\u{3000}\n", WORDS.to_uppercase().replacen(' ', "\u{3000}", 1).replace(' ', " \t "));
    assert_eq!(Identity::from_mnemonic(&spaced, Some(" m/918' /0'/0'/0'")).unwrap(), identity);
    assert_ne!(Identity::from_mnemonic(WORDS, Some("m/919'/0'/0'/0'")).unwrap().public_key(), identity.public_key());
    let twelve = "abandon ".repeat(11) + "about";
    assert!(Identity::from_mnemonic(&twelve, None).is_ok());
    for wrong in [
        "",
        "abandon",
        &"abandon ".repeat(24),
        &"abandon ".repeat(12),
        &(WORDS.to_owned() + " art"),
        &WORDS.replace("art", "ärt"),
    ] {
        assert!(matches!(Identity::from_mnemonic(wrong, None), Err(IdentityError::Mnemonic)), "{wrong}");
    }
    // Fifteen words are BIP-39, and not the wallet's.
    let fifteen = bip39::Mnemonic::from_entropy(&[0; 20]).unwrap().to_string();
    assert!(matches!(Identity::from_mnemonic(&fifteen, None), Err(IdentityError::Mnemonic)));
    assert!(matches!(Identity::from_mnemonic(WORDS, Some("m/0")), Err(IdentityError::DerivationPath)));
}

#[test]
fn new_identities_differ() {
    let (a, b) = (Identity::generate(), Identity::generate());
    assert_ne!(a.public_key(), b.public_key());
    assert_eq!(a.mnemonic().unwrap().split(' ').count(), 24);
    assert_eq!(Identity::from_mnemonic(a.mnemonic().unwrap(), None).unwrap(), a);
    assert!(!format!("{a:?}").contains(a.mnemonic().unwrap()), "secrets are not printed");
}

#[test]
fn addresses_are_checked() {
    let address = vector_identity().address();
    let typo = address.replace("qmtj", "qmtk");
    assert!(address::looks_valid(&address) && address::looks_valid(&typo));
    assert!(address::decode(&typo).is_err());
    let bech32 = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse("trac").unwrap(), &[7; 32]).unwrap();
    let short = bech32::encode::<bech32::Bech32m>(bech32::Hrp::parse("trac").unwrap(), &[7; 31]).unwrap();
    for wrong in ["", "trac1", "1", "abc", &bech32, &short, &address[1..], &format!("{address}q")] {
        assert!(address::decode(wrong).is_err(), "{wrong}");
    }
    for wrong in [
        "",
        "trac1",
        &address.to_uppercase(),
        &address[..address.len() - 1],
        &address.replacen('1', "", 1),
        &format!("{}{address}", "x".repeat(40)),
    ] {
        assert!(!address::looks_valid(wrong), "{wrong}");
    }
}

#[test]
fn an_identity_is_created_once_and_read_without_stretching() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stores/peer/db/keypair.json");
    assert!(matches!(load(&path), Err(IdentityError::Missing { .. })));
    let created = load_or_create(&path).unwrap();
    assert!(created.created && created.warnings.is_empty());
    let content = fs::read(&path).unwrap();
    let again = load_or_create(&path).unwrap();
    assert!(!again.created);
    assert_eq!(again.identity, created.identity);
    assert_eq!(fs::read(&path).unwrap(), content);
    // The form of the file is that of the wallet.
    let value = parse(&content).unwrap();
    let field = |name: &str| value.get(name).and_then(Value::as_str).map_or(0, str::len);
    assert_eq!((field("nonce"), field("salt"), field("ciphertext") > 800), (48, 32, true));
    let keys: Vec<String> = value.as_object().unwrap().keys().map(|key| key.to_string()).collect();
    assert_eq!(keys, ["nonce", "salt", "ciphertext"]);
    // What is not stretched again is the unlocked identity; without it the same comes of the key file.
    let cache = unlocked::path_of(&path);
    assert_eq!(unlocked::read(&path, &content), Cached::Valid(created.identity.clone()));
    fs::remove_file(&cache).unwrap();
    assert_eq!(load(&path).unwrap().identity, created.identity);
    assert!(cache.exists(), "and is left there again");
    let names = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(names, 2, "no temporary file is left");
    #[cfg(unix)]
    for file in [&path, &cache] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

/// Puts a key file, and an unlocked identity that belongs to it, into a folder.
fn prepared(folder: &Path) -> (std::path::PathBuf, Vec<u8>, Identity) {
    let path = folder.join("keypair.json");
    let content = vector_bytes("app/keypair.sample.json");
    fs::write(&path, &content).unwrap();
    let identity = vector_identity();
    unlocked::write(&path, &content, &identity).unwrap();
    (path, content, identity)
}

#[test]
fn an_unlocked_identity_counts_for_its_key_file_only() {
    let folder = tempfile::tempdir().unwrap();
    let (path, content, identity) = prepared(folder.path());
    assert_eq!(unlocked::read(&path, &content), Cached::Valid(identity.clone()));
    let mut other = content.clone();
    other.push(b'\n');
    assert_eq!(unlocked::read(&path, &other), Cached::Absent, "the key file was changed");
    let cache = unlocked::path_of(&path);
    let text = fs::read_to_string(&cache).unwrap();
    let another = Identity::generate();
    for wrong in [
        String::new(),
        "{}".to_owned(),
        text[..text.len() / 2].to_owned(),
        text.replace("\"binding\":\"", "\"binding\":\"00"),
        text.replace(&identity.public_key_hex(), &another.public_key_hex()),
        text.replace("binding", "bindinG"),
    ] {
        fs::write(&cache, wrong).unwrap();
        assert_eq!(unlocked::read(&path, &content), Cached::Absent);
    }
    fs::remove_file(&cache).unwrap();
    fs::create_dir(&cache).unwrap();
    assert_eq!(unlocked::read(&path, &content), Cached::Absent);
    assert!(unlocked::write(&path, &content, &identity).is_err());
}

#[cfg(unix)]
#[test]
fn an_unlocked_identity_that_others_may_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (path, content, identity) = prepared(folder.path());
    let cache = unlocked::path_of(&path);
    for mode in [0o640, 0o604, 0o622, 0o644] {
        fs::set_permissions(&cache, fs::Permissions::from_mode(mode)).unwrap();
        let Cached::Exposed { warning } = unlocked::read(&path, &content) else { panic!("{mode:o}") };
        assert!(warning.contains("keypair.unlocked.json") && !warning.contains('\n'));
    }
    unlocked::write(&path, &content, &identity).unwrap();
    assert_eq!(unlocked::read(&path, &content), Cached::Valid(identity), "what is written anew is private again");
}

#[test]
fn a_file_that_is_there_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keypair.json");
    for content in [
        "",
        "{",
        "null",
        "[]",
        "{}",
        r#"{"nonce":"00","salt":"00","ciphertext":"00"}"#,
        "\u{feff}{}",
        &"x".repeat(70_000),
    ] {
        fs::write(&path, content).unwrap();
        for result in [load(&path), load_or_create(&path)] {
            let error = result.unwrap_err();
            assert!(matches!(error, IdentityError::Corrupt { .. }), "{content}: {error}");
            assert!(!error.to_string().contains('\n'));
        }
        assert!(matches!(save(&path, &vector_identity()), Err(IdentityError::Exists { .. })));
        assert!(matches!(file::create(&path, b"new"), Err(IdentityError::Exists { .. })), "also at the last moment");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    assert!(!unlocked::path_of(&path).exists());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_key_file_that_was_changed_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keypair.json");
    let text = vector_text("app/keypair.sample.json");
    let last = text.rfind("\"}").unwrap();
    let digit = if text.as_bytes()[last - 1] == b'0' { "1" } else { "0" };
    fs::write(&path, format!("{}{digit}{}", &text[..last - 1], &text[last..])).unwrap();
    assert!(matches!(load(&path), Err(IdentityError::Locked { .. })));
}

#[test]
fn what_cannot_be_written_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let error = load_or_create(blocked.join("db/keypair.json")).unwrap_err();
    assert!(matches!(error, IdentityError::Io { .. }), "{error}");
    assert!(!error.to_string().contains('\n'));
}

#[test]
fn later_wallets_add_properties_and_what_is_wrong_is_said() {
    let object = keyfile::to_object(&vector_identity());
    let with = |key: &str, value: Value| Value::Object(object.clone().with(key, value));
    let mut later = object.clone();
    later.insert("version", 2);
    later.insert("addressPrefix", "trac");
    assert_eq!(keyfile::from_value(&later.into()), Ok(vector_identity()));
    let unknown = keyfile::from_value(&with("mnemonic", "not words".into())).unwrap();
    assert_eq!((unknown.mnemonic(), unknown.public_key()), (None, vector_identity().public_key()));
    let path = |path: &str| keyfile::from_value(&with("derivationPath", path.into())).unwrap().derivation_path;
    assert_eq!(path(" m/44/0' "), Some("m/44/0'".to_owned()));
    assert_eq!(path("m/x"), None);
    assert_eq!(path("m/"), None);
    for (key, value) in [
        ("publicKey", Value::Null),
        ("publicKey", "00".repeat(32).into()),
        ("publicKey", "00".into()),
        ("secretKey", "00".repeat(64).into()),
        ("secretKey", "00".repeat(63).into()),
        ("secretKey", 5.into()),
    ] {
        assert!(keyfile::from_value(&with(key, value.clone())).is_err(), "{key}: {value}");
    }
    assert!(keyfile::from_value(&Value::Null).is_err());
}

proptest! {
    #[test]
    fn any_file_is_read_or_refused(content in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        r#"\{"nonce":"[0-9a-f]{46,49}","salt":"[0-9a-f]{30,33}","ciphertext":("[0-9a-g]{0,3}"|null)"#.prop_map(String::into_bytes),
    ]) {
        // None of these gets as far as to be stretched.
        let result = keyfile::decrypt(Path::new("any"), &content, b"");
        let corrupt = matches!(result, Err(IdentityError::Corrupt { .. }));
        prop_assert!(corrupt);
    }

    #[test]
    fn any_text_is_an_address_or_not(text in any::<String>(), bytes in any::<[u8; 32]>()) {
        let _ = (address::decode(&text), address::looks_valid(&text));
        let encoded = address::encode("testtrac", &bytes);
        prop_assert_eq!(address::decode(&encoded).unwrap(), ("testtrac".to_owned(), bytes));
        prop_assert!(address::looks_valid(&encoded));
    }
}
