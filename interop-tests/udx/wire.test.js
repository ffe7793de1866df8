'use strict'
// What is seen on the wire between Rust and udx-native: closed windows, keep-alive, repeats under loss, the path's MTU.

const test = require('node:test')
const assert = require('node:assert')
const { EventEmitter, once } = require('events')
const { versions, installs, block, pair } = require('./ends')

const DATA = 0x01
const END = 0x02
const SACK = 0x04
const HEARTBEAT = 0x20

/** Which packets are lost the first time: one in forty. */
const isUnlucky = (seq) => seq % 40 === 7

/** Sides of the link, as its filter says where a packet comes from. */
const JAVASCRIPT = 0
const RUST = 1

const flags = (packet) => packet[2]
const windowOf = (packet) => packet.readUInt32LE(8)
const seqOf = (packet) => packet.readUInt32LE(12)

/** Waits until what the link's filter looks at has become true. */
async function seen (wire, what) {
  while (!what()) await once(wire, 'packet')
}

/** Whether this generation answers heartbeats: udx-native 1.20.7 does and 1.20.0 does not; there is none between. */
function answersHeartbeats (version) {
  const [major, minor, patch] = require(installs[version] + '/package.json').version.split('.').map(Number)
  return major > 1 || minor > 20 || (minor === 20 && patch >= 7)
}

/** Whether it can be asked to send them when it is idle (1.21.3). */
const keepsAlive = (version) => 'setKeepalive' in require(installs[version] + '/lib/stream').prototype

