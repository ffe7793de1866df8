//! `intercom explain`: why messages on a channel are not received or not sent.
//!
//! A running peer is asked by its SC-Bridge, where the token is known. Else the flags alone are explained.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use encoding::json::{Object, Value, parse};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::peer::sidechannel_options;
use crate::cli::args::{Arguments, FlagValue};
use crate::cli::config::{BridgeConfig, PeerConfig};
use crate::cli::error::Failure;
use crate::cli::output;
use crate::cli::store_lock::StoreLock;
use crate::identity;
use crate::sidechannel::{Clock, Explanation, Obstacle, explain_options};

/// A running peer has so long to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The arguments of `intercom explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "Give it the arguments of the peer that it is about. With the token of a running peer's SC-Bridge \
    (--sc-bridge-token or --sc-bridge-token-file, and --sc-bridge-port) it asks that peer; without, it explains the flags."
)]
pub(crate) struct ExplainArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The channel
    channel: String,
    /// The peer's own arguments
    #[arg(value_name = "LABEL|--FLAG", trailing_var_arg = true, allow_hyphen_values = true)]
    peer: Vec<String>,
}

/// Runs the command to its end.
pub(crate) async fn explain(args: ExplainArgs) -> Result<ExitCode, Failure> {
    let env = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let config = config(args.peer, &env)?;
    let (note, explanation) = match &config.bridge {
        Some(bridge) => match tokio::time::timeout(PATIENCE, ask(bridge, &args.channel)).await {
            Ok(Ok(explanation)) => (None, Some(explanation)),
            Ok(Err(Silence::Refused(why))) => return Err(Failure::failed(why)),
            Ok(Err(Silence::NotThere(why))) => (Some(why), None),
            Err(_) => (Some(format!("the SC-Bridge at {}:{} does not answer", bridge.host, bridge.port)), None),
        },
        None if StoreLock::is_taken(&config.peer_store) => (
            Some(format!(
                "a peer runs with the store {}; /sc_why \"{}\" at its prompt says what it knows, and so does this command with its \
                 --sc-bridge-token",
                config.peer_store.display(),
                args.channel
            )),
            None,
        ),
        None => (None, None),
    };
    let explanation = explanation.unwrap_or_else(|| by_flags(&config, &args.channel).to_object());
    if args.json {
        output::line(&Value::from(explanation).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(note) = note {
        output::line(&format!("{note}; what follows is from the flags alone"));
    }
    for line in explanation.get("lines").and_then(Value::as_array).into_iter().flatten() {
        output::console().line(line.as_str().unwrap_or_default());
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration that these arguments stand for. Whoever gives a token means the bridge.
fn config(args: Vec<String>, env: &dyn Fn(&str) -> Option<String>) -> Result<PeerConfig, Failure> {
    let mut arguments = Arguments::parse(args);
    let token = ["sc-bridge-token", "sc-bridge-token-file"].iter().any(|name| arguments.flags.contains_key(*name));
    if token {
        arguments.flags.entry("sc-bridge".into()).or_insert(FlagValue::Bare);
    }
    let mut warnings = Vec::new();
    let config = PeerConfig::read(&arguments, env, &mut warnings);
    for warning in warnings {
        output::error_line(&format!("warning: {warning}"));
    }
    config
}

/// Why a bridge said nothing.
enum Silence {
    /// It is there and will not answer: the user must know.
    Refused(String),
    /// It is not there, or does not know the question.
    NotThere(String),
}

/// Asks a running peer.
async fn ask(bridge: &BridgeConfig, channel: &str) -> Result<Object, Silence> {
    let at = format!("{}:{}", bridge.host, bridge.port);
    let stream = TcpStream::connect((bridge.host.as_str(), bridge.port)).await;
    let stream = stream.map_err(|_| Silence::NotThere(format!("no peer's SC-Bridge listens at {at}")))?;
    let strange = || Silence::NotThere(format!("what listens at {at} is no SC-Bridge"));
    let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://{at}"), stream).await.map_err(|_| strange())?;
    let auth = Object::new().with("type", "auth").with("token", bridge.token.as_str());
    let question = Object::new().with("id", 1.0).with("type", "explain").with("channel", channel);
    for message in [auth, question] {
        let text = Value::from(message).to_string();
        socket.send(Message::Text(text.into())).await.map_err(|_| strange())?;
    }
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let Ok(Value::Object(reply)) = parse(text.as_str()) else { return Err(strange()) };
        let text = |key: &str| reply.get(key).and_then(Value::as_str);
        match (text("type"), text("error")) {
            (Some("explanation"), _) => return Ok(reply),
            (Some("error"), Some("Unauthorized.")) => {
                return Err(Silence::Refused(format!(
                    "the SC-Bridge at {at} refuses the token; give it the one that it was started with"
                )));
            }
            (Some("error"), _) if reply.contains_key("id") => {
                return Err(Silence::NotThere(format!(
                    "the peer at {at} does not explain itself (it is another program)"
                )));
            }
            _ => {}
        }
    }
    Err(strange())
}

/// What the flags alone keep from being received and sent.
fn by_flags(config: &PeerConfig, channel: &str) -> Explanation {
    let key = config.peer_store.join("db").join("keypair.json");
    let public_key = identity::load(key).map(|loaded| *loaded.identity.public_key()).unwrap_or_default();
    let mut explanation = explain_options(&sidechannel_options(config), &public_key, channel, Clock::default().now());
    if config.quiet && config.bridge.is_none() {
        explanation.receiving.push(Obstacle {
            code: "quiet",
            why: "received messages are not printed, and no SC-Bridge hands them on".into(),
            mend: vec!["--sidechannel-quiet 0".into(), "--sc-bridge 1 with a token".into()],
        });
    }
    let filter = config.bridge.as_ref().filter(|bridge| !bridge.filter.is_empty());
    let filtered =
        filter.filter(|bridge| bridge.filter_channels.as_ref().is_none_or(|only| only.contains(&explanation.channel)));
    if let Some(bridge) = filtered {
        explanation.receiving.push(Obstacle {
            code: "filter",
            why: format!("the SC-Bridge hands on only messages with these words: {}", bridge.filter),
            mend: vec!["--sc-bridge-filter \"\"".into(), r#"{"type":"clear_filter"} by the client"#.into()],
        });
    }
    explanation
}
