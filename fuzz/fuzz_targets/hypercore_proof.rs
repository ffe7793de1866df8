//! Proofs from a peer: made up, or true ones with bytes changed. Whatever is stored is what the owner of the core signed.
#![no_main]

use std::sync::OnceLock;

use bytes::Bytes;
use crypto::KeyPair;
use hypercore::replication::messages::Message;
use hypercore::{CoreOptions, Hypercore, NodeRequest, Proof, Request, SeekRequest, Store, UpgradeRequest};
use libfuzzer_sys::fuzz_target;

const LENGTH: u64 = 37;

fn source() -> &'static Hypercore {
    static SOURCE: OnceLock<Hypercore> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let key_pair = Some(KeyPair::from_seed(&[7; 32]));
        let core = Store::memory().core(CoreOptions { key_pair, ..CoreOptions::default() }).expect("core");
        core.append((0..LENGTH).map(|index| format!("block {index}"))).expect("append");
        core
    })
}

fn prove(request: &Request) -> Option<Proof> {
    use std::task::{Context, Poll, Waker};
    let mut proof = Box::pin(source().proof(request));
    match proof.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(proof) => proof.ok(),
        Poll::Pending => None,
    }
}

fuzz_target!(|data: &[u8]| {
    let copy = Store::memory().get(&source().key()).expect("core");
    let [start, index, nodes, what, rest @ ..] = data else { return };
    let start = u64::from(*start) % (LENGTH + 1);
    if start > 0 {
        let upgrade = Some(UpgradeRequest { start: 0, length: LENGTH });
        let proof = prove(&Request { upgrade, manifest: true, ..Request::default() }).expect("a proof");
        copy.verify(&proof).expect("a true proof");
    }
    let bytes = if what & 1 == 0 {
        rest.to_vec()
    } else {
        let part = NodeRequest { index: u64::from(*index) % LENGTH, nodes: u64::from(*nodes) % 7 };
        let hash = NodeRequest { index: u64::from(*index) % (2 * LENGTH), ..part };
        let request = Request {
            block: (what & 2 != 0).then_some(part),
            hash: (what & 6 == 4).then_some(hash),
            seek: (what & 8 != 0).then_some(SeekRequest { bytes: u64::from(*nodes), padding: 0 }),
            upgrade: (what & 16 != 0).then_some(UpgradeRequest { start: 0, length: LENGTH }),
            manifest: what & 32 != 0,
        };
        let Some(proof) = prove(&request) else { return };
        let (_, mut bytes) = Message::Data { request: 1, proof: Box::new(proof) }.encode();
        for change in rest.chunks_exact(3) {
            let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
            bytes[at] ^= change[2];
        }
        bytes
    };
    let Ok(Some(Message::Data { proof, .. })) = Message::decode(3, &Bytes::from(bytes)) else { return };
    let _ = copy.verify(&proof);
    let _ = copy.begin_reorg(&proof);
    let _ = copy.check_conflict(&proof);
    assert!(copy.length() == 0 || copy.length() == LENGTH);
    for index in 0..copy.length() {
        if let Some(block) = copy.get(index).expect("get") {
            assert_eq!(block, format!("block {index}"));
        }
    }
    assert!(!copy.is_frozen());
});
