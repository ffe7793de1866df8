//! `intercom keys`: identities that move, and secrets that stay.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// What is known of `keypair.sample.json`, a file of JavaScript's wallet (`vectors/app/wallet.txt`).
const PUBLIC_KEY: &str = "c9c29cefe54eedc4bb0306d72b7c0997657e846e8be4cd4c8f926f35e7f7f6f5";
const SECRET_KEY: &str = "a052605a950d9f8afd44a94daeb724d0510412ef15af8a213793574f303a8a6a";
const ADDRESS: &str = "trac1e8pfeml9fmkufwcrqmtjklqfjajhaprw30jv6ny0jfhntelh7m6sjndu8t";

fn words() -> String {
    format!("{}art", "abandon ".repeat(23))
}

fn run(place: &TempDir, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_intercom"))
        .args(args)
        .current_dir(place.path())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // What does not ask for it does not read it.
    let _ = child.stdin.take().expect("is piped").write_all(input.as_bytes());
    child.wait_with_output().expect("ends")
}

/// What a command that ends well prints.
fn done(place: &TempDir, args: &[&str], input: &str) -> String {
    let output = run(place, args, input);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

/// The one line of a command that fails.
fn refused(place: &TempDir, args: &[&str], code: i32) -> String {
    let output = run(place, args, "");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    assert!(!error.contains("panicked") && error.trim_end().lines().count() == 1, "{args:?}: {error}");
    error
}

fn place() -> TempDir {
    let place = tempfile::tempdir().expect("a temporary folder");
    fs::write(place.path().join("js.json"), testing::vector_bytes("app/keypair.sample.json")).expect("writable");
    place
}

fn is_private(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).expect("is there").permissions().mode() & 0o777 == 0o600
    }
    #[cfg(not(unix))]
    path.exists()
}

fn holds_secret(text: &str) -> bool {
    text.contains(SECRET_KEY) || text.contains("abandon")
}

#[test]
fn a_javascript_identity_moves_here_and_on() {
    let place = place();
    let printed = done(&place, &["keys", "import", "js.json"], "");
    assert!(printed.contains(ADDRESS) && printed.contains(PUBLIC_KEY) && !holds_secret(&printed), "{printed}");
    let key_file = place.path().join("stores/peer/db/keypair.json");
    assert!(is_private(&key_file));

    let shown = done(&place, &["keys", "show"], "");
    assert!(shown.contains(ADDRESS) && shown.contains("known, 24 words") && !holds_secret(&shown), "{shown}");
    let secret = done(&place, &["keys", "show", "--show-secret"], "");
    assert!(secret.contains(SECRET_KEY) && secret.contains(&words()), "{secret}");

    let out = "old/db/keypair.json";
    let printed = done(&place, &["keys", "export", out], "");
    assert!(printed.contains(ADDRESS) && !holds_secret(&printed), "{printed}");
    assert!(is_private(&place.path().join(out)));
    assert!(refused(&place, &["keys", "export", out], 1).contains("exists and is not overwritten"));
    // From a whole store, under another name and in another place.
    let other = ["--peer-store-name", "b", "--peer-stores-directory", "elsewhere"];
    done(&place, &[&["keys", "import", "old"] as &[&str], &other].concat(), "");
    let shown = done(&place, &[&["keys", "show"] as &[&str], &other].concat(), "");
    assert!(shown.contains(ADDRESS), "{shown}");
}

#[test]
fn words_move_by_files_and_pipes() {
    let place = place();
    let printed = done(&place, &["keys", "import", "--mnemonic-file", "-"], &format!("{}\n", words().to_uppercase()));
    assert!(printed.contains(ADDRESS) && !holds_secret(&printed), "{printed}");
    done(&place, &["keys", "export", "words.txt", "--mnemonic"], "");
    assert_eq!(fs::read_to_string(place.path().join("words.txt")).expect("text"), format!("{}\n", words()));
    assert!(is_private(&place.path().join("words.txt")));
    assert_eq!(done(&place, &["keys", "export", "-", "--mnemonic"], ""), format!("{}\n", words()));
    let args = ["keys", "import", "--mnemonic-file", "words.txt", "--msb", "--derivation-path", "m/1'"];
    let printed = done(&place, &args, "");
    assert!(!printed.contains(ADDRESS) && printed.contains("peer-msb"), "{printed}");
    let output = run(&place, &["keys", "import", "--mnemonic-file", "-", "--peer-store-name", "x"], "abandon art");
    assert!(String::from_utf8_lossy(&output.stderr).contains("12 or 24 English words"));
}

