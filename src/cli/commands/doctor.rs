//! `intercom doctor`: what network this machine has, in plain words, and what to do about it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use crypto::KeyPair;
use futures_util::future::join_all;
use hyperdht::constants::DEFAULT_PORT;
use hyperdht::{BootstrapNode, ConnectOptions, Dht, DhtOptions, ServerOptions, is_private};
use tokio::time::timeout;

use super::dht::parse_node;
use crate::cli::error::Failure;
use crate::cli::output;
use crate::cli::signals::Signals;
use crate::intersplit::iso_time;

/// How long each of the questions may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Nodes that are asked how they see us.
const WITNESSES: usize = 12;

/// As few say nothing about the kind of a NAT.
const ENOUGH_WITNESSES: usize = 3;

/// No machine that runs this program is older: 2025-01-01.
const PLAUSIBLE_TIME: Duration = Duration::from_secs(1_735_689_600);

/// How much the two clocks of the machine may disagree while this runs.
const CLOCK_JUMP: Duration = Duration::from_secs(2);

/// The arguments of `intercom doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "It ends with code 1 when it finds something broken, with 0 otherwise. Nothing is kept and nobody else is told."
)]
pub(crate) struct DoctorArgs {
    /// Nodes of the network to examine; without it the public network
    #[arg(long, alias = "bootstrap", alias = "peer-dht-bootstrap", value_name = "HOST:PORT", value_delimiter = ',', value_parser = parse_node)]
    dht_bootstrap: Vec<BootstrapNode>,
    /// Address to bind to
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    host: IpAddr,
    /// UDP port to bind to; 0: any free one
    #[arg(long, default_value_t = 0)]
    port: u16,
}

/// What was found out, and whether something is broken.
#[derive(Default)]
struct Findings {
    broken: u32,
}

impl Findings {
    fn ok(&self, what: &str, text: &str) {
        output::line(&format!("ok    {what:<10} {text}"));
    }

    /// Not broken, but worth to know.
    fn note(&self, what: &str, text: &str) {
        output::line(&format!("note  {what:<10} {text}"));
    }

    fn bad(&mut self, what: &str, text: &str) {
        self.broken += 1;
        output::line(&format!("bad   {what:<10} {text}"));
    }
}

/// Examines the network.
pub(crate) async fn doctor(args: DoctorArgs) -> Result<ExitCode, Failure> {
    let mut signals = Signals::new().map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    tokio::select! {
        done = examine(args) => done,
        () = signals.next() => Ok(ExitCode::from(130)),
    }
}

async fn examine(args: DoctorArgs) -> Result<ExitCode, Failure> {
    let mut findings = Findings::default();
    let clocks = (Instant::now(), SystemTime::now());
    let options = DhtOptions {
        bootstrap: (!args.dht_bootstrap.is_empty()).then_some(args.dht_bootstrap),
        host: args.host,
        port: args.port,
        ephemeral: Some(true),
        ..DhtOptions::default()
    };
    let dht = Dht::new(options.clone()).await.map_err(|error| {
        Failure::failed(format!("cannot bind {}:{}: {error}; choose another --host or --port", args.host, args.port))
    })?;
    addresses(&mut findings, &dht);
    // What is not there in time is told below.
    let _ = timeout(PATIENCE, dht.bootstrapped()).await;
    if health(&mut findings, &dht).await {
        reachability(&findings, &dht).await;
        let other = DhtOptions { port: 0, ..options };
        connection(&mut findings, &dht, other).await;
    }
    clock(&mut findings, clocks);
    // It is ephemeral: nobody needs to be told.
    let _ = timeout(Duration::from_secs(2), dht.destroy()).await;
    if findings.broken == 0 {
        output::line("Nothing is broken.");
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&format!("{} broken: see the lines that begin with \"bad\".", findings.broken));
    Ok(ExitCode::FAILURE)
}

