'use strict'
// What scripts/bench measures, in the order of the table. A measurement is one file here:
//
//   name      for --only
//   metrics   { name of a row: { unit, more: true if more is better, goal, versus: an implementation in `beside` } }
//   run       async (impl) => ({ name of a row: number }); impl is rust, pinned, latest, or one of `beside`
//   beside    further implementations that this measurement alone knows
//   warmup    runs that do not count; rounds: how many by default (5); mostRounds: however many are asked for
//
// What a worker is asked to do for it is one file in ../ops for JavaScript and one line in bench/src/main.rs for Rust.

module.exports = [
  require('./startup'),
  require('./bridge'),
  require('./load'),
  require('./memory'),
  require('./idle'),
  require('./connect'),
  require('./dht'),
  require('./stream'),
  require('./quinn'),
  require('./mixed'),
  require('./lossy'),
  require('./protomux'),
  require('./pow'),
  require('./store'),
  require('./data')
]
