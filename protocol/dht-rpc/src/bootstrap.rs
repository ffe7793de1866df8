//! Joining the network: the first query, the test of the firewall, and becoming persistent.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::core::{Event, QueryEvent};
use crate::driver::Inner;
use crate::io::{Outgoing, Owner, SocketId};
use crate::message::command;
use crate::nat::NatSampler;
use crate::peer::node_id;
use crate::reply::{Reply, RequestError};

/// Nodes that are asked whether they reach us.
const FIREWALL_NODES: usize = 5;

/// How many of that many nodes must reach us.
const FIREWALL_REPLIES: usize = 3;

/// How long the others are waited for once enough have answered.
const FIREWALL_GRACE: Duration = Duration::from_millis(250);

/// A node that everybody knows, to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootstrapNode {
    /// Its address.
    Addr(SocketAddrV4),
    /// Its name.
    Named {
        /// An address that it probably has; the name is looked up only when nobody answers there.
        suggested: Option<Ipv4Addr>,
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
}

/// A bootstrap node that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bootstrap node {0:?} is not host:port or ip@host:port")]
pub struct BadBootstrapNode(String);

impl FromStr for BootstrapNode {
    type Err = BadBootstrapNode;

    /// Reads `host:port` or `ip@host:port`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadBootstrapNode(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().map_err(|_| bad())?;
        if let Ok(ip) = host.parse() {
            return Ok(Self::Addr(SocketAddrV4::new(ip, port)));
        }
        let (suggested, host) = match host.split_once('@') {
            Some((ip, host)) => (Some(ip.parse().map_err(|_| bad())?), host),
            None => (None, host),
        };
        if host.is_empty() {
            return Err(bad());
        }
        Ok(Self::Named { suggested, host: host.to_owned(), port })
    }
}

impl From<SocketAddrV4> for BootstrapNode {
    fn from(addr: SocketAddrV4) -> Self {
        Self::Addr(addr)
    }
}

/// The address of a bootstrap node; `None` when its name is not known.
async fn resolve(inner: &Arc<Inner>, node: &BootstrapNode) -> Option<SocketAddrV4> {
    let (suggested, host, port) = match node {
        BootstrapNode::Addr(addr) => return Some(*addr),
        BootstrapNode::Named { suggested, host, port } => (suggested, host, port),
    };
    if let Some(ip) = suggested {
        let addr = SocketAddrV4::new(*ip, *port);
        if inner.request(Outgoing::internal(addr, command::PING, Owner::Nobody)).await.is_ok() {
            return Some(addr);
        }
    }
    let mut found = tokio::net::lookup_host((host.as_str(), *port)).await.ok()?;
    found.find_map(|addr| match addr {
        SocketAddr::V4(addr) => Some(addr),
        SocketAddr::V6(_) => None,
    })
}

/// Gives a query the bootstrap nodes: those with addresses now, those with names when they are known.
pub(crate) fn open_query(inner: &Arc<Inner>, id: u64) {
    let known: Vec<SocketAddrV4> = inner.bootstrap.iter().filter_map(BootstrapNode::addr).collect();
    let named = known.len() < inner.bootstrap.len();
    inner.with(|core, now| core.open_query(id, &known, !named, now));
    if !named {
        return;
    }
    let inner = inner.clone();
    let mut closed = inner.closed.subscribe();
    tokio::spawn(async move {
        let resolve_all = async {
            let mut pending: FuturesUnordered<_> =
                inner.bootstrap.iter().filter(|n| n.addr().is_none()).map(|n| resolve(&inner, n)).collect();
            while let Some(found) = pending.next().await {
                inner.with(|core, now| core.open_query(id, found.as_slice(), pending.is_empty(), now));
            }
        };
        tokio::select! {
            () = resolve_all => {}
            _ = closed.wait_for(|closed| *closed) => {}
        }
    });
}

impl BootstrapNode {
    fn addr(&self) -> Option<SocketAddrV4> {
        match self {
            Self::Addr(addr) => Some(*addr),
            Self::Named { .. } => None,
        }
    }
}

/// How long the answer to a quick test of the firewall may come after the query. In a small or near network the two end at the same
/// moment, and it must not be chance which is first.
const QUICK_GRACE: Duration = Duration::from_millis(20);

/// Finds the own neighbourhood, and looks whether others can reach us.
pub(crate) async fn bootstrap(inner: Arc<Inner>) {
    let mut closed = inner.closed.subscribe();
    let join = async {
        let (firewalled, settings) = inner.with(|core, _| (core.io.firewalled, core.settings.clone()));
        let persistent = settings.persistent;
        let mut quick = firewalled && settings.quick_firewall && !persistent;
        for _ in 0..2 {
            let reached = find_self(&inner, quick).await;
            quick = false;
            if !(reached || persistent) || !update_network_state(&inner, !persistent).await {
                break;
            }
        }
    };
    tokio::select! {
        () = join => {}
        _ = closed.wait_for(|closed| *closed) => return,
    }
    inner.with(|core, _| core.bootstrapped = true);
    inner.bootstrapped.send_replace(true);
}

/// One query for the own identifier. With `quick` the first node that answers is asked to ping our other socket; the result
/// says whether it could before the query was over, or [`QUICK_GRACE`] later, which is worth a test of the firewall.
async fn find_self(inner: &Arc<Inner>, quick: bool) -> bool {
    let target = inner.with(|core, _| *core.table.id());
    let (_, mut events) = inner.find_node(target, false);
    let mut probes = FuturesUnordered::new();
    let mut asked = !quick;
    let mut reached = false;
    loop {
        tokio::select! {
            biased;
            Some(pong) = probes.next(), if !probes.is_empty() => reached |= Result::is_ok(&pong),
            event = events.recv() => match event {
                Some(QueryEvent::Reply(_)) if asked => {}
                Some(QueryEvent::Reply(reply)) => {
                    asked = true;
                    probes.push(ping_nat(inner, reply.from));
                }
                Some(QueryEvent::Done(_)) | None => break,
            },
        }
    }
    if let Ok(Some(pong)) = tokio::time::timeout(QUICK_GRACE, probes.next()).await {
        reached |= pong.is_ok();
    }
    reached
}

