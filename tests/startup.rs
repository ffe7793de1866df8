//! The program when it starts: what stands in its way is named in one line, what is there is kept, and an identity that was told stays.

mod common;
#[path = "common/program.rs"]
mod program;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};

use common::KEY_FILE;
use program::{ALONE, Place, Running, assert_fails, value};

#[test]
fn wrong_usage_ends_with_2_and_one_line() {
    let place = Place::new();
    let cases: &[(&[&str], &[&str])] = &[
        (&["--sc-bridge", "1"], &["SC-Bridge requires --sc-bridge-token (auth is mandatory)."]),
        (&["--sc-bridge-port", "http"], &["--sc-bridge-port", "\"http\""]),
        (&["--subnet-bootstrap", "12"], &["Invalid --subnet-bootstrap. Provide 32-byte hex (64 chars)."]),
        (&["--dht-bootstrap", "here"], &["--dht-bootstrap", "HOST:PORT"]),
        (&["--sc-bridge", "--sc-bridge-token-file", "none"], &["--sc-bridge-token-file", "none"]),
        (&["--sidechannel-welcome", "a:@none"], &["--sidechannel-welcome", "none"]),
        (&["--sidechannel-owner", "a:b"], &["--sidechannel-owner", "64 hex digits"]),
        (&["dht", "--prot", "1"], &["--prot", "--help"]),
        (&["demo", "--never"], &["--never", "--help"]),
    ];
    for (args, words) in cases {
        assert_fails(&place.run(args), 2, words);
    }
    assert!(!place.path().join("stores").exists(), "nothing is written before the flags are right");
    let output = place.program(&["--sc-bridge", "1"]).env("SC_BRIDGE_PORT", "x").output().expect("starts");
    assert_fails(&output, 2, &["SC_BRIDGE_PORT", "\"x\""]);
}