#[test]
fn an_identity_is_not_lost_by_another() {
    let place = place();
    done(&place, &["keys", "import", "--mnemonic-file", "-"], &words());
    fs::write(place.path().join("words"), format!("{}about", "abandon ".repeat(11))).expect("writable");
    let another = ["keys", "import", "--mnemonic-file", "words"];
    assert!(refused(&place, &another, 1).contains("--replace moves it aside"));
    assert!(done(&place, &["keys", "show"], "").contains(ADDRESS));
    let printed = done(&place, &[&another as &[&str], &["--replace"]].concat(), "");
    assert!(printed.contains("keypair.c9c29cef.json"), "{printed}");
    assert!(!done(&place, &["keys", "show"], "").contains(ADDRESS));
    // What was there comes back.
    done(&place, &["keys", "import", "stores/peer/db/keypair.c9c29cef.json", "--replace"], "");
    assert!(done(&place, &["keys", "show"], "").contains(ADDRESS));
}

/// As a peer leaves it that is killed in its first second.
#[test]
fn an_identity_that_waits_for_its_key_file_is_not_lost_by_another() {
    let place = place();
    let waiting = place.path().join("stores/peer/db/keypair.pending.json");
    fs::create_dir_all(waiting.parent().expect("a folder")).expect("writable");
    let content = format!(r#"{{"publicKey":"{PUBLIC_KEY}","secretKey":"{SECRET_KEY}{PUBLIC_KEY}"}}"#);
    fs::write(&waiting, content).expect("writable");
    fs::write(place.path().join("words"), format!("{}about", "abandon ".repeat(11))).expect("writable");
    let another = ["keys", "import", "--mnemonic-file", "words"];
    assert!(refused(&place, &another, 1).contains("keypair.pending.json holds an identity"));
    let printed = done(&place, &[&another as &[&str], &["--replace"]].concat(), "");
    assert!(printed.contains("keypair.c9c29cef.json"), "{printed}");
    assert!(!waiting.exists() && is_private(&waiting.with_file_name("keypair.c9c29cef.json")));
    done(&place, &["keys", "import", "stores/peer/db/keypair.c9c29cef.json", "--peer-store-name", "b"], "");
    assert!(done(&place, &["keys", "show", "--peer-store-name", "b"], "").contains(ADDRESS));
    // What cannot be read is kept as it is.
    fs::write(&waiting, "{").expect("writable");
    let printed = done(&place, &[&another as &[&str], &["--replace"]].concat(), "");
    assert!(printed.contains("keypair.unread.json"), "{printed}");
    assert_eq!(fs::read_to_string(waiting.with_file_name("keypair.unread.json")).expect("is kept"), "{");
}

#[test]
fn passwords_are_taken_from_files() {
    let place = place();
    done(&place, &["keys", "import", "--mnemonic-file", "-"], &words());
    fs::write(place.path().join("password"), "open sesame\n").expect("writable");
    done(&place, &["keys", "export", "locked.json", "--password-file", "password"], "");
    let import = ["keys", "import", "locked.json", "--peer-store-name", "b"];
    assert!(refused(&place, &import, 1).contains("--password-file"));
    assert!(!place.path().join("stores/b").exists(), "what is refused leaves nothing behind");
    let printed = done(&place, &[&import as &[&str], &["--password-file", "password"]].concat(), "");
    assert!(printed.contains(ADDRESS), "{printed}");
}

#[test]
fn what_cannot_be_is_said_in_one_line() {
    let place = place();
    assert!(refused(&place, &["keys", "show"], 1).contains("no key file at"));
    assert!(!place.path().join("stores").exists());
    assert!(refused(&place, &["keys", "import", "none.json"], 1).contains("cannot read none.json"));
    fs::write(place.path().join("bad.json"), "{}").expect("writable");
    assert!(refused(&place, &["keys", "import", "bad.json"], 1).contains("is corrupt"));
    refused(&place, &["keys", "import"], 2);
    refused(&place, &["keys", "import", "js.json", "--mnemonic-file", "x"], 2);
    refused(&place, &["keys"], 2);
}
