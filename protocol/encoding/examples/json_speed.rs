//! How long JavaScript's JSON takes here: `cargo run --release -p encoding --example json_speed`.

use std::{hint::black_box, time::Instant};

use encoding::json::{Value, parse, stable_stringify, stringified_len, stringify};

/// The median of many runs, in microseconds.
fn median(mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..201)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let ascii = "The quick brown fox jumps over the lazy dog. ".repeat(4_445);
    let mixed: String = "Zwölf Boxkämpfer 😀 \"jagen\"\n".repeat(6_250);
    let records: Vec<Value> = (0..2_000)
        .map(|n| {
            parse(format!(r#"{{"id":{n},"name":"member {n}","amount":{}.25,"paid":true,"tags":["a","b"]}}"#, n * 7))
                .unwrap()
        })
        .collect();
    for (name, value) in [
        ("200 kB of ASCII", ascii.into()),
        ("200 kB of accents, quotes and lines", mixed.into()),
        ("2,000 records", Value::Array(records)),
    ] {
        let text = stringify(&value);
        println!(
            "{name} ({} bytes): parse {:.0} us, stringify {:.0} us, sorted {:.0} us, length {:.0} us",
            text.len(),
            median(|| drop(black_box(parse(&text)))),
            median(|| drop(black_box(stringify(&value)))),
            median(|| drop(black_box(stable_stringify(&value)))),
            median(|| {
                black_box(stringified_len(&value));
            }),
        );
    }
}
