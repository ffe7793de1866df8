'use strict'
// Who receives what under the rules of channels: an owner who welcomes and alone may write, a room by invitation, a room that demands
// work. Three peers go through the same with every kind in every place; what each is told and hears must be the same each time.

const { describe, test } = require('node:test')
const assert = require('node:assert/strict')
const fs = require('fs')
const path = require('path')
const { HAS_ORIGINAL, Peer, startDht, reporting, stores, ROOT } = require('../lib/kinds')
const { wanted } = require('../lib/settings')
const { SELF } = require('../differential/sessions')

const ENTRY = '0000intercom'
// announce: only the owner writes. priv-room: by invitation. work: with proof. closed: nobody welcomes.
const CHANNELS = ['announce', 'work', 'closed']
const OWNED = ['announce', 'work', 'priv-room']
const FLAGS = [
  '--sidechannel-welcome-required', '1', '--sidechannel-owner', OWNED.map((name) => name + ':' + SELF).join(','), '--sidechannels', CHANNELS.join(','),
  '--sidechannel-owner-write-channels', 'announce', '--sidechannel-invite-required', '1', '--sidechannel-invite-prefixes', 'priv-', '--sidechannel-inviter-keys', SELF,
  '--sc-bridge-cli', '1'
]
const WORKING = ['--sidechannel-pow-channels', 'work', '--sidechannel-pow-difficulty', '6']
const IDLE = ['--sidechannel-pow', '0']

// owner, guest, stranger
const CASTS = [['rust', 'rust', 'rust'], ...(HAS_ORIGINAL ? [['original', 'rust', 'rust'], ['rust', 'original', 'rust'], ['rust', 'rust', 'original'], ['original', 'original', 'rust']] : [])]

const SEND_DENIED = 'Send denied (invite required or invalid).'
const JOIN_DENIED = 'Join denied (invite required or invalid).'

/** What each is told: joins, sends on announce, priv-room, work (and closed), and on the entry. */
const EXPECTED_REPLIES = {
  owner: ['sent', 'sent', 'sent', 'sent', 'sent'],
  guest: ['joined', 'joined', 'joined', SEND_DENIED, 'sent', 'sent', 'sent', 'sent'],
  stranger: ['joined', JOIN_DENIED, SEND_DENIED, SEND_DENIED, 'sent', 'sent']
}

/** What each hears. The stranger has no welcome to announce, and its word without work is nobody's. */
const EXPECTED_HEARD = {
  owner: ['guest at work', 'guest in priv-room'],
  guest: ['news', 'owner at work', 'owner in priv-room'],
  stranger: ['guest at work', 'owner at work']
}

/** The reply to a request, by its type or its error. */
const told = (peer, request) => peer.bridge.call(request, 60_000).then((reply) => reply.type, (err) => err.message)

/** A line at a peer's terminal, and what follows `name: ` in what it prints. */
async function made (peer, name, command) {
  const { ok, output } = await peer.bridge.call({ type: 'cli', command })
  assert.ok(ok, command)
  const line = output.find((text) => text.startsWith(name + ': '))
  assert.ok(line, output.join('\n'))
  return line.slice(name.length + 2)
}