fn addresses(findings: &mut Findings, dht: &Dht) {
    let addresses = dht.local_addresses();
    let only_loopback = addresses.iter().all(|addr| addr.ip().is_loopback());
    let listed = addresses.iter().map(|addr| addr.ip().to_string()).collect::<Vec<_>>().join(", ");
    let bound = dht.local_addr().map_or_else(String::new, |addr| format!(", UDP port {}", addr.port()));
    match dht.local_addr() {
        Some(addr) if addr.ip().is_loopback() => {
            findings.ok("addresses", &format!("bound to {} alone{bound}", addr.ip()))
        }
        _ if only_loopback => {
            findings.bad("addresses", "no network interface has an IPv4 address: connect this machine to a network");
        }
        _ if addresses.iter().all(|addr| is_private(*addr.ip())) => {
            findings.ok("addresses", &format!("{listed} (private: there is a NAT before the internet){bound}"));
        }
        _ => findings.ok("addresses", &format!("{listed}{bound}")),
    }
}

/// Whether the DHT answers.
async fn health(findings: &mut Findings, dht: &Dht) -> bool {
    let nodes = dht.rpc().nodes(WITNESSES);
    let answers = ask(dht, &nodes).await;
    let stats = dht.rpc().stats();
    if nodes.is_empty() || answers.is_empty() {
        findings.bad(
            "dht",
            "no node answers: UDP to the internet is blocked by a firewall, or the nodes that --dht-bootstrap names (the public ones \
             without it) are not there. Allow outgoing UDP, or check those addresses",
        );
        return false;
    }
    let mut times: Vec<Duration> = answers.iter().map(|answer| answer.rtt).collect();
    times.sort_unstable();
    let text = format!(
        "{} nodes known, {} of {} answered, {:.0} ms at the median, {} of {} requests timed out",
        dht.rpc().table_len(),
        answers.len(),
        nodes.len(),
        times[times.len() / 2].as_secs_f64() * 1e3,
        stats.timeouts,
        stats.timeouts + stats.responses,
    );
    if answers.len() * 2 < nodes.len() || stats.timeouts > stats.responses {
        findings.bad(
            "dht",
            &format!("{text}: the network loses most packets; try another network, or less load on this one"),
        );
    } else {
        findings.ok("dht", &text);
    }
    true
}

/// How these nodes see us, and how far they are.
async fn ask(dht: &Dht, nodes: &[SocketAddrV4]) -> Vec<Answer> {
    let pings = nodes.iter().map(|node| dht.rpc().ping(*node, Default::default()));
    let answers = join_all(pings).await.into_iter().flatten();
    answers.map(|reply| Answer { to: reply.to, rtt: reply.rtt }).collect()
}

struct Answer {
    to: SocketAddrV4,
    rtt: Duration,
}

/// How others see us, and so how they can connect.
async fn reachability(findings: &Findings, dht: &Dht) {
    let answers = ask(dht, &dht.rpc().nodes(WITNESSES)).await;
    let seen: Vec<SocketAddrV4> = answers.iter().map(|answer| answer.to).collect();
    let (good, text) = nat(!dht.rpc().firewalled(), &seen);
    if good { findings.ok("nat", &text) } else { findings.note("nat", &text) }
}

/// What these views of us, each of another node, say about the NAT, and whether that is good.
fn nat(open: bool, seen: &[SocketAddrV4]) -> (bool, String) {
    let hosts: BTreeSet<&Ipv4Addr> = seen.iter().map(SocketAddrV4::ip).collect();
    let hosts = hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let addresses: BTreeSet<&SocketAddrV4> = seen.iter().collect();
    if open {
        return (true, format!("open, at {hosts}: reachable, everybody can connect directly"));
    }
    if seen.len() < ENOUGH_WITNESSES {
        return (false, format!("only {} nodes say how they see us ({hosts}): too few to tell the kind", seen.len()));
    }
    if addresses.len() == 1 {
        let text = format!(
            "consistent (a cone), at {hosts}: connections are punched, with almost everybody. If the router let incoming UDP through to \
             port {DEFAULT_PORT} of this machine, which its first peer takes, none would have to be"
        );
        return (true, text);
    }
    let text = format!(
        "random (symmetric), at {hosts}: connections to peers behind a consistent NAT are punched after some seconds of guessing; those to \
         peers behind a random one are relayed, if a relay is there (`intercom relay`, `--relay-through`). A router with \
         \"endpoint-independent mapping\", or one that lets incoming UDP through to port {DEFAULT_PORT} of this machine, mends it"
    );
    (false, text)
}

