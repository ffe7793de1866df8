//! `intercom keys`: who a peer is, and moving that from and to other machines and JavaScript peers.
//!
//! Nothing here prints a secret unless it is asked for it by name.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use crate::cli::config::{self, StoreNames};
use crate::cli::error::Failure;
use crate::cli::output;
use crate::cli::store_lock::StoreLock;
use crate::identity::{self, Identity, IdentityError, keyfile, pending, unlocked};

/// The arguments of `intercom keys`.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show who a peer is: its address, its public key and its key file
    Show {
        #[command(flatten)]
        store: Store,
        /// Also show the secret key, and the words that it follows from: whoever sees them is this peer
        #[arg(long)]
        show_secret: bool,
    },
    /// Take over an identity: from the keypair.json of another peer, JavaScript or not, or from the words of a mnemonic
    Import {
        #[command(flatten)]
        store: Store,
        /// The keypair.json, or the folder of a store that has one
        #[arg(value_name = "FILE", required_unless_present = "mnemonic_file")]
        file: Option<PathBuf>,
        /// File with the 12 or 24 words; -: standard input, so that they are on no command line
        #[arg(long, value_name = "FILE", conflicts_with = "file")]
        mnemonic_file: Option<PathBuf>,
        /// Path of the keys below the words [default: m/918'/0'/0'/0']
        #[arg(long, value_name = "PATH", requires = "mnemonic_file")]
        derivation_path: Option<String>,
        /// File with the password that the keypair.json is encrypted with; without it none, as the program itself uses
        #[arg(long, value_name = "FILE", conflicts_with = "mnemonic_file")]
        password_file: Option<PathBuf>,
        /// Take the place of the identity that is there; it is kept beside it as keypair.<first 8 digits of its public key>.json
        #[arg(long)]
        replace: bool,
    },
    /// Write the identity to a file that JavaScript peers and `intercom keys import` read
    Export {
        #[command(flatten)]
        store: Store,
        /// The file to write, which must not exist; -: standard output
        file: PathBuf,
        /// Write the words of the mnemonic, unencrypted, and not a keypair.json
        #[arg(long)]
        mnemonic: bool,
        /// File with the password to encrypt it with; without it none, as JavaScript peers expect
        #[arg(long, value_name = "FILE", conflicts_with = "mnemonic")]
        password_file: Option<PathBuf>,
    },
}

/// Whose identity.
#[derive(Debug, Args)]
struct Store {
    /// Name of the peer's store [env: PEER_STORE_NAME] [default: peer]
    #[arg(long, value_name = "NAME")]
    peer_store_name: Option<String>,
    /// Folder of the peer's stores [env: PEER_STORES_DIRECTORY] [default: stores/]
    #[arg(long, value_name = "DIR")]
    peer_stores_directory: Option<String>,
    /// The identity on the settlement network, which is another one
    #[arg(long)]
    msb: bool,
    /// Name of the settlement store [env: MSB_STORE_NAME] [default: <peer store>-msb]
    #[arg(long, value_name = "NAME")]
    msb_store_name: Option<String>,
    /// Folder of the settlement stores [env: MSB_STORES_DIRECTORY] [default: stores/]
    #[arg(long, value_name = "DIR")]
    msb_stores_directory: Option<String>,
}

impl Store {
    fn folder(&self) -> Result<PathBuf, Failure> {
        let given = StoreNames {
            peer_name: self.peer_store_name.clone(),
            peer_folder: self.peer_stores_directory.clone(),
            msb_name: self.msb_store_name.clone(),
            msb_folder: self.msb_stores_directory.clone(),
        };
        let (peer, msb) = config::stores(given, &|name| std::env::var(name).ok())?;
        Ok(if self.msb { msb } else { peer })
    }
}

fn key_file(store: &Path) -> PathBuf {
    store.join("db").join("keypair.json")
}

