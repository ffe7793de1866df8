//! The program under test, from outside.

use std::io::{BufRead, BufReader};
use std::net::SocketAddrV4;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::{SinkExt, StreamExt};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::figures::Sample;

const TOKEN: &str = "soak";
/// The program starts, and is asked, within this time.
const PATIENCE: Duration = Duration::from_secs(60);

type Client = WebSocketStream<TcpStream>;

pub(crate) struct Program {
    child: Child,
    bridge: String,
    client: Client,
    knocks: u64,
    _place: TempDir,
}

impl Program {
    /// Starts it on this DHT, and waits until it is in its channel.
    pub(crate) async fn start(path: &str, bootstrap: SocketAddrV4) -> anyhow::Result<Self> {
        let place = tempfile::tempdir()?;
        let path = std::fs::canonicalize(path).with_context(|| format!("there is no program {path}"))?;
        let bootstrap = bootstrap.to_string();
        let mut child = Command::new(path)
            .args(["soak", "--peer-dht-bootstrap", &bootstrap, "--msb-dht-bootstrap", &bootstrap])
            .args(["--sc-bridge", "1", "--sc-bridge-port", "0", "--sc-bridge-token", TOKEN, "--sidechannel-quiet", "1"])
            .current_dir(place.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the program")?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let (found, mut bridge) = tokio::sync::watch::channel(None);
        std::thread::spawn(move || {
            let mut address = None;
            for line in lines.by_ref().map_while(Result::ok) {
                if let Some(at) = line.strip_prefix("SC-Bridge: ws://") {
                    address = Some(at.to_owned());
                }
                if line.starts_with("Sidechannel: ready") {
                    found.send_replace(address.take());
                }
            }
        });
        let ready = bridge.wait_for(Option::is_some);
        let ready = tokio::time::timeout(PATIENCE, ready).await.context("the program was not ready in time")?;
        let bridge = ready.context("the program ended")?.clone().unwrap_or_default();
        let client = connect(&bridge).await?;
        Ok(Self { child, bridge, client, knocks: 0, _place: place })
    }

    /// How many peers it says are connected.
    pub(crate) async fn connections(&mut self) -> anyhow::Result<usize> {
        let answer = ask(&mut self.client, r#"{"id":1,"type":"stats"}"#, "\"type\":\"stats\"").await?;
        let count = answer.split("\"connectionCount\":").nth(1).context("no count")?;
        Ok(count.split([',', '}']).next().unwrap_or_default().parse()?)
    }

    /// Has a further client of the bridge come and go without a word.
    pub(crate) async fn knock(&mut self) -> anyhow::Result<()> {
        drop(connect(&self.bridge).await?);
        self.knocks += 1;
        Ok(())
    }

    pub(crate) fn knocks(&self) -> u64 {
        self.knocks
    }

    pub(crate) async fn sample(&mut self, at: Duration) -> anyhow::Result<Sample> {
        let connections = self.connections().await?;
        let of = |file: &str| format!("/proc/{}/{file}", self.child.id());
        let status = std::fs::read_to_string(of("status"))
            .context("the memory of a process is read from /proc: this needs Linux")?;
        let field = |name: &str| -> anyhow::Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such field")?;
            Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
        };
        let stat = std::fs::read_to_string(of("stat"))?;
        // Fields 14 and 15 of proc(5), in ticks of 10 ms; the second field, a name in parentheses, may have spaces.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields.get(11..13).unwrap_or_default().iter().filter_map(|t| t.parse::<u64>().ok()).sum();
        Ok(Sample {
            at,
            connections,
            resident_kb: field("VmRSS:")?,
            descriptors: std::fs::read_dir(of("fd"))?.count(),
            threads: field("Threads:")?,
            cpu: Duration::from_millis(ticks * 10),
        })
    }

    /// Ends it in order.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let done = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status()?;
        ensure!(done.success(), "the program could not be told to end");
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the program ended with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        anyhow::bail!("the program does not end")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connect(bridge: &str) -> anyhow::Result<Client> {
    let stream = TcpStream::connect(bridge).await?;
    let (mut client, _) = tokio_tungstenite::client_async(format!("ws://{bridge}"), stream).await?;
    ask(&mut client, &format!(r#"{{"id":0,"type":"auth","token":"{TOKEN}"}}"#), "auth_ok").await?;
    Ok(client)
}

async fn ask(client: &mut Client, command: &str, answer: &str) -> anyhow::Result<String> {
    client.send(Message::text(command)).await?;
    let find = async {
        while let Some(message) = client.next().await {
            if let Message::Text(text) = message?
                && text.as_str().contains(answer)
            {
                return Ok(text.as_str().to_owned());
            }
        }
        anyhow::bail!("the bridge closed")
    };
    tokio::time::timeout(PATIENCE, find).await.context("the bridge does not answer")?
}