/// Whether a peer that knows our key alone gets to us.
async fn connection(findings: &mut Findings, dht: &Dht, other: DhtOptions) {
    let server = dht.create_server(ServerOptions::default());
    let keys = KeyPair::generate();
    let key = keys.public_key;
    let listening = timeout(PATIENCE, server.listen(keys)).await;
    let relays = server.relay_addresses().len();
    if !matches!(listening, Ok(Ok(()))) || relays == 0 {
        return findings.bad(
            "announce",
            "no node of the DHT stored where we are, so nobody can find us: the nodes that answer do not store (a network needs at \
             least two persistent nodes), or our packets arrive late",
        );
    }
    findings.ok("announce", &format!("{relays} nodes tell others where we are"));

    let begun = Instant::now();
    let connect = async {
        let client = Dht::new(other).await.map_err(|error| error.to_string())?;
        client.bootstrapped().await;
        let connected = client.connect(key, ConnectOptions::default()).await;
        let connected = connected.map_err(|error| format!("{error} ({})", error.code()))?;
        let accepted = server.accept().await.ok_or("the server ended")?;
        let punches = client.punch_stats();
        drop((connected, accepted));
        client.destroy().await;
        Ok::<_, String>(punches.consistent + punches.random > 0)
    };
    let took = |begun: Instant| begun.elapsed().as_millis();
    match timeout(PATIENCE, connect).await {
        Ok(Ok(true)) => findings
            .ok("connect", &format!("a second peer on this machine found us and punched a hole, {} ms", took(begun))),
        Ok(Ok(false)) => findings.ok("connect", &format!("a second peer on this machine found us, {} ms", took(begun))),
        // Whoever is open is connected to at its outside address, from inside too, as in JavaScript.
        Ok(Err(_)) | Err(_) if forwarded(dht) => findings.note(
            "connect",
            "a second peer on this machine cannot connect to us, as the router lets nobody of its own network in at its outside address \
             (no hairpin NAT). Peers elsewhere are not concerned; those of this network connect if the port is not forwarded",
        ),
        Ok(Err(error)) => findings.bad(
            "connect",
            &format!("a second peer on this machine cannot connect to us: {error}; a firewall on it may block UDP"),
        ),
        Err(_) => findings.bad(
            "connect",
            "a second peer on this machine cannot connect to us in time; a firewall on it may block UDP",
        ),
    }
    let _ = timeout(Duration::from_secs(3), server.close()).await;
}

/// Whether a router lets everybody in to us, though its address is not ours.
fn forwarded(dht: &Dht) -> bool {
    let is_ours = |seen: SocketAddrV4| dht.local_addresses().iter().any(|own| own.ip() == seen.ip());
    !dht.rpc().firewalled() && dht.rpc().remote_address().is_some_and(|seen| !is_ours(seen))
}

/// Whether the clock can be right. Invites, welcomes and messages carry times.
fn clock(findings: &mut Findings, (begun, wall): (Instant, SystemTime)) {
    let now = SystemTime::now();
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = iso_time(since_1970.as_millis() as f64).unwrap_or_default();
    let by_wall = now.duration_since(wall).unwrap_or_default();
    let jump = by_wall.abs_diff(begun.elapsed());
    if since_1970 < PLAUSIBLE_TIME {
        findings.bad(
            "clock",
            "it is before 2025 on this machine: set the clock, or invites and welcomes are taken for expired or early",
        );
    } else if jump > CLOCK_JUMP || now < wall {
        findings
            .note("clock", &format!("it was changed by {} s while this ran: let one service set it", jump.as_secs()));
    } else {
        findings.ok("clock", &format!("{}: nobody on the network tells the time, so compare it yourself", time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(ports: &[u16]) -> Vec<SocketAddrV4> {
        ports.iter().map(|port| SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 9), *port)).collect()
    }

    #[test]
    fn each_kind_of_nat_has_its_words() {
        let cases: [(bool, &[u16], bool, &str); 5] = [
            (true, &[5, 5, 5], true, "reachable"),
            (false, &[5, 5, 5], true, "punched"),
            (false, &[5, 6, 7], false, "relayed"),
            (false, &[5, 5, 5, 6], false, "symmetric"),
            (false, &[5, 6], false, "only 2 nodes"),
        ];
        for (open, ports, good, word) in cases {
            let (said, text) = nat(open, &seen(ports));
            assert!(said == good && text.contains(word) && text.contains("203.0.113.9"), "{open} {ports:?}: {text}");
        }
    }
}
