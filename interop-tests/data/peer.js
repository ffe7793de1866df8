'use strict'
// A JavaScript peer with a store of cores, driven by lines of JSON: node peer.js <pinned|latest> [directory]
// The operations are those of the Rust example `data-peer`, which says what they are.
//
// `lie` makes a liar of it: "hash" (a block that is another), "signature", "length" or "stall", for what others ask from then on.

const fs = require('fs')
const net = require('net')
const os = require('os')
const path = require('path')
const { createRequire } = require('module')
const { createInterface } = require('readline')

const [kind, directory] = process.argv.slice(2)
const from = createRequire(path.join(__dirname, '..', kind, 'package.json'))
const Corestore = from('corestore')
const Hyperbee = from('hyperbee')
const SecretStream = from('@hyperswarm/secret-stream')
const crypto = from('hypercore-crypto')

const dir = directory || fs.mkdtempSync(path.join(os.tmpdir(), 'data-peer-'))
if (!directory) process.on('exit', () => fs.rmSync(dir, { recursive: true, force: true }))
const store = new Corestore(dir)
const cores = new Map()
const streams = new Set()
let swarm = null

const hash = (...parts) => crypto.hash(parts).toString('hex')
const block = (tag, index, size) => Buffer.from((tag + ' ' + index + ' ').padEnd(size, 'x'))

function replicate (stream) {
  streams.add(stream)
  stream.on('error', () => {})
  stream.on('close', () => streams.delete(stream))
  store.replicate(stream)
}

const attach = (socket, isInitiator) => {
  socket.setNoDelay(true)
  const stream = new SecretStream(isInitiator, socket)
  replicate(stream)
  return stream.opened
}

// The rules of the Rust example `data-peer`.
function encryptionOf ({ encryption }) {
  if (!encryption) return {}
  const key = Buffer.from(encryption.key, 'hex')
  if (encryption.rule === 'core') return { encryption: { key } }
  if (encryption.rule === 'block') return { encryption: { key, block: true } }
  const apply = (index, block) => {
    const at = Buffer.alloc(8)
    at.writeBigUInt64LE(BigInt(index))
    const mask = crypto.hash([crypto.hash([key, block.subarray(0, 1)]), block.subarray(0, 8), at])
    for (let i = 8; i < block.length; i++) block[i] ^= mask[(i - 8) % 32]
  }
  return {
    encryption: {
      padding: () => 8,
      encrypt (index, block, fork) {
        block.fill(0, 0, 8)
        block[0] = index / 64
        block[1] = fork
        apply(index, block)
      },
      decrypt: apply
    }
  }
}

async function keep (core) {
  await core.ready()
  cores.set(core.key.toString('hex'), core)
  return { key: core.key.toString('hex'), length: core.length }
}

function coreOf ({ key }) {
  const core = cores.get(key)
  if (!core) throw new Error('no such core is open')
  return core
}

function until (core, done) {
  return new Promise((resolve) => {
    const look = () => {
      if (!done()) return
      core.off('append', look)
      core.off('truncate', look)
      resolve()
    }
    core.on('append', look)
    core.on('truncate', look)
    look()
  })
}

// What a liar does to the answers of all its peers.
const lies = {
  hash: (data) => { if (data.block) data.block.value = Buffer.alloc(data.block.value.length, 0x21) },
  signature: (data) => { if (data.upgrade) data.upgrade.signature = Buffer.from(data.upgrade.signature).fill(7, 2, 66) },
  length: (data) => { if (data.upgrade) data.upgrade.length++ },
  stall: () => false
}

let told = 0

function lie (core, how) {
  const twist = (peer) => {
    const send = peer.wireData.send
    peer.wireData.send = (data) => {
      if (data.upgrade || how === 'hash') told++
      if (lies[how](data) === false) return
      return send.call(peer.wireData, data)
    }
  }
  for (const peer of core.core.replicator.peers) twist(peer)
  core.on('peer-add', twist)
}

// Keys of a benchmark, in order, and in an order that jumps.
const plainKey = (index) => 'key ' + String(index).padStart(8, '0')
const treeKey = (index, keys) => plainKey(BigInt(index) * 2654435761n % BigInt(keys))

