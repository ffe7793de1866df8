'use strict'
// Streams through a relay that changes nothing but ids, and from there to the direct path: Rust as the relay of JavaScript
// streams, and as an end of streams through a JavaScript relay.

const test = require('node:test')
const assert = require('node:assert')
const { versions, installs, block, JsPeer, RustPeer, RustRelay } = require('./ends')

const BYTES = 2_000_000

/** Two JavaScript streams, 101 and 102, that lead into each other. */
class JsRelay {
  constructor (version, ends) {
    const UDX = require(installs[version])
    this.udx = new UDX()
    this.socket = this.udx.createSocket()
    this.socket.bind(0, '127.0.0.1')
    this.port = this.socket.address().port
    this.legs = [101, 102].map((id) => this.udx.createStream(id))
    for (const leg of this.legs) leg.on('error', () => {})
    this.legs[0].relayTo(this.legs[1])
    this.legs[1].relayTo(this.legs[0])
    for (const [index, { id, port }] of ends.entries()) this.legs[index].connect(this.socket, id, port, '127.0.0.1')
  }

  async close () {
    for (const leg of this.legs) leg.destroy()
    await this.socket.close()
  }
}

for (const [index, version] of versions.entries()) {
  const other = versions[(index + 1) % versions.length]

  test(`${version} and ${other}: through a Rust relay, both ways, to the end`, { timeout: 60_000 }, async (t) => {
    const relay = new RustRelay(2)
    const ends = [new JsPeer(version), new JsPeer(other)]
    t.after(async () => {
      await relay.close()
      for (const end of ends) await end.close()
    })
    const { port } = await relay.line('port')
    for (const [place, end] of ends.entries()) {
      end.stream.connect(end.socket, 101 + place, port, '127.0.0.1')
      relay.leg(1 + place, end.port, 1)
    }
    await Promise.all(ends.map((end, place) => end.send(BYTES + place)))
    await Promise.all(ends.map((end) => end.closed))
    assert.deepStrictEqual(ends.map((end) => [end.received, end.wrong, end.error]), [[BYTES + 1, -1, null], [BYTES, -1, null]])
    // What passes is no business of the relay: it does not know that the streams ended.
    assert.deepStrictEqual(relay.lines.filter((line) => 'leg' in line), [])
  })

  test(`${version} and ${other}: a destroyed stream ends its leg of a Rust relay, and the other end`, { timeout: 30_000 }, async (t) => {
    const relay = new RustRelay(2)
    const ends = [new JsPeer(version), new JsPeer(other)]
    t.after(async () => {
      await relay.close()
      for (const end of ends) await end.close()
    })
    const { port } = await relay.line('port')
    for (const [place, end] of ends.entries()) {
      end.stream.connect(end.socket, 101 + place, port, '127.0.0.1')
      relay.leg(1 + place, end.port, 1)
    }
    ends[0].stream.write(block(0, 100))
    await ends[1].has(100)
    ends[0].stream.destroy()
    await ends[1].closed
    assert.strictEqual(ends[1].error?.code, 'ECONNRESET')
    assert.strictEqual((await relay.line('leg')).over, 'the peer destroyed the stream')
    assert.deepStrictEqual(relay.lines.filter((line) => 'leg' in line).map((line) => line.leg), [1])
  })

  test(`${version}: two Rust streams through a JavaScript relay`, { timeout: 60_000 }, async (t) => {
    const peers = [[1, 101], [2, 102]].map(([id, remoteId]) => new RustPeer(['--send', BYTES + id], { id, remoteId }))
    const ports = await Promise.all(peers.map(async (peer) => (await peer.line('port')).port))
    const relay = new JsRelay(version, [{ id: 1, port: ports[0] }, { id: 2, port: ports[1] }])
    t.after(async () => {
      for (const peer of peers) await peer.close()
      await relay.close()
    })
    for (const peer of peers) peer.connect(relay.port)
    const results = await Promise.all(peers.map((peer) => peer.line('closed')))
    assert.deepStrictEqual(results.map((result) => [result.closed, result.received]),
      [['finished', String(BYTES + 2)], ['finished', String(BYTES + 1)]])
  })

  test(`${version}: a stream through a JavaScript relay goes direct, and nothing is lost`, { timeout: 60_000 }, async (t) => {
    const rust = new RustPeer(['--send', 2 * BYTES, '--in-two'], { remoteId: 102 })
    const { port } = await rust.line('port')
    const peer = new JsPeer(version)
    const relay = new JsRelay(version, [{ id: 1, port: peer.port }, { id: 2, port }])
    t.after(async () => {
      await rust.close()
      await peer.close()
      await relay.close()
    })
    peer.stream.connect(peer.socket, 101, relay.port, '127.0.0.1')
    rust.connect(relay.port)
    const first = peer.send(BYTES, { end: false })
    await peer.has(100_000)
    // In the middle of it all, as when a hole was punched.
    rust.say(`move 127.0.0.1:${peer.port} 1`)
    await Promise.all([first, peer.stream.changeRemote(peer.socket, 2, port, '127.0.0.1'), rust.line('changed')])
    await peer.has(BYTES)
    await relay.close()
    rust.say('send')
    await peer.send(2 * BYTES, { from: BYTES })
    const result = await rust.line('closed')
    await peer.closed
    assert.deepStrictEqual([result.closed, result.received], ['finished', String(2 * BYTES)])
    assert.deepStrictEqual([peer.received, peer.wrong, peer.error], [2 * BYTES, -1, null])
  })
}
