'use strict'
// node worker.js <pinned|latest>
// The JavaScript side of a measurement: lines of JSON in, lines of JSON out ({ id, op, ... } -> { id, ... }).
// `intercom-bench worker` is the same in Rust, and either works with either.
// Each file in ops/ gives some of the operations: (lab) => ({ name: async (request) => answer }).

const fs = require('fs')
const path = require('path')
const { createInterface } = require('readline')
const stack = require('../../interop-tests/peer/stack')(process.argv[2])
const { nodes } = require('../../interop-tests/peer/flags')

const say = (o) => process.stdout.write(JSON.stringify(o) + '\n')

let dht = null

/** What operations share. */
const lab = {
  stack,
  nodes,
  now: () => Number(process.hrtime.bigint()) / 1e6,
  bytes: (hex) => Buffer.from(hex, 'hex'),
  /** The one DHT node of this process. */
  async node (bootstrap) {
    dht ||= new stack.DHT({ bootstrap: nodes(bootstrap), host: '127.0.0.1' })
    await dht.fullyBootstrapped()
    return dht
  },
  opened: (stream) => new Promise((resolve, reject) => {
    stream.once('open', resolve)
    stream.once('error', reject)
  })
}

const ops = {}
for (const file of fs.readdirSync(path.join(__dirname, 'ops'))) Object.assign(ops, require('./ops/' + file)(lab))

if (process.argv[3] === 'startup') {
  ops.swarm({ bootstrap: process.argv[4] }).then(() => say({ listening: true }))
} else {
  say({ ready: true })
}
createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const { id, op, ...rest } = JSON.parse(line)
    say({ id, ...await Promise.resolve().then(() => ops[op](rest)).catch((err) => ({ error: err.stack })) })
  })
  .on('close', () => process.exit(0))
