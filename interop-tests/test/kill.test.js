'use strict'
// kill -9 of either side, and meeting again: no slower than JavaScript peers among themselves, measured in the same run.
//
// `at once`: the killed peer starts again while the other still holds the dead connection. `noticed`: the other has
// given the dead connection up first.

const { describe, test } = require('node:test')
const assert = require('node:assert/strict')
const { Peer, startDht, reporting } = require('../lib/kinds')
const { wanted } = require('../lib/settings')

const ENTRY = '0000intercom'
const ROUNDS = 5
// Two processes that start, and a machine that does other things too: what is allowed over JavaScript's median.
const SLACK = 1.25
const SLACK_MS = 30

const JS = [['pinned', 'pinned'], ['latest', 'latest']]
const OURS = [['rust', 'rust'], ['rust', 'pinned'], ['pinned', 'rust'], ['rust', 'latest'], ['latest', 'rust']]
const ORDERS = ['victim first', 'survivor first']
const CASES = [...JS, ...OURS].flatMap(([survivor, victim]) => ORDERS.map((order) => ({
  survivor, victim, order, name: 'survivor=' + survivor + ' victim=' + victim + ', ' + order
})))
const isJs = ({ survivor, victim }) => survivor !== 'rust' && victim !== 'rust'

const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]

async function say (from, to, text) {
  await from.bridge.send(ENTRY, text)
  await to.bridge.message((m) => m.message === text)
}

/** Say something again and again until the other has heard it. */
async function insist (from, to, text) {
  const heard = to.bridge.message((m) => m.message === text)
  const timer = setInterval(() => from.bridge.send(ENTRY, text).catch(() => {}), 50)
  try {
    await from.bridge.send(ENTRY, text)
    await heard
  } finally {
    clearInterval(timer)
  }
}

/** One round: the two meet, the victim is killed and starts again, the two meet again. */
async function round (dht, { survivor, victim, order }, n, noticed) {
  const start = (role, store) => Peer.start({ kind: role === 'victim' ? victim : survivor, role, bootstrap: dht.bootstrap, store, own: true })
  const peers = {}
  const took = {}
  await reporting(() => [peers.survivor, peers.victim, dht], async () => {
    const roles = order === 'victim first' ? ['victim', 'survivor'] : ['survivor', 'victim']
    for (const role of roles) {
      peers[role] = await start(role)
      await peers[role].bridge.started()
    }
    await Promise.all(roles.map((role) => peers[role].bridge.connected()))
    await say(peers.survivor, peers.victim, 'before, to the victim, ' + n)
    await say(peers.victim, peers.survivor, 'before, to the survivor, ' + n)

    await peers.victim.kill({ again: true })
    if (noticed) {
      const from = performance.now()
      await peers.survivor.bridge.stats((s) => s.connectionCount === 0, 60_000)
      took.notice = performance.now() - from
    }
    peers.victim = await start('victim', peers.victim.store)
    await peers.victim.bridge.connected()
    // Where the survivor has noticed, it tries the victim again by itself while the victim looks it up: two connections
    // cross, one replaces the other, and what was said on the one that goes is lost, among JavaScript peers too.
    const tell = noticed ? insist : say
    await tell(peers.victim, peers.survivor, 'again, to the survivor, ' + n)
    await tell(peers.survivor, peers.victim, 'again, to the victim, ' + n)
    took.again = performance.now() - peers.victim.startedAt
    await Promise.all([peers.survivor.stop(), peers.victim.stop()])
  }).finally(() => Promise.all([peers.survivor, peers.victim].map((peer) => peer && peer.kill())))
  return took
}

function noSlower (t, what, ours, theirs) {
  const [a, b] = [median(ours), median(theirs)]
  t.diagnostic(what + ': median ' + a.toFixed(0) + ' ms, JavaScript ' + b.toFixed(0) + ' ms')
  assert.ok(a <= b * SLACK + SLACK_MS, what + ': median ' + a.toFixed(0) + ' ms, of JavaScript ' + b.toFixed(0) + ' ms')
}

describe('kill', { concurrency: 1 }, () => {
  // JavaScript and ours in turn, so that what else the machine does is the same for both.
  test('kill: at once, then meeting again x' + ROUNDS, { skip: !wanted('kill: at once') }, async (t) => {
    const again = new Map(CASES.map((one) => [one, []]))
    const dht = await startDht('pinned')
    try {
      for (let n = 0; n < ROUNDS; n++) {
        for (const one of CASES) again.get(one).push((await round(dht, one, n, false)).again)
      }
    } finally {
      await dht.kill()
    }
    for (const order of ORDERS) {
      const theirs = CASES.filter((one) => isJs(one) && one.order === order).flatMap((one) => again.get(one))
      for (const one of CASES.filter((one) => !isJs(one) && one.order === order)) noSlower(t, one.name, again.get(one), theirs)
    }
  })

  // Noticing takes many seconds of waiting and no work: all pairs wait at the same time.
  test('kill: noticed, then meeting again', { skip: !wanted('kill: noticed') }, async (t) => {
    const results = await Promise.all(CASES.map(async (one) => {
      const dht = await startDht('pinned')
      try {
        return { ...one, ...(await round(dht, one, 0, true)) }
      } finally {
        await dht.kill()
      }
    }))
    for (const { name, notice, again } of results) t.diagnostic(name + ': noticed after ' + notice.toFixed(0) + ' ms, met again in ' + again.toFixed(0) + ' ms')
    const of = (filter, key) => results.filter(filter).map((r) => r[key])
    noSlower(t, 'a Rust peer notices a dead peer', of((r) => r.survivor === 'rust', 'notice'), of(isJs, 'notice'))
    noSlower(t, 'meeting again after that', of((r) => !isJs(r), 'again'), of(isJs, 'again'))
  })
})
