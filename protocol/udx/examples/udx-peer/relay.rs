//! A relay between streams of other processes: `udx-peer --relay LEGS`.
//!
//! It prints `{"port":P}`. Leg `n` of 1, 2, ... has the id 100 + n; legs 1 and 2 lead into each other, 3 and 4, and so on. A
//! line `LEG HOST:PORT ID` says where the end of a leg is, and what its stream is called there. When a leg is over it prints
//! `{"leg":N,"over":"why"}`.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::sync::mpsc;
use udx::{StreamOptions, Udx, UdxStream};

use super::{Result, tell};

const FIRST_ID: u32 = 101;

pub(super) async fn run(legs: u32, mut lines: mpsc::UnboundedReceiver<String>) -> Result<()> {
    let udx = Udx::new();
    let socket = udx.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let options = |id| StreamOptions { id: Some(id), accept: true, ..StreamOptions::default() };
    let legs: Vec<UdxStream> =
        (0..legs).map(|leg| udx.create_stream(options(FIRST_ID + leg))).collect::<std::result::Result<_, _>>()?;
    for pair in legs.chunks_exact(2) {
        pair[0].relay_to(&pair[1]);
        pair[1].relay_to(&pair[0]);
    }
    for leg in &legs {
        let (leg, number) = (leg.clone(), leg.id() - FIRST_ID + 1);
        tokio::spawn(async move {
            let why = leg.closed().await.err().map_or("finished".to_string(), |reason| reason.to_string());
            tell(&serde_json::json!({ "leg": number, "over": why }));
        });
    }
    tell(&serde_json::json!({ "port": socket.local_addr().port() }));
    while let Some(line) = lines.recv().await {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [leg, addr, id] = words[..] else { return Err(format!("not a line for a relay: {line}").into()) };
        let leg = legs.get(leg.parse::<usize>()?.wrapping_sub(1)).ok_or("no such leg")?;
        leg.connect(&socket, id.parse()?, addr.parse()?)?;
    }
    Ok(())
}
