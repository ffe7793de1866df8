//! How fast to send: delivery rate sampling, BBR, and pacing.

mod bbr;
mod cap;
mod filter;
mod pacer;
mod rate;

pub(crate) use bbr::{AckEvent, Bbr, Recovery};
pub(crate) use cap::Cap;
pub(crate) use filter::{WindowedMax, WindowedMin};
pub(crate) use pacer::Pacer;
pub(crate) use rate::{RateSample, RateSampler, SendStamp};
