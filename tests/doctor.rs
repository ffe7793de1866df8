//! `intercom doctor` on a private network, and where there is none.

use std::net::UdpSocket;
use std::process::{Command, Output, Stdio};

use hyperdht::testnet::Testnet;

fn doctor(bootstrap: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_intercom"));
    command.args(["doctor", "--dht-bootstrap", bootstrap, "--host", "127.0.0.1"]).env_clear().stdin(Stdio::null());
    command.output().expect("the program starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_network_that_works_all_is_well() {
    let testnet = Testnet::new(8).await.expect("free ports");
    let bootstrap = testnet.bootstrap.to_string();
    let output = tokio::task::spawn_blocking(move || doctor(&bootstrap)).await.expect("it ran");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    for words in [
        "ok    addresses",
        "ok    dht",
        "ok    nat",
        "ok    announce",
        "ok    connect",
        "ok    clock",
        "Nothing is broken.",
    ] {
        assert!(text.contains(words), "{words:?} is missing in:\n{text}");
    }
    assert!(!text.contains("bad"), "{text}");
    testnet.destroy().await;
}

#[test]
fn where_nobody_answers_it_says_so_and_fails() {
    // Somebody who takes packets and says nothing.
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let output = doctor(&silent.local_addr().expect("bound").to_string());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for words in ["bad   dht", "no node answers", "UDP", "--dht-bootstrap"] {
        assert!(text.contains(words), "{words:?} is missing in:\n{text}");
    }
}
