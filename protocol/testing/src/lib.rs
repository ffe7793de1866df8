//! What the tests of every layer share: the golden vectors, and the random numbers of the scripts that made them.
//!
//! ```
//! let vectors = testing::vector_json("network/pinned.json");
//! assert!(vectors["nodeId"].is_array());
//! ```
//!
//! The vectors were produced by the JavaScript packages. They are read from the folder that the environment variable `VECTORS`
//! names, and from the copy in this repository (`vectors/`) where it is not set.

use std::path::PathBuf;

/// The folder that holds the vectors: `$VECTORS`, or the repository's copy.
pub fn vectors_dir() -> PathBuf {
    match std::env::var_os("VECTORS") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors")),
    }
}

/// The bytes of the vector file at `path` below [`vectors_dir`].
///
/// # Panics
/// When the file cannot be read: a test without its vectors has failed.
pub fn vector_bytes(path: &str) -> Vec<u8> {
    let file = vectors_dir().join(path);
    std::fs::read(&file).unwrap_or_else(|error| panic!("cannot read vectors {}: {error}", file.display()))
}

/// The text of the vector file at `path` below [`vectors_dir`].
///
/// # Panics
/// When the file cannot be read or is not UTF-8.
pub fn vector_text(path: &str) -> String {
    String::from_utf8(vector_bytes(path)).expect("vector file is UTF-8")
}

/// The JSON document at `path` below [`vectors_dir`].
///
/// # Panics
/// When the file cannot be read or is not JSON.
pub fn vector_json(path: &str) -> serde_json::Value {
    serde_json::from_slice(&vector_bytes(path)).unwrap_or_else(|error| panic!("{path} is not JSON: {error}"))
}

/// The bytes that a hex string of a vector stands for.
///
/// # Panics
/// When `text` is not an even number of hex digits.
pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "odd hex: {text}");
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex digits")).collect()
}

/// The lower-case hex text of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The generators' random numbers (mulberry32), the same as in the scripts that recorded the vectors.
///
/// ```
/// assert_eq!(testing::Mulberry(1).below(100.0), 62);
/// ```
pub struct Mulberry(pub u32);

impl Mulberry {
    /// The next number, from 0 to below 1.
    pub fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x6d2b_79f5);
        let mut t = (self.0 ^ self.0 >> 15).wrapping_mul(1 | self.0);
        t = t.wrapping_add((t ^ t >> 7).wrapping_mul(61 | t)) ^ t;
        f64::from(t ^ t >> 14) / 4_294_967_296.0
    }

    /// A whole number below `bound`.
    pub fn below(&mut self, bound: f64) -> u64 {
        (self.fraction() * bound) as u64
    }
}
