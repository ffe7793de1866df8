//! Whole peers on a private network: what a client of one bridge sends, a client of another gets.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use encoding::json::{Value, parse};
use futures_util::{SinkExt, StreamExt};
use hyperdht::testnet::Testnet;
use intercom::bridge::BridgeOptions;
use intercom::identity::Identity;
use intercom::peer::{NetworkOptions, Peer, PeerOptions, SwarmNetwork};
use intercom::sidechannel::{Console, SidechannelOptions};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Only so that a test that hangs says where.
const PATIENCE: Duration = Duration::from_secs(60);

struct Player {
    identity: Identity,
    network: SwarmNetwork,
    peer: Peer,
    client: WebSocketStream<TcpStream>,
    /// The changes that it was told of, also while it waited for something else.
    told: Vec<String>,
}

impl Player {
    /// A peer that has joined the network, and a client of its bridge that has shown the token.
    async fn join(testnet: &Testnet, sidechannel: SidechannelOptions) -> Player {
        let identity = Identity::generate();
        let options = NetworkOptions::new(identity.key_pair().clone(), vec![testnet.bootstrap.into()]);
        let options = NetworkOptions { host: Ipv4Addr::LOCALHOST.into(), port: 0, ..options };
        let network = SwarmNetwork::new(options).await.expect("a free port");
        let bridge = BridgeOptions { host: "127.0.0.1".into(), token: "t".into(), ..BridgeOptions::default() };
        let options = PeerOptions {
            identity: identity.clone(),
            subnet: None,
            sidechannel: SidechannelOptions { console: Console::new(|_| {}), ..sidechannel },
            bridge: Some(bridge),
            commands: true,
            quiet: false,
            expenses: None,
            verified_rooms: Default::default(),
        };
        let peer = Peer::start(options, Arc::new(network.clone())).await.expect("a free port");
        let address = peer.bridge_addr().expect("is on");
        let stream = TcpStream::connect(address).await.expect("the bridge listens");
        let (client, _) = tokio_tungstenite::client_async(format!("ws://{address}"), stream).await.expect("an upgrade");
        let mut player = Player { identity, network, peer, client, told: Vec::new() };
        assert_eq!(player.ask(r#"{"id":0,"type":"auth","token":"t"}"#).await.get("type"), Some(&"auth_ok".into()));
        tokio::time::timeout(PATIENCE, player.peer.ready()).await.expect("the network is there");
        player
    }

    async fn next(&mut self) -> Value {
        loop {
            match tokio::time::timeout(PATIENCE, self.client.next()).await.expect("an answer or an event") {
                Some(Ok(Message::Text(text))) => {
                    self.told.extend(text.contains("_changed\"").then(|| text.to_string()));
                    return parse(text.as_str()).expect("JSON");
                }
                Some(Ok(_)) => {}
                other => panic!("the bridge is gone: {other:?}"),
            }
        }
    }

    /// The answer to a command, which must have an id.
    async fn ask(&mut self, command: &str) -> Value {
        self.client.send(Message::text(command)).await.expect("the bridge is there");
        loop {
            let answer = self.next().await;
            if answer.get("id").is_some_and(|id| matches!(id, Value::Number(_))) {
                return answer;
            }
        }
    }

    /// The next message that comes over the network.
    async fn event(&mut self) -> Value {
        loop {
            let event = self.next().await;
            if event.get("type") == Some(&"sidechannel_message".into()) {
                return event;
            }
        }
    }

    /// Waits until it is told of this change.
    async fn is_told(&mut self, change: &str) {
        loop {
            if let Some(at) = self.told.iter().position(|told| told == change) {
                self.told.drain(..=at);
                return;
            }
            self.next().await;
        }
    }

    /// Waits for that many connected peers, as a client would: by asking.
    async fn connected(&mut self, peers: usize) {
        let all = async {
            while self.ask(r#"{"id":1,"type":"stats"}"#).await.get("connectionCount") != Some(&peers.into()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.expect("the peers meet");
    }

    async fn leave(self) {
        self.peer.close().await;
        self.network.destroy().await;
    }
}

#[tokio::test]
async fn a_message_goes_from_client_to_client() {
    let testnet = Testnet::new(3).await.expect("loopback");
    let mut alice = Player::join(&testnet, SidechannelOptions::default()).await;
    let mut bob = Player::join(&testnet, SidechannelOptions::default()).await;
    alice.connected(1).await;
    bob.connected(1).await;
    let sent = alice.ask(r#"{"id":2,"type":"send","channel":"0000intercom","message":{"b":1,"1":"ü"}}"#).await;
    assert_eq!(sent.to_string(), r#"{"id":2,"type":"sent","channel":"0000intercom"}"#);
    let event = bob.event().await;
    assert_eq!(event.get("channel"), Some(&"0000intercom".into()));
    assert_eq!(event.get("from"), Some(&alice.identity.public_key_hex().into()));
    assert_eq!(event.get("message").map(Value::to_string).as_deref(), Some(r#"{"1":"ü","b":1}"#));
    bob.leave().await;
    alice.leave().await;
    testnet.destroy().await;
}

#[tokio::test]
async fn peers_that_join_at_the_same_moment_meet() {
    let testnet = Testnet::new(3).await.expect("loopback");
    let join = || Player::join(&testnet, SidechannelOptions::default());
    let (mut alice, mut bob) = tokio::join!(join(), join());
    alice.connected(1).await;
    bob.connected(1).await;
    tokio::join!(alice.leave(), bob.leave());
    testnet.destroy().await;
}

#[tokio::test]
async fn a_channel_can_be_joined_and_left_while_running() {
    let open = SidechannelOptions { welcome_required: false, ..SidechannelOptions::default() };
    let testnet = Testnet::new(3).await.expect("loopback");
    let mut alice = Player::join(&testnet, open.clone()).await;
    let mut bob = Player::join(&testnet, open).await;
    for player in [&mut alice, &mut bob] {
        player.connected(1).await;
        let joined = player.ask(r#"{"id":3,"type":"join","channel":"room"}"#).await;
        assert_eq!(joined.to_string(), r#"{"id":3,"type":"joined","channel":"room"}"#);
    }
    bob.ask(r#"{"id":4,"type":"cli","command":"/sc_send --channel room --message \"from the terminal\""}"#).await;
    assert_eq!(alice.event().await.get("message"), Some(&"from the terminal".into()));
    let left = bob.ask(r#"{"id":5,"type":"leave","channel":"room"}"#).await;
    assert_eq!(left.to_string(), r#"{"id":5,"type":"left","channel":"room","ok":true}"#);
    let stats = bob.ask(r#"{"id":6,"type":"cli","command":"/sc_stats"}"#).await;
    assert_eq!(
        stats.to_string(),
        r#"{"id":6,"type":"cli_result","command":"/sc_stats","ok":true,"output":["{\"channels\":[\"0000intercom\"],\"connectionCount\":1}"],"error":null}"#
    );
    bob.leave().await;
    alice.leave().await;
    testnet.destroy().await;
}

#[tokio::test]
async fn the_terminal_answers_over_the_bridge() {
    let testnet = Testnet::new(1).await.expect("loopback");
    let mut peer = Player::join(&testnet, SidechannelOptions::default()).await;
    let key = peer.identity.public_key_hex();
    let mut run = async |command: &str| {
        let command = Value::from(command).to_string();
        let answer = peer.ask(&format!(r#"{{"id":1,"type":"cli","command":{command}}}"#)).await;
        let output = answer.get("output").and_then(Value::as_array).map(<[Value]>::to_vec).unwrap_or_default();
        let error = answer.get("error").and_then(Value::as_str).map(str::to_owned);
        (output.iter().map(|line| line.as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>(), error)
    };
    assert_eq!(run(r#"/print --text "hello there""#).await, (vec!["hello there".into()], None));
    assert_eq!(run("/nonsense").await, (vec![], None));
    assert_eq!(run("/tx --command x").await.1.as_deref(), Some("Peer is not writable."));
    assert_eq!(
        run(r#"/sc_send --channel "open"#).await.1.as_deref(),
        Some("Cannot read properties of null (reading '1')")
    );
    assert_eq!(run("/sc_join").await.0.len(), 1);
    assert_eq!(run("/sc_join --channel r --invite %").await.0, ["Invalid invite. Pass JSON, base64, or @file."]);
    let (keys, _) = run("/get_keys").await;
    assert_eq!(keys[1], format!("Public Key:  {key}"));
    let (welcome, _) = run("/sc_welcome --channel room --text hi").await;
    assert!(welcome[0].starts_with(r#"{"payload":{"channel":"room","ownerPubKey":""#), "{welcome:?}");
    assert!(welcome[1].starts_with("welcome_b64: eyJ"), "{welcome:?}");
    let (invite, _) = run(&format!("/sc_invite --channel room --pubkey {key} --ttl 60")).await;
    assert!(invite[1].starts_with("invite_b64: eyJ"), "{invite:?}");
    let no_time = run(&format!("/sc_invite --channel room --pubkey {key} --ttl soon")).await;
    assert_eq!(no_time.0, ["Invite TTL is required. Pass --ttl <sec> or set --sidechannel-invite-ttl."]);
    assert_eq!(run("/exit").await.0, ["Exiting..."]);
    tokio::time::timeout(PATIENCE, peer.peer.exit_asked()).await.expect("the peer is asked to end");
    peer.leave().await;
    testnet.destroy().await;
}

#[tokio::test]
async fn an_expense_reaches_the_other_peer_and_its_terminal_shows_it() {
    let testnet = Testnet::new(3).await.expect("loopback");
    let mut alice = Player::join(&testnet, SidechannelOptions::default()).await;
    let mut bob = Player::join(&testnet, SidechannelOptions::default()).await;
    alice.connected(1).await;
    bob.connected(1).await;
    let add = r#"{"id":2,"type":"expense_add","payer":"Alice","amount":"30","split":"alice,bob,carol"}"#;
    let added = alice.ask(add).await;
    assert_eq!(added.get("broadcasted"), Some(&true.into()), "{added}");
    let event = bob.event().await;
    assert_eq!(event.get("message").and_then(|message| message.get("event")), added.get("event"));
    let balance = r#"{"id":3,"type":"expense_balance"}"#;
    let account = bob.ask(balance).await;
    assert_eq!(account, alice.ask(balance).await);

    let shown = bob.ask(r#"{"id":4,"type":"cli","command":"/expense_balance"}"#).await;
    let lines = r#"["[expense:0000intercom] entries=1 total=30.00","- balances:","  alice: +20.00","  bob: -10.00","  carol: -10.00","- settlements:","  bob -> alice: 10.00","  carol -> alice: 10.00"]"#;
    assert_eq!(shown.get("output").map(Value::to_string).as_deref(), Some(lines));
    bob.leave().await;
    alice.leave().await;
    testnet.destroy().await;
}

/// A peer without a bridge, and what it prints.
struct Listener {
    network: SwarmNetwork,
    peer: Peer,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    async fn join(testnet: &Testnet, quiet: bool) -> Listener {
        let identity = Identity::generate();
        let options = NetworkOptions::new(identity.key_pair().clone(), vec![testnet.bootstrap.into()]);
        let options = NetworkOptions { host: Ipv4Addr::LOCALHOST.into(), port: 0, ..options };
        let network = SwarmNetwork::new(options).await.expect("a free port");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let printed = lines.clone();
        let console = Console::new(move |line| printed.lock().expect("no panic").push(line.to_owned()));
        let options = PeerOptions {
            identity,
            subnet: None,
            sidechannel: SidechannelOptions { console, ..SidechannelOptions::default() },
            bridge: None,
            commands: false,
            quiet,
            expenses: None,
            verified_rooms: Default::default(),
        };
        let peer = Peer::start(options, Arc::new(network.clone())).await.expect("no port is asked for");
        tokio::time::timeout(PATIENCE, peer.ready()).await.expect("the network is there");
        Listener { network, peer, lines }
    }

    /// Whether it printed this, once an expense that came later is in its ledger.
    async fn printed(&self, text: &str) -> bool {
        let mut changes = self.peer.expenses().changes();
        while self.peer.expenses().list(&"0000intercom".into()).is_empty() {
            tokio::time::timeout(PATIENCE, changes.recv()).await.expect("a change").expect("the ledger is there");
        }
        self.lines.lock().expect("no panic").iter().any(|line| line.contains(text))
    }
}

#[tokio::test]
async fn a_quiet_peer_prints_no_messages_and_passes_them_on() {
    let testnet = Testnet::new(3).await.expect("loopback");
    let mut alice = Player::join(&testnet, SidechannelOptions::default()).await;
    let listeners = [Listener::join(&testnet, true).await, Listener::join(&testnet, false).await];
    alice.connected(2).await;
    alice.ask(r#"{"id":2,"type":"send","channel":"0000intercom","message":"hello"}"#).await;
    alice.ask(r#"{"id":3,"type":"expense_add","payer":"Alice","amount":"30","split":"alice,bob"}"#).await;
    let [quiet, loud] = &listeners;
    assert!(!quiet.printed("hello").await && loud.printed("hello").await);
    assert!(quiet.peer.sidechannel().tally().relayed >= 1);
    for listener in listeners {
        listener.peer.close().await;
        listener.network.destroy().await;
    }
    alice.leave().await;
    testnet.destroy().await;
}

/// Who asks for it is told of what changed, whoever changed it; who does not ask is told as little as by the original.
#[tokio::test]
async fn who_watches_is_told_of_changes() {
    let testnet = Testnet::new(3).await.expect("loopback");
    let mut alice = Player::join(&testnet, SidechannelOptions::default()).await;
    let watching = alice.ask(r#"{"id":2,"type":"watch"}"#).await;
    assert_eq!(watching.to_string(), r#"{"id":2,"type":"watching","on":true}"#);
    let mut bob = Player::join(&testnet, SidechannelOptions::default()).await;
    let stats = |channels: &str| {
        format!(r#"{{"type":"stats_changed","channels":{channels},"connectionCount":1,"sidechannelStarted":true}}"#)
    };
    alice.is_told(&stats(r#"["0000intercom"]"#)).await;
    bob.connected(1).await;
    let changed = r#"{"type":"expenses_changed","channel":"0000intercom"}"#;
    bob.ask(r#"{"id":2,"type":"expense_add","payer":"Alice","amount":"30","split":"alice,bob"}"#).await;
    alice.is_told(changed).await;
    // By the terminal, and by another client's joining.
    alice.ask(r#"{"id":3,"type":"cli","command":"/expense_clear"}"#).await;
    alice.is_told(changed).await;
    alice.ask(r#"{"id":4,"type":"join","channel":"room"}"#).await;
    alice.is_told(&stats(r#"["0000intercom","room"]"#)).await;

    let off = alice.ask(r#"{"id":5,"type":"unwatch"}"#).await;
    assert_eq!(off.to_string(), r#"{"id":5,"type":"watching","on":false}"#);
    alice.told.clear();
    alice.ask(r#"{"id":6,"type":"expense_add","payer":"Alice","amount":"30","split":"alice,bob"}"#).await;
    // Changes are told within 50 ms of the first; the answers to these questions come behind what was told meanwhile.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        alice.ask(r#"{"id":7,"type":"stats"}"#).await;
        bob.ask(r#"{"id":3,"type":"stats"}"#).await;
    }
    let told = (&alice.told, &bob.told);
    assert!(told.0.is_empty() && told.1.is_empty(), "who does not watch is told nothing: {told:?}");
    bob.leave().await;
    alice.leave().await;
    testnet.destroy().await;
}
