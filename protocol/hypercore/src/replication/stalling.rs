//! Peers that answer late, or nothing.

use std::time::Duration;

use crypto::KeyPair;
use protomux::{ChannelOptions, Mux};
use secret_stream::{IoTransport, Options, SecretStream};
use tokio::time::Instant;

use super::DownloadRange;
use super::by_hand::{HONEST, LIAR, NOW, Side, sides};
use super::entry::Entry;
use super::looking::with_shorter;
use super::messages::{Message, Sync};
use super::peer::PeerId;
use super::queue::MAX_LOOK;
use super::replicator::{CONFLICT_TIMEOUT, Offence, Output, Replicator, STALLED};
use super::wants::Wants;
use crate::Store;

const OTHER: u64 = 3;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn dropped(replicator: &mut Replicator) -> Vec<PeerId> {
    let dropped = |output| match output {
        Output::Drop(id, Offence::Stalled) => Some(id),
        _ => None,
    };
    std::mem::take(&mut replicator.outputs).into_iter().filter_map(dropped).collect()
}

/// The peers that owe an answer, in the order in which they were asked.
fn owe(replicator: &Replicator) -> Vec<PeerId> {
    let mut owe: Vec<_> = replicator.inflight.values().map(|asked| (asked.sent, asked.peer)).collect();
    owe.sort_unstable();
    owe.into_iter().map(|(_, peer)| peer).collect()
}

fn claim(length: u64, knows: u64) -> Message {
    Message::Sync(Sync {
        length,
        remote_length: knows,
        can_upgrade: true,
        uploading: true,
        downloading: true,
        ..Sync::default()
    })
}

/// A copy without blocks that knows of 100, and peers that all have them.
fn with_peers(peers: &[PeerId]) -> Side {
    let (_, mut copy) = sides();
    for &peer in peers {
        if peer != HONEST {
            copy.replicator.opened(peer, NOW);
        }
        copy.replicator.on_message(peer, claim(100, 100), NOW);
        copy.replicator.on_message(peer, Message::Range { drop: false, start: 0, length: 100 }, NOW);
    }
    copy.replicator.outputs.clear();
    copy
}

fn wants_nothing(copy: &mut Side) {
    copy.replicator.wants = Wants::default();
    let gone: Vec<u64> = copy.replicator.inflight.keys().copied().collect();
    gone.into_iter().for_each(|request| copy.replicator.cancel(request));
}

#[test]
fn a_peer_that_owes_an_answer_stays_while_bytes_come() {
    let mut copy = with_peers(&[HONEST]);
    assert!(!copy.replicator.inflight.is_empty());
    for second in 1..100 {
        let peer = copy.replicator.peers.get_mut(&HONEST).expect("a peer");
        // Not every time: what counts is when the last came.
        peer.received(second / 15, at(second));
        copy.replicator.tick(at(second));
        assert!(dropped(&mut copy.replicator).is_empty(), "after {second} s");
    }
    // The last came at 90 s.
    copy.replicator.tick(at(90) + STALLED - Duration::from_millis(1));
    assert!(dropped(&mut copy.replicator).is_empty());
    copy.replicator.tick(at(90) + STALLED);
    assert_eq!(dropped(&mut copy.replicator), [HONEST]);
}

#[test]
fn nobody_waits_for_a_longer_core_of_a_peer_that_does_not_answer() {
    let mut copy = with_peers(&[HONEST]);
    copy.replicator.on_message(HONEST, claim(200, 100), NOW);
    assert!(copy.replicator.is_behind());
    copy.replicator.peers.get_mut(&HONEST).expect("a peer").received(1, at(19));
    copy.replicator.tick(at(20));
    assert!(dropped(&mut copy.replicator).is_empty() && !copy.replicator.is_behind());
    // It may come still, and then it counts again.
    let request = *copy.replicator.inflight.keys().next().expect("asked");
    copy.replicator.on_message(HONEST, Message::NoData { request, reason: None }, at(30));
    assert!(copy.replicator.is_behind());
}

#[test]
fn two_that_hold_an_upgrade_up_together_do_not_keep_it_from_a_third() {
    let mut copy = with_peers(&[HONEST, LIAR, OTHER]);
    wants_nothing(&mut copy);
    for peer in [HONEST, LIAR, OTHER] {
        copy.replicator.on_message(peer, claim(200, 100), NOW);
    }
    let owes = |copy: &Side| copy.replicator.inflight[&copy.replicator.upgrade.expect("asked")].peer;
    assert_eq!(owes(&copy), HONEST);
    for (second, peer) in [(3, LIAR), (6, OTHER), (9, HONEST)] {
        assert!(copy.replicator.is_behind());
        copy.replicator.tick(at(second));
        assert_eq!(owes(&copy), peer);
    }
    // None of them answered in time: there is nothing to wait for.
    assert!(!copy.replicator.is_behind());
}

