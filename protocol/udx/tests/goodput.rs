//! Goodput through bad links in virtual time: shares of what the link carries, and what is repeated for it.
//!
//! Time and chance are the seed's, so that each figure repeats itself to the packet. The bounds lie close to what the rules of
//! loss, start and window give: who changes a rule sees here what it costs, and moves the bound with a reason.

mod common;

use common::{Pair, millis, pair, send};
use tokio::time::Instant;
use udx::network::sim::Link;

const LINK: u64 = 12_500_000;

/// Means of four seeds: the share of the link's rate, and repeated packets by packets sent.
async fn through(delay: u64, loss: f64, total: usize) -> (f64, f64) {
    let (mut share, mut repeats) = (0.0, 0.0);
    for seed in 0..4 {
        let link = Link { delay: millis(delay), loss, rate: Some(LINK), ..Link::default() };
        let Pair { a, b, .. } = pair(seed, link, (0, 0));
        let start = Instant::now();
        let read = async {
            let mut read = 0;
            while read < total {
                read += b.read_chunk().await.unwrap().unwrap().len();
            }
            start.elapsed().as_secs_f64()
        };
        let (sent, took) = tokio::join!(send(&a, total, 65_536), read);
        sent.unwrap();
        let stats = a.stats();
        share += total as f64 / took / LINK as f64 / 4.0;
        repeats += stats.retransmits as f64 / stats.packets_sent as f64 / 4.0;
    }
    (share, repeats)
}

#[tokio::test(start_paused = true)]
async fn random_loss_leaves_most_of_a_long_link() {
    let (share, repeats) = through(50, 0.01, 24 << 20).await;
    assert!(share > 0.706 && repeats < 0.058, "{share} {repeats}");
}

#[tokio::test(start_paused = true)]
async fn random_loss_leaves_nearly_all_of_a_short_link() {
    let (share, repeats) = through(10, 0.02, 24 << 20).await;
    assert!(share > 0.914 && repeats < 0.031, "{share} {repeats}");
}

#[tokio::test(start_paused = true)]
async fn a_long_clean_link_is_filled_soon() {
    let (share, repeats) = through(50, 0.0, 24 << 20).await;
    assert!(share > 0.755 && repeats < 0.048, "{share} {repeats}");
}

#[tokio::test(start_paused = true)]
async fn a_short_transfer_takes_few_round_trips() {
    // Nearly all of it is the start: ten round trips were 0.20.
    let (share, repeats) = through(50, 0.0, 2 << 20).await;
    assert!(share > 0.257 && repeats < 0.001, "{share} {repeats}");
}
