'use strict'
// Cores and trees, replicated between JavaScript and Rust over TCP and over Hyperswarm.
//
// INTEROP_FULL=1 (scripts/interop --full) runs the sizes that take minutes.

const { describe, test } = require('node:test')
const assert = require('node:assert/strict')
const fs = require('fs')
const path = require('path')
const { Worker } = require('../lib/process')
const { ROOT, TARGET, startDht, reporting, stores } = require('../lib/kinds')
const { wanted } = require('../lib/settings')

const FULL = process.env.INTEROP_FULL === '1'
const BLOCKS = FULL ? 100_000 : 4_000
const CUTS = FULL ? 100 : 5
const SPARSE = FULL ? 2_000 : 100
const BEE_BATCHES = FULL ? 200 : 20
const LONG_MS = FULL ? 300_000 : 60_000

const RUST = process.env.INTEROP_DATA_PEER || path.join(TARGET, 'release', 'examples', 'data-peer')

// server, client, who holds the data
const PAIRS = [['rust', 'pinned'], ['pinned', 'rust'], ['rust', 'latest'], ['latest', 'rust'], ['rust', 'rust']]

let next = 1
function start (kind) {
  const name = 'data peer ' + next++ + ' (' + kind + ')'
  const command = kind === 'rust' ? [RUST] : [process.execPath, path.join(ROOT, 'data', 'peer.js'), kind]
  const store = path.join(stores, name)
  return Object.assign(new Worker(name, [...command, store]), { store })
}

// The numbers of a test are the same in each run.
function random (seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ seed >>> 15, 1 | seed)
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t
    return ((t ^ t >>> 14) >>> 0) / 4294967296
  }
}

async function withPeers (kinds, body) {
  const peers = kinds.map(start)
  try {
    await reporting(() => peers, () => body(...peers))
  } finally {
    await Promise.all(peers.map((peer) => peer.kill()))
    for (const { store } of peers) fs.rmSync(store, { recursive: true, force: true })
  }
}

async function meet (a, b) {
  const { port } = await a.call({ op: 'listen' })
  await b.call({ op: 'connect', port })
  return port
}

