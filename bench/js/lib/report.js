'use strict'
// The table, and the file in which it stands between two marks; what people wrote around them is kept.

const fs = require('fs')
const os = require('os')
const path = require('path')
const { ROOT } = require('../../../interop-tests/lib/kinds')
const { median } = require('./lab')

const BEGIN = '<!-- begin: written by scripts/bench -->'
const END = '<!-- end: written by scripts/bench -->'

const show = (n) => n >= 1000 ? Math.round(n).toLocaleString('en') : n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2)
const cell = (values) => !values || values.length === 0 ? '–' : show(median(values)) + (values.length > 1 ? ' (' + show(Math.min(...values)) + '–' + show(Math.max(...values)) + ')' : '')

/**
 * The rows of one measurement: a metric, its values per implementation, the ratio to the better of the others, the goal.
 * A metric with `versus` is compared with that implementation (quinn, say) instead of the JavaScript ones.
 */
function rowsOf (measurement, data, impls, failure) {
  return Object.entries(measurement.metrics).map(([name, { unit, more, goal, versus }]) => {
    const values = data[name] || {}
    const others = (versus ? [versus] : impls.filter((impl) => impl !== 'rust')).filter((impl) => values[impl]).map((impl) => median(values[impl]))
    const best = others.length ? (more ? Math.max(...others) : Math.min(...others)) : NaN
    const ours = values.rust ? median(values.rust) : NaN
    const ratio = more ? ours / best : best / ours
    const met = goal && Number.isFinite(ours) && goal.met(ours, best)
    return [
      name + ', ' + unit,
      ...impls.map((impl) => cell(values[impl])),
      Number.isFinite(ratio) ? show(ratio) + ' ×' : '–',
      (goal ? goal.text : '') + (versus ? ' ' + versus + ': ' + cell(values[versus]) : ''),
      failure ? 'failed' : goal && impls.includes('rust') ? (met ? 'yes' : '**no**') : ''
    ]
  })
}

function table (rows, impls) {
  const head = ['measurement', ...impls.map((impl) => impl === 'rust' ? 'Rust' : 'JavaScript ' + impl), 'better by', 'goal', 'met']
  const line = (cells) => '| ' + cells.join(' | ') + ' |'
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

function machine () {
  const cpus = os.cpus()
  return cpus.length + ' × ' + cpus[0].model.trim() + ', ' + Math.round(os.totalmem() / 2 ** 30) + ' GiB, ' + os.type() + ' ' + os.release() + ', Node.js ' + process.version
}

function versions (impls) {
  return impls.filter((impl) => impl !== 'rust').map((impl) => {
    const of = (id) => require(path.join(ROOT, impl, 'node_modules', id, 'package.json')).version
    return impl + ': hyperswarm ' + of('hyperswarm') + ', hyperdht ' + of('hyperdht') + ', udx-native ' + of('udx-native')
  }).join('; ')
}

function part (rows, impls, rounds) {
  return [
    BEGIN,
    'Made by `scripts/bench --write docs/benchmarks.md`. Rust and JavaScript run in turn, in one run, on one machine; a number is the',
    'median of the rounds, in brackets the least and the most. "Better by" compares with the better JavaScript, or with what the goal',
    'names. Figures of different runs are not comparable.',
    '',
    'Machine: ' + machine() + '.',
    'JavaScript: ' + versions(impls) + '.',
    'The program on the side of JavaScript is ' + (process.env.INTERCOM_JS ? 'the original application' : 'the reference peer of `interop-tests`') + '.',
    'Rounds: ' + rounds + '.',
    '',
    table(rows, impls),
    END
  ].join('\n')
}

/** Replaces what stands between the marks; a file without them gets them at its end. */
function write (file, text) {
  const old = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '# Benchmarks\n'
  const [from, to] = [old.indexOf(BEGIN), old.indexOf(END)]
  const whole = from >= 0 && to > from ? old.slice(0, from) + text + old.slice(to + END.length) : old.trimEnd() + '\n\n' + text + '\n'
  fs.writeFileSync(file, whole)
}

module.exports = { rowsOf, table, machine, versions, part, write }
