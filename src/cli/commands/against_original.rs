//! What the original answered to random requests of its SC-Bridge, and what this program answers to the same.
//!
//! `interop-tests/differential/original.jsonl` is written by `interop-tests/differential/record.js`, which runs the original; the
//! requests come from `sessions.js` and `situations.js` there: bridge messages, terminal lines, expenses with hostile amounts and
//! names in several scripts, situations of policies, invites and welcomes that hold, the planes that are not here, and what a peer
//! says of itself.

use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};
use encoding::json::{Value, parse};
use futures_util::{SinkExt, StreamExt};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::peer::{bridge_options, sidechannel_options};
use crate::cli::args::Arguments;
use crate::cli::config::PeerConfig;
use crate::identity::Identity;
use crate::peer::{Peer, PeerOptions};
use crate::sidechannel::link::{Link, Operation};
use crate::sidechannel::{Console, Network, SidechannelOptions};

const RECORDED: &str = include_str!("../../../interop-tests/differential/original.jsonl");

/// Nobody is there.
struct Nowhere;

impl Network for Nowhere {
    fn bootstrapped(&self) -> Operation<'_, ()> {
        Box::pin(async {})
    }

    fn join(&self, _topic: [u8; 32]) {}

    fn leave(&self, _topic: [u8; 32]) -> Operation<'_, ()> {
        Box::pin(async {})
    }

    fn flush(&self) -> Operation<'_, ()> {
        Box::pin(async {})
    }

    fn next_link(&self) -> Operation<'_, Option<Arc<dyn Link>>> {
        Box::pin(std::future::pending())
    }
}

/// A peer with these flags, and a client of its bridge.
struct Talk {
    peer: Peer,
    client: WebSocketStream<TcpStream>,
}