for (const version of versions) {
  test(`${version}: a reader that stops closes the window, answers probes, and opens it again`, { timeout: 60_000 }, async (t) => {
    const bytes = 12_000_000
    const wire = new EventEmitter()
    let closedAt = 0
    let probes = 0
    let answers = 0
    const link = {
      delay: 0,
      filter: (from, packet) => {
        if (from === RUST) {
          if (windowOf(packet) === 0) closedAt ||= Date.now()
          if (probes > 0 && windowOf(packet) === 0) answers++
        } else if (closedAt && (flags(packet) & HEARTBEAT || (flags(packet) & DATA && Date.now() - closedAt > 900))) {
          // Those before HEARTBEAT send new data. What was under way when the window closed is long here after that time.
          probes++
        }
        wire.emit('packet')
        return true
      }
    }
    const { peer, other } = await pair(t, version, { link, rust: ['--hold', '--linger', 9000] })
    const sent = peer.send(bytes)
    await seen(wire, () => answers > 0)
    assert.strictEqual(peer.error, null)
    other.say('read')
    await sent
    const result = await other.line('closed')
    await peer.closed
    assert.deepStrictEqual([result.closed, result.received, peer.error], ['finished', String(bytes), null])
  })

  if (answersHeartbeats(version)) {
    test(`${version}: a window that JavaScript closed is asked for by a heartbeat`, { timeout: 60_000 }, async (t) => {
      const wire = new EventEmitter()
      let closed = false
      let known = false
      let heartbeats = 0
      let early = 0
      const link = {
        delay: 0,
        filter: (from, packet) => {
          if (from === JAVASCRIPT) {
            // It always says 4 MiB.
            if (closed) packet.writeUInt32LE(0, 8)
          } else if (closed) {
            if (known && flags(packet) & DATA) early++
            // What was under way before does not acknowledge what said so, the first packet from there.
            known ||= packet.readUInt32LE(16) > 0
            if (flags(packet) & HEARTBEAT) {
              heartbeats++
              closed = false
            }
          }
          wire.emit('packet')
          return true
        }
      }
      const { peer, other } = await pair(t, version, { first: 'rust', link, rust: ['--send', 400_000, '--in-two', '--linger', 9000] })
      await peer.has(200_000)
      closed = true
      peer.stream.write(block(0, 10))
      await seen(wire, () => known)
      other.say('send')
      await peer.has(400_000)
      peer.stream.end()
      assert.strictEqual((await other.line('closed')).closed, 'finished')
      await peer.closed
      assert.deepStrictEqual([peer.received, peer.wrong, peer.error, heartbeats, early], [400_000, -1, null, 1, 0])
    })
  }

  test(`${version}: idle streams are kept alive by heartbeats`, { timeout: 30_000 }, async (t) => {
    const wire = new EventEmitter()
    const heartbeats = [0, 0]
    const answers = [0, 0]
    let watched = false
    const link = {
      delay: 0,
      filter: (from, packet) => {
        if (!watched) return true
        if (flags(packet) & HEARTBEAT) heartbeats[from]++
        else if (heartbeats[1 - from] > 0) answers[from]++
        wire.emit('packet')
        return true
      }
    }
    const { peer, other } = await pair(t, version, { link, rust: ['--keepalive', 60, '--send', 2000, '--in-two', '--linger', 9000] })
    peer.stream.write(block(0, 1000))
    if (keepsAlive(version)) peer.stream.setKeepalive(60)
    await new Promise((resolve) => setTimeout(resolve, 300))
    watched = true
    await seen(wire, () => heartbeats[RUST] >= 3)
    if (keepsAlive(version)) await seen(wire, () => heartbeats[JAVASCRIPT] >= 3 && answers[RUST] >= 2)
    // Those that know no heartbeats neither answer nor mind.
    if (answersHeartbeats(version)) await seen(wire, () => answers[JAVASCRIPT] >= 2)
    else assert.strictEqual(answers[JAVASCRIPT], 0)
    watched = false
    other.say('send')
    peer.stream.end(block(1000, 1000))
    const result = await other.line('closed')
    await peer.closed
    assert.deepStrictEqual([result.closed, result.received, peer.received, peer.wrong], ['finished', '2000', 2000, -1])
  })

  test(`${version}: Rust repeats what is lost, and little else`, { timeout: 60_000 }, async (t) => {
    const bytes = 2_000_000
    const sent = new Set()
    let dropped = 0
    let repeats = 0
    let sacks = 0
    const link = {
      delay: 5,
      filter: (from, packet) => {
        if (from === JAVASCRIPT) {
          if (flags(packet) & SACK) sacks++
          return true
        }
        if (!(flags(packet) & DATA)) return true
        const seq = seqOf(packet)
        if (sent.has(seq)) {
          repeats++
          return true
        }
        sent.add(seq)
        if (!isUnlucky(seq)) return true
        dropped++
        return false
      }
    }
    const { peer, other } = await pair(t, version, { first: 'rust', link, rust: ['--send', bytes, '--linger', 9000] })
    await peer.has(bytes)
    peer.stream.end()
    assert.strictEqual((await other.line('closed')).closed, 'finished')
    await peer.closed
    assert.deepStrictEqual([peer.received, peer.wrong, peer.error], [bytes, -1, null])
    assert.ok(dropped > 30 && sacks > 0 && repeats >= dropped && repeats <= 2 * dropped,
      `${dropped} of ${sent.size} were lost, ${repeats} repeated, with ${sacks} lists of what arrived`)
  })

  test(`${version}: Rust lists what arrived beyond what is lost, and nothing else`, { timeout: 60_000 }, async (t) => {
    const bytes = 2_000_000
    const passed = new Set()
    const dropped = new Set()
    const gaps = new Set()
    const untrue = []
    const link = {
      delay: 5,
      filter: (from, packet) => {
        if (from === JAVASCRIPT) {
          // All that has a number of its own.
          if (!(flags(packet) & (DATA | END))) return true
          const seq = seqOf(packet)
          if (isUnlucky(seq) && !dropped.has(seq)) {
            dropped.add(seq)
            return false
          }
          passed.add(seq)
        } else if (flags(packet) & SACK) {
          // Between the ranges is what was lost, in them what was not.
          let missing = packet.readUInt32LE(16)
          for (let at = 20; at < packet.length; at += 8) {
            const [start, end] = [packet.readUInt32LE(at), packet.readUInt32LE(at + 4)]
            for (; missing < start; missing++) dropped.has(missing) ? gaps.add(missing) : untrue.push([missing, start, end])
            for (; missing < end; missing++) if (!passed.has(missing)) untrue.push([missing, start, end])
          }
        }
        return true
      }
    }
    const { peer, other } = await pair(t, version, { link, rust: ['--linger', 9000] })
    await peer.send(bytes)
    const result = await other.line('closed')
    await peer.closed
    assert.deepStrictEqual([result.closed, result.received, peer.error], ['finished', String(bytes), null])
    assert.deepStrictEqual(untrue, [])
    // The very last may be repeated by JavaScript's timers before anything beyond it arrives.
    assert.ok(dropped.size > 30 && gaps.size >= dropped.size - 2, `${dropped.size} were lost, ${gaps.size} were told of`)
  })

  test(`${version}: packets grow to what the path carries, and no further`, { timeout: 60_000 }, async (t) => {
    const mtu = 1420
    let largest = 0
    const link = {
      delay: 2,
      filter: (from, packet) => {
        const size = packet.length + 28
        if (size > mtu) return false
        if (from === RUST) largest = Math.max(largest, size)
        return true
      }
    }
    const { peer, other } = await pair(t, version, { link, rust: ['--echo', '--linger', 9000] })
    // Until Rust has found out; the last steps are of 32 bytes.
    let sent = 0
    while (largest <= mtu - 32) {
      await peer.send(sent + 100_000, { from: sent, end: false })
      sent += 100_000
      await peer.has(sent - 300_000)
    }
    await peer.has(sent)
    peer.stream.end()
    const result = await other.line('closed')
    await peer.closed
    assert.deepStrictEqual([result.closed, result.received, peer.received, peer.wrong], ['finished', String(sent), sent, -1])
    // Some generations of JavaScript do not search.
    assert.ok(result.mtu > mtu - 32 && result.mtu <= mtu && peer.stream.mtu <= mtu, `${result.mtu} and ${peer.stream.mtu}`)
  })
}
