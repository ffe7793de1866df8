//! Two streams joined by a simulated network.

#![allow(dead_code, unreachable_pub, missing_docs)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use udx::network::sim::{Link, SimNetwork};
use udx::{StreamOptions, Udx, UdxSocket, UdxStream};

pub const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
pub const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

pub struct Pair {
    pub net: SimNetwork,
    pub udx: [Udx; 2],
    pub sockets: [UdxSocket; 2],
    pub a: UdxStream,
    pub b: UdxStream,
}

/// Connected streams with ids 1 and 2; their numbers begin at `seqs`.
pub fn pair(seed: u64, link: Link, seqs: (u32, u32)) -> Pair {
    let net = SimNetwork::new(seed);
    net.set_default_link(link);
    let udx = [A, B].map(|ip| Udx::with_network(net.host(ip)));
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let sockets = [udx[0].bind(any).unwrap(), udx[1].bind(any).unwrap()];
    let options =
        |id, initial_seq, initial_ack| StreamOptions { id: Some(id), accept: false, initial_seq, initial_ack };
    let a = udx[0].create_stream(options(1, seqs.0, seqs.1)).unwrap();
    let b = udx[1].create_stream(options(2, seqs.1, seqs.0)).unwrap();
    a.connect(&sockets[0], 2, sockets[1].local_addr()).unwrap();
    b.connect(&sockets[1], 1, sockets[0].local_addr()).unwrap();
    Pair { net, udx, sockets, a, b }
}

/// The byte at an offset of a test stream.
pub fn pattern(offset: usize) -> u8 {
    ((offset as u32).wrapping_mul(0x9e37_79b1) >> 24) as u8
}

pub fn block(from: usize, len: usize) -> Bytes {
    (from..from + len).map(pattern).collect::<Vec<u8>>().into()
}

/// Writes `total` bytes in blocks of `size`, then ends.
pub async fn send(stream: &UdxStream, total: usize, size: usize) -> std::io::Result<()> {
    let mut sent = 0;
    while sent < total {
        let len = size.min(total - sent);
        stream.write(block(sent, len)).await?;
        sent += len;
    }
    stream.write_end();
    Ok(())
}

/// Reads to the end and checks every byte.
pub async fn receive(stream: &UdxStream, pause: Duration) -> std::io::Result<usize> {
    let mut received = 0;
    while let Some(block) = stream.read_chunk().await? {
        for (at, byte) in block.iter().enumerate() {
            assert_eq!(*byte, pattern(received + at), "at offset {}", received + at);
        }
        received += block.len();
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(received)
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
