//! `intercom demo`: a private network and two peers in one process, and a page to look at them.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use data_encoding::HEXLOWER;
use encoding::json::{JsString, Value};
use hyperdht::testnet::Testnet;
use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::sync::broadcast::Receiver;
use tokio::time::Instant;

use crate::bridge::BridgeOptions;
use crate::cli::error::Failure;
use crate::cli::output;
use crate::cli::signals::{Signals, within_limits};
use crate::identity::Identity;
use crate::intersplit::{Draft, format_cents};
use crate::peer::{NetworkOptions, Peer, PeerOptions, SwarmNetwork};
use crate::sidechannel::{Console, ENTRY_CHANNEL, SendOptions, SidechannelMessage, SidechannelOptions};
use crate::ui::{Ui, UiOptions};

/// Nodes of the private DHT.
const NODES: usize = 3;

/// The room in which they share what they paid.
const ROOM: &str = "trip";

/// What they paid: who, how much, with whom, for what.
const EXPENSES: [(&str, &str, &str, &str); 3] = [
    ("alice", "30", "alice,bob", "dinner"),
    ("bob", "24", "alice,bob,carol", "taxi"),
    ("alice", "45", "alice,bob,carol", "museum"),
];

/// The exchange is given up when it takes longer.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often is looked whether the peers are connected.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// The arguments of `intercom demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// End when the peers have exchanged their messages
    #[arg(long)]
    once: bool,
}

/// Runs the demonstration: to its end, or until a signal comes.
pub(crate) async fn demo(args: DemoArgs) -> Result<ExitCode, Failure> {
    let mut signals = Signals::new().map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let stage = Cell::new("starting the private DHT");
    let begun = Instant::now();
    let show = tokio::time::timeout(EXCHANGE_TIMEOUT, show(&stage));
    let cast = tokio::select! {
        shown = show => match shown {
            Ok(cast) => cast.map_err(|error| Failure::failed(format!("the demo failed while {}: {error}", stage.get())))?,
            Err(_) => return Err(Failure::failed(format!(
                "the demo gave up after {} s while {}; is UDP on the loopback interface blocked?",
                EXCHANGE_TIMEOUT.as_secs(),
                stage.get(),
            ))),
        },
        () = signals.next() => return Ok(ExitCode::from(130)),
    };
    output::line(&format!("Messages and expenses went both ways {} ms after the start.", begun.elapsed().as_millis()));
    if !args.once {
        let ui = UiOptions { host: Ipv4Addr::LOCALHOST.to_string(), port: 0, bridge: None };
        let ui =
            Ui::listen(ui).await.map_err(|error| Failure::failed(format!("cannot serve the web page: {error}")))?;
        output::line(
            "The network stays up until Ctrl-C. Look at it in a browser, a page for each peer, already connected:",
        );
        for player in &cast.peers {
            output::line(&format!("  {}: {}", player.name, player.page(&ui)));
        }
        output::line("A further peer joins it with:");
        output::line(&format!(
            "  intercom mystore --peer-dht-bootstrap {} --sidechannels {ROOM} --sidechannel-welcome-required 0",
            cast.testnet.bootstrap
        ));
        signals.next().await;
    }
    Ok(signals.closing(within_limits(cast.close())).await)
}

/// All that runs.
struct Cast {
    testnet: Testnet,
    peers: [Player; 2],
}

/// One of the two peers.
struct Player {
    name: &'static str,
    peer: Peer,
    network: SwarmNetwork,
    messages: Receiver<Arc<SidechannelMessage>>,
    token: String,
}

impl Player {
    /// The address of the page that connects to this peer. The token stands behind the `#`, which browsers send to nobody.
    fn page(&self, ui: &Ui) -> String {
        let bridge = self.peer.bridge_addr().map(|addr| format!("&bridge=ws://{addr}")).unwrap_or_default();
        format!("http://{}/#token={}{bridge}&room={ROOM}", ui.local_addr(), self.token)
    }
}

impl Cast {
    async fn close(self) {
        for player in &self.peers {
            player.peer.close().await;
            player.network.destroy().await;
        }
        self.testnet.destroy().await;
    }
}