#[test]
fn a_peer_that_answers_after_all_is_waited_for_again() {
    let mut copy = with_peers(&[HONEST, LIAR]);
    wants_nothing(&mut copy);
    copy.replicator.on_message(HONEST, claim(200, 100), NOW);
    let request = copy.replicator.upgrade.expect("asked");
    copy.replicator.on_message(LIAR, claim(200, 100), NOW);
    copy.replicator.tick(at(3));
    let other = copy.replicator.upgrade.expect("asked of the other");
    copy.replicator.on_message(LIAR, Message::NoData { request: other, reason: None }, at(3));
    wants_nothing(&mut copy);
    copy.replicator.on_message(HONEST, claim(300, 100), at(4));
    assert!(!copy.replicator.is_behind());
    // Neither an answer to what it was not asked says anything.
    copy.replicator.on_message(HONEST, Message::NoData { request: 9999, reason: None }, at(4));
    assert!(!copy.replicator.is_behind());
    copy.replicator.on_message(HONEST, Message::NoData { request, reason: None }, at(5));
    assert!(copy.replicator.is_behind());
}

#[test]
fn a_peer_that_owes_nothing_any_more_stays() {
    let mut copy = with_peers(&[HONEST, LIAR]);
    wants_nothing(&mut copy);
    copy.replicator.on_message(HONEST, claim(200, 100), NOW);
    copy.replicator.on_message(LIAR, claim(200, 100), NOW);
    // What it owes is asked of the other.
    copy.replicator.tick(at(3));
    assert_eq!(owe(&copy.replicator), [LIAR]);
    copy.replicator.outputs.clear();
    copy.replicator.tick(at(22));
    assert!(dropped(&mut copy.replicator).is_empty());
}

#[test]
fn a_peer_that_sent_what_is_wrong_has_a_while_to_prove_it() {
    let mut copy = with_peers(&[HONEST]);
    wants_nothing(&mut copy);
    assert!(!copy.replicator.needs_tick());
    copy.replicator.peers.get_mut(&HONEST).expect("a peer").suspected = Some(at(7));
    assert!(copy.replicator.needs_tick());
    let mut lost = |now| {
        copy.replicator.tick(now);
        let lost = |output: &Output| matches!(output, Output::Drop(HONEST, Offence::InvalidProof(_)));
        std::mem::take(&mut copy.replicator.outputs).iter().any(lost)
    };
    assert!(!lost(at(7)) && !lost(at(7) + CONFLICT_TIMEOUT - Duration::from_millis(1)));
    assert!(lost(at(7) + CONFLICT_TIMEOUT));
}

#[tokio::test(start_paused = true)]
async fn bytes_of_the_connection_count() {
    let (a, b) = tokio::io::duplex(1024);
    let a = SecretStream::connect(IoTransport::new(a), KeyPair::generate(), Options::default());
    let b = SecretStream::accept(IoTransport::new(b), KeyPair::generate(), Options::default());
    let (mut a, b) = tokio::try_join!(a, b).expect("a connection");
    let mux = Mux::new(b);
    let channel = mux.open(ChannelOptions::new("test")).expect("a channel");
    let source = Store::memory().create().expect("core");
    let (entry, ..) = Entry::new(Store::memory().get(&source.key()).expect("core"), Instant::now());
    entry.add_link(HONEST, channel.sender(), mux.clone());
    entry.with(|replicator, now| {
        replicator.downloading = true;
        replicator.opened(HONEST, now);
        replicator.on_message(HONEST, claim(5, 0), now);
    });
    tokio::time::advance(at(15)).await;
    entry.look(HONEST);
    // A part of a message.
    let before = mux.bytes_received();
    a.start_send(&[7; 100_000]).expect("sent");
    while mux.bytes_received() == before {
        let _ = std::future::poll_fn(|cx| std::task::Poll::Ready(a.poll_flush(cx))).await;
        tokio::task::yield_now().await;
    }
    entry.look(HONEST);
    tokio::time::advance(at(15)).await;
    entry.look(HONEST);
    tokio::task::yield_now().await;
    assert!(!mux.is_closed());
    tokio::time::advance(at(21)).await;
    entry.look(HONEST);
    assert!(mux.closed().await.is_err());
}

