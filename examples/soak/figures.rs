//! What was measured, and whether it grew.

use std::fmt;
use std::time::Duration;

use anyhow::ensure;

/// The program at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) connections: usize,
    pub(crate) resident_kb: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: u64,
    /// Of all its threads, since it started.
    pub(crate) cpu: Duration,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, connections, resident_kb, descriptors, threads, cpu } = self;
        let (minute, cpu) = (at.as_secs_f64() / 60.0, cpu.as_secs_f64());
        write!(f, "{minute:>10.1} {connections:>12} {resident_kb:>12} {descriptors:>12} {threads:>12} {cpu:>8.1}")
    }
}

/// All samples of the time under load.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<Sample>);

/// The greatest values of a part of the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peak {
    pub(crate) resident_kb: u64,
    pub(crate) descriptors: usize,
}

/// The second quarter of the run beside the last: caches and buffers have their size after the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    pub(crate) early: Peak,
    pub(crate) late: Peak,
    pub(crate) kb_per_minute: f64,
    /// The median.
    pub(crate) connections: usize,
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { early, late, kb_per_minute, connections } = self;
        write!(
            f,
            "second quarter: at most {} kB and {} descriptors; last quarter: at most {} kB and {} descriptors; slope of the \
             memory since the second quarter {kb_per_minute:.1} kB a minute; {connections} connections at the median",
            early.resident_kb, early.descriptors, late.resident_kb, late.descriptors
        )
    }
}

impl Figures {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    pub(crate) fn growth(&self) -> anyhow::Result<Growth> {
        let samples = &self.0;
        ensure!(samples.len() >= 8, "too short to tell: {} samples", samples.len());
        let quarter = samples.len() / 4;
        let peak = |part: &[Sample]| Peak {
            resident_kb: part.iter().map(|sample| sample.resident_kb).max().unwrap_or(0),
            descriptors: part.iter().map(|sample| sample.descriptors).max().unwrap_or(0),
        };
        let mut connections: Vec<usize> = samples.iter().map(|sample| sample.connections).collect();
        connections.sort_unstable();
        Ok(Growth {
            early: peak(&samples[quarter..2 * quarter]),
            late: peak(&samples[samples.len() - quarter..]),
            kb_per_minute: slope(&samples[quarter..]),
            connections: connections[connections.len() / 2],
        })
    }
}

/// The least squares' one.
fn slope(samples: &[Sample]) -> f64 {
    let points: Vec<(f64, f64)> =
        samples.iter().map(|sample| (sample.at.as_secs_f64() / 60.0, sample.resident_kb as f64)).collect();
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
        (above + (point.0 - x) * (point.1 - y), below + (point.0 - x).powi(2))
    });
    if below > 0.0 { above / below } else { 0.0 }
}