/// Starts everything and lets the peers talk. `stage` says at any time what is being done.
async fn show(stage: &Cell<&'static str>) -> anyhow::Result<Cast> {
    let testnet = Testnet::new(NODES).await?;
    output::line(&format!("Private DHT: {} ({NODES} nodes)", testnet.bootstrap));

    stage.set("waiting for the first peer to join the network");
    let alice = start("alice", testnet.bootstrap).await?;
    alice.peer.ready().await;
    // Who comes second finds who is announced. Two who come at the same moment both look before the other is announced, and
    // only look again later.
    stage.set("waiting for the second peer to join the network");
    let bob = start("bob", testnet.bootstrap).await?;
    bob.peer.ready().await;
    let mut cast = Cast { testnet, peers: [alice, bob] };

    stage.set("waiting for the peers to find each other");
    while cast.peers.iter().any(|player| player.peer.sidechannel().connection_count() == 0) {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    stage.set("waiting for the messages");
    let [alice, bob] = &mut cast.peers;
    talk(alice, bob, "Hello Bob, nobody is between us.").await?;
    talk(bob, alice, "Hello Alice, I see you.").await?;
    stage.set("waiting for the expenses");
    settle(alice, bob).await?;
    Ok(cast)
}

/// A peer that lives in memory only, with a bridge at a free port.
async fn start(name: &'static str, bootstrap: SocketAddrV4) -> anyhow::Result<Player> {
    let identity = Identity::generate();
    let token = token()?;
    let network = NetworkOptions {
        host: Ipv4Addr::LOCALHOST.into(),
        port: 0,
        ..NetworkOptions::new(identity.key_pair().clone(), vec![bootstrap.into()])
    };
    let network = SwarmNetwork::new(network).await?;
    let options = PeerOptions {
        sidechannel: SidechannelOptions {
            console: Console::new(|_| {}),
            channels: vec![ROOM.to_owned()],
            // The room has no owner, who would have to sign a welcome.
            welcome_required: false,
            ..SidechannelOptions::default()
        },
        bridge: Some(BridgeOptions {
            host: Ipv4Addr::LOCALHOST.to_string(),
            token: token.clone(),
            peer: identity.public_key_hex(),
            address: identity.address(),
            ..BridgeOptions::default()
        }),
        commands: false,
        quiet: true,
        subnet: None,
        expenses: None,
        verified_rooms: Default::default(),
        identity: identity.clone(),
    };
    let peer = Peer::start(options, Arc::new(network.clone())).await?;
    let messages = peer.sidechannel().messages();
    output::line(&format!("{name}: {}", identity.public_key_hex()));
    if let Some(address) = peer.bridge_addr() {
        output::line(&format!("  SC-Bridge: ws://{address}"));
        output::line(&format!("  token:     {token}"));
    }
    Ok(Player { name, peer, network, messages, token })
}

/// One peer speaks, and the other hears it.
async fn talk(from: &Player, to: &mut Player, text: &str) -> anyhow::Result<()> {
    let sent = from.peer.sidechannel().broadcast(ENTRY_CHANNEL, text.into(), SendOptions::default()).await;
    anyhow::ensure!(sent, "{} was not allowed to send", from.name);
    loop {
        let heard = to.messages.recv().await?;
        if heard.payload.get("message").and_then(Value::as_str) == Some(text) {
            output::line(&format!("[{ENTRY_CHANNEL}] {} -> {}: {text}", from.name, to.name));
            return Ok(());
        }
    }
}

/// Both add what they paid, and both work out the same: who pays whom.
async fn settle(alice: &Player, bob: &Player) -> anyhow::Result<()> {
    let room = JsString::from(ROOM);
    for (count, (payer, amount, split, note)) in (1..).zip(EXPENSES) {
        let (from, to) = if payer == alice.name { (alice, bob) } else { (bob, alice) };
        let draft = Draft {
            channel: room.clone(),
            payer: payer.into(),
            amount: Some(amount.into()),
            split: split.into(),
            note: note.into(),
        };
        from.peer.expenses().add_expense(draft).await?;
        while to.peer.expenses().summary(&room).event_count < count {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        output::line(&format!("[{ROOM}] {payer} paid {amount} for {note}, split between {split}"));
    }
    let [ours, theirs] = [alice, bob].map(|player| player.peer.expenses().summary(&room));
    anyhow::ensure!(ours == theirs, "the ledgers of {} and {} differ", alice.name, bob.name);
    let payments = ours
        .settlements
        .iter()
        .map(|payment| format!("{} -> {}: {}", payment.from, payment.to, format_cents(payment.amount_cents)));
    output::line(&format!("[{ROOM}] both ledgers settle by {}", payments.collect::<Vec<_>>().join(", ")));
    Ok(())
}

/// A secret for a bridge.
fn token() -> anyhow::Result<String> {
    let mut secret = [0; 16];
    OsRng.try_fill_bytes(&mut secret)?;
    Ok(HEXLOWER.encode(&secret))
}