#[test]
fn a_mistyped_flag_is_pointed_out_even_if_it_is_why_another_is_missing() {
    let output = Place::new().run(&["--sc-bridge", "1", "--sc-bridge-tokn", "t"]);
    assert_fails(&output, 2, &["SC-Bridge requires --sc-bridge-token"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("warning: unknown flag --sc-bridge-tokn is ignored; did you mean --sc-bridge-token?"),
        "{error}"
    );
}

#[test]
fn a_store_that_cannot_be_written_is_named() {
    let place = Place::new();
    fs::write(place.path().join("stores"), "a file").expect("writable");
    assert_fails(&place.run(&["peer"]), 1, &["cannot write to store", "stores", "--peer-stores-directory"]);
}

#[test]
fn a_corrupt_key_file_is_named_and_left_as_it_is() {
    for content in ["", "{", r#"{"nonce":"00"}"#] {
        let place = Place::new().with_key("peer");
        let key = place.path().join("stores/peer").join(KEY_FILE);
        fs::write(&key, content).expect("writable");
        assert_fails(&place.run(&["peer"]), 1, &["keypair.json"]);
        assert_eq!(fs::read_to_string(&key).expect("is there"), content);
    }
}

#[test]
fn a_port_in_use_is_named() {
    let place = Place::new().with_key("peer");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let output = place.run(&["--sc-bridge", "--sc-bridge-token=t", "--sc-bridge-port", &port]);
    assert_fails(&output, 1, &["SC-Bridge failed to start", &port, "in use", "--sc-bridge-port"]);
}

#[test]
fn every_server_names_the_port_that_is_in_use() {
    let place = Place::new().with_key("peer");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let page = place.run(&[&ALONE[..], &["--ui=1", "--ui-port", &port]].concat());
    assert_fails(&page, 1, &["failed to start", &port, "in use", "--ui-port"]);
    let figures = place.run(&[&ALONE[..], &["--metrics-port", &port]].concat());
    assert_fails(&figures, 1, &["failed to start", &port, "in use", "--metrics-port"]);
    let node = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let port = node.local_addr().expect("bound").port().to_string();
    assert_fails(&place.run(&["dht", "--port", &port]), 1, &[&port, "in use", "--port"]);
    let nobody = "127.0.0.1:9";
    let relay = place.run(&["relay", "--host", "127.0.0.1", "--port", &port, "--bootstrap", nobody]);
    assert_fails(&relay, 1, &[&port, "in use", "--port"]);
}

#[test]
fn expenses_that_cannot_be_read_are_named_and_left_as_they_are() {
    for name in ["json", "proofs.json", "proofs.next.json"].map(|ending| format!("expense-split.snapshots.{ending}")) {
        let place = Place::new().with_key("peer");
        let path = place.path().join("stores/peer").join(&name);
        // No system reads a folder as a file.
        fs::create_dir(&path).expect("writable");
        let output = place.run(&ALONE);
        assert_fails(&output, 1, &["cannot read the expenses", &name, "make the file readable, or move it away"]);
        assert!(path.is_dir());
        fs::remove_dir(&path).expect("is empty");
        Running::start(place.program(&ALONE)).until("=================================");
    }
}

#[test]
fn expenses_that_are_none_are_kept_aside_with_a_warning() {
    let place = Place::new().with_key("peer");
    let path = place.path().join("stores/peer/expense-split.snapshots.json");
    fs::write(&path, "{").expect("writable");
    let mut command = place.program(&ALONE);
    let mut peer = command.spawn().expect("the program starts");
    let mut lines = BufReader::new(peer.stderr.take().expect("is piped")).lines().map(|line| line.expect("text"));
    let warning = lines.find(|line| line.contains("cannot read")).expect("a warning");
    assert!(warning.contains("kept as") && warning.contains("expense-split.snapshots.json.damaged"), "{warning}");
    peer.kill().expect("runs");
    peer.wait().expect("ends");
    assert_eq!(fs::read_to_string(path.with_extension("json.damaged")).expect("is kept"), "{");
}

#[test]
fn a_store_is_used_by_one_peer_at_a_time() {
    let place = Place::new().with_key("peer");
    let mut peer = Running::start(place.program(&ALONE));
    peer.until("=================================");
    assert_fails(&place.run(&ALONE), 1, &["is in use", "--peer-store-name"]);
    drop(peer);
    Running::start(place.program(&ALONE)).until("=================================");
}

#[test]
fn a_new_store_gets_a_key_once() {
    let place = Place::new();
    let args = ["fresh", "--dht-bootstrap=127.0.0.1:9"];
    let mut peer = Running::start(place.program(&args));
    let lines = peer.until("Key pair exported to ");
    assert!(lines.last().is_some_and(|line| line.ends_with("keypair.json")), "{lines:#?}");
    drop(peer);
    let second = Running::start(place.program(&args)).until("=================================");
    assert_eq!(second[0], "=============== STARTING PEER ===============");
    assert_eq!(value(&lines, "Peer pubkey (hex): "), value(&second, "Peer pubkey (hex): "));
}

#[cfg(unix)]
#[test]
fn a_peer_that_ends_at_once_keeps_the_identity_that_it_told() {
    let place = Place::new();
    let args = ["fresh", "--dht-bootstrap=127.0.0.1:9"];
    let mut peer = Running::start(place.program(&args));
    let lines = peer.until("=================================");
    peer.signal("TERM");
    assert_eq!(peer.child.wait().expect("ends").code(), Some(0));
    let second = Running::start(place.program(&args)).until("=================================");
    assert_eq!(value(&lines, "Peer pubkey (hex): "), value(&second, "Peer pubkey (hex): "));
}

/// Whatever it has told, or signed, it has under the key that it keeps.
#[cfg(unix)]
#[test]
fn a_peer_that_is_killed_at_its_first_start_keeps_the_identity_that_it_told() {
    let place = Place::new();
    let args = ["fresh", "--dht-bootstrap=127.0.0.1:9"];
    let mut peer = Running::start(place.program(&args));
    let lines = peer.until("Peer pubkey (hex): ");
    peer.signal("KILL");
    drop(peer);
    let mut again = Running::start(place.program(&args));
    let again_lines = again.until("=================================");
    assert_eq!(value(&lines, "Peer pubkey (hex): "), value(&again_lines, "Peer pubkey (hex): "));
    again.signal("TERM");
    assert_eq!(again.child.wait().expect("ends").code(), Some(0));
    let mut files: Vec<_> = fs::read_dir(place.path().join("stores/fresh/db"))
        .expect("is there")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("text"))
        .filter(|name| !name.starts_with(".keypair-"))
        .collect();
    files.sort();
    assert_eq!(files, ["keypair.json", "keypair.unlocked.json"], "nothing waits any more");
}

#[test]
fn a_waiting_key_that_is_corrupt_is_named_and_left_as_it_is() {
    let place = Place::new();
    let waiting = place.path().join("stores/peer/db/keypair.pending.json");
    fs::create_dir_all(waiting.parent().expect("a folder")).expect("writable");
    fs::write(&waiting, "{").expect("writable");
    assert_fails(&place.run(&["peer"]), 1, &["keypair.pending.json"]);
    assert_eq!(fs::read_to_string(&waiting).expect("is there"), "{");
}

#[test]
fn a_key_that_cannot_be_saved_ends_the_peer() {
    let place = Place::new();
    fs::create_dir_all(place.path().join("stores/fresh")).expect("writable");
    fs::write(place.path().join("stores/fresh/db"), "a file").expect("writable");
    assert_fails(&place.run(&["fresh", "--dht-bootstrap=127.0.0.1:9"]), 1, &["keypair.json"]);
}
