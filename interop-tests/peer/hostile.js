'use strict'
// node peer/hostile.js <pinned|latest>
// A peer that does to another what it must not: { id, op, ... } -> { id, ended, ... }. Every attack is on a connection of its own,
// made by a new key; `ended` says whether the victim (or the damage) ended that connection.

const stack = require('./stack')(process.argv[2])
const { nodes } = require('./flags')
const { topicOf } = require('./payload')
const dgram = require('dgram')
const { createInterface } = require('readline')

const { DHT, Protomux, encoding: c } = stack
const CHANNEL = 'sidechannel/0000intercom'
const DEAF_CHANNEL = 'sidechannel/deaf'
const WAIT_MS = 3000
const STUCK_MS = 2000

// Random, and the same in every run.
let state = 0x2545f491
function random (length) {
  const out = Buffer.allocUnsafe(length)
  for (let i = 0; i < length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    out[i] = state
  }
  return out
}

let dht = null

async function connect (victim) {
  const connection = dht.connect(Buffer.from(victim, 'hex'), { keyPair: DHT.keyPair() })
  connection.on('error', () => {})
  connection.closed = new Promise((resolve) => connection.once('close', resolve))
  await new Promise((resolve, reject) => {
    connection.once('open', resolve)
    connection.once('error', reject)
  })
  return connection
}

/** Until the victim takes more; one that does not is given up. */
async function drained (stream) {
  let timer
  const stuck = new Promise((resolve) => { timer = setTimeout(resolve, STUCK_MS, true) })
  const outcome = await Promise.race([new Promise((resolve) => stream.once('drain', resolve)), stream.closed, stuck])
  clearTimeout(timer)
  if (outcome === true) throw new Error('the victim takes no more')
}

/** Write frames as long as the victim takes them. */
async function write (connection, frames) {
  for (const frame of frames) {
    if (connection.destroyed) return
    if (!connection.write(frame)) await drained(connection)
  }
}

/** Whether the connection ends within a while. */
async function ends (connection) {
  let timer
  const late = new Promise((resolve) => { timer = setTimeout(resolve, WAIT_MS, false) })
  const ended = await Promise.race([connection.closed.then(() => true), late])
  clearTimeout(timer)
  connection.destroy()
  return ended
}

const uint = (n) => c.encode(c.uint, n)
const open = (id, protocol) => Buffer.concat([Buffer.from([0, 1]), uint(id), c.encode(c.string, protocol), Buffer.from([0])])
const HUGE = Buffer.from('ffffffffffffffff7f', 'hex')

/** A sidechannel channel, opened as it should be. */
async function channelOf (connection, protocol = CHANNEL) {
  const mux = Protomux.from(connection)
  const channel = mux.createChannel({ protocol, messages: [{ encoding: c.raw }] })
  channel.open()
  await channel.fullyOpened()
  return channel
}

const text = (json) => c.encode(c.string, json)

/** Packets to the victim's stream from a socket of our own. */
async function packets (connection, list) {
  const { remotePort, remoteId } = connection.rawStream
  const socket = dgram.createSocket('udp4')
  for (const { flags, offset = 0, window = 4 << 20, seq = 0, ack = 0, body = Buffer.alloc(0) } of list) {
    const head = Buffer.alloc(20)
    head[0] = 0xff
    head[1] = 1
    head[2] = flags
    head[3] = offset
    head.writeUInt32LE(remoteId, 4)
    head.writeUInt32LE(window >>> 0, 8)
    head.writeUInt32LE(seq >>> 0, 12)
    head.writeUInt32LE(ack >>> 0, 16)
    await new Promise((resolve) => socket.send(Buffer.concat([head, body]), remotePort, '127.0.0.1', resolve))
  }
  socket.close()
}

function blocks (...ranges) {
  const body = Buffer.alloc(ranges.length * 4)
  ranges.forEach((n, i) => body.writeUInt32LE(n >>> 0, i * 4))
  return body
}

