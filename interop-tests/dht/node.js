'use strict'
// node dht/node.js <pinned|latest>
// A plain HyperDHT node that does what lines of JSON ask: { id, op, ... } -> { id, ... } or { id, error }.
// Keys, topics and hashes are hex, values are UTF-8 text.

const stack = require('../peer/stack')(process.argv[2])
const { nodes } = require('../peer/flags')
const { createHash } = require('crypto')
const { createInterface } = require('readline')

const { DHT } = stack
const bytes = (hex) => Buffer.from(hex, 'hex')
const pair = (seed) => DHT.keyPair(bytes(seed))
let dht = null
const servers = new Map()
const pooling = require('./pool')(stack, () => dht)

const ops = {
  async start ({ bootstrap }) {
    dht = new DHT({ bootstrap: nodes(bootstrap), host: '127.0.0.1' })
    await dht.fullyBootstrapped()
  },

  async key ({ seed }) {
    return { key: pair(seed).publicKey.toString('hex') }
  },

  async mutable_put ({ seed, value, seq }) {
    const { publicKey } = await dht.mutablePut(pair(seed), Buffer.from(value), { seq })
    return { key: publicKey.toString('hex') }
  },

  async mutable_get ({ key, seq }) {
    const record = await dht.mutableGet(bytes(key), { seq, latest: true })
    return record ? { seq: record.seq, value: record.value.toString() } : { value: null }
  },

  async immutable_put ({ value }) {
    const { hash } = await dht.immutablePut(Buffer.from(value))
    return { hash: hash.toString('hex') }
  },

  async immutable_get ({ hash }) {
    const record = await dht.immutableGet(bytes(hash))
    return { value: record ? record.value.toString() : null }
  },

  async announce ({ topic, seed }) {
    await dht.announce(bytes(topic), pair(seed), []).finished()
  },

  async unannounce ({ topic, seed }) {
    await dht.unannounce(bytes(topic), pair(seed))
  },

  async lookup ({ topic }) {
    const keys = new Set()
    for await (const reply of dht.lookup(bytes(topic))) for (const peer of reply.peers) keys.add(peer.publicKey.toString('hex'))
    return { keys: [...keys].sort() }
  },

  // A server that sends back what it gets.
  async listen ({ seed }) {
    const server = dht.createServer((connection) => {
      connection.on('error', () => connection.destroy())
      connection.on('data', (data) => connection.write(data))
      connection.on('end', () => connection.end())
    })
    await server.listen(pair(seed))
    const key = server.publicKey.toString('hex')
    servers.set(key, server)
    return { key }
  },

  async unlisten ({ key }) {
    await servers.get(key).close()
    servers.delete(key)
  },

  // Connect, send `count` messages of `size` bytes, wait until all came back, close.
  async echo ({ key, count, size }) {
    const connection = dht.connect(bytes(key), { keyPair: DHT.keyPair() })
    const sent = createHash('sha256')
    const got = createHash('sha256')
    await new Promise((resolve, reject) => {
      let left = count
      connection.on('error', reject)
      connection.on('close', () => left === 0 ? resolve() : reject(new Error('closed with ' + left + ' messages missing')))
      connection.on('data', (data) => {
        got.update(String(data.length)).update(data)
        if (--left === 0) connection.end()
      })
      connection.on('open', () => {
        for (let n = 0; n < count; n++) {
          const data = Buffer.alloc(size, n)
          sent.update(String(data.length)).update(data)
          connection.write(data)
        }
      })
    })
    return { same: sent.digest('hex') === got.digest('hex') }
  },

  async suspend () {
    await dht.suspend()
  },

  async resume () {
    await dht.resume()
  },

  async destroy () {
    await dht.destroy()
  },

  ...pooling
}

createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const { id, op, ...rest } = JSON.parse(line)
    const reply = await ops[op](rest).catch((err) => ({ error: err.stack }))
    process.stdout.write(JSON.stringify({ id, ...reply }) + '\n')
  })
  .on('close', () => process.exit(0))
