'use strict'
// Persisting a room into the contract: what the original does as the writer of its subnet, and what a peer without that plane answers.

const { describe, test } = require('node:test')
const assert = require('node:assert/strict')
const { HAS_ORIGINAL, Peer, startDht, reporting } = require('../lib/kinds')
const { wanted } = require('../lib/settings')

const ROOM = 'Persisted room'

describe('persist', { concurrency: 1 }, () => {
  for (const kind of ['rust', ...(HAS_ORIGINAL ? ['original'] : [])]) {
    const name = 'persist: ' + kind
    if (!wanted(name)) continue
    test(name, async () => {
      const dht = await startDht('pinned')
      const peer = await Peer.start({ kind, role: 'writer', bootstrap: dht.bootstrap, own: true })
      await reporting(() => [peer, dht], async () => {
        await peer.bridge.call({ type: 'expense_add', channel: ROOM.toLowerCase(), payer: 'ann', amount: 5, split: 'bob' })
        const persist = peer.bridge.call({ type: 'expense_persist', channel: ROOM }, 60_000)
        if (kind === 'rust') await assert.rejects(persist, { message: 'Peer is not writable.' })
        else {
          const { type, channel, sim, tx } = await persist
          assert.deepEqual({ type, channel, sim }, { type: 'expense_persisted', channel: ROOM.toLowerCase(), sim: false })
          assert.match(String(tx), /^[0-9a-f]{64}$/)
        }
        // Either way the room is there and is restored from memory: nothing has been settled.
        const restored = await peer.bridge.call({ type: 'expense_restore', channel: ROOM })
        assert.equal(restored.source, 'local')
        assert.equal(restored.total, 1)
      }).finally(async () => {
        await peer.kill()
        await dht.stop()
      })
    })
  }
})
