//! How long it takes to seal, open, sign, verify, and agree on a secret: `cargo run --release -p crypto --example throughput`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crypto::KeyPair;
use crypto::secretstream::{ABYTES, Pull, Push};

/// Prints the shortest mean of several short runs, which is what the machine can do when nobody disturbs it.
fn measure(name: &str, bytes: usize, mut run: impl FnMut()) {
    let once = Instant::now();
    run();
    let count = (Duration::from_millis(2).as_nanos() / once.elapsed().as_nanos().max(1)).clamp(1, 10_000) as u32;
    let best = (0..50).map(|_| {
        let start = Instant::now();
        (0..count).for_each(|_| run());
        start.elapsed() / count
    });
    let nanoseconds = best.min().unwrap_or_default().as_nanos().max(1);
    println!("{name:24} {bytes:6} B {nanoseconds:8} ns {:8} MB/s", bytes as u128 * 1000 / nanoseconds);
}

fn main() {
    let (key, header) = ([1; 32], [2; 24]);
    for size in [0, 200, 1100, 4096, 65536] {
        let mut buffer = vec![0; size + ABYTES];
        let mut push = Push::new(&key, &header);
        measure("secretstream seal", size, || push.seal_in_place(&mut buffer).expect("room"));
        let sealed = Push::new(&key, &header).seal(&vec![0; size]);
        let pull = Pull::new(&key, &header);
        measure("secretstream open + copy", size, || {
            buffer.copy_from_slice(&sealed);
            pull.clone().open_in_place(&mut buffer).expect("authentic");
        });
    }
    let (keys, remote) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
    let signature = keys.sign(b"message");
    measure("sign", 7, || _ = black_box(keys.sign(b"message")));
    measure("verify", 7, || assert!(crypto::verify(&keys.public_key, b"message", &signature)));
    measure("dh", 32, || _ = black_box(crypto::dh(&keys, &remote.public_key)));
    measure("key pair from seed", 32, || _ = black_box(KeyPair::from_seed(&[1; 32])));
    for size in [100, 65536] {
        measure("hash", size, || _ = black_box(crypto::hash(&[&vec![1; size]])));
    }
}
