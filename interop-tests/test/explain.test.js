'use strict'
// Why nothing is received, or nothing that is sent is heard: each reason comes about in reality, `explain` finds it, and the flags or
// commands that it names mend it, as they stand there.

const { describe, test, before, after } = require('node:test')
const assert = require('node:assert/strict')
const fs = require('fs')
const path = require('path')
const { Peer, startDht, reporting, stores } = require('../lib/kinds')
const { wanted } = require('../lib/settings')

const ROOM = 'room'
const TOGETHER = ['--sidechannels', ROOM, '--sc-bridge-cli', '1']
const OPEN = ['--sidechannel-welcome-required', '0']
const CLOSED = ['--sidechannel-welcome-required', '1']

let dht
const peers = []

/** A peer; `again` takes the place, and the identity, of one that is ended. */
async function start (role, flags, again = null) {
  if (again) {
    // Its store is not for others.
    again.released = true
    await again.stop()
  }
  const peer = await Peer.start({ kind: 'rust', role, bootstrap: dht.bootstrap, own: true, store: again?.store, extra: [...TOGETHER, ...flags] })
  peers.push(peer)
  await peer.bridge.started()
  return peer
}

async function meet (...all) {
  await Promise.all(all.map((peer) => peer.bridge.connected(all.length - 1)))
}

let next = 0
const explain = (peer) => peer.bridge.call({ type: 'explain', channel: ROOM })

