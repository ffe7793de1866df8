//! What to send where, and when, once both sides know what they are behind.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use rand::Rng;

use super::nat::Firewall;

/// Sockets that a side with a random NAT opens: with so many, a probe to a random port of that NAT meets one of them with a
/// probability of 1/252, half of the time within 175 probes.
pub(crate) const BIRTHDAY_SOCKETS: usize = 256;

/// Rounds of probes between two consistent NATs, and the time between these.
const CONSISTENT_ROUNDS: u32 = 10;
const CONSISTENT_PAUSE: Duration = Duration::from_secs(1);

/// Probes when one side is random, and the time between these: about 35 seconds in all.
const RANDOM_PROBES: u32 = 1750;
const RANDOM_PAUSE: Duration = Duration::from_millis(20);

/// The pause after many sockets were opened at once.
const BIRTHDAY_PAUSE: Duration = Duration::from_millis(100);

/// Ports that a NAT is expected to use begin here.
const FIRST_PORT: u16 = 1000;

/// Addresses of the other side that are kept; further ones are not tried. A NAT has one or two.
const MAX_ADDRESSES: usize = 16;

/// What the other side said of itself.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) firewall: Firewall,
    /// Whether it is punching, or willing to.
    pub(crate) punching: bool,
    addresses: Vec<RemoteAddress>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RemoteAddress {
    addr: SocketAddrV4,
    /// It has shown that it receives what is sent to this host, so that it is no third party.
    verified: bool,
}

impl Remote {
    pub(crate) fn new(firewall: Firewall) -> Self {
        Self { firewall, punching: false, addresses: Vec::new() }
    }

    /// Takes what it says now. `verified` is the host that it has shown to be its own with the same message.
    pub(crate) fn update(
        &mut self,
        firewall: Firewall,
        punching: bool,
        addresses: Option<&[SocketAddrV4]>,
        verified: Option<Ipv4Addr>,
    ) {
        let is_verified = |host: &Ipv4Addr| {
            verified == Some(*host) || self.addresses.iter().any(|known| known.verified && known.addr.ip() == host)
        };
        let addresses = addresses.unwrap_or_default().iter().take(MAX_ADDRESSES);
        self.addresses =
            addresses.map(|addr| RemoteAddress { addr: *addr, verified: is_verified(addr.ip()) }).collect();
        self.firewall = firewall;
        self.punching = punching;
    }

    fn verified(&self) -> Option<SocketAddrV4> {
        self.addresses.iter().find(|known| known.verified).map(|known| known.addr)
    }

    /// Its addresses as it told them.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddrV4> {
        self.addresses.iter().map(|known| known.addr)
    }
}

/// A way to punch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Both have one address: write to the other's.
    Consistent,
    /// The other side has many ports: guess.
    Guess(Ipv4Addr),
    /// We have many ports: use many, so that the other's guess is right soon.
    Birthday(SocketAddrV4),
}

impl Strategy {
    /// Whether it takes many packets.
    pub(crate) fn is_random(self) -> bool {
        self != Self::Consistent
    }
}

/// The way to punch from behind `local`, if there is one.
pub(crate) fn choose(local: Firewall, remote: &Remote) -> Option<Strategy> {
    if remote.addresses.is_empty() {
        return None;
    }
    match (local, remote.firewall) {
        (local, theirs) if local.is_consistent() && theirs.is_consistent() => Some(Strategy::Consistent),
        // Many packets go only to who wants them.
        (local, Firewall::Random) if local.is_consistent() => Some(Strategy::Guess(*remote.verified()?.ip())),
        (Firewall::Random, theirs) if theirs.is_consistent() => Some(Strategy::Birthday(remote.verified()?)),
        _ => None,
    }
}

/// One probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shot {
    /// The place of the socket among those that are open.
    pub(crate) socket: usize,
    pub(crate) to: SocketAddrV4,
    /// It only has to leave the own network.
    pub(crate) low_ttl: bool,
}

/// Probes that leave together, and the time until the next ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) shots: Vec<Shot>,
    pub(crate) pause: Duration,
}

/// The probes of one strategy, one turn after the other.
#[derive(Debug)]
pub(crate) struct Schedule {
    strategy: Strategy,
    first: VecDeque<Duration>,
    tries: u32,
    socket: usize,
    low_ttl: bool,
}

impl Schedule {
    /// `initiator` is the client. For [`Strategy::Birthday`] the sockets must be open.
    pub(crate) fn new(strategy: Strategy, initiator: bool) -> Self {
        let first = match strategy {
            // The server has just written to the client.
            Strategy::Consistent if !initiator => Some(CONSISTENT_PAUSE),
            Strategy::Birthday(_) => Some(BIRTHDAY_PAUSE),
            _ => None,
        };
        Self { strategy, first: first.into_iter().collect(), tries: 0, socket: 0, low_ttl: true }
    }

