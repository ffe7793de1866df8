'use strict'
// Rooms of InterSplit: peers that add expenses at the same time end with the same account, and who comes late gets it from the
// Rust peers. With INTERCOM_JS the original takes part; the reference peers, which know no expenses, must not mind the history.

const { describe, test } = require('node:test')
const assert = require('node:assert/strict')
const { HAS_ORIGINAL, Peer, startDht, reporting } = require('../lib/kinds')
const { wanted } = require('../lib/settings')

const ROOMS = {
  'two of rust': ['rust', 'rust'],
  'five of rust, two reference peers': ['rust', 'pinned', 'rust', 'rust', 'latest', 'rust', 'rust'],
  ...(HAS_ORIGINAL && {
    'rust and original': ['rust', 'original'],
    'original and rust': ['original', 'rust'],
    'five of rust and original': ['rust', 'original', 'rust', 'original', 'rust'],
    'five of original and rust': ['original', 'rust', 'original', 'rust', 'original']
  })
}
const EACH = 12
const NAMES = ['alice', 'Älice', 'боб', '日本', 'zoë', 'İpek']

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** The account of a room, once it has so many expenses. There is no event for it, so it is asked for. */
async function account (peer, room, count, ms = 60_000) {
  const until = performance.now() + ms
  for (;;) {
    const { summary } = await peer.bridge.call({ type: 'expense_balance', channel: room })
    if (summary.eventCount === count) return JSON.stringify(summary)
    if (performance.now() > until) throw new Error(peer.name + ' has ' + summary.eventCount + ' expenses instead of ' + count)
    await pause(20)
  }
}

/** What a peer hands on of a room, in every format. */
async function exported (peer, room) {
  const formats = ['text', 'csv', 'json'].map((format) => peer.bridge.call({ type: 'expense_export', channel: room, format }))
  return (await Promise.all(formats)).map(({ data }) => data).join('\n')
}

describe('expenses', { concurrency: 1 }, () => {
  for (const [what, kinds] of Object.entries(ROOMS)) {
    const name = 'expenses: ' + what
    if (!wanted(name)) continue
    test(name, async () => {
      const dht = await startDht('pinned')
      // Stores are used again, and keep their expenses: a room of its own for each test.
      const room = 'room ' + what.replace(/\W+/g, ' ')
      const peers = []
      const join = async (kind) => {
        const peer = await Peer.start({ kind, role: 'member ' + peers.length, bootstrap: dht.bootstrap, own: true, extra: ['--sidechannels', room] })
        peers.push(peer)
        await peer.bridge.started()
        return peer
      }
      await reporting(() => [...peers, dht], async () => {
        for (const kind of kinds) await join(kind)
        await Promise.all(peers.map((peer) => peer.bridge.connected(peers.length - 1)))
        const members = peers.filter((peer) => peer.kind === 'rust' || peer.kind === 'original')
        // All at once, so that each has them in another order.
        await Promise.all(members.map(async (peer, i) => {
          for (let n = 0; n < EACH; n++) {
            const split = NAMES.slice(n % 3, n % 3 + 2 + (i + n) % 3)
            const added = await peer.bridge.call({ type: 'expense_add', channel: room, payer: NAMES[(i + n) % NAMES.length], amount: `${1 + i * 7 + n}.${10 + n}`, split })
            assert.equal(added.type, 'expense_added', JSON.stringify(added))
          }
        }))
        const accounts = await Promise.all(members.map((peer) => account(peer, room, members.length * EACH)))
        assert.deepEqual(accounts, accounts.map(() => accounts[0]))

        const late = await join('rust')
        assert.equal(await account(late, room, members.length * EACH), accounts[0])
        const { events } = await late.bridge.call({ type: 'expense_list', channel: room, verify: true })
        assert.ok(events.every((event) => event.verified), 'what came late is signed')

        // The room still works for all, reference peers among the connections.
        await late.bridge.call({ type: 'expense_add', channel: room, payer: 'late', amount: 1, split: 'late,alice' })
        const after = await Promise.all([...members, late].map((peer) => account(peer, room, members.length * EACH + 1)))
        assert.deepEqual(after, after.map(() => after[0]))
        const exports = await Promise.all([...members, late].map((peer) => exported(peer, room)))
        assert.deepEqual(exports, exports.map(() => exports[0]))

        // Restoring without a contract takes what is there, and so changes nothing.
        for (const peer of [...members, late]) {
          const restored = await peer.bridge.call({ type: 'expense_restore', channel: room, confirmed: false, replace: true })
          const { type, source, total } = restored
          assert.deepEqual({ type, source, total }, { type: 'expense_restored', source: 'local', total: members.length * EACH + 1 }, peer.name)
        }
        assert.deepEqual(await Promise.all([...members, late].map((peer) => exported(peer, room))), exports)

        // One forgets all, and so all do; each in turn, whatever its kind.
        for (const [n, clearing] of [members[0], members.at(-1)].entries()) {
          assert.equal((await clearing.bridge.call({ type: 'expense_clear', channel: room })).type, 'expense_cleared')
          const empty = await Promise.all([...members, late].map((peer) => account(peer, room, 0)))
          assert.deepEqual(empty, empty.map(() => empty[0]))
          await assert.rejects(clearing.bridge.call({ type: 'expense_restore', channel: room }), /No persisted snapshot found\./)
          for (const peer of members) await peer.bridge.call({ type: 'expense_add', channel: room, payer: 'anew', amount: 3 + n, split: ['zoë', 'bob'] })
          const anew = await Promise.all([...members, late].map((peer) => account(peer, room, members.length)))
          assert.deepEqual(anew, anew.map(() => anew[0]))
        }
        const last = await join('rust')
        const whole = await exported(members[0], room)
        await account(last, room, members.length)
        assert.equal(await exported(last, room), whole, 'what was cleared does not come back')
        await Promise.all(peers.map((peer) => peer.bridge.connected(peers.length - 1)))
      }).finally(async () => {
        await Promise.all(peers.map((peer) => peer.kill()))
        await dht.stop()
      })
    })
  }
})
