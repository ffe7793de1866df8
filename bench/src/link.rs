//! Bare UDX streams, and a slow, lossy link between two of them: see `bench/js/ops/udx.js`.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use udx::{StreamOptions, Udx, UdxSocket, UdxStream};

use crate::Lab;
use crate::lines::{Answer, Failure};

/// Bytes that wait for their turn on the link at most; what is more is dropped.
const QUEUE: f64 = 262_144.0;

/// One end, with a task that reads.
pub(crate) struct End {
    socket: UdxSocket,
    stream: UdxStream,
    done: Option<JoinHandle<Result<(), Failure>>>,
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[derive(Deserialize)]
pub(crate) struct Create {
    stream: u32,
}

/// A socket, and a stream with this id on it.
pub(crate) fn create(Create { stream }: Create, lab: &mut Lab) -> Answer {
    let udx = Udx::new();
    let socket = udx.bind(local(0))?;
    let stream = udx.create_stream(StreamOptions { id: Some(stream), ..StreamOptions::default() })?;
    let port = socket.local_addr().port();
    lab.end = Some(End { socket, stream, done: None });
    Ok(json!({ "port": port }))
}

#[derive(Deserialize)]
pub(crate) struct Transfer {
    port: u16,
    remote: u32,
    total: usize,
    #[serde(default)]
    chunk: usize,
}

/// Connects the stream, and takes `total` bytes.
pub(crate) fn take(Transfer { port, remote, total, .. }: Transfer, lab: &mut Lab) -> Answer {
    let end = lab.end.as_mut().ok_or("no stream")?;
    end.stream.connect(&end.socket, remote, local(port))?;
    let stream = end.stream.clone();
    end.done = Some(tokio::spawn(async move {
        let mut got = 0;
        while got < total {
            got += stream.read_chunk().await?.ok_or("ended early")?.len();
        }
        Ok(())
    }));
    Ok(json!({}))
}

/// Until all are here.
pub(crate) async fn taken(lab: &mut Lab) -> Answer {
    lab.end.as_mut().and_then(|end| end.done.take()).ok_or("nothing is taken")?.await??;
    Ok(json!({}))
}

/// Connects the stream, and writes `total` bytes.
pub(crate) async fn send(Transfer { port, remote, total, chunk }: Transfer, lab: &mut Lab) -> Answer {
    let end = lab.end.as_mut().ok_or("no stream")?;
    end.stream.connect(&end.socket, remote, local(port))?;
    let data = Bytes::from(vec![0; chunk]);
    for _ in 0..total.div_ceil(chunk.max(1)) {
        end.stream.write(data.clone()).await?;
    }
    end.stream.flush();
    Ok(json!({}))
}

#[derive(Deserialize)]
pub(crate) struct Link {
    /// The ports of both ends.
    near: u16,
    far: u16,
    /// One way, in ms.
    delay: u64,
    /// The share of datagrams that are lost.
    loss: f64,
    /// Mbit/s.
    rate: f64,
    seed: u64,
}

/// A link: what reaches the answer's `near` comes out of `far` at the far end, and the other way round.
pub(crate) async fn link(Link { near, far, delay, loss, rate, seed }: Link) -> Answer {
    let near_side = Arc::new(bind()?);
    let far_side = Arc::new(bind()?);
    let answer = json!({ "near": near_side.local_addr()?.port(), "far": far_side.local_addr()?.port() });
    let delay = Duration::from_millis(delay);
    for (from, to, port, seed) in
        [(&near_side, &far_side, far, seed), (&far_side, &near_side, near, seed ^ 0x9e37_79b9_7f4a_7c15)]
    {
        tokio::spawn(carry(Arc::clone(from), Arc::clone(to), local(port), delay, loss, rate, seed));
    }
    Ok(answer)
}

fn bind() -> Result<UdpSocket, Failure> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    // The link drops what its own queue does not hold; the system must not drop more.
    socket.set_recv_buffer_size(4 << 20)?;
    socket.bind(&local(0).into())?;
    Ok(UdpSocket::from_std(socket.into())?)
}

/// One direction.
async fn carry(
    from: Arc<UdpSocket>,
    to: Arc<UdpSocket>,
    destination: SocketAddr,
    delay: Duration,
    loss: f64,
    rate: f64,
    mut seed: u64,
) {
    let mut buffer = vec![0; 65_536];
    let mut queue: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut free = Instant::now();
    loop {
        let next = queue.front().map_or_else(|| Instant::now() + Duration::from_secs(3600), |(at, _)| *at);
        tokio::select! {
            received = from.recv_from(&mut buffer) => {
                let Ok((len, _)) = received else { continue };
                if random(&mut seed) < loss {
                    continue;
                }
                let now = Instant::now();
                free = free.max(now);
                if (free - now).as_secs_f64() * rate * 125_000.0 > QUEUE {
                    continue;
                }
                free += Duration::from_secs_f64(len as f64 / (rate * 125_000.0));
                queue.push_back((free + delay, buffer[..len].to_vec()));
            }
            () = sleep_until(next) => {
                let now = Instant::now();
                while queue.front().is_some_and(|(at, _)| *at <= now) {
                    if let Some((_, datagram)) = queue.pop_front() {
                        // Lost, if the system does not take it.
                        let _ = to.try_send_to(&datagram, destination);
                    }
                }
            }
        }
    }
}

/// From 0 to 1 (xorshift64*).
fn random(state: &mut u64) -> f64 {
    *state |= 1;
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
}
