'use strict'
const fs = require('fs')
const os = require('os')
const path = require('path')
const { goals, withWorkers } = require('../lib/lab')

const APPEND = 'append 100 B one by one'
const SIGNED = 'the same, each signed (JavaScript always does)'
const DURABLE = 'the same, each on disk before the next'
const BATCH = 'append 100 B in batches of 100'
const DURABLE_BATCH = 'the same batches, each on disk before the next'
const GET = 'random get from disk'
const DISK = 'bytes on disk for each byte of 100 B blocks'
const OPEN = 'open a store of 10,000 cores'
const MEMORY = 'memory of an open idle core, of 10,000'
const VERIFY = 'verify a block and an upgrade'
const FLOOR = 'its hashes and one signature alone'

const CORES = 10_000

module.exports = {
  name: 'store',
  metrics: {
    [APPEND]: { unit: '/s', more: true, goal: goals.times(5) },
    [SIGNED]: { unit: '/s', more: true },
    [DURABLE]: { unit: '/s', more: true, goal: goals.times(5) },
    [BATCH]: { unit: '/s', more: true, goal: goals.times(5) },
    [DURABLE_BATCH]: { unit: '/s', more: true, goal: goals.times(5) },
    [GET]: { unit: '/s', more: true, goal: goals.times(5) },
    [DISK]: { unit: '', goal: goals.noMore },
    [OPEN]: { unit: 'ms', goal: goals.noMore },
    [MEMORY]: { unit: 'B', goal: goals.noMore },
    [VERIFY]: { unit: 'us' },
    [FLOOR]: { unit: 'us' }
  },
  rounds: 3,
  async run (impl) {
    const dir = fs.mkdtempSync(path.join(process.env.BENCH_DISK || os.tmpdir(), 'intercom-store-'))
    const call = (request) => withWorkers({ store: impl }, (w) => w.call(request, 300_000))
    try {
      const one = await call({ op: 'store', dir: path.join(dir, 'store'), blocks: 20_000 })
      const { keys } = await call({ op: 'store_fill', dir: path.join(dir, 'many'), cores: CORES })
      const many = await call({ op: 'store_hold', dir: path.join(dir, 'many'), keys })
      const proof = impl === 'rust' && await call({ op: 'proof' })
      return {
        [APPEND]: one.append,
        [SIGNED]: one.signed,
        [DURABLE]: one.durable,
        [BATCH]: one.batch,
        [DURABLE_BATCH]: one.durableBatch,
        [GET]: one.get,
        [DISK]: one.disk,
        [OPEN]: many.open,
        [MEMORY]: many.memory,
        ...(proof && { [VERIFY]: proof.verify, [FLOOR]: proof.floor })
      }
    } finally {
      fs.rmSync(dir, { recursive: true, force: true })
    }
  }
}
