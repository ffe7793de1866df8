//! `intercom relay`: a blind relay.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use blind_relay::{Limits, Server};
use clap::Args;
use crypto::KeyPair;
use data_encoding::HEXLOWER;
use hyperdht::{BootstrapNode, Connection, Dht, DhtOptions, ServerOptions};
use protomux::Mux;
use rand::TryRngCore;
use rand::rngs::OsRng;

use super::dht::{cannot_bind, parse_node};
use crate::cli::error::Failure;
use crate::cli::output;
use crate::cli::signals::{Continued, Signals};

/// The arguments of `intercom relay`.
#[derive(Debug, Args)]
#[command(
    after_help = "When the relay can be reached it prints a line that begins with `Relay` and its public key: what peers need to meet here.\n\
    It passes on encrypted packets and is not told whom they connect."
)]
pub(crate) struct RelayArgs {
    /// Address to bind to
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    host: IpAddr,
    /// UDP port to bind to; 0: any free one. Without it 49737, or any if that is taken
    #[arg(long)]
    port: Option<u16>,
    /// Nodes of the network to join; without it the public network
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = parse_node)]
    bootstrap: Vec<BootstrapNode>,
    /// File that keeps the relay's secret, made where there is none; without it the key is another one at each start
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Pairs of peers to relay at a time
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_pairs)]
    max_pairs: usize,
}

/// Runs the relay until a signal comes.
pub(crate) async fn relay(args: RelayArgs) -> Result<ExitCode, Failure> {
    let no_signals = |error| Failure::failed(format!("cannot listen for signals: {error}"));
    let mut signals = Signals::new().map_err(no_signals)?;
    let mut continued = Continued::new().map_err(no_signals)?;
    let keys = match &args.key_file {
        Some(path) => key_of(path).map_err(|error| Failure::failed(format!("key file {}: {error}", path.display())))?,
        None => KeyPair::generate(),
    };
    let defaults = DhtOptions::default();
    let address = SocketAddr::new(args.host, args.port.unwrap_or(defaults.port));
    let options = DhtOptions {
        host: address.ip(),
        port: address.port(),
        // Who names a port means that one, and may have opened it in a firewall.
        any_port: args.port.is_none(),
        bootstrap: (!args.bootstrap.is_empty()).then_some(args.bootstrap),
        ..defaults
    };
    let dht = Dht::new(options).await.map_err(|error| cannot_bind("a relay", address, &error))?;
    let relay = Server::new(dht.rpc().udx().clone(), Limits { max_pairs: args.max_pairs, ..Limits::default() });
    let server = dht.create_server(ServerOptions::default());
    let serve = async {
        dht.bootstrapped().await;
        let key = HEXLOWER.encode(&keys.public_key);
        server.listen(keys).await.map_err(|error| Failure::failed(format!("cannot announce the relay: {error}")))?;
        output::line(&format!("Relay {key}"));
        while let Some(connection) = server.accept().await {
            tokio::spawn(attend(relay.clone(), connection));
        }
        Ok(())
    };
    tokio::select! {
        served = serve => served?,
        () = signals.next() => {}
        never = continued.each(|| dht.network_changed()) => match never {},
    }
    relay.close();
    let close = async {
        server.close().await;
        dht.destroy().await;
    };
    Ok(signals.closing(close).await)
}

async fn attend(relay: Server, connection: Connection) {
    let mux = Mux::new(connection);
    if let Err(error) = relay.serve(&mux).await {
        tracing::debug!(%error, "a connection to the relay ended");
        mux.destroy();
    }
}

/// The key pair of a file, which is made where there is none.
fn key_of(path: &Path) -> io::Result<KeyPair> {
    let seed = match std::fs::read_to_string(path) {
        Ok(text) => {
            let seed = HEXLOWER.decode(text.trim().as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
            seed.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "is not 64 digits of hex"))?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut seed = [0; 32];
            OsRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(path)?;
            writeln!(file, "{}", HEXLOWER.encode(&seed))?;
            file.sync_all()?;
            seed
        }
        Err(error) => return Err(error),
    };
    Ok(KeyPair::from_seed(&seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_file_is_made_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("relay.key");
        let made = key_of(&path).expect("made");
        assert_eq!(key_of(&path).expect("read").public_key, made.public_key);
        std::fs::write(&path, "not a key").expect("written");
        assert!(key_of(&path).is_err());
    }
}