const attacks = {
  // Below the encryption.
  async 'garbage below the encryption' (connection) {
    for (let n = 0; n < 20; n++) connection.rawStream.write(Buffer.concat([Buffer.from([0x88, 0x13, 0]), random(5000)]))
  },
  async 'a frame of 16 MB that never comes' (connection) {
    connection.rawStream.write(Buffer.from('ffffff', 'hex'))
    connection.rawStream.write(random(100_000))
  },

  // Frames that decrypt.
  async 'garbage frames' (connection) {
    await write(connection, Array.from({ length: 500 }, () => random(300)))
  },
  async 'huge counts' (connection) {
    await write(connection, [Buffer.concat([Buffer.from([0, 1]), HUGE]), Buffer.concat([Buffer.from([0, 0]), HUGE, HUGE]), Buffer.concat([Buffer.from([0, 1, 1]), HUGE, Buffer.from('x')])])
  },
  async 'unknown channels' (connection) {
    await write(connection, Array.from({ length: 20_000 }, (_, n) => Buffer.concat([uint(1000 + n), Buffer.from([0]), random(100)])))
  },
  async 'endless opens' (connection) {
    for (let n = 1; n < 200_000 && !connection.destroyed; n++) {
      if (!connection.write(open(n, 'no such protocol ' + n + 'x'.repeat(200)))) await drained(connection)
    }
  },
  async 'opens and closes of one channel' (connection) {
    for (let n = 0; n < 50_000 && !connection.destroyed; n++) {
      if (!connection.write(Buffer.concat([open(1, CHANNEL)]))) await drained(connection)
      if (!connection.write(Buffer.from([0, 3, 1]))) await drained(connection)
    }
  },
  async 'messages held for a channel that never opens' (connection) {
    await write(connection, [open(1, 'sidechannel/never')])
    for (let n = 0; n < 2000 && !connection.destroyed; n++) {
      if (!connection.write(Buffer.concat([Buffer.from([1, 0]), random(50_000)]))) await drained(connection)
    }
  },

  // Messages of the sidechannel.
  async 'messages that are no messages' (connection) {
    const channel = await channelOf(connection)
    const deep = '['.repeat(100_000) + ']'.repeat(100_000)
    for (const json of ['', '{', 'null', '1', '"x"', '[]', '{}', '{"message":{"control":"auth"}}', '{"id":1e999,"ts":"x","ttl":1e308,"pow":{"nonce":-0.5}}', '{"id":{"id":{}},"channel":[],"message":' + deep + '}', deep]) channel.messages[0].send(text(json))
    channel.messages[0].send(HUGE)
    channel.messages[0].send(random(1000))
    channel.messages[0].send(text('{"message":"' + 'x'.repeat(3 << 20) + '"}'))
  },
  async 'a flood of messages' (connection) {
    const channel = await channelOf(connection)
    for (let n = 0; n < 100_000 && !connection.destroyed; n++) {
      channel.messages[0].send(text(JSON.stringify({ type: 'sidechannel', id: 'flood' + n, channel: '0000intercom', from: 'x', origin: 'x', message: 'flood', ts: n, ttl: 3 })))
      if (!channel._mux.drained) await drained(connection)
    }
  },

  // Forged packets.
  async 'forged acknowledgements' (connection) {
    const end = 0xffffffff
    const list = []
    for (const body of [blocks(1, 0), blocks(0, end), blocks(end, 0), blocks(5, 5), blocks(0x7fffffff, 0x80000001), blocks(...Array.from({ length: 300 }, (_, i) => i)), blocks(1).subarray(0, 3)]) {
      for (const ack of [0, 1, 1000, 0x7fffffff, end]) list.push({ flags: 4, ack, body }, { flags: 5, offset: Math.min(255, body.length), ack, seq: 3, body: Buffer.concat([body, Buffer.from('x')]) })
    }
    await packets(connection, list)
  },
  async 'packets far ahead' (connection) {
    await packets(connection, Array.from({ length: 20_000 }, (_, n) => ({ flags: 1, seq: 1000 + n * 7919, body: random(1000) })))
  },
  async 'packets of every kind' (connection) {
    await packets(connection, Array.from({ length: 5000 }, () => {
      const r = random(16)
      return { flags: r[0] & ~0x10, offset: r[1], window: r.readUInt32LE(2), seq: r.readUInt32LE(6), ack: r.readUInt32LE(10), body: random(r[14]) }
    }))
  },
  async 'garbage datagrams' (connection) {
    const socket = dgram.createSocket('udp4')
    for (let n = 0; n < 20_000; n++) {
      const body = random(1 + (n % 900))
      if (n % 3) body[0] = n & 1 ? 0x03 : 0x13
      await new Promise((resolve) => socket.send(body, connection.rawStream.remotePort, '127.0.0.1', resolve))
    }
    socket.close()
  }
}

// Never reads what the victim sends; the connection stays until `release`.
const deaf = []

const ops = {
  async start ({ bootstrap }) {
    dht = new DHT({ bootstrap: nodes(bootstrap), host: '127.0.0.1' })
    await dht.fullyBootstrapped()
    return { attacks: Object.keys(attacks), topic: topicOf('0000intercom').toString('hex') }
  },
  async attack ({ victim, name }) {
    const connection = await connect(victim)
    await attacks[name](connection).catch(() => {})
    return { ended: await ends(connection) }
  },
  async deaf ({ victim }) {
    const connection = await connect(victim)
    await channelOf(connection, DEAF_CHANNEL)
    // Below the encryption too: the window of the UDX stream closes.
    connection.rawStream.pause()
    connection.pause()
    deaf.push(connection)
    return {}
  },
  async release () {
    for (const connection of deaf) connection.destroy()
    return {}
  }
}

createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const { id, op, ...rest } = JSON.parse(line)
    const reply = await ops[op](rest).catch((err) => ({ error: err.stack }))
    process.stdout.write(JSON.stringify({ id, ...reply }) + '\n')
  })
  .on('close', () => process.exit(0))