async function play ([owner, guest, stranger]) {
  const replies = { owner: [], guest: [], stranger: [] }
  const say = async (role, peer, request) => replies[role].push(await told(peer, request))
  const send = (role, peer, channel, message) => say(role, peer, { type: 'send', channel, message })
  const welcomes = {}
  for (const channel of OWNED) welcomes[channel] = await made(owner, 'welcome_b64', `/sc_welcome --channel ${channel} --text "Welcome to ${channel}"`)
  const invite = await made(owner, 'invite_b64', `/sc_invite --channel priv-room --pubkey ${guest.publicKey} --ttl 600`)
  await owner.bridge.call({ type: 'join', channel: 'priv-room' })

  for (const channel of ['announce', 'work']) await say('guest', guest, { type: 'join', channel, welcome: welcomes[channel] })
  await say('guest', guest, { type: 'join', channel: 'priv-room', invite })
  await say('stranger', stranger, { type: 'join', channel: 'work', welcome: welcomes.work })
  // Another's invite is none.
  await say('stranger', stranger, { type: 'join', channel: 'priv-room', invite })

  // The room opens on a connection when both are in it, and is heard once the invite was shown: until then nothing of it gets there.
  const meet = async (from, to, text) => {
    for (;;) {
      await from.bridge.call({ type: 'send', channel: 'priv-room', message: text })
      if (await to.bridge.message((m) => m.message === text, 500).then(() => true, () => false)) return
    }
  }
  await meet(guest, owner, 'hello from the guest')
  await meet(owner, guest, 'hello from the owner')

  await send('owner', owner, 'announce', 'news')
  await send('owner', owner, 'priv-room', 'owner in priv-room')
  await send('owner', owner, 'work', 'owner at work')
  await send('owner', owner, 'closed', 'nobody hears it')
  await send('guest', guest, 'announce', 'not the owner')
  await send('guest', guest, 'priv-room', 'guest in priv-room')
  await send('guest', guest, 'work', 'guest at work')
  await send('guest', guest, 'closed', 'nor this')
  await send('stranger', stranger, 'announce', 'not the owner either')
  await send('stranger', stranger, 'priv-room', 'not invited')
  await send('stranger', stranger, 'work', 'without work')
  // What comes after on the open channel comes after all else.
  const ends = [['owner', owner], ['guest', guest], ['stranger', stranger]]
  for (const [role, peer] of ends) await send(role, peer, ENTRY, 'end of ' + role)
  const heard = {}
  for (const [role, peer] of ends) {
    for (const [other] of ends) if (other !== role) await peer.bridge.message((m) => m.message === 'end of ' + other)
    // Where the channel opens only after the welcome was made, the owner's peer says it there, and the guest's hands it on, whatever
    // kind they are: `connected` does not wait for channels.
    const said = peer.bridge.messages.map((m) => m.message).filter((message) => message?.control !== 'welcome')
    heard[role] = [...new Set(said.filter((text) => !/^hello|^end/.test(text)))].sort()
  }
  return { replies, heard }
}

describe('policies', { concurrency: 1 }, () => {
  for (const cast of CASTS) {
    const name = 'policies: owner=' + cast[0] + ' guest=' + cast[1] + ' stranger=' + cast[2]
    if (!wanted(name)) continue
    test(name, async () => {
      const dht = await startDht('pinned')
      const store = 'policies-owner-' + cast.join('-')
      fs.mkdirSync(path.join(stores, store, 'db'), { recursive: true })
      fs.copyFileSync(path.join(ROOT, '..', 'vectors', 'app', 'keypair.sample.json'), path.join(stores, store, 'db', 'keypair.json'))
      const peers = []
      await reporting(() => [...peers, dht], async () => {
        for (const [n, kind] of cast.entries()) {
          const extra = [...FLAGS, ...(n === 2 ? IDLE : WORKING)]
          const role = ['owner', 'guest', 'stranger'][n]
          peers.push(await Peer.start({ kind, role, bootstrap: dht.bootstrap, own: true, store: n === 0 ? store : 'policies-' + role + '-' + kind, extra }))
          await peers[n].bridge.started()
        }
        assert.equal(peers[0].publicKey, SELF)
        await Promise.all(peers.map((peer) => peer.bridge.connected(2)))
        const { replies, heard } = await play(peers)
        assert.deepEqual({ replies, heard }, { replies: EXPECTED_REPLIES, heard: EXPECTED_HEARD })
      }).finally(async () => {
        // Nobody else is to get the owner's identity.
        await Promise.all(peers.map((peer) => peer.kill({ again: true })))
        await dht.stop()
      })
    })
  }
})