#[test]
fn a_seek_that_one_peer_owes_for_long_is_asked_of_another() {
    let mut copy = with_peers(&[HONEST, LIAR]);
    wants_nothing(&mut copy);
    let _found = copy.replicator.wants.add_seek(321, 0);
    copy.replicator.update_all(NOW);
    assert_eq!(owe(&copy.replicator), [HONEST]);
    copy.replicator.tick(at(2));
    assert_eq!(owe(&copy.replicator), [HONEST]);
    copy.replicator.tick(at(3));
    assert_eq!(owe(&copy.replicator), [LIAR]);
    assert!(copy.replicator.wants.seeks[0].inflight.is_some_and(|id| copy.replicator.inflight.contains_key(&id)));
    // Without another it stays where it is.
    copy.replicator.closed(HONEST, at(4));
    copy.replicator.tick(at(7));
    assert_eq!(owe(&copy.replicator), [LIAR]);
}

#[test]
fn three_that_hold_a_block_up_together_do_not_keep_it_from_a_fourth() {
    let mut copy = with_peers(&[HONEST, LIAR, OTHER, 4]);
    wants_nothing(&mut copy);
    let _waits = copy.replicator.wants.add_block(7);
    copy.replicator.update_all(NOW);
    assert_eq!(owe(&copy.replicator), [HONEST]);
    for second in 1..20 {
        for peer in copy.replicator.peers.values_mut() {
            peer.received(second, at(second));
        }
        copy.replicator.tick(at(second));
        assert!(copy.replicator.inflight.len() <= 3, "after {second} s");
    }
    assert_eq!(owe(&copy.replicator), [HONEST, LIAR, OTHER]);
    copy.replicator.tick(at(20));
    assert_eq!(owe(&copy.replicator), [HONEST, LIAR, OTHER, 4]);
    assert!(dropped(&mut copy.replicator).is_empty());
}

#[test]
fn blocks_that_nobody_has_hold_up_no_other() {
    const MANY: u64 = 5 * MAX_LOOK as u64;
    let mut copy = with_shorter(MANY + 1, &[], 0);
    let _waits: Vec<_> = (0..=MANY).map(|index| copy.replicator.wants.add_block(index)).collect();
    copy.replicator.on_message(HONEST, Message::Range { drop: false, start: MANY, length: 1 }, NOW);
    // Of this it is not clear which of them are meant.
    copy.replicator.on_message(HONEST, claim(MANY + 1, MANY + 1), NOW);
    let mut ticks = 0;
    while copy.replicator.inflight.values().all(|asked| asked.request.block.is_none()) {
        assert!(copy.replicator.needs_tick());
        copy.replicator.tick(NOW);
        ticks += 1;
        assert!(ticks < 20, "it looks at the same again and again");
    }
    // When all was looked at, the search ends.
    for _ in 0..20 {
        copy.replicator.tick(NOW);
    }
    assert!(!copy.replicator.peers[&HONEST].looks_on());
}

#[test]
fn a_block_that_waits_is_seen_when_the_core_of_a_peer_grows() {
    let source = Store::memory().create().expect("core");
    let mut copy = Side::new(Store::memory().get(&source.key()).expect("core"));
    copy.replicator.opened(HONEST, NOW);
    let _waits = copy.replicator.wants.add_block(5);
    copy.replicator.on_message(HONEST, claim(3, 0), NOW);
    copy.replicator.on_message(HONEST, Message::Range { drop: false, start: 0, length: 10 }, NOW);
    let asked = |copy: &Side| copy.replicator.inflight.values().any(|asked| asked.request.block.is_some());
    assert!(!asked(&copy));
    let upgrade = copy.replicator.upgrade.expect("asked");
    copy.replicator.cancel(upgrade);
    copy.replicator.on_message(HONEST, claim(10, 0), NOW);
    assert!(asked(&copy));
}

#[test]
fn one_channel_of_a_core_has_the_timer() {
    let source = Store::memory().create().expect("core");
    let (entry, ..) = Entry::new(Store::memory().get(&source.key()).expect("core"), Instant::now());
    let asks = |peer| {
        entry.with(|replicator, now| {
            replicator.downloading = true;
            replicator.opened(peer, now);
            replicator.on_message(peer, claim(5, 0), now);
        });
    };
    assert_eq!(entry.look(HONEST), None);
    asks(HONEST);
    asks(LIAR);
    let _range = entry.with(|replicator, _| replicator.wants.add_range(DownloadRange::default()));
    assert!(entry.look(LIAR).is_some());
    assert_eq!(entry.look(HONEST), None);
    assert!(entry.look(LIAR).is_some());
    // It goes to the other with the channel.
    entry.remove_link(LIAR);
    assert!(entry.look(HONEST).is_some());
    entry.remove_link(HONEST);
    assert_eq!(entry.look(LIAR), None);
}
