//! The same bytes as in `stream`, through QUIC by quinn, for comparison.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use quinn::{ClientConfig, Endpoint, ServerConfig, TransportConfig, VarInt};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::lines::{Answer, Failure};
use crate::{Lab, hex, millis, unhex};

/// The receiver's window of UDX.
const WINDOW: u32 = 4 << 20;

fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config.stream_receive_window(VarInt::from_u32(WINDOW)).receive_window(VarInt::from_u32(WINDOW));
    config.send_window(u64::from(WINDOW));
    Arc::new(config)
}

/// Takes streams of bytes, each begun with its length, and answers when all are there.
pub(crate) fn serve(lab: &mut Lab) -> Answer {
    let identity = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der());
    let mut config = ServerConfig::with_single_cert(vec![identity.cert.der().clone()], key.into())?;
    config.transport_config(transport());
    let endpoint = Endpoint::server(config, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let port = endpoint.local_addr()?.port();
    lab.quic = Some(endpoint.clone());
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(take(incoming));
        }
    });
    Ok(json!({ "port": port, "certificate": hex(identity.cert.der()) }))
}

async fn take(incoming: quinn::Incoming) -> Result<(), Failure> {
    let connection = incoming.await?;
    let (mut send, mut receive) = connection.accept_bi().await?;
    while receive.read_chunk(usize::MAX, true).await?.is_some() {}
    send.write_all(b"done").await?;
    send.finish()?;
    connection.closed().await;
    Ok(())
}

#[derive(Deserialize)]
pub(crate) struct Send {
    port: u16,
    certificate: String,
    total: u64,
    chunk: usize,
}

/// Sends `total` bytes in writes of `chunk` bytes, and waits for the receiver's word.
pub(crate) async fn send(Send { port, certificate, total, chunk }: Send) -> Answer {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(unhex(&certificate)?))?;
    let mut config = ClientConfig::with_root_certificates(Arc::new(roots))?;
    config.transport_config(transport());
    let mut endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    endpoint.set_default_client_config(config);
    let connection = endpoint.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), "localhost")?.await?;
    let (mut send, mut receive) = connection.open_bi().await?;
    let data = vec![1; chunk];
    let from = Instant::now();
    let mut sent = 0;
    while sent < total {
        send.write_all(&data).await?;
        sent += chunk as u64;
    }
    send.finish()?;
    receive.read_to_end(16).await?;
    let time = millis(from);
    connection.close(VarInt::from_u32(0), b"");
    Ok(time)
}
