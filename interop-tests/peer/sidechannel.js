'use strict'
// The sidechannel protocol: one Protomux channel `sidechannel/<name>` a connection and name, JSON messages on it.

const { topicOf, work, checkWork, sign, checkSignature } = require('./payload')

const ENTRY = '0000intercom'
const RELAY_TTL = 3
const SEEN_MAX = 5000
const SEEN_MS = 120_000
const RATE = 64_000
const BURST = 256_000
const STRIKES = 3
const STRIKE_MS = 5_000
const BLOCK_MS = 30_000

class Sidechannel {
  /** `onmessage(channel, payload)` gets what passed every check; `note(text)` gets one line for each message dropped. */
  constructor (stack, { keyPair, channels, pow, difficulty, maxBytes, welcomeRequired, onmessage, note }) {
    this.stack = stack
    this.keyPair = keyPair
    this.self = keyPair.publicKey.toString('hex')
    this.names = new Set([ENTRY, ...channels])
    this.difficulty = pow ? difficulty : 0
    this.maxBytes = maxBytes
    this.welcomeRequired = welcomeRequired
    this.onmessage = onmessage
    this.note = note
    this.swarm = null
    this.started = false
    this.connections = new Map() // connection -> { mux, channels: name -> { channel, message }, rate }
    this.seen = new Map() // message id -> time
  }

  attach (swarm) {
    this.swarm = swarm
    swarm.on('connection', (connection) => this._onconnection(connection))
  }

  async start () {
    await this.swarm.dht.fullyBootstrapped()
    for (const name of this.names) this.swarm.join(topicOf(name), { server: true, client: true })
    await this.swarm.flush()
    this.started = true
  }

  async join (name) {
    this.names.add(name)
    for (const state of this.connections.values()) this._open(state, name)
    this.swarm.join(topicOf(name), { server: true, client: true })
    await this.swarm.flush()
  }

  async leave (name) {
    if (name === ENTRY || !this.names.delete(name)) return false
    for (const state of this.connections.values()) {
      state.mux.unpair({ protocol: 'sidechannel/' + name })
      const record = state.channels.get(name)
      if (record) record.channel.close()
    }
    await this.swarm.leave(topicOf(name))
    return true
  }

  /** Send to every connection; false if it may not be sent. */
  send (name, message) {
    const ts = Date.now()
    const payload = {
      type: 'sidechannel',
      id: this.self + ':' + ts + ':' + Math.random().toString(36).slice(2, 10),
      channel: name,
      from: this.self,
      origin: this.self,
      message,
      ts,
      ttl: RELAY_TTL
    }
    if (this.difficulty > 0) payload.pow = work(payload, this.difficulty)
    payload.sig = sign(this.stack.sodium, payload, this.keyPair.secretKey)
    if (Buffer.byteLength(JSON.stringify(payload)) > this.maxBytes) return false
    this.names.add(name)
    this._remember(payload.id)
    for (const state of this.connections.values()) {
      const record = this._open(state, name)
      if (!record) continue
      if (record.channel.opened) record.message.send(payload)
      else record.channel.fullyOpened().then((opened) => { if (opened) record.message.send(payload) }, () => {})
    }
    return true
  }

  _onconnection (connection) {
    const state = {
      connection,
      mux: this.stack.Protomux.from(connection),
      channels: new Map(),
      rate: { tokens: BURST, at: Date.now(), strikes: 0, strikesFrom: Date.now(), blockedUntil: 0 }
    }
    this.connections.set(connection, state)
    connection.on('error', (err) => this.note('connection ' + this._short(connection) + ': ' + err.message))
    connection.on('close', () => this.connections.delete(connection))
    for (const name of this.names) this._open(state, name)
  }

  // A channel that the remote rejects (it has not joined the name yet) closes; the pair hook opens it again when the
  // remote asks for it.
  _open (state, name) {
    if (state.channels.has(name)) return state.channels.get(name)
    const protocol = 'sidechannel/' + name
    state.mux.pair({ protocol }, () => { if (this.names.has(name)) this._open(state, name) })
    const channel = state.mux.createChannel({
      protocol,
      onclose: () => { if (state.channels.get(name) === record) state.channels.delete(name) }
    })
    if (!channel) return null
    const message = channel.addMessage({
      encoding: this.stack.encoding.json,
      onmessage: (payload) => this._onpayload(state, name, payload)
    })
    const record = { channel, message }
    state.channels.set(name, record)
    channel.open()
    return record
  }

  _onpayload (state, name, payload) {
    const drop = (why) => this.note('drop ' + why + ' on ' + name + ' from ' + this._short(state.connection))
    if (Date.now() < state.rate.blockedUntil) return drop('(blocked)')
    if (!payload || typeof payload !== 'object') return drop('(not an object)')
    if (this.difficulty > 0 && !checkWork(payload, this.difficulty)) return drop('(proof of work)')
    if (!this._pay(state.rate, Buffer.byteLength(JSON.stringify(payload)))) return drop('(rate)')
    // Stricter than the application, which looks at signatures of owners only: ours must always be right.
    if (payload.sig !== undefined && !checkSignature(this.stack.sodium, payload)) return drop('(signature)')
    if (this._remember(payload.id)) return
    if (this.welcomeRequired && name !== ENTRY) return drop('(awaiting welcome)')
    this.onmessage(name, payload)
    this._relay(state, name, payload)
  }

  _relay (from, name, payload) {
    if (!Number.isFinite(payload.ttl) || payload.ttl <= 0) return
    const copy = { ...payload, ttl: payload.ttl - 1, relayedBy: this.self }
    for (const state of this.connections.values()) {
      const record = state === from ? null : state.channels.get(name)
      if (record) record.message.send(copy)
    }
  }

  _pay (rate, bytes) {
    const now = Date.now()
    if (now > rate.strikesFrom + STRIKE_MS) Object.assign(rate, { strikes: 0, strikesFrom: now })
    rate.tokens = Math.min(BURST, rate.tokens + (now - rate.at) / 1000 * RATE)
    rate.at = now
    if (bytes <= rate.tokens) {
      rate.tokens -= bytes
      return true
    }
    if (++rate.strikes >= STRIKES) rate.blockedUntil = now + BLOCK_MS
    return false
  }

  /** True if the id was known already. */
  _remember (id) {
    const now = Date.now()
    if (this.seen.has(id)) return true
    this.seen.set(id, now)
    for (const [old, at] of this.seen) {
      if (this.seen.size <= SEEN_MAX && now - at < SEEN_MS) break
      this.seen.delete(old)
    }
    return false
  }

  _short (connection) {
    return connection.remotePublicKey ? connection.remotePublicKey.toString('hex').slice(0, 8) : 'unknown'
  }
}

module.exports = { Sidechannel, ENTRY }
