//! Mnemonics: English words that stand for random bytes and their checksum ([BIP-39](https://bips.dev/39/)).

use bip39::{Language, Mnemonic};
use rand::{TryRngCore, rngs::OsRng};
use zeroize::{Zeroize, Zeroizing};

/// 24 new words.
pub(super) fn generate() -> Zeroizing<String> {
    let mut entropy = [0; 32];
    OsRng.try_fill_bytes(&mut entropy).expect("the operating system gives random bytes");
    let words = Mnemonic::from_entropy(&entropy).expect("32 bytes are 24 words").to_string();
    entropy.zeroize();
    words.into()
}

/// The words in lower case with one space between them; `None` unless they are 12 or 24 English words with a valid checksum.
pub(super) fn sanitize(words: &str) -> Option<Zeroizing<String>> {
    let words: Vec<String> =
        words.split(encoding::json::is_space).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    let text = Zeroizing::new(words.join(" "));
    let valid = matches!(words.len(), 12 | 24) && parse(&text).is_some();
    words.into_iter().for_each(|mut word| word.zeroize());
    valid.then_some(text)
}

/// The seed of sanitized words, without a passphrase.
pub(super) fn to_seed(words: &str) -> Option<Zeroizing<[u8; 64]>> {
    Some(parse(words)?.to_seed_normalized("").into())
}

fn parse(words: &str) -> Option<Mnemonic> {
    Mnemonic::parse_in_normalized(Language::English, words).ok()
}

/// Whether a text may give an identity away: it has the length of a secret key (or of a signature) in hex, or twelve words in a row
/// that are those of mnemonics.
pub fn looks_secret(text: &str) -> bool {
    /// Hex digits of a secret key.
    const KEY: usize = 128;
    /// Words of the shortest mnemonic.
    const WORDS: usize = 12;
    let hex = text.split(|c: char| !c.is_ascii_hexdigit()).any(|run| run.len() >= KEY);
    let mut in_a_row = 0;
    let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).any(|word| {
        let known = Language::English.find_word(&word.to_lowercase()).is_some();
        in_a_row = if known { in_a_row + 1 } else { 0 };
        in_a_row >= WORDS
    });
    hex || words
}
