//! The owner of a core signed two histories, or somebody says so.

use super::by_hand::{HONEST, LIAR, NOW, Side};
use super::messages::{Message, Sync};
use super::replicator::{Offence, Output};
use crate::events::Event;
use crate::proof::{Proof, Request, UpgradeRequest};
use crate::{CoreOptions, Hypercore, Store};
use futures_util::FutureExt;

/// A core of the same owner in a store of its own, and what it shows of itself.
fn core(blocks: &[&str]) -> (Hypercore, Proof) {
    let key_pair = Some(crypto::KeyPair::from_seed(&[7; 32]));
    let core = Store::memory().core(CoreOptions { key_pair, ..CoreOptions::default() }).expect("core");
    core.append(blocks).expect("append");
    let upgrade = Some(UpgradeRequest { start: 0, length: blocks.len() as u64 });
    let proof = core.proof(&Request { upgrade, ..Request::default() }).now_or_never().expect("memory");
    (core, proof.expect("a proof"))
}

fn side(blocks: &[&str]) -> (Side, Proof) {
    let (core, proof) = core(blocks);
    let mut side = Side::new(core);
    for id in [HONEST, LIAR] {
        side.replicator.opened(id, NOW);
        let sync = Sync { length: 3, uploading: true, downloading: true, ..Sync::default() };
        side.replicator.on_message(id, Message::Sync(sync), NOW);
    }
    side.says();
    (side, proof)
}

fn show(side: &mut Side, proof: &Proof) -> Vec<Output> {
    let message = Message::Data { request: 0, proof: Box::new(proof.clone()) };
    side.replicator.on_message(LIAR, message, NOW);
    std::mem::take(&mut side.replicator.outputs)
}

#[test]
fn two_histories_freeze_the_core_and_every_peer_is_shown_and_left() {
    let (mut side, own) = side(&["a", "b", "c", "d"]);
    let (_, other) = core(&["a", "b", "x"]);
    assert!(show(&mut side, &other).is_empty());
    assert!(side.core().is_frozen());
    side.replicator.on_event(&Event::Frozen, NOW);
    for id in [HONEST, LIAR] {
        let to_it = |output: &&Output| matches!(output, Output::Send(to, _) | Output::Close(to) if *to == id);
        match side.replicator.outputs.iter().filter(to_it).collect::<Vec<_>>()[..2] {
            [Output::Send(_, Message::Data { request: 0, proof }), Output::Close(_)] => {
                // It is a proof to who has the other history, of as much as that has.
                let shown = proof.upgrade.as_ref().expect("an upgrade");
                assert_eq!((shown.start, shown.length, proof.fork), (0, 3, own.fork));
                let (there, _) = core(&["a", "b", "x"]);
                assert!(there.check_conflict(proof).expect("signed"));
            }
            ref other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_warning_that_nobody_asked_for_is_heard_once() {
    let (mut side, own) = side(&["a", "b", "c"]);
    assert!(show(&mut side, &own).is_empty());
    for _ in 0..2 {
        assert!(matches!(show(&mut side, &own)[..], [Output::Drop(LIAR, Offence::InvalidProof(_))]));
    }
    assert!(!side.core().is_frozen());
}

#[test]
fn a_warning_that_is_not_signed_costs_the_connection() {
    let (mut side, own) = side(&["a", "b", "c"]);
    let (_, mut other) = core(&["a", "b", "x"]);
    other.upgrade.as_mut().expect("an upgrade").signature = own.upgrade.expect("an upgrade").signature;
    assert!(matches!(show(&mut side, &other)[..], [Output::Drop(LIAR, Offence::InvalidProof(_))]));
    assert!(!side.core().is_frozen());
}