/** Waits until there is a reason of this code, and gives what it names: `explain` is asked, for nothing tells when it changes. */
async function reason (peer, side, code) {
  const until = performance.now() + 20_000
  for (;;) {
    const explanation = await explain(peer)
    const found = explanation[side].find((one) => one.code === code)
    if (found) return found
    if (performance.now() > until) throw new Error('no ' + code + ' in ' + JSON.stringify(explanation))
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function clear (peer, sides = ['receiving', 'sending']) {
  const explanation = await explain(peer)
  for (const side of sides) assert.deepEqual(explanation[side], [], side)
}

/** A way to mend it that begins so, as words of a command line: what stands for something is filled in. */
function flags ({ mend }, begin, given = {}) {
  const found = mend.find((way) => way.startsWith(begin))
  assert.ok(found, begin + ' is not in ' + JSON.stringify(mend))
  const words = found.split(/[,;] | at the | sets /)[0].match(/"[^"]*"|\S+/g).map((word) => word.replace(/^"|"$/g, ''))
  return words.map((word) => Object.entries(given).reduce((word, [name, value]) => word.replace(name, value), word))
}

async function run (peer, command) {
  const { ok, output } = await peer.bridge.call({ type: 'cli', command })
  assert.ok(ok, output.join('\n'))
  return output
}

const named = (output, name) => output.find((line) => line.startsWith(name + ': ')).slice(name.length + 2)

/** What is said is heard, or is not and is counted as dropped for this reason. */
async function heard (from, to) {
  const text = 'heard ' + next++
  assert.equal((await from.bridge.send(ROOM, text)).type, 'sent')
  await to.bridge.message((m) => m.message === text)
}

async function dropped (from, to, why, message = 'dropped ' + next++) {
  assert.equal((await from.bridge.send(ROOM, message)).type, 'sent')
  const until = performance.now() + 20_000
  for (;;) {
    const { dropped } = await explain(to)
    if (dropped.some(({ reason, from: key }) => reason === why && key === from.publicKey)) break
    if (performance.now() > until) throw new Error('not dropped for ' + why + ': ' + JSON.stringify(dropped))
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  assert.ok(!to.bridge.messages.some((m) => m.message === message))
}

const CASES = {
  async 'no owner is configured' () {
    let victim = await start('victim', CLOSED)
    const other = await start('other', OPEN)
    await meet(victim, other)
    await dropped(other, victim, 'awaiting welcome')
    const found = await reason(victim, 'receiving', 'no-owner')
    victim = await start('victim', [...CLOSED, ...flags(found, '--sidechannel-welcome-required 0')], victim)
    await meet(victim, other)
    await heard(other, victim)
    await clear(victim)

    // The other way: an owner, and what the owner says.
    const file = path.join(stores, 'welcome.b64')
    fs.writeFileSync(file, named(await run(other, `/sc_welcome --channel ${ROOM} --text Welcome`), 'welcome_b64'))
    const owner = flags(found, '--sidechannel-owner', { "<owner's public key>": other.publicKey })
    const welcome = found.mend.find((way) => way.startsWith('--sidechannel-owner')).match(/(--sidechannel-welcome) "(.*?)"/)
    victim = await start('victim', [...CLOSED, ...owner, welcome[1], welcome[2].replace('FILE', file)], victim)
    await meet(victim, other)
    await heard(other, victim)
    await clear(victim)
  },

  async 'no welcome yet' () {
    let owner = await start('owner', [])
    const owned = ['--sidechannel-owner', `${ROOM}:${owner.publicKey}`]
    owner = await start('owner', [...CLOSED, ...owned], owner)
    let guest = await start('guest', [...CLOSED, ...owned])
    await meet(owner, guest)
    await dropped(owner, guest, 'awaiting welcome')
    const found = await reason(guest, 'receiving', 'no-welcome')
    const file = path.join(stores, 'owners.b64')
    // The owner is told what is missing, too.
    const make = flags(await reason(owner, 'sending', 'welcome-not-made'), '/sc_welcome', { '<message>': 'Welcome' })
    fs.writeFileSync(file, named(await run(owner, make.join(' ')), 'welcome_b64'))
    await clear(owner, ['sending'])
    guest = await start('guest', [...CLOSED, ...owned, ...flags(found, '--sidechannel-welcome ', { FILE: file })], guest)
    await meet(owner, guest)
    await heard(owner, guest)
    await clear(guest)

    // Or the owner's peer is waited for: it has made its welcome by now.
    const late = await start('late', [...CLOSED, ...owned])
    assert.ok(found.mend.some((way) => /let the owner's peer connect/.test(way)))
    await meet(owner, guest, late)
    await late.bridge.stats(() => true)
    while ((await explain(late)).receiving.length) await new Promise((resolve) => setTimeout(resolve, 20))
    await heard(owner, late)
  },

  async 'the invite is missing, then expired' () {
    const inviter = await start('inviter', OPEN)
    const rules = [...OPEN, '--sidechannel-invite-required', '1', '--sidechannel-inviter-keys', inviter.publicKey]
    let guest = await start('guest', rules)
    await meet(inviter, guest)
    for (const side of ['receiving', 'sending']) await reason(guest, side, 'invite-missing')
    await assert.rejects(guest.bridge.send(ROOM, 'x'), /Send denied/)
    const invited = async (code, ttl) => {
      const { mend } = await reason(guest, 'sending', code)
      const [, ask, take] = mend[0].match(/^ask an inviter for: (\/sc_invite .*); then (\/sc_join .*)$/)
      const invite = named(await run(inviter, ask + ' --ttl ' + ttl), 'invite_b64')
      assert.deepEqual(await run(guest, take.replace('<invite_b64>', invite)), ['Joined sidechannel: ' + ROOM])
    }
    await invited('invite-missing', 4)
    await invited('invite-expired', 600)
    await clear(guest, ['sending'])
    await heard(inviter, guest)
    await heard(guest, inviter)
    // The rule itself can go.
    const found = (await explain(await (guest = await start('guest', rules, guest)))).sending.find((one) => one.code === 'invite-missing')
    guest = await start('guest', [...rules, ...flags(found, '--sidechannel-invite-required 0')], guest)
    await meet(inviter, guest)
    await heard(inviter, guest)
    await clear(guest)
  },

  async 'the proof of work is too low' () {
    const strict = await start('strict', OPEN)
    let lazy = await start('lazy', [...OPEN, '--sidechannel-pow', '0'])
    await meet(strict, lazy)
    await dropped(lazy, strict, 'proof of work')
    const there = flags(await reason(strict, 'receiving', 'weak-proof'), '--sidechannel-pow 1')
    const found = await reason(lazy, 'sending', 'weak-proof')
    assert.deepEqual(flags(found, '--sidechannel-pow 1'), there, 'both sides name the same')
    lazy = await start('lazy', [...OPEN, ...there], lazy)
    await meet(strict, lazy)
    await heard(lazy, strict)
    await clear(lazy)

    // On another channel only: none here.
    lazy = await start('lazy', [...OPEN, '--sidechannel-pow-channels', 'other'], lazy)
    await meet(strict, lazy)
    await dropped(lazy, strict, 'proof of work')
    assert.match((await reason(lazy, 'sending', 'weak-proof')).mend[0], /^--sidechannel-pow-entry 0, and --sidechannel-pow-channels with/)
    lazy = await start('lazy', [...OPEN, '--sidechannel-pow-entry', '0', '--sidechannel-pow-channels', 'other,' + ROOM], lazy)
    await meet(strict, lazy)
    await heard(lazy, strict)
  },

  async 'a peer is blocked for flooding' () {
    const limits = [...OPEN, '--sidechannel-rate-burst', '4000', '--sidechannel-max-strikes', '1']
    let calm = await start('calm', limits)
    const loud = await start('loud', OPEN)
    await meet(calm, loud)
    await heard(loud, calm)
    await dropped(loud, calm, 'rate limit', 'x'.repeat(5_000))
    const found = await reason(calm, 'receiving', 'blocked')
    assert.match(found.why, new RegExp('^' + loud.publicKey + ' is blocked for flooding, for \\d+ s more$'))
    await dropped(loud, calm, 'blocked')
    calm = await start('calm', [...limits, ...flags(found, '--sidechannel-rate-bytes 0')], calm)
    await meet(calm, loud)
    const text = 'y'.repeat(5_000)
    await loud.bridge.send(ROOM, text)
    await calm.bridge.message((m) => m.message === text)
    await clear(calm)
  }
}

describe('explain', { concurrency: 1 }, () => {
  before(async () => { dht = await startDht('rust') })
  after(async () => { await dht.stop() })
  for (const [what, body] of Object.entries(CASES)) {
    const name = 'explain: ' + what
    test(name, { skip: !wanted(name) }, () => reporting(() => [...peers, dht], body).finally(async () => {
      // In order, so that nobody looks for them in the next test.
      await Promise.all(peers.splice(0).map((peer) => peer.process.exit ? null : peer.stop()))
    }))
  }
})