    /// The next turn, with so many `sockets` open; `None` when it is time to give up.
    pub(crate) fn next(&mut self, remote: &Remote, sockets: usize, rng: &mut impl Rng) -> Option<Turn> {
        if let Some(pause) = self.first.pop_front() {
            return Some(Turn { shots: Vec::new(), pause });
        }
        self.tries += 1;
        match self.strategy {
            Strategy::Consistent if self.tries <= CONSISTENT_ROUNDS => {
                let all = self.tries.is_multiple_of(4);
                let tried = remote.addresses.iter().filter(|known| known.verified || all);
                let shots = tried.map(|known| Shot { socket: 0, to: known.addr, low_ttl: false }).collect();
                Some(Turn { shots, pause: CONSISTENT_PAUSE })
            }
            Strategy::Guess(host) if self.tries <= RANDOM_PROBES => {
                let to = SocketAddrV4::new(host, rng.random_range(FIRST_PORT..=u16::MAX));
                Some(Turn { shots: vec![Shot { socket: 0, to, low_ttl: false }], pause: RANDOM_PAUSE })
            }
            Strategy::Birthday(to) if self.tries <= RANDOM_PROBES => {
                if self.socket >= sockets {
                    self.socket = 0;
                    self.low_ttl = false;
                }
                let shot = Shot { socket: self.socket, to, low_ttl: self.low_ttl };
                self.socket += 1;
                Some(Turn { shots: vec![shot], pause: RANDOM_PAUSE })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use Firewall::{Consistent, Open, Random, Unknown};

    const HOST: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);

    fn addr(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(HOST, port)
    }

    fn remote(firewall: Firewall, verified: bool) -> Remote {
        let mut remote = Remote::new(Unknown);
        remote.update(firewall, true, Some(&[addr(7)]), verified.then_some(HOST));
        remote
    }

    fn turns(strategy: Strategy, initiator: bool, remote: &Remote, sockets: usize) -> Vec<Turn> {
        let mut schedule = Schedule::new(strategy, initiator);
        let mut rng = StdRng::seed_from_u64(1);
        std::iter::from_fn(|| schedule.next(remote, sockets, &mut rng)).collect()
    }

    #[test]
    fn the_table_of_strategies() {
        let at = |local, theirs| choose(local, &remote(theirs, true));
        for (local, theirs) in [(Consistent, Consistent), (Open, Consistent), (Consistent, Open), (Open, Open)] {
            assert_eq!(at(local, theirs), Some(Strategy::Consistent));
        }
        for local in [Consistent, Open] {
            assert_eq!(at(local, Random), Some(Strategy::Guess(HOST)));
            assert_eq!(at(Random, local), Some(Strategy::Birthday(addr(7))));
        }
        for (local, theirs) in [(Random, Random), (Unknown, Consistent), (Consistent, Unknown), (Unknown, Random)] {
            assert_eq!(at(local, theirs), None);
        }
    }

    #[test]
    fn many_packets_go_only_to_a_verified_host() {
        let at = |local, theirs| choose(local, &remote(theirs, false));
        assert_eq!(at(Consistent, Consistent), Some(Strategy::Consistent));
        assert_eq!((at(Consistent, Random), at(Random, Consistent)), (None, None));
        assert_eq!(choose(Consistent, &Remote::new(Consistent)), None, "no address");
    }

    #[test]
    fn a_host_stays_verified_while_it_is_named() {
        let mut remote = remote(Consistent, true);
        remote.update(Consistent, true, Some(&[addr(9)]), None);
        assert_eq!(remote.verified(), Some(addr(9)), "another port of the same host");
        remote.update(Consistent, true, None, None);
        remote.update(Consistent, true, Some(&[addr(9)]), None);
        assert_eq!(remote.verified(), None);
        remote.update(Consistent, true, Some(&vec![addr(9); 1000]), Some(HOST));
        assert_eq!(remote.addresses().count(), MAX_ADDRESSES);
    }

    #[test]
    fn consistent_sides_write_ten_times() {
        let shot = Shot { socket: 0, to: addr(7), low_ttl: false };
        let all = turns(Strategy::Consistent, true, &remote(Consistent, true), 1);
        assert_eq!(all, vec![Turn { shots: vec![shot], pause: CONSISTENT_PAUSE }; 10]);
        let server = turns(Strategy::Consistent, false, &remote(Consistent, true), 1);
        assert_eq!((server.len(), server[0].shots.len(), server[1].shots.len()), (11, 0, 1));
        let unverified = turns(Strategy::Consistent, true, &remote(Consistent, false), 1);
        let written: Vec<_> = unverified.iter().map(|turn| turn.shots.len()).collect();
        assert_eq!(written, [0, 0, 0, 1, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn guesses_are_random_ports_for_35_seconds() {
        let all = turns(Strategy::Guess(HOST), true, &remote(Random, true), 1);
        assert_eq!((all.len(), all.iter().map(|turn| turn.pause).sum()), (1750, Duration::from_secs(35)));
        let ports: Vec<u16> = all.iter().map(|turn| turn.shots[0].to.port()).collect();
        assert!(ports.iter().all(|port| *port >= 1000) && ports.iter().any(|port| *port > 60_000));
        assert!(all.iter().all(|turn| turn.shots.len() == 1 && !turn.shots[0].low_ttl && turn.shots[0].socket == 0));
    }

    #[test]
    fn birthday_sockets_take_turns_first_with_a_low_ttl() {
        let all = turns(Strategy::Birthday(addr(7)), false, &remote(Consistent, true), 256);
        assert_eq!((all.len(), all[0].clone()), (1751, Turn { shots: vec![], pause: BIRTHDAY_PAUSE }));
        let shots: Vec<Shot> = all[1..].iter().map(|turn| turn.shots[0]).collect();
        for (i, shot) in shots.iter().enumerate() {
            assert_eq!(*shot, Shot { socket: i % 256, to: addr(7), low_ttl: i < 256 });
        }
    }
}
