'use strict'
// The reference peer: a swarm, the sidechannel protocol, a bridge.

const fs = require('fs')
const path = require('path')
const { parse, bool, list, nodes } = require('./flags')
const { Sidechannel } = require('./sidechannel')
const { Bridge } = require('./bridge')

/** The seed of the store, made at its first use: a peer that starts again is the same peer. */
function seedOf (directory) {
  const file = path.join(directory, 'reference-peer.seed')
  try {
    return Buffer.from(fs.readFileSync(file, 'utf8').trim(), 'hex')
  } catch (err) {
    if (err.code !== 'ENOENT') throw err
  }
  const seed = require('crypto').randomBytes(32)
  fs.mkdirSync(directory, { recursive: true })
  fs.writeFileSync(file, seed.toString('hex') + '\n', { mode: 0o600 })
  return seed
}

class Peer {
  /** Start with the application's flags; `note` gets the log lines. */
  constructor (stack, argv, note) {
    const flags = parse(argv)
    const store = path.join(flags['peer-stores-directory'] || 'stores', flags['peer-store-name'] || 'peer')
    const keyPair = stack.DHT.keyPair(seedOf(store))
    this.publicKey = keyPair.publicKey.toString('hex')
    const difficulty = parseInt(flags['sidechannel-pow-difficulty'] || '12', 10)
    const maxBytes = parseInt(flags['sidechannel-max-bytes'] || '1000000', 10)
    this.sidechannel = new Sidechannel(stack, {
      keyPair,
      channels: list(flags.sidechannels || flags.sidechannel),
      pow: bool(flags['sidechannel-pow'], true),
      difficulty: Number.isInteger(difficulty) ? difficulty : 0,
      maxBytes: Number.isSafeInteger(maxBytes) ? maxBytes : 1_000_000,
      welcomeRequired: bool(flags['sidechannel-welcome-required'], true),
      onmessage: (channel, payload) => { if (this.bridge) this.bridge.publish(channel, payload) },
      note
    })
    this.bridge = bool(flags['sc-bridge'], false)
      ? new Bridge(stack, { host: flags['sc-bridge-host'] || '127.0.0.1', port: Number(flags['sc-bridge-port'] || 49222), token: flags['sc-bridge-token'], peer: this })
      : null
    this.swarm = new stack.Hyperswarm({ keyPair, bootstrap: nodes(flags['peer-dht-bootstrap'] || flags['dht-bootstrap']) })
    this.sidechannel.attach(this.swarm)
    this.started = this.sidechannel.start()
  }

  async close () {
    if (this.bridge) this.bridge.close()
    await this.swarm.destroy()
  }
}

module.exports = { Peer }
