//! UDP sockets of the operating system, through `quinn-udp`: segmentation offload where there is any.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::RwLock;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{DatagramSocket, Network, Outgoing, Received};

/// Receive buffers that are asked for, largest first; the system may refuse or cut the larger ones.
const RECEIVE_BUFFERS: [usize; 4] = [4 << 20, 2 << 20, 1 << 20, 208 << 10];
/// Send buffer that is asked for: enough for some full segmentation batches.
const SEND_BUFFER: usize = 1 << 20;

/// The operating system's UDP sockets.
///
/// Needs a tokio runtime with I/O and time enabled.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsNetwork;

impl Network for OsNetwork {
    fn bind(&self, addr: SocketAddr) -> io::Result<Arc<dyn DatagramSocket>> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if addr.is_ipv6() && addr.ip().is_unspecified() {
            // Of IPv4 peers too, which is not what every system does by itself.
            socket.set_only_v6(false)?;
        }
        socket.bind(&addr.into())?;
        enlarge_buffers(&socket);
        let io = UdpSocket::from_std(socket.into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        Ok(Arc::new(OsSocket { io, state, v6: addr.is_ipv6(), ttl: RwLock::new(()) }))
    }
}

/// Asks for large buffers. A socket with small ones still works, so that a refusal is not an error.
fn enlarge_buffers(socket: &Socket) {
    for size in RECEIVE_BUFFERS {
        // Linux grants at most `rmem_max` without saying so, and reports twice what it granted.
        if socket.set_recv_buffer_size(size).is_ok() && socket.recv_buffer_size().is_ok_and(|got| got >= size) {
            break;
        }
    }
    if socket.send_buffer_size().is_ok_and(|have| have < SEND_BUFFER) {
        let _ = socket.set_send_buffer_size(SEND_BUFFER);
    }
}

#[derive(Debug)]
struct OsSocket {
    io: UdpSocket,
    state: UdpSocketState,
    /// IPv4 peers of such a socket have mapped addresses, on the system's side only.
    v6: bool,
    /// Held exclusively while the time to live of the whole socket is changed for one datagram.
    ttl: RwLock<()>,
}

impl OsSocket {
    fn send(&self, outgoing: &Outgoing<'_>) -> io::Result<()> {
        let destination = match outgoing.destination {
            SocketAddr::V4(v4) if self.v6 => SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())),
            other => other,
        };
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: outgoing.contents,
            segment_size: outgoing.segment_size,
            src_ip: None,
        };
        let send = || self.state.try_send(UdpSockRef::from(&self.io), &transmit);
        match send() {
            // Only the runtime's own way notices when the socket takes datagrams again. It cannot be the only one: it takes
            // a new socket for full until its first event.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.io.try_io(Interest::WRITABLE, send),
            sent => sent,
        }
    }
}

impl DatagramSocket for OsSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> Poll<io::Result<usize>> {
        let mut metas = [RecvMeta::default(); quinn_udp::BATCH_SIZE];
        let count = buffers.len().min(received.len()).min(metas.len());
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let result = self.io.try_io(Interest::READABLE, || {
                self.state.recv(UdpSockRef::from(&self.io), &mut buffers[..count], &mut metas[..count])
            });
            match result {
                Ok(filled) => {
                    for (to, from) in received.iter_mut().zip(&metas[..filled]) {
                        let source = SocketAddr::new(from.addr.ip().to_canonical(), from.addr.port());
                        *to = Received { source, len: from.len, stride: from.stride };
                    }
                    return Poll::Ready(Ok(filled));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn try_send(&self, outgoing: &Outgoing<'_>) -> io::Result<()> {
        let Some(ttl) = outgoing.ttl else {
            let _shared = self.ttl.read();
            return self.send(outgoing);
        };
        let _exclusive = self.ttl.write();
        let socket = SockRef::from(&self.io);
        // macOS has no option of IPv4 on a socket of IPv6: there the other one is for datagrams of both kinds.
        let v4 = outgoing.destination.is_ipv4() && (!self.v6 || socket.ttl_v4().is_ok());
        let before = if v4 { socket.ttl_v4()? } else { socket.unicast_hops_v6()? };
        let set = |ttl| if v4 { socket.set_ttl_v4(ttl) } else { socket.set_unicast_hops_v6(ttl) };
        set(ttl)?;
        let result = self.send(outgoing);
        set(before)?;
        result
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_send_ready(cx)
    }

    fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }
}
