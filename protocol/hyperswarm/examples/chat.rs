//! The smallest chat: everybody who names the same room hears each other.
//!
//! ```text
//! cargo run -p hyperswarm --example chat -- lobby
//! cargo run -p hyperswarm --example chat -- lobby 127.0.0.1:49737     # on a network of your own
//! ```

use hyperswarm::{JoinOptions, Swarm, SwarmOptions};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::broadcast;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let room = arguments.next().ok_or("name a room")?;
    let mut options = SwarmOptions::default();
    if let Some(node) = arguments.next() {
        options.dht_options.bootstrap = Some(vec![node.parse()?]);
    }

    let swarm = Swarm::new(options).await?;
    swarm.join(crypto::hash(&[room.as_bytes()]), JoinOptions::default());
    eprintln!("{}: waiting for others, ^D to leave", short(&swarm.key_pair().public_key));

    let (said, _) = broadcast::channel::<String>(64);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            Some((mut connection, peer)) = swarm.next_connection() => {
                let (name, mut said) = (short(peer.public_key()), said.subscribe());
                tokio::spawn(async move {
                    eprintln!("{name} is here");
                    loop {
                        tokio::select! {
                            line = said.recv() => match line {
                                Ok(line) if connection.send(line.as_bytes()).await.is_ok() => {}
                                Err(broadcast::error::RecvError::Lagged(_)) => {}
                                _ => break,
                            },
                            message = connection.recv() => match message {
                                Ok(Some(message)) => println!("{name}: {}", String::from_utf8_lossy(&message)),
                                _ => break,
                            },
                        }
                    }
                    eprintln!("{name} is gone");
                });
            }
            line = lines.next_line() => match line? {
                // Nobody may be there to hear it.
                Some(line) => drop(said.send(line)),
                None => break,
            },
        }
    }
    swarm.destroy().await;
    Ok(())
}

fn short(key: &[u8; 32]) -> String {
    key[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}
