//! Sockets whose system reports errors.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use udx::network::sim::SimNetwork;
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
