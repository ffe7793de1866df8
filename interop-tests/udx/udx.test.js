'use strict'
// Rust streams against udx-native, both ways, over a good link and a bad one.
//
//   cargo build --release -p udx --example udx-peer && node --test interop-tests/udx/
//
// UDX_PEER names another binary than target/release/examples/udx-peer.

const test = require('node:test')
const assert = require('node:assert')
const { once } = require('events')
const { versions, block, pair } = require('./ends')

const links = {
  direct: null,
  'delay 5 ms': { seed: 3, delay: 5 },
  'loss 1 %, reordering': { seed: 5, delay: 5, loss: 0.01, reorder: 0.05, duplicate: 0.01 },
  'loss 10 %': { seed: 7, delay: 2, loss: 0.1 }
}

for (const version of versions) {
  for (const [name, link] of Object.entries(links)) {
    const bytes = link ? 1_000_000 : 20_000_000
    for (const first of ['js', 'rust']) {
      test(`${version}: both ways, ${first} first, ${name}`, { timeout: 120_000 }, async (t) => {
        const { peer, other } = await pair(t, version, { first, link, rust: ['--send', bytes + 1, '--linger', link ? 9000 : 0] })
        // A JavaScript stream forgets all when both sides ended. Where its last acknowledgement may be lost, the other side
        // could never learn that its bytes arrived, so there JavaScript ends last.
        const options = { end: !link }
        const started = first === 'js' ? Promise.resolve() : once(peer.stream, 'data')
        await started.then(() => peer.send(bytes, options))
        await peer.ended
        if (link) peer.stream.end()
        const result = await other.line('closed')
        await peer.closed
        assert.deepStrictEqual([result.closed, result.received, result.sent], ['finished', String(bytes), String(bytes + 1)])
        assert.deepStrictEqual([peer.wrong, peer.received, peer.error], [-1, bytes + 1, null])
        if (!link) assert.strictEqual(result.mtu, 1500)
      })
    }
  }

  test(`${version}: many small writes, echoed`, { timeout: 60_000 }, async (t) => {
    const { peer, other } = await pair(t, version, { rust: ['--echo'] })
    for (let sent = 0; sent < 200_000; sent += 20) peer.stream.write(block(sent, 20))
    peer.stream.end()
    const result = await other.line('closed')
    await peer.closed
    assert.deepStrictEqual([result.closed, peer.received, peer.wrong], ['finished', 200_000, -1])
  })

  test(`${version}: packet numbers wrap`, { timeout: 60_000 }, async (t) => {
    const ours = 4294967200
    const theirs = 4294967290
    const rust = ['--send', 2_000_000, '--seq', ours, '--ack', theirs]
    const { peer, other } = await pair(t, version, { rust, js: { seq: theirs, connect: { ack: ours } } })
    await peer.send(2_000_000)
    const result = await other.line('closed')
    await peer.closed
    assert.deepStrictEqual([result.closed, result.received], ['finished', '2000000'])
    assert.deepStrictEqual([peer.received, peer.wrong, peer.error], [2_000_000, -1, null])
  })

  test(`${version}: a slow reader holds the sender back`, { timeout: 120_000 }, async (t) => {
    const bytes = 24_000_000
    const { peer, other } = await pair(t, version, { rust: ['--slow', 20] })
    await peer.send(bytes)
    const result = await other.line('closed')
    assert.deepStrictEqual([result.closed, result.received], ['finished', String(bytes)])
    await peer.closed
    assert.strictEqual(peer.error, null)
  })

  test(`${version}: unordered messages`, { timeout: 30_000 }, async (t) => {
    const { peer, other } = await pair(t, version, { first: 'rust', rust: ['--messages', 5] })
    while (peer.messages.length < 5) await once(peer.stream, 'message')
    await peer.stream.send(Buffer.from('to rust'))
    await peer.stream.send(Buffer.alloc(0))
    assert.strictEqual((await other.line('message')).message, 'to rust')
    peer.stream.end()
    assert.strictEqual((await other.line('closed')).closed, 'finished')
    assert.deepStrictEqual(peer.messages, [0, 1, 2, 3, 4].map((index) => 'message ' + index))
  })

  test(`${version}: JavaScript destroys`, { timeout: 30_000 }, async (t) => {
    const { peer, other } = await pair(t, version, { rust: ['--send', 100_000_000] })
    peer.stream.write(block(0, 10))
    await once(peer.stream, 'data')
    peer.stream.destroy()
    assert.strictEqual((await other.line('closed')).closed, 'the peer destroyed the stream')
  })

  test(`${version}: Rust destroys`, { timeout: 30_000 }, async (t) => {
    const { peer, other } = await pair(t, version, { first: 'rust', rust: ['--send', 10_000_000, '--destroy-after', 100_000] })
    assert.strictEqual((await other.line('closed')).closed, 'the stream was destroyed')
    await peer.closed
    assert.strictEqual(peer.error.code, 'ECONNRESET')
  })

  test(`${version}: Rust moves to another socket`, { timeout: 60_000 }, async (t) => {
    const bytes = 6_000_000
    const { peer, other } = await pair(t, version, { first: 'rust', rust: ['--send', bytes, '--move-after', 3_000_000] })
    await other.line('moved')
    peer.stream.end()
    const result = await other.line('closed')
    await peer.closed
    assert.deepStrictEqual([result.closed, peer.received, peer.wrong], ['finished', bytes, -1])
  })

  test(`${version}: JavaScript moves to another socket`, { timeout: 60_000 }, async (t) => {
    const { peer, other } = await pair(t, version, { rust: ['--send', 3_000_000], js: { firewall: () => false } })
    peer.stream.write(block(0, 1_000_000))
    await once(peer.stream, 'data')
    const second = peer.udx.createSocket()
    second.bind(0, '127.0.0.1')
    t.after(() => second.close())
    await peer.stream.changeRemote(second, 2, (await other.line('port')).port, '127.0.0.1')
    peer.stream.end(block(1_000_000, 1_000_000))
    const result = await other.line('closed')
    await peer.closed
    assert.deepStrictEqual([result.closed, result.received, peer.received], ['finished', '2000000', 3_000_000])
  })
}
