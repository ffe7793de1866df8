'use strict'
// Cores over loopback TCP, and trees, between peers of one kind: the peers of interop-tests/data and the example data-peer.
//
// DATA_FULL=1 takes the full sizes: 1 GB in blocks of 64 kB, and 1,000,000 keys. JavaScript would take a quarter of an hour to put so
// many in an order that jumps. So they are put in their order first, in batches of 1,000, which is not measured, and what is measured is
// 20,000 more all over the tree.

const fs = require('fs')
const os = require('os')
const path = require('path')
const { Worker } = require('../../../interop-tests/lib/process')
const { ROOT, TARGET } = require('../../../interop-tests/lib/kinds')
const { cpuOf, goals } = require('../lib/lab')

const FULL = process.env.DATA_FULL === '1'
const BIG = FULL ? 16_384 : 2_048
const KEYS = FULL ? 1_000_000 : 50_000
const READS = 10_000
const PUTS = FULL ? 20_000 : KEYS
const LONG = 900_000

const RATE = 'replicate 100,000 blocks of 100 bytes over TCP'
const RATE_CPU = 'replicate 100,000 blocks of 100 bytes: CPU of both ends'
const SPEED = 'replicate ' + BIG / 16 + ' MB in blocks of 64 kB over TCP'
const SPEED_CPU = 'replicate blocks of 64 kB: CPU of both ends'
const PUT = 'hyperbee: put in batches of 100, ' + (FULL ? 'to ' : '') + KEYS.toLocaleString('en') + ' keys'
const GET = 'hyperbee: get at random of ' + KEYS.toLocaleString('en') + ' keys'

function start (impl, dir) {
  const command = impl === 'rust'
    ? [path.join(TARGET, 'release', 'examples', 'data-peer'), dir]
    : [process.execPath, path.join(ROOT, 'data', 'peer.js'), impl, dir]
  return new Worker('data peer (' + impl + ')', command)
}

async function withStores (impl, count, body) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'bench-data-'))
  const peers = Array.from({ length: count }, (_, i) => start(impl, path.join(dir, String(i))))
  try {
    return await body(...peers)
  } finally {
    await Promise.all(peers.map((peer) => peer.kill()))
    fs.rmSync(dir, { recursive: true, force: true })
  }
}

let warm = false

/**
 * A virtual machine gets memory from its host when it first uses it, and that is slow: whoever is measured first would pay for the
 * page cache of all that come later. So a file of what both stores and their databases take is written and removed before.
 */
function warmUp () {
  if (warm) return
  warm = true
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'bench-warm-')), 'file')
  const to = fs.openSync(file, 'w')
  const bytes = Buffer.alloc(1 << 20, 7)
  for (let written = 0; written < BIG / 16 * 4; written++) fs.writeSync(to, bytes)
  fs.closeSync(to)
  fs.rmSync(path.dirname(file), { recursive: true })
}

const replicate = (impl, count, size) => withStores(impl, 2, async (a, b) => {
  const { key } = await a.call({ op: 'create', name: 'a' })
  for (let sent = 0; sent < count; sent += 1024) {
    await a.call({ op: 'append', key, count: Math.min(1024, count - sent), size }, LONG)
  }
  await b.call({ op: 'open', key })
  const { port } = await a.call({ op: 'listen' })
  const before = cpuOf(a.pid, b.pid)
  const from = performance.now()
  await b.call({ op: 'connect', port })
  await b.call({ op: 'wait', key, length: count }, LONG)
  await b.call({ op: 'download', key, start: 0, end: count }, LONG)
  return { seconds: (performance.now() - from) / 1000, cpu: cpuOf(a.pid, b.pid) - before }
})

module.exports = {
  name: 'data',
  metrics: {
    [RATE]: { unit: 'blocks/s', more: true, goal: goals.times(4) },
    [RATE_CPU]: { unit: 's', goal: goals.oneOf(3) },
    [SPEED]: { unit: 'MB/s', more: true, goal: goals.times(4) },
    [SPEED_CPU]: { unit: 's/GB', goal: goals.oneOf(3) },
    [PUT]: { unit: 'puts/s', more: true, goal: goals.times(5) },
    [GET]: { unit: 'gets/s', more: true, goal: goals.times(5) }
  },
  rounds: 2,
  async run (impl) {
    warmUp()
    const small = await replicate(impl, 100_000, 100)
    const big = await replicate(impl, BIG, 65_536)
    const tree = await withStores(impl, 1, async (peer) => {
      const { key } = await peer.call({ op: 'create', name: 'bee' })
      if (FULL) await peer.call({ op: 'plant', key, keys: KEYS }, LONG)
      const load = await peer.call({ op: 'load', key, keys: KEYS, count: PUTS, tail: FULL ? '+' : '' }, LONG)
      const read = await peer.call({ op: 'read', key, keys: KEYS, count: READS }, LONG)
      return { put: PUTS / load.ms * 1000, get: READS / read.ms * 1000 }
    })
    return {
      [RATE]: 100_000 / small.seconds,
      [RATE_CPU]: small.cpu,
      [SPEED]: BIG / 16 / big.seconds,
      [SPEED_CPU]: big.cpu / (BIG / 16 / 1024),
      [PUT]: tree.put,
      [GET]: tree.get
    }
  }
}
