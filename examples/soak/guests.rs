//! Guests of the program: peers of its entry channel that look for it alone, and not for each other.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use crypto::KeyPair;
use hyperdht::DhtOptions;
use hyperswarm::{JoinOptions, Swarm, SwarmOptions};
use intercom::peer::SwarmNetwork;
use intercom::sidechannel::link::{Link, Operation};
use intercom::sidechannel::{Console, ENTRY_CHANNEL, Network, SendOptions, Sidechannel, SidechannelOptions};
use rand::Rng;

/// How often a guest leaves and comes back, on average, and how often it says something.
const STAY: Duration = Duration::from_secs(100);
const SPEAK: Duration = Duration::from_secs(30);

/// A process of guests, which dies with this.
pub(crate) struct Guests {
    child: Child,
    pub(crate) count: usize,
}

impl Guests {
    pub(crate) fn start(bootstrap: SocketAddrV4, count: usize) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let child = Command::new(own)
            .args(["guests", &bootstrap.to_string(), &count.to_string()])
            // It ends when this process does, whose end of the pipe closes then.
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot start guests")?;
        Ok(Self { child, count })
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The process itself.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(2);
    let bootstrap: SocketAddrV4 = args.next().context("no bootstrap node")?.parse()?;
    let count: usize = args.next().context("no count")?.parse()?;
    for _ in 0..count {
        tokio::spawn(guest(bootstrap));
    }
    let parent = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    parent.await??;
    std::process::exit(0);
}

/// One guest, which leaves and comes back for ever.
async fn guest(bootstrap: SocketAddrV4) {
    let keys = KeyPair::generate();
    loop {
        let (stay, in_order) = {
            let mut rng = rand::rng();
            (STAY.mul_f64(rng.random_range(0.5..1.5)), rng.random())
        };
        if let Err(error) = visit(bootstrap, keys.clone(), stay, in_order).await {
            eprintln!("soak: a guest failed: {error:#}");
        }
    }
}

async fn visit(bootstrap: SocketAddrV4, keys: KeyPair, stay: Duration, in_order: bool) -> anyhow::Result<()> {
    let dht_options = DhtOptions {
        bootstrap: Some(vec![bootstrap.into()]),
        host: Ipv4Addr::LOCALHOST.into(),
        port: 0,
        ..DhtOptions::default()
    };
    let swarm =
        Swarm::new(SwarmOptions { key_pair: Some(keys.clone()), dht_options, ..SwarmOptions::default() }).await?;
    let network = Visitor { all: SwarmNetwork::from(swarm.clone()), swarm };
    let options = SidechannelOptions { console: Console::new(|_| {}), ..SidechannelOptions::default() };
    let sidechannel = Sidechannel::start(options, keys, Arc::new(network.clone()));
    let speak = async {
        loop {
            let pause = SPEAK.mul_f64(rand::rng().random_range(0.5..1.5));
            tokio::time::sleep(pause).await;
            let text = "x".repeat(rand::rng().random_range(10..2000));
            sidechannel.broadcast(ENTRY_CHANNEL, text.into(), SendOptions::default()).await;
        }
    };
    let _ = tokio::time::timeout(stay, speak).await;
    sidechannel.shutdown().await;
    if in_order {
        network.swarm.destroy().await;
    }
    Ok(())
}

/// A network on which topics are looked up, and not announced.
#[derive(Clone)]
struct Visitor {
    all: SwarmNetwork,
    swarm: Swarm,
}

impl Network for Visitor {
    fn bootstrapped(&self) -> Operation<'_, ()> {
        self.all.bootstrapped()
    }

    fn join(&self, topic: [u8; 32]) {
        drop(self.swarm.join(topic, JoinOptions { server: false, client: true, limit: None }));
    }

    fn leave(&self, topic: [u8; 32]) -> Operation<'_, ()> {
        self.all.leave(topic)
    }

    fn flush(&self) -> Operation<'_, ()> {
        self.all.flush()
    }

    fn next_link(&self) -> Operation<'_, Option<Arc<dyn Link>>> {
        self.all.next_link()
    }
}
