'use strict'
// node worker.js <pinned|latest>
// The JavaScript side of a measurement: lines of JSON in, lines of JSON out ({ id, op, ... } -> { id, ... }).
// `intercom-bench worker` is the same in Rust, and either works with either.

const stack = require('../../interop-tests/peer/stack')(process.argv[2])
const { nodes } = require('../../interop-tests/peer/flags')
const { zeroBits, stable } = require('../../interop-tests/peer/payload')
const { createHash } = require('crypto')
const { createInterface } = require('readline')

const { DHT, Hyperswarm, Protomux, encoding } = stack
const now = () => Number(process.hrtime.bigint()) / 1e6
const bytes = (hex) => Buffer.from(hex, 'hex')
const say = (o) => process.stdout.write(JSON.stringify(o) + '\n')

let dht = null
const kept = []

async function node (bootstrap) {
  if (dht) return
  dht = new DHT({ bootstrap: nodes(bootstrap), host: '127.0.0.1' })
  await dht.fullyBootstrapped()
}

const opened = (stream) => new Promise((resolve, reject) => {
  stream.once('open', resolve)
  stream.once('error', reject)
})
const drained = (stream) => new Promise((resolve) => stream.once('drain', resolve))

/** The channel that the Protomux measurement speaks on. */
function channelOf (connection, kind, { onmessage, oncount, ondrain }) {
  const mux = Protomux.from(connection)
  const channel = mux.createChannel({
    protocol: 'bench',
    messages: [{ encoding: kind === 'json' ? encoding.json : encoding.raw, onmessage }, { encoding: encoding.uint, onmessage: oncount }],
    ondrain
  })
  channel.open()
  return { mux, channel }
}

/** `count` bodies of 200 bytes as JSON, or 200 bytes as they are. */
const bodyOf = (kind, n) => kind === 'json' ? { id: 1_000_000 + n, type: 'message', payload: 'x'.repeat(157) } : Buffer.alloc(200, n)

const ops = {
  /** A swarm that listens and has joined a topic, both ways. */
  async swarm ({ bootstrap, topic }) {
    const swarm = new Hyperswarm({ bootstrap: nodes(bootstrap) })
    kept.push(swarm)
    swarm.on('connection', (connection) => connection.on('error', () => {}))
    await swarm.dht.fullyBootstrapped()
    await swarm.listen()
    if (topic) await swarm.join(bytes(topic)).flushed()
  },

  /** A fresh swarm each time: from join of the topic to the first connection. */
  async join ({ bootstrap, topic }) {
    const swarm = new Hyperswarm({ bootstrap: nodes(bootstrap) })
    await swarm.dht.fullyBootstrapped()
    const from = now()
    const connected = new Promise((resolve) => swarm.once('connection', (connection) => {
      connection.on('error', () => {})
      resolve()
    }))
    swarm.join(bytes(topic), { server: false, client: true })
    await connected
    const ms = now() - from
    await swarm.destroy()
    return { ms }
  },

  /** A server that takes what `stream` and `mux` send, and says when it has all of it. */
  async serve ({ bootstrap, mode, kind }) {
    await node(bootstrap)
    const server = dht.createServer((connection) => {
      connection.on('error', () => {})
      if (mode === 'mux') {
        let count = 0
        let expected = Infinity
        const enough = () => { if (count >= expected) channel.messages[1].send(count) }
        const { channel } = channelOf(connection, kind, {
          onmessage () {
            count++
            enough()
          },
          oncount (n) {
            expected = n
            enough()
          }
        })
        return
      }
      let left = null
      connection.on('data', (data) => {
        if (left === null) left = Number(data.readBigUInt64LE(0))
        left -= data.byteLength
        if (left <= 0) connection.write(Buffer.from('done'))
      })
    })
    await server.listen(DHT.keyPair())
    return { key: server.publicKey.toString('hex') }
  },

  /** Send `total` bytes in messages of `chunk` bytes; until the server has said that it has them. */
  async stream ({ bootstrap, key, total, chunk }) {
    await node(bootstrap)
    const connection = dht.connect(bytes(key))
    await opened(connection)
    connection.on('error', () => {})
    const done = new Promise((resolve) => connection.once('data', resolve))
    const first = Buffer.alloc(chunk, 1)
    first.writeBigUInt64LE(BigInt(total))
    const data = Buffer.alloc(chunk, 1)
    const from = now()
    for (let sent = 0; sent < total; sent += chunk) {
      if (!connection.write(sent ? data : first)) await drained(connection)
    }
    await done
    const ms = now() - from
    connection.destroy()
    return { ms }
  },

  /** Send `count` messages on a Protomux channel, `batch` of them under one cork. */
  async mux ({ bootstrap, key, count, batch, kind }) {
    await node(bootstrap)
    const connection = dht.connect(bytes(key))
    await opened(connection)
    connection.on('error', () => {})
    let wake = null
    let finish = null
    const done = new Promise((resolve) => { finish = resolve })
    const { mux, channel } = channelOf(connection, kind, {
      onmessage () {},
      oncount: finish,
      ondrain () {
        if (wake) wake()
        wake = null
      }
    })
    await channel.fullyOpened()
    const message = channel.messages[0]
    const from = now()
    for (let n = 0; n < count;) {
      if (batch > 1) mux.cork()
      for (let k = 0; k < batch && n < count; k++) message.send(bodyOf(kind, n++))
      if (batch > 1) mux.uncork()
      if (!mux.drained) {
        await new Promise((resolve) => {
          wake = resolve
          if (mux.drained) resolve()
        })
      }
    }
    channel.messages[1].send(count)
    await done
    const ms = now() - from
    connection.destroy()
    return { ms }
  },

  /** Build `count` messages with proof of work as the application does: the whole text again for each nonce. */
  async pow ({ bytes, count, difficulty }) {
    const key = 'ab'.repeat(32)
    const all = []
    for (let n = 0; n < count; n++) {
      const message = createHash('sha256').update('message ' + n).digest('hex').repeat(Math.ceil(bytes / 64)).slice(0, bytes)
      const from = now()
      const payload = { id: key + ':1700000000000:' + n, channel: '0000intercom', from: key, origin: key, message, ts: 1700000000000 }
      for (let nonce = 0; ; nonce++) {
        if (zeroBits(createHash('sha256').update(stable({ ...payload, nonce })).digest()) >= difficulty) break
      }
      all.push(now() - from)
    }
    return { ms: all }
  }
}

if (process.argv[3] === 'startup') {
  ops.swarm({ bootstrap: process.argv[4] }).then(() => say({ listening: true }))
} else {
  say({ ready: true })
}
createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const { id, op, ...rest } = JSON.parse(line)
    say({ id, ...await ops[op](rest).catch((err) => ({ error: err.stack })) })
  })
  .on('close', () => process.exit(0))