/// Runs the command to its end.
pub(crate) fn keys(args: KeysArgs) -> Result<ExitCode, Failure> {
    match args.action {
        Action::Show { store, show_secret } => show(&store.folder()?, show_secret)?,
        Action::Import { store, file, mnemonic_file, derivation_path, password_file, replace } => {
            let store = store.folder()?;
            check_free(&store, replace)?;
            let identity = match (file, mnemonic_file) {
                (_, Some(words)) => {
                    let words = secret_text(&words)?;
                    Identity::from_mnemonic(&words, derivation_path.as_deref()).map_err(failed)?
                }
                (Some(file), None) => read_key_file(&file, password_file.as_deref())?,
                (None, None) => return Err(Failure::usage("a keypair.json or --mnemonic-file is needed; see --help")),
            };
            import(&store, &identity)?;
        }
        Action::Export { store, file, mnemonic, password_file } => {
            let path = key_file(&store.folder()?);
            let identity = load(&path)?;
            let content = if mnemonic {
                let words = identity.mnemonic().ok_or_else(|| {
                    Failure::failed(format!(
                        "{} has a key without the words that it follows from; export it as a keypair.json",
                        path.display()
                    ))
                })?;
                format!("{words}\n")
            } else {
                let password = password_file.map(|file| secret_text(&file)).transpose()?;
                keyfile::encrypt(&identity, password.as_deref().map_or(b"", |text| text.as_bytes()))
            };
            let content = Zeroizing::new(content);
            if file.as_os_str() == "-" {
                output::text(&content);
            } else {
                identity::write_private(&file, content.as_bytes()).map_err(failed)?;
                output::line(&format!("Exported {} to {}", identity.address(), file.display()));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(store: &Path, show_secret: bool) -> Result<(), Failure> {
    let path = key_file(store);
    let identity = load(&path)?;
    output::line(&format!("Address:          {}", identity.address()));
    output::line(&format!("Public key:       {}", identity.public_key_hex()));
    output::line(&format!("Key file:         {}", path.display()));
    let words = identity.mnemonic().map(|words| words.split(' ').count());
    let words = words.map_or("unknown".into(), |count| format!("known, {count} words"));
    output::line(&format!("Mnemonic:         {words}"));
    output::line(&format!("Derivation path:  {}", identity.derivation_path().unwrap_or("unknown")));
    if show_secret {
        let secret = Zeroizing::new(HEXLOWER.encode(&*Zeroizing::new(identity.key_pair().secret_key())));
        output::line(&format!("Secret key:       {}", *secret));
        if let Some(words) = identity.mnemonic() {
            output::line(&format!("Words:            {words}"));
        }
    }
    Ok(())
}

/// The files of a store that hold an identity.
fn holders(store: &Path) -> [PathBuf; 2] {
    let path = key_file(store);
    let waiting = pending::path_of(&path);
    [path, waiting]
}

/// Refuses, before anything is asked, read or made, to take the place of an identity.
fn check_free(store: &Path, replace: bool) -> Result<(), Failure> {
    let there = holders(store).into_iter().find(|path| path.symlink_metadata().is_ok());
    match there {
        Some(there) if !replace => Err(Failure::failed(format!(
            "{} holds an identity; another --peer-store-name leaves it alone, --replace moves it aside",
            there.display()
        ))),
        _ => Ok(()),
    }
}

/// Makes an identity that of a store which no peer uses meanwhile.
fn import(store: &Path, identity: &Identity) -> Result<(), Failure> {
    let path = key_file(store);
    let _lock = StoreLock::take(store)?;
    for old in holders(store).iter().filter(|path| path.symlink_metadata().is_ok()) {
        let aside = set_aside(old)?;
        output::line(&format!("Kept the identity that was there as {}", aside.display()));
    }
    let _ = fs::remove_file(unlocked::path_of(&path));
    for warning in identity::save(&path, identity).map_err(failed)? {
        output::error_line(&format!("warning: {warning}"));
    }
    output::line(&format!("Imported {}", identity.address()));
    output::line(&format!("Public key: {}", identity.public_key_hex()));
    output::line(&format!("Key file: {}", path.display()));
    Ok(())
}

/// Gives a file of an identity a name of its own, which no other has, and the form of a key file.
fn set_aside(old: &Path) -> Result<PathBuf, Failure> {
    let (read, waiting) = match identity::load(old) {
        Ok(loaded) => (Some(loaded.identity), false),
        // One that waits for its key file has another form.
        Err(_) => (pending::read(old).ok(), true),
    };
    let name = read.as_ref().map_or_else(|| "unread".into(), |identity| identity.public_key_hex()[..8].to_owned());
    let _ = fs::remove_file(unlocked::path_of(old));
    let aside = (0_u32..)
        .map(|count| if count == 0 { format!("keypair.{name}.json") } else { format!("keypair.{name}.{count}.json") })
        .map(|name| old.with_file_name(name))
        .find(|path| path.symlink_metadata().is_err())
        .unwrap_or_else(|| old.with_extension("old"));
    let moved = match read.filter(|_| waiting) {
        Some(identity) => {
            identity::write_private(&aside, keyfile::encrypt(&identity, b"").as_bytes()).map_err(failed)?;
            fs::remove_file(old)
        }
        None => fs::rename(old, &aside),
    };
    moved.map_err(|error| Failure::failed(format!("cannot move {} aside: {error}", old.display())))?;
    Ok(aside)
}

/// The identity in a key file of anybody, or in the store that has it.
fn read_key_file(path: &Path, password_file: Option<&Path>) -> Result<Identity, Failure> {
    let path = if path.is_dir() { key_file(path) } else { path.to_owned() };
    let content =
        fs::read(&path).map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
    let password = password_file.map(secret_text).transpose()?;
    let password = password.as_deref().map_or(b"".as_slice(), |text| text.as_bytes());
    match keyfile::decrypt(&path, &content, password) {
        Err(IdentityError::Locked { path }) => Err(Failure::failed(format!(
            "key file {} cannot be decrypted {}, or is corrupt",
            path.display(),
            if password_file.is_some() {
                "with this password"
            } else {
                "without a password (--password-file gives one)"
            }
        ))),
        other => other.map_err(failed),
    }
}

/// The identity of a store that is there. A store that nobody ever started has none, and gets none by being asked.
fn load(path: &Path) -> Result<Identity, Failure> {
    match identity::load(path) {
        Ok(loaded) => Ok(loaded.identity),
        Err(IdentityError::Missing { path }) => {
            Err(Failure::failed(format!("no key file at {}; a peer makes one at its first start", path.display())))
        }
        Err(error) => Err(failed(error)),
    }
}

/// A text that is on no command line: the content of a file, or of standard input, without the end of its line.
fn secret_text(path: &Path) -> Result<Zeroizing<String>, Failure> {
    const MAX: u64 = 4096;
    let mut text = Zeroizing::new(String::new());
    let read = if path.as_os_str() == "-" {
        io::stdin().lock().take(MAX).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(MAX).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
    Ok(Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned()))
}

fn failed(error: IdentityError) -> Failure {
    Failure::failed(error.to_string())
}
