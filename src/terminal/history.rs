//! The lines that were typed, kept for the next start.
//!
//! One file in the peer's store, for its owner only (mode 0600 on Unix; on Windows the user's profile). What may be a secret is not
//! kept: words of a mnemonic, a secret key or a signature, the bridge's token, and whatever begins with a space.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use crate::identity::looks_secret;

/// So many lines are kept.
pub(super) const MAX_LINES: usize = 1_000;

/// A longer line is not kept.
const MAX_LINE: usize = 4 << 10;

/// So much of the file is read.
const MAX_FILE: u64 = (MAX_LINES * MAX_LINE) as u64;

/// The history of a prompt.
#[derive(Debug, Default)]
pub(super) struct History {
    path: Option<PathBuf>,
    /// Texts that no line may contain.
    secrets: Vec<String>,
    lines: Vec<String>,
    complained: bool,
}

impl History {
    /// The history in a file, which may not be there yet; without a file it is forgotten in the end.
    pub(super) fn open(path: Option<PathBuf>, secrets: Vec<String>) -> History {
        let mut text = String::new();
        let read = path.as_ref().map(|path| File::open(path)?.take(MAX_FILE).read_to_string(&mut text));
        let mut history = History { path, secrets, ..History::default() };
        match read {
            // A file that is no text is begun anew.
            Some(Ok(_)) => {
                let all: Vec<_> = text.lines().filter(|line| history.may_keep(line)).collect();
                history.lines =
                    all[all.len().saturating_sub(MAX_LINES)..].iter().map(|line| (*line).to_owned()).collect();
            }
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => history.complain(&error),
            _ => {}
        }
        history
    }

    /// The lines, oldest first.
    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Keeps a line if it may be kept; says whether it is.
    pub(super) fn keep(&mut self, line: &str) -> bool {
        if !self.may_keep(line) {
            return false;
        }
        if self.lines.last().is_some_and(|last| last == line) {
            return true;
        }
        self.lines.push(line.to_owned());
        let result = if self.lines.len() > MAX_LINES {
            self.lines.drain(..self.lines.len() - MAX_LINES / 2);
            self.rewrite()
        } else {
            self.append(line)
        };
        if let Err(error) = result {
            self.complain(&error);
        }
        true
    }

    fn may_keep(&self, line: &str) -> bool {
        let secret = || self.secrets.iter().any(|secret| !secret.is_empty() && line.contains(secret.as_str()));
        !line.trim().is_empty()
            && !line.starts_with(' ')
            && line.len() <= MAX_LINE
            && !line.contains(['\n', '\r'])
            && !secret()
            && !looks_secret(line)
    }

    fn append(&self, line: &str) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        keep_private(&file)?;
        file.write_all(format!("{line}\n").as_bytes())
    }

    /// Writes the file anew, in the place of the old one at once.
    fn rewrite(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let folder = path.parent().unwrap_or(path);
        let mut file = tempfile::Builder::new().prefix(".history-").tempfile_in(folder)?;
        file.write_all((self.lines.join("\n") + "\n").as_bytes())?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Says once why lines are not kept.
    fn complain(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.complained, true) {
            let path = self.path.as_deref().unwrap_or_else(|| std::path::Path::new(""));
            tracing::warn!("the history of the prompt is not kept in {}: {error}", path.display());
        }
    }
}

/// Takes everybody else's right to a file that was there before.
#[cfg(unix)]
fn keep_private(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Elsewhere there are no modes: the access rules of the folder apply.
#[cfg(not(unix))]
fn keep_private(_file: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_for_their_owner_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("terminal.history");
        let mut history = History::open(Some(path.clone()), Vec::new());
        for line in ["/sc_stats", "/sc_stats", "/help"] {
            assert!(history.keep(line));
        }
        assert_eq!(History::open(Some(path.clone()), Vec::new()).lines(), ["/sc_stats", "/help"]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = || std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777;
            assert_eq!(mode(), 0o600);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("own file");
            History::open(Some(path.clone()), Vec::new()).keep("/exit");
            assert_eq!(mode(), 0o600);
        }
    }

    #[test]
    fn secrets_are_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("terminal.history");
        let mut history = History::open(Some(path.clone()), vec!["s3cret".into(), String::new()]);
        let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
        let key = "0123456789abcdef".repeat(8);
        for line in [
            " /sc_send --channel a --message hidden",
            "/sc_send --channel a --message \"my token is s3cret\"",
            &format!("/print --text '{words}'"),
            &format!("/print --text '{}'", words.to_uppercase().replace(' ', "  ")),
            &format!("/print --text {key}"),
            "",
            "  ",
            "two\nlines",
            &"x".repeat(MAX_LINE + 1),
        ] {
            assert!(!history.keep(line), "{line}");
        }
        assert!(!path.exists());
        assert!(history.keep(&format!("/sc_invite --channel a --pubkey {}", &key[..64])), "public keys are none");
    }

    #[test]
    fn the_file_does_not_grow_without_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("terminal.history");
        let mut history = History::open(Some(path.clone()), Vec::new());
        (0..3 * MAX_LINES).for_each(|n| assert!(history.keep(&format!("/print --text {n}"))));
        let again = History::open(Some(path), Vec::new());
        assert!(again.lines().len() <= MAX_LINES);
        assert_eq!(again.lines().last(), history.lines().last());
    }

    #[test]
    fn a_file_that_cannot_be_written_stops_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut history = History::open(Some(folder.path().to_owned()), Vec::new());
        assert!(history.keep("/help"));
        assert_eq!(history.lines(), ["/help"]);
    }
}
