//! `intercom dht`: a DHT node.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::ExitCode;

use clap::Args;
use hyperdht::{BootstrapNode, Dht, DhtOptions};

use crate::cli::error::Failure;
use crate::cli::output;
use crate::cli::signals::{Signals, within_limits};

/// The arguments of `intercom dht`.
#[derive(Debug, Args)]
#[command(
    after_help = "When a node answers it prints a line that ends with its HOST:PORT; the first is that of --port."
)]
pub(crate) struct DhtArgs {
    /// Address to bind to, at which others reach this machine
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    host: Ipv4Addr,
    /// UDP port to bind to; 0: any free one
    #[arg(long, default_value_t = 49737)]
    port: u16,
    /// Nodes of the network to join; without it the node is the first of its own network
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = parse_node)]
    bootstrap: Vec<BootstrapNode>,
    /// Only ask, and store nothing for others
    #[arg(long, requires = "bootstrap")]
    ephemeral: bool,
    /// Further nodes to run in this process, at ports of their own
    #[arg(long, value_name = "N", default_value_t = 0)]
    nodes: u16,
}

pub(super) fn parse_node(text: &str) -> Result<BootstrapNode, String> {
    text.trim().parse().map_err(|_| "not of the form HOST:PORT".to_owned())
}

/// Runs the node until a signal comes.
pub(crate) async fn dht(args: DhtArgs) -> Result<ExitCode, Failure> {
    let mut signals = Signals::new().map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let mut nodes = Vec::new();
    let started = tokio::select! {
        started = start(&args, &mut nodes) => started.map(Some),
        () = signals.next() => Ok(None),
    };
    if started
        .map_err(|error| cannot_bind("a DHT node", SocketAddr::new(args.host.into(), args.port), &error))?
        .is_some()
    {
        signals.next().await;
    }
    let close = async {
        for node in nodes.iter().rev() {
            node.destroy().await;
        }
    };
    Ok(signals.closing(within_limits(close)).await)
}

/// Starts the nodes one after the other, and says of each that it answers.
async fn start(args: &DhtArgs, nodes: &mut Vec<Dht>) -> io::Result<()> {
    let options = DhtOptions { host: args.host.into(), ..DhtOptions::default() };
    let first = if args.bootstrap.is_empty() {
        Dht::bootstrapper(args.host, args.port, options.clone()).await?
    } else {
        let joining = DhtOptions {
            bootstrap: Some(args.bootstrap.clone()),
            port: args.port,
            any_port: false,
            ephemeral: Some(args.ephemeral),
            firewalled: args.ephemeral,
            ..options.clone()
        };
        Dht::new(joining).await?
    };
    let address = ready(&first).await?;
    nodes.push(first);
    for _ in 0..args.nodes {
        let further = DhtOptions {
            bootstrap: Some(vec![address.into()]),
            port: 0,
            ephemeral: Some(false),
            firewalled: false,
            ..options.clone()
        };
        let node = Dht::new(further).await?;
        node.bootstrapped().await;
        nodes.push(node);
    }
    for node in nodes.iter() {
        output::line(&format!("DHT node listening at {}", address_of(node)?));
    }
    Ok(())
}

/// Waits until a node answers.
async fn ready(node: &Dht) -> io::Result<SocketAddrV4> {
    node.bootstrapped().await;
    address_of(node)
}

fn address_of(node: &Dht) -> io::Result<SocketAddrV4> {
    match node.local_addr() {
        Some(SocketAddr::V4(addr)) => Ok(addr),
        _ => Err(io::ErrorKind::NotConnected.into()),
    }
}

/// Why a node cannot be bound, and what to do about it.
pub(super) fn cannot_bind(what: &str, address: SocketAddr, error: &io::Error) -> Failure {
    let (reason, remedy) = match error.kind() {
        io::ErrorKind::AddrInUse => {
            ("the port is in use".to_owned(), "stop what uses that port, or choose another with --port")
        }
        io::ErrorKind::AddrNotAvailable => (error.to_string(), "give --host an address of this machine"),
        _ => (error.to_string(), "check --host and --port"),
    };
    Failure::failed(format!("cannot run {what} at {address}: {reason}; {remedy}"))
}
