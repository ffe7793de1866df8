'use strict'
// Rust and JavaScript in turn, on the same machine, in one run. See scripts/bench.
//
// usage: node bench/js/main.js [--rounds N] [--only a,b] [--impl rust,pinned,latest] [--write FILE] [--json FILE] [--list]
//
// What is measured stands in measurements/, a file each, listed in measurements/index.js.

const fs = require('fs')
const lab = require('./lib/lab')
const report = require('./lib/report')
const MEASUREMENTS = require('./measurements')
const { parse, list } = require('../../interop-tests/peer/flags')

const flags = parse(process.argv.slice(2))
const IMPLS = list(flags.impl || 'rust,pinned,latest')

/** All rounds of one measurement: { data: metric -> impl -> values, failure }. */
async function measure (measurement, rounds) {
  const impls = [...IMPLS, ...(measurement.beside || [])]
  const data = {}
  const one = async (impl, keep) => {
    const result = await measurement.run(impl)
    if (!keep) return
    for (const [metric, value] of Object.entries(result || {})) {
      if (!measurement.metrics[metric]) throw new Error(measurement.name + ' gives "' + metric + '", which it does not name')
      ;((data[metric] ||= {})[impl] ||= []).push(value)
    }
    process.stderr.write('.')
  }
  try {
    for (let n = 0; n < (measurement.warmup || 0); n++) for (const impl of impls) await one(impl, false)
    for (let round = 0; round < rounds; round++) for (const impl of round & 1 ? [...impls].reverse() : impls) await one(impl, true)
    return { data }
  } catch (failure) {
    console.error('\n' + measurement.name + ': ' + failure.stack)
    return { data, failure }
  }
}

async function main () {
  const names = MEASUREMENTS.map((one) => one.name)
  if (process.argv.includes('--list')) return console.log(names.join('\n'))
  const only = list(flags.only || names.join(','))
  const unknown = only.filter((name) => !names.includes(name))
  if (unknown.length) throw new Error('no such measurement: ' + unknown.join(', ') + '; there are ' + names.join(', '))
  const rows = []
  const raw = {}
  let failed = false
  for (const measurement of MEASUREMENTS.filter((one) => only.includes(one.name))) {
    const from = performance.now()
    const rounds = Math.min(Number(flags.rounds || measurement.rounds || 5), measurement.mostRounds || Infinity)
    const { data, failure } = await measure(measurement, rounds)
    process.stderr.write(' ' + measurement.name + ', ' + ((performance.now() - from) / 1000).toFixed(0) + ' s\n')
    failed ||= !!failure
    raw[measurement.name] = data
    rows.push(...report.rowsOf(measurement, data, IMPLS, failure))
  }
  console.log(report.machine() + '\n' + report.versions(IMPLS) + '\n\n' + report.table(rows, IMPLS))
  if (flags.write) report.write(flags.write, report.part(rows, IMPLS, flags.rounds || 5))
  if (flags.json) fs.writeFileSync(flags.json, JSON.stringify(raw, null, 1))
  await lab.end()
  process.exit(failed ? 1 : 0)
}

main().catch((err) => {
  console.error(err)
  process.exit(1)
})
