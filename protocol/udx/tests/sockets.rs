//! Sockets whose system reports errors, or takes nothing for now.

mod common;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::{A, B, Pair, block, millis, pair};
use udx::network::sim::{Link, SimNetwork};
use udx::{Udx, UdxSocket};

fn bind(net: &SimNetwork, host: u8) -> (UdxSocket, SocketAddr) {
    let ip = IpAddr::from(Ipv4Addr::new(10, 0, 0, host));
    let socket = Udx::with_network(net.host(ip)).bind("0.0.0.0:7".parse().unwrap()).unwrap();
    (socket, SocketAddr::new(ip, 7))
}

#[tokio::test(start_paused = true)]
async fn what_became_of_earlier_datagrams_does_not_end_a_socket() {
    let net = SimNetwork::new(1);
    let ((a, at), (b, _)) = (bind(&net, 1), bind(&net, 2));
    for kind in [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionRefused,
        io::ErrorKind::HostUnreachable,
        io::ErrorKind::NetworkUnreachable,
    ] {
        net.fail_receives(at, kind, 2000);
        b.try_send_to(b"hello", at).unwrap();
        assert_eq!(a.recv().await.map(|datagram| datagram.data), Some("hello".into()), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_only_fails_is_closed() {
    let net = SimNetwork::new(1);
    let ((a, at), (b, _)) = (bind(&net, 1), bind(&net, 2));
    net.fail_receives(at, io::ErrorKind::Other, 1000);
    b.try_send_to(b"hello", at).unwrap();
    assert!(a.recv().await.is_some(), "it has recovered");
    net.fail_receives(at, io::ErrorKind::Other, 1001);
    assert_eq!(a.recv().await, None);
    a.closed().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_socket_refused_does_not_hold_up_a_stream_that_has_left_it() {
    let Pair { net, udx, sockets, a, b } = pair(1, Link::default(), (0, 0));
    net.refuse_sends(sockets[0].local_addr(), true);
    b.write(block(0, 10)).await.unwrap();
    // The acknowledgement of that is refused.
    assert_eq!(a.read_chunk().await.unwrap().unwrap(), block(0, 10));
    tokio::time::sleep(millis(100)).await;
    let second = udx[0].bind("0.0.0.0:0".parse().unwrap()).unwrap();
    a.change_remote(&second, 2, sockets[1].local_addr()).await.unwrap();
    a.write(block(0, 20)).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(5), b.read_chunk()).await;
    assert_eq!(read.expect("it arrives").unwrap().unwrap(), block(0, 20));
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_on_a_socket_that_takes_nothing() {
    let Pair { net, sockets, a, b, .. } = pair(1, Link::default(), (0, 0));
    a.write_end();
    assert_eq!(b.read_chunk().await.unwrap(), None);
    tokio::time::sleep(millis(50)).await;
    // Nobody hears the end of the other side, and soon it cannot even be said.
    net.set_link(B, A, Link { loss: 1.0, ..Link::default() });
    b.write_end();
    tokio::time::sleep(millis(50)).await;
    net.refuse_sends(sockets[1].local_addr(), true);
    assert_eq!(b.closed().await, Ok(()));
    // Virtual time goes on only while nobody is busy: one that tries again and again would stand here for ever.
    tokio::time::sleep(Duration::from_secs(60)).await;
}
