'use strict'
// A message of 200 kB, each way, between every two kinds: the rate limit of 256 kB a connection lets one pass.

const { describe, test, after } = require('node:test')
const assert = require('node:assert/strict')
const { createHash } = require('crypto')
const { KINDS, HAS_ORIGINAL, Peer, startDht, reporting, closeHosts } = require('../lib/kinds')
const { wanted } = require('../lib/settings')

const ENTRY = '0000intercom'
const BYTES = 200_000
const hash = (text) => createHash('sha256').update(text).digest('hex')

// Not one character repeated, so that a part lost, doubled or moved shows.
function text (seed) {
  let out = ''
  for (let n = 0; out.length < BYTES; n++) out += hash(seed + n)
  return out.slice(0, BYTES)
}

describe('large messages', { concurrency: 1 }, () => {
  let dht = null
  after(async () => {
    if (dht) await dht.kill()
    await closeHosts()
  })
  const pairs = []
  for (const a of KINDS) for (const b of KINDS) if (a <= b) pairs.push([a, b])
  if (HAS_ORIGINAL) pairs.push(['rust', 'original'])
  for (const [a, b] of pairs) {
    const name = 'large: 200 kB each way, ' + a + ' and ' + b
    if (!wanted(name)) continue
    test(name, async () => {
      dht ||= await startDht('pinned')
      let left = null
      let right = null
      await reporting(() => [left, right, dht], async () => {
        left = await Peer.start({ kind: a, role: 'first', bootstrap: dht.bootstrap })
        await left.bridge.started()
        right = await Peer.start({ kind: b, role: 'second', bootstrap: dht.bootstrap })
        await Promise.all([left.bridge.connected(), right.bridge.connected()])
        for (const [from, to] of [[left, right], [right, left]]) {
          const body = text(from.publicKey)
          const arrived = to.bridge.message((m) => m.from === from.publicKey, 60_000)
          await Promise.all([from.bridge.send(ENTRY, body), arrived])
          const got = await arrived
          assert.equal(got.message.length, BYTES)
          assert.equal(hash(got.message), hash(body))
        }
        await Promise.all([left.stop(), right.stop()])
      }).catch(async (err) => {
        await Promise.all([left, right].map((peer) => peer && peer.kill()))
        throw err
      })
    })
  }
})
