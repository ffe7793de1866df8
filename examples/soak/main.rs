//! A peer under load for a long time: a hundred connections that come and go, and nothing that grows.
//!
//! `scripts/soak` builds and runs it. The program runs as a process of its own, on a private DHT of this process. Its guests, peers
//! with a sidechannel, run in further processes, so that what is measured is the program alone. Every second a guest leaves, in
//! order or not, and comes back; every minute a whole process of guests is killed. A client of the bridge connects every second.
//!
//! It ends with code 1 when the memory or the descriptors of the program grew, or the connections were not there.

mod figures;
mod guests;
mod program;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hyperdht::testnet::Testnet;

use figures::{Figures, Sample};
use guests::Guests;
use program::Program;

/// Nodes of the private DHT.
const NODES: usize = 8;
/// Guests in one process.
const GUESTS: usize = 10;
/// How often the program is looked at.
const INTERVAL: Duration = Duration::from_secs(10);
/// How often all guests of a process die at once.
const KILL_INTERVAL: Duration = Duration::from_secs(60);
/// How long the guests may take to come, and the program to forget them: a dead peer is noticed after up to 18 seconds, and a
/// relay that forgets it and a second look may come on top.
const PATIENCE: Duration = Duration::from_secs(120);

struct Args {
    program: String,
    minutes: f64,
    peers: usize,
}

fn args() -> anyhow::Result<Args> {
    let mut args = Args { program: String::new(), minutes: 20.0, peers: 100 };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--program" => args.program = value,
            "--minutes" => args.minutes = value.parse()?,
            "--peers" => args.peers = value.parse()?,
            _ => anyhow::bail!("unknown argument {name}"),
        }
    }
    ensure!(!args.program.is_empty(), "--program names the program to test");
    Ok(args)
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let done = match std::env::args().nth(1).as_deref() {
        Some("guests") => runtime.block_on(guests::run()),
        _ => runtime.block_on(soak()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn soak() -> anyhow::Result<()> {
    let args = args()?;
    let duration = Duration::from_secs_f64(args.minutes * 60.0);
    let testnet = Testnet::new(NODES).await?;
    let mut program = Program::start(&args.program, testnet.bootstrap).await?;
    let before = program.sample(Duration::ZERO).await?;
    println!("# alone: {before}");

    let mut guests: Vec<Guests> = (0..args.peers.div_ceil(GUESTS))
        .map(|i| Guests::start(testnet.bootstrap, GUESTS.min(args.peers - i * GUESTS)))
        .collect::<anyhow::Result<_>>()?;
    let arrival = Instant::now();
    while program.connections().await? < args.peers {
        ensure!(arrival.elapsed() < PATIENCE, "only {} of {} guests came", program.connections().await?, args.peers);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("# {} guests came within {:.1} s", args.peers, arrival.elapsed().as_secs_f64());
    println!(
        "# {:>8} {:>12} {:>12} {:>12} {:>12} {:>8}",
        "minute", "connections", "resident kB", "descriptors", "threads", "cpu s"
    );

    let begun = Instant::now();
    let mut figures = Figures::default();
    let (mut next_sample, mut next_kill, mut killed) = (INTERVAL, KILL_INTERVAL, 0);
    while begun.elapsed() < duration {
        tokio::time::sleep(Duration::from_secs(1)).await;
        program.knock().await?;
        if begun.elapsed() >= next_kill {
            next_kill += KILL_INTERVAL;
            let place = killed % guests.len();
            let count = guests[place].count;
            // The old ones die, by a signal that cannot be caught, before the new ones are there.
            guests[place].kill();
            guests[place] = Guests::start(testnet.bootstrap, count)?;
            killed += 1;
        }
        if begun.elapsed() >= next_sample {
            next_sample += INTERVAL;
            let sample = program.sample(begun.elapsed()).await?;
            if figures.len() % 6 == 5 {
                println!("{sample}");
            }
            figures.push(sample);
        }
    }

    drop(guests);
    let leaving = Instant::now();
    while program.connections().await? > 0 {
        ensure!(leaving.elapsed() < PATIENCE, "{} connections to nobody are left", program.connections().await?);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let forgot = leaving.elapsed();
    // What closed lingers for a few seconds, to answer peers that did not hear of it.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let after = program.sample(begun.elapsed()).await?;
    println!("# alone again (the last connection was gone after {:.1} s): {after}", forgot.as_secs_f64());
    println!("# {killed} times {GUESTS} guests were killed, {} clients of the bridge came and went", program.knocks());
    program.stop()?;
    testnet.destroy().await;
    judge(&figures, &before, &after, args.peers)
}

/// What must hold.
fn judge(figures: &Figures, before: &Sample, after: &Sample, peers: usize) -> anyhow::Result<()> {
    let growth = figures.growth()?;
    println!("# {growth}");
    ensure!(growth.connections * 10 >= peers * 8, "too few connections: {} at the median", growth.connections);
    ensure!(
        growth.late.resident_kb <= growth.early.resident_kb + growth.early.resident_kb / 10 + 1024,
        "memory grew from {} to {} kB",
        growth.early.resident_kb,
        growth.late.resident_kb
    );
    ensure!(
        growth.late.descriptors <= growth.early.descriptors + 8,
        "descriptors grew from {} to {}",
        growth.early.descriptors,
        growth.late.descriptors
    );
    ensure!(
        after.descriptors <= before.descriptors + 1,
        "descriptors leaked: {} before the first guest, {} after the last",
        before.descriptors,
        after.descriptors
    );
    println!("# soak: ok");
    Ok(())
}
