'use strict'
// The same random requests put to the original and to the Rust peer, live: every reply must be the same.

const assert = require('node:assert')
const { test, after } = require('node:test')
const { HAS_ORIGINAL, startDht } = require('../lib/kinds')
const { SESSIONS, requests } = require('../differential/sessions')
const { talk } = require('../differential/talk')

if (HAS_ORIGINAL) {
  let dht = null
  after(async () => { if (dht) await dht.stop() })

  for (const session of SESSIONS) {
    test('differential ' + session.name, async () => {
      dht = dht || await startDht('pinned')
      const original = await talk('original', session, dht.bootstrap)
      const rust = await talk('rust', session, dht.bootstrap)
      const sent = requests(session)
      const differences = sent.map((request, i) => rust[i] === original[i] ? null : `${request}\n  rust:     ${rust[i]}\n  original: ${original[i]}`)
      assert.deepStrictEqual(differences.filter(Boolean), [])
    })
  }
}