/// Asks a node to answer to our server socket.
async fn ping_nat(inner: &Arc<Inner>, to: SocketAddrV4) -> Result<Reply, RequestError> {
    let value = Some(server_port(inner).to_le_bytes().to_vec().into());
    inner.request(Outgoing { value, ..Outgoing::internal(to, command::PING_NAT, Owner::Nobody) }).await
}

fn server_port(inner: &Inner) -> u16 {
    inner.socket(SocketId::SERVER).map_or(0, |socket| socket.local_addr().port())
}

/// The node was up for long enough: it becomes persistent if others can reach it.
pub(crate) async fn become_persistent(inner: Arc<Inner>) {
    let mut closed = inner.closed.subscribe();
    tokio::select! {
        _ = update_network_state(&inner, false) => {}
        _ = closed.wait_for(|closed| *closed) => {}
    }
}

/// Looks whether the firewall is open and, unless `only_firewall`, becomes persistent if so. Says whether it did so.
async fn update_network_state(inner: &Arc<Inner>, only_firewall: bool) -> bool {
    let _one_at_a_time = inner.network_state.lock().await;
    let Some((firewalled, nat)) = inner.with(|core, _| {
        if !core.io.ephemeral || (only_firewall && !core.io.firewalled) {
            return None;
        }
        if !only_firewall {
            let host = core.nat.host();
            core.postpone_stable(host);
        }
        core.nat.addr().map(|addr| (core.io.firewalled, addr))
    }) else {
        return false;
    };

    let tested = if firewalled {
        match test_firewall(inner).await {
            Some(sampler) => Some(sampler),
            None => return false,
        }
    } else {
        None
    };

    inner.with(|core, _| {
        core.io.firewalled = false;
        // The address may have changed while we looked.
        if !core.io.ephemeral || core.nat.addr() != Some(nat) {
            return false;
        }
        let Some(addr) = tested.as_ref().map_or(Some(nat), NatSampler::addr) else { return false };
        if addr.ip() != nat.ip() {
            return false;
        }
        if !only_firewall {
            core.io.ephemeral = false;
        }
        if let Some(sampler) = tested {
            core.set_nat(sampler);
        }
        core.set_id(node_id(addr));
        if !only_firewall {
            core.event(Event::Persistent);
        }
        true
    })
}

/// Asks others to ping our server socket. `None` means that a firewall is in the way, or that we could not find out;
/// otherwise how the server socket looks from outside.
async fn test_firewall(inner: &Arc<Inner>) -> Option<NatSampler> {
    let mut nodes: Vec<SocketAddrV4> = inner.with(|core, _| core.nodes.latest().take(FIREWALL_NODES).collect());
    if nodes.len() < FIREWALL_NODES {
        let mut named: FuturesUnordered<_> = inner.bootstrap.iter().map(|node| resolve(inner, node)).collect();
        while let Some(found) = named.next().await {
            nodes.extend(found);
        }
    }
    let needed = if nodes.len() >= FIREWALL_NODES { FIREWALL_REPLIES } else { 1 };

    inner.with(|core, _| {
        let hosts: HashMap<Ipv4Addr, bool> = nodes.iter().map(|addr| (*addr.ip(), false)).collect();
        core.firewall_test = Some(hosts);
    });
    let mut pings: FuturesUnordered<_> = nodes.iter().map(|addr| ping_nat(inner, *addr)).collect();
    let mut pongs = Vec::new();
    let mut enough = None;
    loop {
        let next = tokio::select! {
            next = pings.next() => next,
            () = async { tokio::time::sleep_until(enough.expect("guarded")).await }, if enough.is_some() => None,
        };
        let Some(pong) = next else { break };
        pongs.extend(pong);
        if pongs.len() >= needed && enough.is_none() {
            enough = Some(tokio::time::Instant::now() + FIREWALL_GRACE);
        }
    }

    let port = server_port(inner);
    inner.with(|core, _| {
        let hosts = core.firewall_test.take().unwrap_or_default();
        let mut sampler = NatSampler::new();
        for pong in pongs {
            // Only what came to the server socket shows that the firewall lets it through.
            if hosts.get(pong.from.ip()).copied().unwrap_or(false) {
                sampler.add(pong.to);
            }
        }
        let same_host = sampler.host().is_some() && sampler.host() == core.nat.host();
        (sampler.len() >= needed && same_host && sampler.port() == port).then_some(sampler)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_nodes_are_read() {
        let named = |suggested, host: &str| BootstrapNode::Named { suggested, host: host.to_owned(), port: 49737 };
        assert_eq!("127.0.0.1:5".parse(), Ok(BootstrapNode::Addr(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5))));
        assert_eq!("node1.hyperdht.org:49737".parse(), Ok(named(None, "node1.hyperdht.org")));
        let suggested = Some(Ipv4Addr::new(88, 99, 3, 86));
        assert_eq!("88.99.3.86@node1.hyperdht.org:49737".parse(), Ok(named(suggested, "node1.hyperdht.org")));
        for bad in ["", "host", "host:", "host:99999", "x@host:1", "1.2.3.4@:1", "@:1"] {
            assert!(bad.parse::<BootstrapNode>().is_err(), "{bad}");
        }
    }
}
