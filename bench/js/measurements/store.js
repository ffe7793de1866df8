'use strict'
const fs = require('fs')
const os = require('os')
const path = require('path')
const { goals, withWorkers } = require('../lib/lab')

const APPEND = 'append 100 B one by one'
const DURABLE = 'the same, each on disk before the next'
const BATCH = 'append 100 B in batches of 100'
const GET = 'random get from disk'
const DISK = 'bytes on disk for each byte of 100 B blocks'
const OPEN = 'open a store of 10,000 cores'
const MEMORY = 'memory of an open idle core, of 10,000'

module.exports = {
  name: 'store',
  metrics: {
    [APPEND]: { unit: '/s', more: true, goal: goals.times(5) },
    [DURABLE]: { unit: '/s', more: true },
    [BATCH]: { unit: '/s', more: true, goal: goals.times(5) },
    [GET]: { unit: '/s', more: true, goal: goals.times(5) },
    [DISK]: { unit: '' },
    [OPEN]: { unit: 'ms' },
    [MEMORY]: { unit: 'B' }
  },
  rounds: 3,
  async run (impl) {
    const dir = fs.mkdtempSync(path.join(process.env.BENCH_DISK || os.tmpdir(), 'intercom-store-'))
    try {
      return await withWorkers({ store: impl }, async (w) => {
        const one = await w.call({ op: 'store', dir: path.join(dir, 'store'), blocks: 20_000, cores: 10_000 }, 300_000)
        return {
          [APPEND]: one.append,
          ...(one.durable && { [DURABLE]: one.durable }),
          [BATCH]: one.batch,
          [GET]: one.get,
          [DISK]: one.disk,
          [OPEN]: one.open,
          [MEMORY]: one.memory
        }
      })
    } finally {
      fs.rmSync(dir, { recursive: true, force: true })
    }
  }
}
