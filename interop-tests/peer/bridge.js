'use strict'
// The part of the SC-Bridge that the scenarios use.

class Bridge {
  constructor (stack, { host, port, token, peer }) {
    this.token = token
    this.peer = peer
    this.ready = new Set()
    this.server = new stack.ws.WebSocketServer({ host, port })
    this.listening = new Promise((resolve, reject) => {
      this.server.once('listening', () => resolve(this.server.address().port))
      this.server.once('error', reject)
    })
    this.server.on('connection', (socket) => this._onclient(socket))
  }

  publish (channel, payload) {
    const event = JSON.stringify({
      type: 'sidechannel_message',
      channel,
      id: payload.id ?? null,
      from: payload.from ?? null,
      origin: payload.origin ?? null,
      sig: payload.sig ?? null,
      relayedBy: payload.relayedBy ?? null,
      ttl: payload.ttl ?? null,
      ts: payload.ts ?? Date.now(),
      message: payload.message ?? payload
    })
    for (const socket of this.ready) socket.send(event)
  }

  close () {
    for (const socket of this.server.clients) socket.terminate()
    this.server.close()
  }

  _onclient (socket) {
    const say = (id, payload) => socket.send(JSON.stringify(Number.isInteger(id) ? { id, ...payload } : payload))
    socket.on('error', () => {})
    socket.on('close', () => this.ready.delete(socket))
    socket.on('message', (data) => {
      let request
      try {
        request = JSON.parse(data)
      } catch {
        return say(null, { type: 'error', error: 'Invalid JSON.' })
      }
      this._onrequest(socket, request).then(
        (reply) => say(request.id, reply),
        (err) => say(request.id, { type: 'error', error: err.message })
      )
    })
    say(null, { type: 'hello', peer: this.peer.publicKey, address: null, entryChannel: '0000intercom', filter: '', requiresAuth: true })
  }

  async _onrequest (socket, request) {
    if (request.type === 'auth') {
      if (request.token !== this.token) throw new Error('Unauthorized.')
      this.ready.add(socket)
      return { type: 'auth_ok' }
    }
    if (!this.ready.has(socket)) throw new Error('Unauthorized.')
    const { sidechannel } = this.peer
    const channel = String(request.channel || '').trim()
    switch (request.type) {
      case 'ping':
        return { type: 'pong', ts: Date.now() }
      case 'stats':
        return { type: 'stats', channels: [...sidechannel.names], connectionCount: sidechannel.connections.size, sidechannelStarted: sidechannel.started }
      case 'join':
        await sidechannel.join(channel)
        return { type: 'joined', channel }
      case 'leave':
        return { type: 'left', channel, ok: await sidechannel.leave(channel) }
      case 'send':
        if (!sidechannel.send(channel, request.message)) throw new Error('Send denied (invite required or invalid).')
        return { type: 'sent', channel }
      default:
        throw new Error('Unknown type: ' + request.type)
    }
  }
}

module.exports = { Bridge }
