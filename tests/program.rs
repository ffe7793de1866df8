//! The program from outside: what it prints, and the code it ends with.

mod common;
#[path = "common/program.rs"]
mod program;

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use program::{ALONE, Place, Running, assert_fails, value};

#[test]
fn help_and_version_end_well() {
    let place = Place::new();
    for args in [&["--help"] as &[&str], &["-h"], &["help"], &["mystore", "--help"]] {
        let output = place.run(args);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("--sc-bridge-token TOKEN") && text.contains("demo"), "{text}");
    }
    let version = place.run(&["--version"]);
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("intercom {}\n", env!("CARGO_PKG_VERSION")));
    let dht = place.run(&["dht", "--help"]);
    assert!(String::from_utf8_lossy(&dht.stdout).contains("--bootstrap"));
    assert!(!place.path().join("stores").exists());
}

#[cfg(not(feature = "import"))]
#[test]
fn a_build_that_cannot_import_says_what_can() {
    assert_fails(&Place::new().run(&["store", "import", "old-peer"]), 1, &["--features import"]);
}

#[cfg(feature = "import")]
#[test]
fn a_store_is_imported_and_told() {
    let place = Place::new();
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol/corestore-import/tests/data/tables");
    let output = place.run(&["store", "import", recorded.to_str().expect("text"), "--into", "new"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("\"local\": 38 of 38 blocks") && text.contains("1 drafts") && text.contains("all is well"),
        "{text}"
    );
    assert!(place.run(&["store", "check", "new"]).status.success());
    assert_fails(&place.run(&["store", "import", "nothing"]), 1, &["nothing was imported", "no JavaScript store"]);
}

#[test]
fn a_peer_serves_its_bridge_without_a_network() {
    let place = Place::new().with_key("peer");
    let mut peer = Running::start(place.program(&ALONE));
    let lines = peer.until("=================================");
    assert_eq!(value(&lines, "Peer store: "), Path::new("stores").join("peer").display().to_string());
    let address = value(&lines, "SC-Bridge: ws://").to_owned();
    let mut bridge = std::net::TcpStream::connect(address).expect("the bridge listens");
    std::io::Write::write_all(&mut bridge, b"GET / HTTP/1.1\r\n\r\n").expect("open");
    let mut answer = String::new();
    bridge.read_to_string(&mut answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_peer_well_and_its_identity_stays() {
    let place = Place::new().with_key("peer");
    let mut keys = Vec::new();
    for signal in ["TERM", "INT"] {
        let mut peer = Running::start(place.program(&ALONE));
        let lines = peer.until("=================================");
        keys.push(value(&lines, "Peer pubkey (hex): ").to_owned());
        peer.signal(signal);
        assert_eq!(peer.child.wait().expect("ends").code(), Some(0), "{signal}");
    }
    assert_eq!(keys[0], keys[1]);
}

/// Waits until something is so that nobody tells.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        // Only so that a test that hangs says where.
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a server of figures answers to a request for this path.
fn get(address: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    std::io::Write::write_all(&mut stream, request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

/// A peer that serves its figures, and where it does.
fn with_figures(place: &Place) -> (Running, Vec<String>, String) {
    let mut peer = Running::start(place.program(&[&ALONE[..], &["--metrics-port=0"]].concat()));
    let lines = peer.until("Metrics: http://");
    let address = value(&lines, "Metrics: http://").strip_suffix("/metrics").expect("a path").to_owned();
    (peer, lines, address)
}

fn figure(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing: {text}")).parse().expect("a number")
}

#[test]
fn figures_are_read_from_a_running_peer() {
    let place = Place::new().with_key("peer");
    let (_peer, lines, address) = with_figures(&place);
    let text = get(&address, "/metrics");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && address.starts_with("127.0.0.1:"), "{address}: {text}");
    assert_eq!((figure(&text, "intercom_udx_sockets"), figure(&text, "intercom_bridge_clients")), (2, 0));
    assert!(figure(&text, "process_resident_memory_bytes") > 1 << 20);
    // Every figure has its help and its type, and no name comes twice.
    let body = text.split_once("\r\n\r\n").expect("a body").1;
    let names: Vec<_> =
        body.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(' ').next()).collect();
    let expected: String = names.iter().map(|name| format!("{name} ")).collect();
    for kind in ["# HELP ", "# TYPE "] {
        let said: String = body
            .lines()
            .filter_map(|line| line.strip_prefix(kind)?.split(' ').next())
            .map(|name| format!("{name} "))
            .collect();
        assert_eq!(said, expected);
    }
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert!(names.len() == once.len() && names.len() > 40, "{names:?}");

    let bridge = std::net::TcpStream::connect(value(&lines, "SC-Bridge: ws://")).expect("the bridge listens");
    // It is counted when it is accepted, which is a moment later.
    until("it is counted", || figure(&get(&address, "/metrics"), "intercom_bridge_clients") == 1);
    drop(bridge);
    for path in ["/", "/metrics/", "/debug"] {
        assert!(get(&address, path).starts_with("HTTP/1.1 404 "), "{path}");
    }
    let port = address.rsplit_once(':').expect("a port").1;
    let other = Place::new().with_key("peer");
    assert_fails(&other.run(&[&ALONE[..], &["--metrics-port", port]].concat()), 1, &[port, "in use", "--metrics-port"]);
}

#[cfg(unix)]
#[test]
fn a_peer_that_was_stopped_looks_at_its_network_when_it_goes_on() {
    let place = Place::new().with_key("peer");
    let (peer, _, address) = with_figures(&place);
    let changes = || figure(&get(&address, "/metrics"), "intercom_network_changes_total");
    let before = changes();
    for seen in before..before + 2 {
        // As Ctrl-Z and `fg` do. It is too short for the clock to tell.
        peer.signal("STOP");
        peer.signal("CONT");
        until("it looks", || changes() > seen);
        assert_eq!(changes(), seen + 1);
    }
}

#[test]
fn commands_are_read_from_standard_input_line_by_line_without_a_prompt() {
    let place = Place::new().with_key("peer");
    let mut command = place.program(&ALONE);
    command.stdin(Stdio::piped());
    let mut peer = Running::start(command);
    let banner = peer.until("=================================");
    let mut input = peer.child.stdin.take().expect("is piped");
    let script =
        "/print --text 'two words'\n\n/sc_stats\r\n/no_such\n/get_keys\nno\n/tx --command x\n/print --text end\n";
    std::io::Write::write_all(&mut input, script.as_bytes()).expect("it reads");
    // A closed standard input ends nothing.
    drop(input);
    let lines = peer.until("end");
    let from = lines.iter().position(|line| line == "two words").expect("the first answer");
    let expected = [
        "two words",
        "{ channels: [ '0000intercom' ], connectionCount: 0 }",
        &format!("Address:  {}", value(&banner, "Peer trac address (bech32m): ")),
        &format!("Public Key:  {}", value(&banner, "Peer pubkey (hex): ")),
        "Whoever has the secret key is this peer. Show it? Type yes:",
        "Not shown.",
        "Command failed: Peer is not writable.",
        "end",
    ];
    let rest: Vec<_> = lines[from..].iter().filter(|line| !line.starts_with("Sidechannel")).collect();
    assert_eq!(rest, expected);
    assert_eq!(lines.iter().filter(|line| *line == "Node started. Available commands:").count(), 1);
    assert!(lines.iter().all(|line| !line.starts_with('>')), "{lines:#?}");
    assert!(peer.child.try_wait().expect("a child").is_none(), "still there");
}

#[test]
fn a_channel_is_explained_from_the_flags_and_by_a_running_peer() {
    let place = Place::new().with_key("peer");
    let explain = |args: &[&str]| {
        let output = place.run(&[&["explain"] as &[&str], args].concat());
        (
            output.status.code(),
            String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (code, text) = explain(&["room", "--sidechannels", "room"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.starts_with("[why:room] receiving: this is in the way:\n- a welcome is required and no owner"),
        "{text}"
    );
    let (_, text) = explain(&["room", "--sidechannels", "room", "--sidechannel-welcome-required", "0"]);
    assert_eq!(text, "[why:room] receiving: nothing is in the way\n[why:room] sending: nothing is in the way\n");
    let (_, text) = explain(&["room", "--sc-bridge-token", "t", "--sc-bridge-port", "9"]);
    assert!(
        text.starts_with("no peer's SC-Bridge listens at 127.0.0.1:9; what follows is from the flags alone"),
        "{text}"
    );

    let mut peer = Running::start(place.program(&ALONE));
    let lines = peer.until("=================================");
    let port = value(&lines, "SC-Bridge: ws://127.0.0.1:").to_owned();
    let (_, text) = explain(&["room"]);
    assert!(text.contains("a peer runs with the store") && text.contains("/sc_why \"room\""), "{text}");
    // The flags say that the channel is joined; the peer knows better.
    let (code, text) =
        explain(&["--json", "room", "--sidechannels=room", "--sc-bridge-token=t", "--sc-bridge-port", &port]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(r#""type":"explanation","channel":"room","running":true"#), "{text}");
    assert!(text.contains(r#""code":"not-joined""#), "{text}");
    let (code, text) = explain(&["room", "--sc-bridge-token=wrong", "--sc-bridge-port", &port]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("refuses the token"), "{text}");
    let (code, text) = explain(&["room", "--sidechannel-owner", "x"]);
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn completions_and_manual_pages_come_from_the_flags() {
    let place = Place::new();
    let text = |args: &[&str]| String::from_utf8(place.run(args).stdout).expect("text");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let completions = text(&["completions", shell]);
        assert!(
            completions.contains("sidechannel-owner-write-only") && completions.contains("mnemonic-file"),
            "{shell}"
        );
    }
    let page = text(&["man"]);
    assert!(page.starts_with(".ie") && page.contains("sidechannel\\-owner\\-write\\-only"), "{page}");
    assert!(text(&["man", "keys"]).contains("intercom\\-keys"));
    assert_fails(&place.run(&["man", "nothing"]), 2, &["\"nothing\""]);
}

#[test]
fn output_that_nobody_reads_holds_up_nothing() {
    let place = Place::new().with_key("peer");
    let mut peer = Running::start(place.program(&ALONE));
    let lines = peer.until("=================================");
    let address = value(&lines, "SC-Bridge: ws://").to_owned();
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        use futures_util::{SinkExt, StreamExt};
        use tokio_tungstenite::tungstenite::Message;
        let stream = tokio::net::TcpStream::connect(&address).await.expect("the bridge listens");
        let (mut client, _) =
            tokio_tungstenite::client_async(format!("ws://{address}"), stream).await.expect("an upgrade");
        client.send(Message::Text(r#"{"type":"auth","token":"t"}"#.into())).await.expect("it takes it");
        // Each prints some 6 kB, and a pipe takes 64 kB.
        for id in 0..400 {
            let help = format!(r#"{{"id":{id},"type":"cli","command":"/help"}}"#);
            client.send(Message::Text(help.into())).await.expect("it takes it");
            let start = format!("{{\"id\":{id},\"type\":\"cli_result\"");
            loop {
                match client.next().await {
                    Some(Ok(Message::Text(text))) if text.starts_with(&start) => break,
                    Some(Ok(_)) => {}
                    other => panic!("no answer to {id}: {other:?}"),
                }
            }
        }
    });
}

#[test]
fn the_demo_ends_when_its_peers_have_talked() {
    let place = Place::new();
    let output = place.run(&["demo", "--once"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for words in ["Private DHT: 127.0.0.1:", "SC-Bridge: ws://127.0.0.1:", "token:", "alice -> bob: ", "bob -> alice: "]
    {
        assert!(text.contains(words), "{words:?} is missing in: {text}");
    }
    assert!(!place.path().join("stores").exists(), "the demo leaves nothing behind");
}

#[test]
fn the_demo_stays_up_with_bridges_that_answer() {
    let mut demo = Running::start(Place::new().program(&["demo"]));
    let lines = demo.until("Messages and expenses went both ways");
    let address = value(&lines, "  SC-Bridge: ws://").to_owned();
    std::net::TcpStream::connect(address).expect("the bridge listens");
}

#[test]
fn a_dht_node_says_where_it_listens() {
    let place = Place::new();
    let mut first = Running::start(place.program(&["dht", "--port", "0", "--nodes", "1"]));
    let lines = [first.until("DHT node listening at "), first.until("DHT node listening at ")].concat();
    let address = value(&lines, "DHT node listening at ").to_owned();
    assert!(address.starts_with("127.0.0.1:") && lines[0] != lines[1], "{lines:?}");
    let mut second = Running::start(place.program(&["dht", "--port", "0", "--bootstrap", &address]));
    second.until("DHT node listening at ");
    let port = address.rsplit_once(':').expect("a port").1;
    assert_fails(&place.run(&["dht", "--port", port]), 1, &[port, "--port"]);
    assert_fails(&place.run(&["dht", "--ephemeral"]), 2, &["--bootstrap"]);
    #[cfg(unix)]
    for mut node in [second, first] {
        node.signal("TERM");
        assert_eq!(node.child.wait().expect("ends").code(), Some(0));
    }
}
