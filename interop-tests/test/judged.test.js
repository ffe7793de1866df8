'use strict'
// What a peer makes of messages with too little work and of a flood, told one after the other by a peer that says anything: heard, or
// dropped with which words. The original's answers are written down here; where INTERCOM_JS names it, it is asked again.

const { describe, test } = require('node:test')
const assert = require('node:assert/strict')
const path = require('path')
const { HAS_ORIGINAL, Peer, startDht, reporting, ROOT } = require('../lib/kinds')
const { Worker } = require('../lib/process')
const { wanted } = require('../lib/settings')

const ENTRY = '0000intercom'
const BITS = 10
const FLAGS = ['--sidechannels', 'room', '--sidechannel-pow', '1', '--sidechannel-pow-difficulty', String(BITS), '--sidechannel-debug', '1']

const POW = 'drop (invalid pow) from SPEAKER'
const RATE = 'drop (rate limit) from SPEAKER'
/** A message above what one may say at once is a strike whenever it comes; the third blocks. */
const FLOOD = 300_000

/** What is said, and what becomes of it. Nothing is printed of who is blocked. */
const STEPS = [
  [{ message: 'enough', bits: BITS }, 'heard'],
  [{ message: 'more than enough', bits: BITS + 2 }, 'heard'],
  [{ message: 'one bit too little', bits: BITS - 1 }, POW],
  [{ message: 'no bit', bits: 0 }, POW],
  [{ message: 'none' }, POW],
  [{ message: 'its word for it', bits: 1, change: { pow: { nonce: 0, difficulty: 32 } } }, POW],
  [{ message: 'of something else', bits: BITS, change: { message: 'other' } }, POW],
  [{ message: 'a text', bits: BITS, change: { pow: { nonce: '7', difficulty: BITS } } }, POW],
  [{ channel: 'room', message: 'too little elsewhere', bits: BITS - 2 }, POW],
  [{ channel: 'room', message: 'enough elsewhere', bits: BITS }, 'heard'],
  [{ letters: FLOOD, bits: BITS }, RATE],
  // What has too little work is not weighed. (What is above the limit by itself is not even read here; the original reads it.)
  [{ letters: FLOOD / 3, bits: BITS - 1 }, POW],
  [{ letters: FLOOD, bits: BITS }, RATE],
  [{ message: 'two strikes are none', bits: BITS }, 'heard'],
  [{ letters: FLOOD, bits: BITS }, RATE]
]

describe('judged', { concurrency: 1 }, () => {
  for (const kind of ['rust', ...(HAS_ORIGINAL ? ['original'] : [])]) {
    const name = 'judged: ' + kind
    if (!wanted(name)) continue
    test(name, async () => {
      const dht = await startDht('pinned')
      const judge = await Peer.start({ kind, role: 'judge', bootstrap: dht.bootstrap, own: true, extra: FLAGS })
      const speaker = new Worker('speaker', [process.execPath, path.join(ROOT, 'peer', 'speaker.js'), 'pinned'])
      await reporting(() => [judge, speaker, dht], async () => {
        await judge.bridge.started()
        await speaker.call({ op: 'start', bootstrap: dht.bootstrap })
        const meet = () => speaker.call({ op: 'connect', to: judge.publicKey, channels: [ENTRY, 'room'] })
        const { key } = await meet()
        const dropped = () => judge.process.line((line) => /^\[sidechannel:\S+\] (drop .*)/.exec(line)?.[1].replace(key, 'SPEAKER'))
        const became = []
        for (const [said] of STEPS) {
          const heard = judge.bridge.message((m) => said.message !== undefined && m.message === said.message).then(() => 'heard')
          const outcome = Promise.race([heard, dropped()])
          heard.catch(() => {})
          await speaker.call({ op: 'say', channel: ENTRY, ...said })
          became.push(await outcome)
        }
        assert.deepEqual(became, STEPS.map(([, expected]) => expected))

        // Blocked, for all channels of that connection; another connection is heard.
        for (const channel of [ENTRY, 'room']) await speaker.call({ op: 'say', channel, message: 'while blocked', bits: BITS })
        const again = await meet()
        assert.notEqual(again.key, key)
        await speaker.call({ op: 'say', channel: ENTRY, message: 'by another', bits: BITS })
        await judge.bridge.message((m) => m.message === 'by another')
        assert.ok(!judge.bridge.messages.some((m) => m.message === 'while blocked'))
      }).finally(async () => {
        await Promise.all([judge.kill(), speaker.kill(), dht.stop()])
      })
    })
  }
})
