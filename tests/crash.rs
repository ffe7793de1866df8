//! `kill -9` while the expenses are written: what was acknowledged is there, and the file is whole.
//!
//! 12 times as a part of the tests; `CRASHES=200 cargo test --release --test crash` for more.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use encoding::json::{Value, parse};
use futures_util::{SinkExt, StreamExt};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Only so that a test that hangs says where.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, which is killed when this is dropped.
struct Program(Child);

impl Program {
    /// A peer on this store, that knows nobody; and where its bridge listens.
    fn start(stores: &std::path::Path) -> (Program, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_intercom"))
            .args(["peer", "--dht-bootstrap", "127.0.0.1:1", "--msb-dht-bootstrap", "127.0.0.1:1"])
            .args(["--sidechannel-pow", "0", "--sc-bridge", "1", "--sc-bridge-port", "0", "--sc-bridge-token", "t"])
            .arg("--peer-stores-directory")
            .arg(stores)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program is built");
        let mut lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
        let address = lines.find_map(|line| line.expect("text").strip_prefix("SC-Bridge: ws://").map(str::to_owned));
        // Nobody reads the rest, which is less than a pipe holds.
        std::mem::forget(lines);
        (Program(child), address.expect("the banner says where the bridge listens"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn enter(address: &str) -> Client {
        let stream = TcpStream::connect(address).await.expect("the bridge listens");
        let (socket, _) = tokio_tungstenite::client_async(format!("ws://{address}"), stream).await.expect("an upgrade");
        let mut client = Client(socket);
        client.next().await.expect("a greeting");
        client.send(r#"{"type":"auth","token":"t"}"#.into()).await;
        assert_eq!(client.next().await.and_then(|reply| reply.get("type").cloned()), Some("auth_ok".into()));
        client
    }

    async fn send(&mut self, text: String) {
        // An error means that the peer was killed, which the next read tells.
        let _ = self.0.send(Message::text(text)).await;
    }

    /// The next reply; `None` when the peer is gone.
    async fn next(&mut self) -> Option<Value> {
        match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a reply") {
            Some(Ok(Message::Text(text))) => Some(parse(text.as_str()).expect("JSON")),
            _ => None,
        }
    }
}

fn ids(reply: &Value) -> Vec<String> {
    let events = reply.get("events").and_then(Value::as_array).expect("expenses");
    events.iter().map(|event| event.get("note").and_then(Value::as_str).expect("a note").to_owned()).collect()
}

#[tokio::test]
async fn what_was_acknowledged_survives_every_kill() {
    let crashes: u32 = std::env::var("CRASHES").ok().map_or(12, |text| text.parse().expect("a number"));
    let stores = tempfile::tempdir().expect("a folder");
    let mut random = StdRng::seed_from_u64(1);
    let mut acknowledged: Vec<String> = Vec::new();
    // A ledger of some size, so that its writes take a while.
    let note = "n".repeat(2_000);
    for crash in 0..=crashes {
        let (program, address) = Program::start(stores.path());
        let mut client = Client::enter(&address).await;
        client.send(r#"{"type":"expense_list"}"#.into()).await;
        let there = ids(&client.next().await.expect("the peer is there"));
        let missing: Vec<_> = acknowledged.iter().filter(|note| !there.contains(note)).collect();
        assert!(missing.is_empty(), "after {crash} crashes {} acknowledged expenses are missing", missing.len());
        acknowledged = there;
        if crash == crashes {
            break;
        }
        let killed_at = Instant::now() + Duration::from_micros(random.random_range(0..40_000));
        let pid = program.0.id().to_string();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(killed_at.saturating_duration_since(Instant::now()));
            Command::new("kill").args(["-9", &pid]).status().expect("kill exists");
        });
        for number in 0_u32.. {
            client
                .send(format!(
                    r#"{{"type":"expense_add","payer":"a","amount":1,"split":"b","note":"{crash}-{number}-{note}"}}"#
                ))
                .await;
            let Some(reply) = client.next().await else { break };
            assert_eq!(reply.get("type"), Some(&"expense_added".into()), "{reply}");
            acknowledged.push(format!("{crash}-{number}-{note}"));
        }
        killer.join().expect("kill worked");
        drop(program);
    }
    assert!(!acknowledged.is_empty(), "every kill came before the first reply");
}
