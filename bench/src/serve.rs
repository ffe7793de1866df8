//! A server that does with each connection what its mode says.

use crypto::KeyPair;
use serde::Deserialize;
use serde_json::json;

use crate::lines::Answer;
use crate::{Lab, mux, node, stream, swarm};

/// What is done with a connection; see `bench/js/ops/serve.js`.
#[derive(Clone, Copy, Deserialize)]
#[serde(tag = "mode", rename_all = "lowercase")]
enum Mode {
    Hold,
    Stream,
    Mux { kind: mux::Kind },
}

#[derive(Deserialize)]
pub(crate) struct Serve {
    bootstrap: String,
    #[serde(flatten)]
    mode: Mode,
}

/// Listens under a key of its own, which is the answer.
pub(crate) async fn serve(request: Serve, lab: &mut Lab) -> Answer {
    let (server, key) = node::listen(lab.node(&request.bootstrap).await?, KeyPair::generate()).await?;
    tokio::spawn(async move {
        while let Some(connection) = server.accept().await {
            match request.mode {
                Mode::Hold => drop(tokio::spawn(swarm::hold(connection))),
                Mode::Stream => drop(tokio::spawn(stream::take(connection))),
                Mode::Mux { kind } => drop(tokio::spawn(mux::take(connection, kind))),
            }
        }
    });
    Ok(json!({ "key": key }))
}