const ops = {
  async listen () {
    const server = net.createServer((socket) => { attach(socket, false).catch(() => {}) })
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    return { port: server.address().port }
  },
  async connect ({ port }) { await attach(net.connect(port, '127.0.0.1'), true) },
  async swarm ({ bootstrap, topic }) {
    const [host, port] = bootstrap.split(':')
    swarm = new (from('hyperswarm'))({ bootstrap: [{ host, port: Number(port) }] })
    swarm.on('connection', replicate)
    await swarm.join(crypto.hash(Buffer.from(topic))).flushed()
  },
  cut () {
    const connections = streams.size
    for (const stream of streams) stream.destroy()
    return { connections }
  },
  create: (request) => keep(store.get({ name: request.name, ...encryptionOf(request) })),
  open: (request) => keep(store.get({ key: Buffer.from(request.key, 'hex'), ...encryptionOf(request) })),
  async append (request) {
    const core = coreOf(request)
    const { count = 1, size = 100, tag = 'block' } = request
    await core.append(Array.from({ length: count }, (_, i) => block(tag, core.length + i, size)))
    return { length: core.length }
  },
  async truncate (request) {
    const core = coreOf(request)
    await core.truncate(request.length)
    return { fork: core.fork }
  },
  async info (request) {
    const core = coreOf(request)
    const { length, fork, contiguousLength: contiguous, peers } = core
    // While a core is being truncated, its tree is not to be had.
    const treeHash = await core.treeHash().then((hash) => hash.toString('hex'), () => null)
    return { length, fork, contiguous, peers: peers.length, treeHash }
  },
  async wait (request) {
    const core = coreOf(request)
    const { length = 0, fork = 0 } = request
    await until(core, () => core.length >= length && core.fork >= fork)
    return { length: core.length, fork: core.fork }
  },
  async get (request) {
    const timeout = request.timeout || 60_000
    const got = await coreOf(request).get(request.index, { timeout }).catch((err) => {
      if (err.code === 'REQUEST_TIMEOUT') return null
      throw err
    })
    return { hash: got && hash(got) }
  },
  async seek (request) {
    const [block, offset] = await coreOf(request).seek(request.bytes)
    return { block, offset }
  },
  async download (request) { await coreOf(request).download({ start: request.start || 0, end: request.end }).done() },
  async digest (request) {
    const core = coreOf(request)
    const blocks = []
    for (let i = request.start || 0; i < (request.end === undefined ? core.length : request.end); i++) {
      const got = await core.get(i, { wait: false })
      if (got === null) throw new Error('block ' + i + ' is missing')
      blocks.push(got)
    }
    return { digest: hash(...blocks) }
  },
  async bee (request) {
    const bee = new Hyperbee(coreOf(request), { keyEncoding: 'utf-8', valueEncoding: 'utf-8', extension: false })
    const batch = bee.batch()
    for (const [op, key, value] of request.ops) await (op === 'put' ? batch.put(key, value) : batch.del(key))
    await batch.flush()
    return { version: bee.version }
  },
  async entries (request) {
    const bee = new Hyperbee(coreOf(request), { keyEncoding: 'utf-8', valueEncoding: 'utf-8', extension: false })
    const entries = []
    for await (const { key, value } of bee.createReadStream()) entries.push([key, value])
    return { entries }
  },
  async plant (request) {
    const bee = new Hyperbee(coreOf(request), { keyEncoding: 'utf-8', valueEncoding: 'utf-8', extension: false })
    for (let first = 0; first < request.keys; first += 1000) {
      const batch = bee.batch({ update: false })
      for (let i = first; i < Math.min(request.keys, first + 1000); i++) await batch.put(plainKey(i), 'value ' + i)
      await batch.flush()
    }
    return { version: bee.version }
  },
  async load (request) {
    const bee = new Hyperbee(coreOf(request), { keyEncoding: 'utf-8', valueEncoding: 'utf-8', extension: false })
    const { keys, count = keys, tail = '' } = request
    const from = performance.now()
    for (let first = 0; first < count; first += 100) {
      const batch = bee.batch({ update: false })
      for (let i = first; i < Math.min(count, first + 100); i++) await batch.put(treeKey(i, keys) + tail, 'value ' + i)
      await batch.flush()
    }
    return { ms: performance.now() - from }
  },
  async read (request) {
    const bee = new Hyperbee(coreOf(request), { keyEncoding: 'utf-8', valueEncoding: 'utf-8', extension: false })
    const from = performance.now()
    for (let n = 0; n < request.count; n++) {
      if (!await bee.get(treeKey(n * 7919, request.keys))) throw new Error('a key is missing')
    }
    return { ms: performance.now() - from }
  },
  lies: () => ({ told }),
  lie (request) { lie(coreOf(request), request.how) }
}

const lines = createInterface({ input: process.stdin })
lines.on('line', async (line) => {
  const request = JSON.parse(line)
  try {
    console.log(JSON.stringify({ id: request.id, ...await ops[request.op](request) }))
  } catch (err) {
    console.log(JSON.stringify({ id: request.id, error: err.message }))
  }
})
lines.on('close', async () => {
  if (swarm) await swarm.destroy()
  process.exit(0)
})