/** Ask until it is so; the other side has no event for it. */
async function reach (peer, key, enough, ms = LONG_MS) {
  const end = Date.now() + ms
  for (;;) {
    const info = await peer.call({ op: 'info', key }, LONG_MS)
    if (enough(info)) return info
    if (Date.now() > end) throw new Error('not reached: ' + JSON.stringify(info))
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function same (a, b, key, end) {
  const [one, other] = await Promise.all([a, b].map((peer) => peer.call({ op: 'digest', key, start: 0, end }, LONG_MS)))
  assert.equal(one.digest, other.digest)
}

for (const [server, client] of PAIRS) {
  describe('data: server=' + server + ' client=' + client, { skip: !wanted('data: server=' + server + ' client=' + client) }, () => {
    test('blocks both ways, both appending the while', { timeout: 2 * LONG_MS }, () => withPeers([server, client], async (a, b) => {
      const mine = await a.call({ op: 'create', name: 'a' })
      const yours = await b.call({ op: 'create', name: 'b' })
      for (const [peer, { key }] of [[a, mine], [b, yours]]) await peer.call({ op: 'append', key, count: BLOCKS / 2, size: 100 }, LONG_MS)
      await b.call({ op: 'open', key: mine.key })
      await a.call({ op: 'open', key: yours.key })
      await meet(a, b)
      const loads = [[b, mine], [a, yours]].map(([peer, { key }]) => peer.call({ op: 'wait', key, length: BLOCKS }, LONG_MS)
        .then(() => peer.call({ op: 'download', key, start: 0, end: BLOCKS }, LONG_MS)))
      for (let i = 0; i < 10; i++) {
        for (const [peer, { key }] of [[a, mine], [b, yours]]) await peer.call({ op: 'append', key, count: BLOCKS / 20, size: 100 }, LONG_MS)
      }
      await Promise.all(loads)
      for (const { key } of [mine, yours]) await same(a, b, key, BLOCKS)
    }))

    test('random blocks, and one that is not there', { timeout: 2 * LONG_MS }, () => withPeers([server, client], async (a, b) => {
      const { key } = await a.call({ op: 'create', name: 'a' })
      await a.call({ op: 'append', key, count: BLOCKS, size: 50 }, LONG_MS)
      await b.call({ op: 'open', key })
      await meet(a, b)
      const r = random(1)
      for (let i = 0; i < SPARSE; i++) {
        const index = Math.floor(r() * BLOCKS)
        const [here, there] = await Promise.all([a, b].map((peer) => peer.call({ op: 'get', key, index }, LONG_MS)))
        assert.equal(there.hash, here.hash)
      }
      assert.equal((await b.call({ op: 'get', key, index: BLOCKS + 5, timeout: 300 })).hash, null)
      assert.ok((await b.call({ op: 'info', key })).contiguous < BLOCKS)
    }))

    test('truncation and another history while it replicates', { timeout: 2 * LONG_MS }, () => withPeers([server, client], async (a, b) => {
      const { key } = await a.call({ op: 'create', name: 'a' })
      await a.call({ op: 'append', key, count: 500 })
      await b.call({ op: 'open', key })
      await meet(a, b)
      await b.call({ op: 'wait', key, length: 500 }, LONG_MS)
      await b.call({ op: 'get', key, index: 450 }, LONG_MS)
      for (const [at, length] of [400, 333, 100, 20].entries()) {
        await a.call({ op: 'truncate', key, length })
        await a.call({ op: 'append', key, count: 300, tag: 'fork ' + at })
        const told = await a.call({ op: 'info', key })
        await reach(b, key, (info) => info.fork === told.fork && info.length === told.length)
        // A download of JavaScript's stops after a truncation, also from JavaScript (hypercore 11.8.3): its reads do not.
        if (client === 'rust') await b.call({ op: 'download', key, start: 0, end: told.length }, LONG_MS)
        for (let index = 0; index < told.length; index += client === 'rust' ? told.length : 7) {
          const [here, there] = await Promise.all([a, b].map((peer) => peer.call({ op: 'get', key, index }, LONG_MS)))
          assert.equal(there.hash, here.hash)
        }
        if (client === 'rust') await same(a, b, key, told.length)
      }
    }))

    test('a connection cut again and again', { timeout: 2 * LONG_MS }, () => withPeers([server, client], async (a, b) => {
      const { key } = await a.call({ op: 'create', name: 'a' })
      await a.call({ op: 'append', key, count: BLOCKS, size: 100 }, LONG_MS)
      await b.call({ op: 'open', key })
      const port = await meet(a, b)
      const load = b.call({ op: 'wait', key, length: BLOCKS }, LONG_MS).then(() => b.call({ op: 'download', key, start: 0, end: BLOCKS }, LONG_MS))
      for (let i = 0; i < CUTS; i++) {
        await reach(b, key, (info) => info.contiguous >= i * BLOCKS / CUTS / 2)
        await (i % 2 ? a : b).call({ op: 'cut' })
        await b.call({ op: 'connect', port })
      }
      await load
      await same(a, b, key, BLOCKS)
    }))

    for (const rule of ['core', 'block', 'keys']) {
      test('encrypted blocks: ' + rule, { timeout: 2 * LONG_MS }, () => withPeers([server, client], async (a, b) => {
        const encryption = { key: rule.padEnd(32).split('').map((c) => c.charCodeAt(0).toString(16)).join(''), rule }
        const { key } = await a.call({ op: 'create', name: rule, encryption })
        // Blocks of another history are under another nonce.
        await a.call({ op: 'append', key, count: 100, size: 40 })
        await a.call({ op: 'truncate', key, length: 50 })
        await a.call({ op: 'append', key, count: 100, size: 70, tag: 'again' })
        await b.call({ op: 'open', key, encryption })
        await meet(a, b)
        await b.call({ op: 'wait', key, length: 150, fork: 1 }, LONG_MS)
        for (const index of [0, 49, 50, 149]) {
          const [here, there] = await Promise.all([a, b].map((peer) => peer.call({ op: 'get', key, index }, LONG_MS)))
          assert.equal(there.hash, here.hash)
        }
        // Bytes of the blocks, not of what is stored.
        const { block, offset } = await b.call({ op: 'seek', key, bytes: 50 * 40 + 20 * 70 + 7 }, LONG_MS)
        assert.deepEqual([block, offset], [70, 7])
        await b.call({ op: 'download', key, start: 0, end: 150 }, LONG_MS)
        await same(a, b, key, 150)
        // Without the key it is something else.
        const [plain] = await Promise.all([a.call({ op: 'digest', key }), b.call({ op: 'open', key })])
        assert.notEqual((await b.call({ op: 'digest', key })).digest, plain.digest)
      }))
    }

    test('a tree written by one and read by the other', { timeout: 2 * LONG_MS }, () => withPeers([server, client], async (a, b) => {
      const { key } = await a.call({ op: 'create', name: 'bee' })
      await b.call({ op: 'open', key })
      await meet(a, b)
      const r = random(2)
      const expected = new Map()
      let version = 0
      for (let batch = 0; batch < BEE_BATCHES; batch++) {
        const ops = Array.from({ length: 50 }, () => {
          const name = 'k' + Math.floor(r() * 500)
          return r() < 0.3 ? ['del', name] : ['put', name, 'v' + Math.floor(r() * 1e6)]
        })
        for (const [op, name, value] of ops) op === 'put' ? expected.set(name, value) : expected.delete(name)
        version = (await a.call({ op: 'bee', key, ops })).version
      }
      await b.call({ op: 'wait', key, length: version }, LONG_MS)
      const { entries } = await b.call({ op: 'entries', key }, LONG_MS)
      assert.deepEqual(entries, [...expected].sort(([x], [y]) => x < y ? -1 : 1))
    }))
  })
}

for (const how of ['hash', 'signature', 'length', 'stall']) {
  test('data: three peers, one lies: ' + how, { timeout: 2 * LONG_MS, skip: !wanted('data: lies') }, () => withPeers(['pinned', 'pinned', 'rust'], async (writer, liar, reader) => {
    const { key } = await writer.call({ op: 'create', name: 'a' })
    await writer.call({ op: 'append', key, count: BLOCKS })
    await liar.call({ op: 'open', key })
    await meet(writer, liar)
    await liar.call({ op: 'wait', key, length: BLOCKS }, LONG_MS)
    await liar.call({ op: 'download', key, start: 0, end: BLOCKS }, LONG_MS)
    await liar.call({ op: 'lie', key, how })
    await reader.call({ op: 'open', key })
    // The liar is the first that is asked.
    await meet(liar, reader)
    const load = reader.call({ op: 'wait', key, length: BLOCKS }, LONG_MS).then(() => reader.call({ op: 'download', key, start: 0, end: BLOCKS }, LONG_MS))
    while (!(await liar.call({ op: 'lies' })).told) await new Promise((resolve) => setTimeout(resolve, 20))
    await meet(writer, reader)
    await load
    await same(writer, reader, key, BLOCKS)
    // Who stalls is given time.
    if (how !== 'stall' || FULL) await reach(reader, key, (info) => info.peers === 1)
  }))
}

test('data: over Hyperswarm', { timeout: 2 * LONG_MS, skip: !wanted('data: over Hyperswarm') }, async () => {
  const dht = await startDht('rust')
  try {
    for (const [one, other] of [['rust', 'pinned'], ['rust', 'latest'], ['rust', 'rust']]) {
      await withPeers([one, other], async (a, b) => {
        const { key } = await a.call({ op: 'create', name: 'a' })
        await a.call({ op: 'append', key, count: BLOCKS })
        await b.call({ op: 'open', key })
        const topic = 'data ' + one + other
        await a.call({ op: 'swarm', bootstrap: dht.bootstrap, topic }, LONG_MS)
        await b.call({ op: 'swarm', bootstrap: dht.bootstrap, topic }, LONG_MS)
        await b.call({ op: 'wait', key, length: BLOCKS }, LONG_MS)
        await b.call({ op: 'download', key, start: 0, end: BLOCKS }, LONG_MS)
        await same(a, b, key, BLOCKS)
      })
    }
  } finally {
    await dht.kill()
  }
})
