'use strict'
// node peer/speaker.js <pinned|latest>
// A peer that says what it is told, word for word, whether that is allowed or not: { id, op, ... } -> { id, ... }.

const stack = require('./stack')(process.argv[2])
const { nodes } = require('./flags')
const { work, checkWork } = require('./payload')
const { createInterface } = require('readline')

const { DHT, Protomux, encoding: c } = stack
let dht = null
let connection = null
let channels = null
let key = null
let next = 0

/** A message as peers build it, with a proof of exactly so many bits, or none. */
function build (channel, message, bits) {
  const ts = Date.now()
  for (;;) {
    const payload = { type: 'sidechannel', id: `${key}:${ts}:${next++}`, channel, from: key, origin: key, message, ts, ttl: 3 }
    if (bits === null) return payload
    payload.pow = work(payload, bits)
    if (!checkWork(payload, bits + 1)) return payload
  }
}

const ops = {
  async start ({ bootstrap }) {
    dht = new DHT({ bootstrap: nodes(bootstrap), host: '127.0.0.1' })
    await dht.fullyBootstrapped()
    return {}
  },
  /** A connection of a new key, with these channels open. */
  async connect ({ to, channels: names }) {
    connection = dht.connect(Buffer.from(to, 'hex'), { keyPair: DHT.keyPair() })
    connection.on('error', () => {})
    await new Promise((resolve, reject) => connection.once('open', resolve).once('error', reject))
    key = connection.publicKey.toString('hex')
    const mux = Protomux.from(connection)
    channels = new Map()
    for (const name of names) {
      const channel = mux.createChannel({ protocol: 'sidechannel/' + name, messages: [{ encoding: c.json }] })
      channel.open()
      channels.set(name, channel)
    }
    for (const [name, channel] of channels) if (!await channel.fullyOpened()) throw new Error(name + ' does not open')
    return { key }
  },
  async say ({ channel, message, bits = null, change = {}, letters = 0 }) {
    const text = letters ? 'x'.repeat(letters) : message
    let payload
    // What is changed must have lost its work: one in so many has some of its own.
    do payload = { ...build(channel, text, bits), ...change }
    while (Object.keys(change).length && checkWork(payload, 1))
    channels.get(channel).messages[0].send(payload)
    // Until it is there.
    await connection.flush()
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