impl Talk {
    async fn new(flags: &[String]) -> Talk {
        let own = ["--sc-bridge=1", "--sc-bridge-token=t", "--sc-bridge-port=0"].map(str::to_owned);
        let arguments = Arguments::parse(flags.iter().cloned().chain(own));
        let config = PeerConfig::read(&arguments, &|_| None, &mut Vec::new()).expect("valid flags");
        let words = format!("{}art", "abandon ".repeat(23));
        let identity = Identity::from_mnemonic(&words, None).expect("a valid mnemonic");
        let options = PeerOptions {
            sidechannel: SidechannelOptions { console: Console::new(|_| {}), ..sidechannel_options(&config) },
            bridge: config.bridge.as_ref().map(|bridge| bridge_options(bridge, &config, &identity)),
            identity,
            subnet: config.subnet_key(),
            commands: true,
            quiet: true,
            expenses: None,
            verified_rooms: Default::default(),
        };
        let peer = Peer::start(options, Arc::new(Nowhere)).await.expect("a free port");
        peer.ready().await;
        let address = peer.bridge_addr().expect("is on");
        let stream = TcpStream::connect(address).await.expect("the bridge listens");
        let (client, _) = tokio_tungstenite::client_async(format!("ws://{address}"), stream).await.expect("an upgrade");
        let mut talk = Talk { peer, client };
        talk.next().await;
        assert_eq!(talk.ask(r#"{"type":"auth","token":"t"}"#).await, r#"{"type":"auth_ok"}"#);
        talk
    }

    async fn next(&mut self) -> String {
        loop {
            match self.client.next().await {
                Some(Ok(Message::Text(text))) => return text.to_string(),
                Some(Ok(_)) => {}
                other => panic!("the bridge is gone: {other:?}"),
            }
        }
    }

    async fn ask(&mut self, request: &str) -> String {
        self.client.send(Message::text(request)).await.expect("the bridge is there");
        self.next().await
    }
}

#[tokio::test]
async fn every_reply_is_the_originals() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for line in RECORDED.lines() {
        let session = parse(line).expect("valid JSON");
        let items = |key| session.get(key).and_then(Value::as_array).expect("an array");
        let text = |value: &Value| value.as_js_string().expect("text").to_string();
        let flags: Vec<String> = items("flags").iter().map(text).collect();
        let mut talk = Talk::new(&flags).await;
        for exchange in items("exchanges") {
            let [request, expected] = exchange.as_array().expect("an array") else { panic!("not a pair") };
            let (request, expected) = (text(request), text(expected));
            let reply = talk.ask(&request).await;
            // Recorded where folders are separated as on Unix.
            let reply = if cfg!(windows) { reply.replace(r"\\", "/") } else { reply };
            let reply = normal(&reply);
            let same = match expected.strip_prefix("sha256:") {
                Some(hash) => HEXLOWER.encode(&Sha256::digest(&reply)) == hash,
                None => reply == expected,
            };
            count += 1;
            if !same {
                wrong.push(format!("{request}\n  here:     {reply}\n  original: {expected}"));
            }
        }
        talk.peer.close().await;
    }
    assert!(count >= 2_100, "only {count} requests");
    assert!(wrong.is_empty(), "{} of {count} replies differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// A reply without what differs from run to run, as `normal` in `sessions.js`.
fn normal(reply: &str) -> String {
    let mut out = String::new();
    let mut rest = reply;
    // Texts in base64 first, for they hold times.
    while let Some((start, name)) = ["export_b64", "invite_b64", "welcome_b64"]
        .iter()
        .filter_map(|name| Some((rest.find(&format!("\"{name}: "))?, name)))
        .min()
    {
        let from = start + name.len() + 3;
        let length = rest[from..].find('"').expect("the text ends");
        let decoded = BASE64.decode(&rest.as_bytes()[from..from + length]).expect("base64");
        out.push_str(&rest[..start]);
        out.push_str(&Value::from(format!("{name}: {}", String::from_utf8(decoded).expect("text"))).to_string());
        rest = &rest[from + length + 1..];
    }
    out.push_str(rest);
    without_variables(&out)
}

fn without_variables(text: &str) -> String {
    // The subnet, whose writers have keys, is not here.
    let text = without_own_help(text).replace("hypermall.writerKey: null", "hypermall.writerKey: WRITER");
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (kept, length, name) = field(rest).unwrap_or(match () {
            () if id(rest) > 0 => (0, id(rest), "ID"),
            () if is_time(rest) => (0, 24, "TIME"),
            () => (1, 0, ""),
        });
        out.extend_from_slice(&rest[..kept]);
        out.extend_from_slice(name.as_bytes());
        at += kept + length;
    }
    String::from_utf8(out).expect("only whole parts were replaced")
}

/// A field that differs from run to run, also within a text: how much stands before its value, the value's length, and what is
/// written for it.
fn field(bytes: &[u8]) -> Option<(usize, usize, &'static str)> {
    let name = bytes.strip_prefix(b"\"")?;
    let name = &name[..name.iter().position(|byte| !byte.is_ascii_alphabetic())?];
    let slashes = |from: usize| from + bytes[from..].iter().take_while(|byte| **byte == b'\\').count();
    let colon = slashes(1 + name.len());
    let value = colon + 2;
    bytes[colon..].starts_with(b"\":").then_some(())?;
    let text = slashes(value) + 1;
    let quoted = |belongs: fn(&u8) -> bool| Some(bytes.get(text..)?.iter().take_while(|byte| belongs(byte)).count());
    match name {
        b"ts" | b"issuedAt" | b"expiresAt" if digits(&bytes[value..]) == 13 => Some((value, 13, "\"TS\"")),
        b"sig" if quoted(u8::is_ascii_hexdigit) == Some(128) => Some((text, 128, "SIG")),
        b"nonce" => Some((text, quoted(u8::is_ascii_alphanumeric)?, "NONCE")),
        b"peerWriterKey" if bytes[value..].starts_with(b"null") => Some((value, 4, "\"WRITER\"")),
        b"msbDhtBootstrap" | b"peerDhtBootstrap" => {
            let port = value + b"[\"127.0.0.1:".len();
            Some((port, digits(bytes.get(port..)?), "PORT"))
        }
        _ => None,
    }
}

/// Without the lines of `/help` that the original does not have.
fn without_own_help(reply: &str) -> String {
    const BEYOND: &str = r#"," ","- Beyond the JavaScript peer:""#;
    let Some((before, mut rest)) = reply.split_once(BEYOND) else { return reply.to_owned() };
    while let Some(line) = rest.strip_prefix(",\"- ") {
        let mut quotes = line.match_indices('"').filter(|(at, _)| !line[..*at].ends_with('\\'));
        let (end, _) = quotes.next().expect("the text ends");
        rest = &line[end + 1..];
    }
    format!("{before}{rest}")
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The length of the transaction id, or message id's tail, that `bytes` begin with.
fn id(bytes: &[u8]) -> usize {
    let hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if bytes.len() < 28
        || !bytes[..12].iter().all(hex)
        || bytes[12] != b':'
        || digits(&bytes[13..]) != 13
        || bytes[26] != b':'
    {
        return 0;
    }
    let tail = bytes[27..].iter().take(8).take_while(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()).count();
    if tail == 0 { 0 } else { 27 + tail }
}

fn is_time(bytes: &[u8]) -> bool {
    const FORM: &[u8; 24] = b"0000-00-00T00:00:00.000Z";
    bytes.len() >= 24
        && FORM.iter().zip(bytes).all(|(form, byte)| if *form == b'0' { byte.is_ascii_digit() } else { form == byte })
}
