//! `scripts/simulate`: many seeds, many nodes, many days.

use std::process::ExitCode;
use std::time::Instant;

use simulation::scenario::{Plan, Scenario, run};

/// What is allocated, so that a run also tells what memory the nodes take.
#[global_allocator]
static HEAP: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, usize::MAX);

struct Args {
    seeds: u64,
    first: u64,
    nodes: usize,
    days: f64,
    scenarios: Vec<Scenario>,
}

fn args() -> Result<Args, String> {
    let mut args = Args { seeds: 10, first: 1, nodes: 60, days: 1.0, scenarios: Scenario::ALL.to_vec() };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().ok_or_else(|| format!("{name} needs a value"))?;
        let bad = || format!("{name} {value}: not a number");
        match name.as_str() {
            "--seeds" => args.seeds = value.parse().map_err(|_| bad())?,
            "--seed" => (args.first, args.seeds) = (value.parse().map_err(|_| bad())?, 1),
            "--first" => args.first = value.parse().map_err(|_| bad())?,
            "--nodes" => args.nodes = value.parse().map_err(|_| bad())?,
            "--days" => args.days = value.parse().map_err(|_| bad())?,
            "--scenario" => {
                let known = Scenario::ALL.into_iter().find(|scenario| scenario.name() == value);
                args.scenarios = vec![known.ok_or_else(|| format!("no scenario is called {value}"))?];
            }
            _ => return Err(format!("unknown argument {name}")),
        }
    }
    Ok(args)
}

fn main() -> ExitCode {
    let args = match args() {
        Ok(args) => args,
        Err(error) => {
            eprintln!("simulate: {error}; see scripts/simulate --help");
            return ExitCode::from(2);
        }
    };
    let mut failures = Vec::new();
    for scenario in args.scenarios {
        for seed in args.first..args.first + args.seeds {
            let begun = Instant::now();
            let result = run(Plan { scenario, seed, nodes: args.nodes, days: args.days });
            let (name, took) = (scenario.name(), begun.elapsed().as_secs_f64());
            let heap = HEAP.allocated() >> 10;
            match result {
                Ok(report) => {
                    let (hours, datagrams) = (report.passed.as_secs_f64() / 3600.0, report.datagrams);
                    println!(
                        "ok {name} seed {seed}: {hours:.2} h in {took:.1} s, {datagrams} datagrams; {heap} KiB are left after it"
                    );
                    report.lines.iter().for_each(|line| println!("   {line}"));
                }
                Err(failure) => {
                    println!("FAILED {name} seed {seed} after {took:.1} s: {failure}");
                    failures.push(failure);
                }
            }
        }
    }
    if failures.is_empty() {
        println!("all seeds hold");
        return ExitCode::SUCCESS;
    }
    println!("{} failed:", failures.len());
    failures.iter().for_each(|failure| println!("  {}", failure.plan));
    ExitCode::FAILURE
}
