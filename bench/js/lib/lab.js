'use strict'
// What measurements are made with: workers of every implementation, one DHT for all of them, readings of processes, goals.

const fs = require('fs')
const path = require('path')
const { execFileSync } = require('child_process')
const { Process, Worker } = require('../../../interop-tests/lib/process')
const { startDht, TARGET } = require('../../../interop-tests/lib/kinds')

const MB = 1 << 20

/** The command of a worker: `impl` is rust, pinned or latest. Both speak lines of JSON; see bench/js/worker.js. */
const workerCommand = (impl, ...args) => impl === 'rust'
  ? [path.join(TARGET, 'release', 'intercom-bench'), ...(args.length ? args : ['worker'])]
  : [process.execPath, path.join(__dirname, '..', 'worker.js'), impl, ...args]

/** A process of its own that measurements ask to do things: `await w.call({ op: 'stream', ... })`. */
async function worker (impl, role) {
  const w = new Worker(role + ' (' + impl + ')', workerCommand(impl))
  await w.json((o) => o.ready)
  return w
}

/** Runs `f` with one worker for each role, in order, and ends them whatever happens. */
async function withWorkers (roles, f) {
  const all = []
  try {
    for (const [role, impl] of Object.entries(roles)) all.push(await worker(impl, role))
    return await f(...all)
  } finally {
    await Promise.all(all.map((w) => w.kill()))
  }
}

// The JavaScript DHT that serves every implementation: started once, by the first measurement that asks for it.
let dht = null
async function bootstrap () {
  dht ||= startDht('pinned', { nodes: 9 })
  return (await dht).bootstrap
}
async function end () {
  if (dht) await (await dht).kill()
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

const median = (a) => percentile(a, 0.5)
function percentile (a, p) {
  const sorted = [...a].sort((x, y) => x - y)
  return sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))]
}

/** Resident memory of a process, MiB. */
function residentOf (pid) {
  return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) / 1024
}

/** CPU seconds of processes, where the system tells them finely enough (Linux). */
function cpuOf (...pids) {
  if (process.platform !== 'linux') return NaN
  return pids.reduce((sum, pid) => {
    const fields = fs.readFileSync('/proc/' + pid + '/stat', 'utf8').split(') ').pop().split(' ')
    return sum + (Number(fields[11]) + Number(fields[12])) / 100
  }, 0)
}

/**
 * CPU seconds of a process over `seconds` from now. On Linux to the nanosecond, as the scheduler counts them for each thread: ticks of 10 ms
 * miss work that timers begin, as those ticks are begun themselves. A thread that ends meanwhile is not counted.
 */
async function cpuDuring (pid, seconds) {
  const threads = () => {
    if (process.platform !== 'linux') return [['all', cpuOf(pid)]]
    return fs.readdirSync('/proc/' + pid + '/task').map((thread) =>
      [thread, Number(fs.readFileSync('/proc/' + pid + '/task/' + thread + '/schedstat', 'utf8').split(' ')[0]) / 1e9])
  }
  const before = new Map(threads())
  await pause(seconds * 1000)
  return threads().reduce((sum, [thread, ran]) => sum + ran - (before.get(thread) || 0), 0)
}

// Goals: a text, and whether it is met by our median and the best of the others.
const atMost = (limit) => ({ text: '≤ ' + limit, met: (ours) => ours <= limit })
const atLeast = (limit) => ({ text: '≥ ' + limit.toLocaleString('en'), met: (ours) => ours >= limit })
const times = (n) => ({ text: '≥ ' + n + ' ×', met: (ours, theirs) => ours >= n * theirs })
const oneOf = (n) => ({ text: '≤ 1/' + n, met: (ours, theirs) => ours <= theirs / n })
const noSlower = { text: 'no slower', met: (ours, theirs) => ours <= theirs }
const noLess = { text: 'no less', met: (ours, theirs) => ours >= theirs }
const noMore = { text: 'no more', met: (ours, theirs) => ours <= theirs }

module.exports = {
  MB, Process, workerCommand, worker, withWorkers, bootstrap, end, pause, median, percentile, residentOf, cpuOf, cpuDuring,
  goals: { atMost, atLeast, times, oneOf, noSlower, noLess, noMore }
}
