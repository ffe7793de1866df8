// Writes original.json: what the sidechannel of the original application makes of messages, and says about them.
//   node original.mjs <checkout of the application, with its packages installed> > original.json
import path from 'path'
import { pathToFileURL } from 'url'
import { createRequire } from 'module'

const root = path.resolve(process.argv[2])
const require = createRequire(path.join(root, 'features', 'sidechannel', 'index.js'))
const sodium = require('sodium-native')
const { default: Sidechannel } = await import(pathToFileURL(path.join(root, 'features', 'sidechannel', 'index.js')))

// The application runs on Bare, whose hex is whole; Node's ends where it is none.
const nodes = Buffer.from
Buffer.from = (value, encoding, ...rest) => {
  if (encoding === 'hex' && !/^([0-9a-f]{2})*$/i.test(value)) throw new Error('Invalid input')
  return nodes(value, encoding, ...rest)
}

let clock = 1_700_000_000_000
Date.now = () => clock
let state = 0x1234567
Math.random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return state / 2 ** 32
}

const print = console.log
let lines = []
console.log = (...args) => lines.push(args.map((arg) => (typeof arg === 'string' ? arg : JSON.stringify(arg))).join(' '))
console.error = () => {}

const sorted = (value) => {
  if (value === null || value === undefined) return 'null'
  if (typeof value !== 'object') return JSON.stringify(value)
  if (Array.isArray(value)) return '[' + value.map(sorted).join(',') + ']'
  return '{' + Object.keys(value).sort().map((key) => JSON.stringify(key) + ':' + sorted(value[key])).join(',') + '}'
}

class Wallet {
  constructor (number) {
    this.seed = Buffer.alloc(32, number)
    const publicKey = Buffer.alloc(32)
    this.secretKey = Buffer.alloc(64)
    sodium.crypto_sign_seed_keypair(publicKey, this.secretKey, this.seed)
    this.publicKey = publicKey.toString('hex')
  }

  sign (message) {
    const signature = Buffer.alloc(64)
    sodium.crypto_sign_detached(signature, message, this.secretKey)
    return signature
  }
}

const wallets = Array.from({ length: 5 }, (_, i) => new Wallet(i + 1))
const [self, alice, bob, owner, inviter] = wallets
const key = (wallet) => wallet.publicKey

const signed = (payload, wallet) => ({ payload, sig: wallet.sign(Buffer.from(sorted(payload))).toString('hex') })
const invite = (channel, invitee, from, extra = {}) =>
  signed({ channel, inviteePubKey: key(invitee), inviterPubKey: key(from), inviterAddress: 'trac1x', issuedAt: clock, expiresAt: clock + 60_000, nonce: 'abcdefgh', version: 1, ...extra }, from)
const welcome = (channel, from, extra = {}) => signed({ channel, ownerPubKey: key(from), text: 'Willkommen ü 😀', issuedAt: clock, version: 1, ...extra }, from)

const sidechannel = (wallet, config, connections = []) => {
  const swarm = { connections, on () {}, join () {}, leave () {}, async flush () {} }
  return new Sidechannel({ wallet, swarm }, { entryChannel: '0000intercom', channels: ['0000intercom'], powEnabled: true, powDifficulty: 8, welcomeRequired: true, debug: true, ...config })
}

// The messages of other peers, and of this one as the others see them.
const author = (wallet, config = {}) => {
  const instance = sidechannel(wallet, { ...config, debug: false })
  return (channel, message, inviteGiven = null) => {
    return JSON.parse(JSON.stringify(instance._buildPayload(channel, message, inviteGiven)))
  }
}

const built = []
for (const [difficulty, channel, message, withInvite] of [
  [12, '0000intercom', 'hi', false],
  [0, '0000intercom', 'no proof', false],
  [8, 'room', { b: 1, a: [1.5, 1e21, -0, null, true], 10: 'ten', 9: 'nine', 'ü': { z: 1, y: 2 } }, false],
  [8, 'ü 😀 "quoted"', 'line\nü\u2028\ud800 😀 \u0001', true],
  [8, 'room', null, true],
  [8, 'room', 12.5, false],
  [8, 'room', [], false],
  [8, 'room', {}, false],
  [8, 'room', false, false],
  [10, 'room', 'x'.repeat(3000), false],
  [8, 'room', JSON.parse('{"__proto__":{"a":1},"\\uff5e":1,"\\ud83d\\ude00":2,"e":1e-7,"big":123456789012345680000}'), false]
]) {
  const given = withInvite ? invite(channel, self, inviter) : null
  const payload = sidechannel(self, { powDifficulty: difficulty, debug: false })._buildPayload(channel, message, given)
  built.push({ difficulty, channel, message: JSON.stringify(message), invite: given, id: payload.id, ts: payload.ts, text: JSON.stringify(payload) })
}

// A peer with two connections: messages come from the first, copies go to the second.
class Scenario {
  constructor (name, config, remote = alice) {
    lines = []
    this.result = { name, config, remote: key(remote), steps: [] }
    this.sent = []
    this.delivered = []
    this.handlers = {}
    const connect = (wallet, first) => ({
      remotePublicKey: Buffer.from(key(wallet), 'hex'),
      on () {},
      userData: {
        pair () {},
        createChannel: ({ protocol }) => ({
          opened: true,
          open () {},
          close () {},
          fullyOpened: async () => true,
          addMessage: ({ onmessage }) => {
            if (first) this.handlers[protocol.slice('sidechannel/'.length)] = onmessage
            return { send: (payload) => this.sent.push({ first, text: JSON.stringify(payload) }) }
          }
        })
      }
    })
    this.start = clock
    const connections = [connect(remote, true), connect(bob, false)]
    this.instance = sidechannel(self, { ...config, onMessage: (channel, payload) => this.delivered.push(JSON.stringify(payload)) }, connections)
    this.started = lines
    this.connections = connections
    this.open()
  }

  open () {
    for (const connection of this.connections) for (const entry of this.instance.channels.values()) this.instance._openChannelForConnection(connection, entry)
  }

  async settle () {
    for (let n = 0; n < 20; n++) await null
  }

  async message (channel, payload, after = 10) {
    await this.settle()
    clock += after
    ;[lines, this.sent, this.delivered] = [[], [], []]
    const text = typeof payload === 'string' ? payload : JSON.stringify(payload)
    this.handlers[channel](JSON.parse(text))
    await this.settle()
    const relayed = this.sent.filter(({ first }) => !first).map(({ text }) => text)
    this.result.steps.push({ at: clock - this.start, channel, text, lines, delivered: this.delivered.length > 0, relayed: relayed[0] ?? null })
    return this
  }
}

const scenarios = []
const scenario = async (name, config, steps, remote) => {
  const current = new Scenario(name, config, remote)
  await steps(current)
  scenarios.push({ ...current.result, start: current.start })
  clock += 1000
}

const by = author(alice)
const change = (payload, changes) => ({ ...payload, ...changes })

await scenario('messages on the entry channel', {}, async (s) => {
  const hello = by('0000intercom', 'hello')
  await s.message('0000intercom', hello)
  await s.message('0000intercom', hello)
  await s.message('0000intercom', by('0000intercom', { text: 'ü', 2: 1, 1: 2 }))
  await s.message('0000intercom', change(by('0000intercom', 'changed'), { message: 'other' }))
  await s.message('0000intercom', change(by('0000intercom', 'x'), { pow: undefined }))
  await s.message('0000intercom', change(by('0000intercom', 'x'), { pow: { nonce: '1' } }))
  await s.message('0000intercom', change(by('0000intercom', 'x'), { pow: { nonce: 0.5, difficulty: 8 } }))
  await s.message('0000intercom', change(by('0000intercom', 'no more steps'), { ttl: 0 }))
  await s.message('0000intercom', change(by('0000intercom', 'one step'), { ttl: 1, relayedBy: 'someone' }))
  await s.message('0000intercom', change(by('0000intercom', 'no ttl'), { ttl: 'x' }))
  await s.message('0000intercom', change(by('0000intercom', 'another channel inside'), { sig: undefined }))
  await s.message('0000intercom', by('0000intercom', { control: 'auth' }))
  await s.message('0000intercom', by('0000intercom', { control: 'other', channel: 'x' }))
  await s.message('0000intercom', by('0000intercom', null))
  for (const text of ['null', '1', '"text"', '[]', '{}', 'true']) await s.message('0000intercom', text)
})

await scenario('without proof of work anything is a message', { powEnabled: false }, async (s) => {
  for (const text of ['null', '1', '"text"', '[1,2]', '{}', '{"id":5}', '{"id":5,"x":1}', '{"id":"5"}', '{"id":true}', '{"id":true}', '{"from":1,"ts":2}', '{"from":1,"ts":2,"y":1}', '{"from":"1","ts":"2"}',
    '{"from":[1,[2]],"ts":{}}', '{"id":"1:2:0000intercom"}', '{"message":{"control":"auth"},"id":"a"}', '{"message":{"control":["auth"]},"id":"b","ttl":1}', '{"ttl":2.5,"id":"c","message":1e999,"n":-0,"big":123456789012345680000}',
    '{"id":"d","ttl":3,"message":"\\ud800 \\u2028","__proto__":1,"1":2,"0":3}', '{"id":"e","ttl":-1}', '{"id":"e","ttl":1}', '{"message":{"control":"open_channel","channel":"  "},"id":"f","ttl":2}',
    '{"message":{"control":"open_channel","channel":5},"id":"g","ttl":2}', '{"message":{"control":"open_channel","channel":"room"},"id":"h","ttl":2}', '{"message":{"control":"welcome"},"id":"i","ttl":2}',
    '{"message":{"control":"welcome","welcome":{"a":1}},"id":"j","ttl":2}', '{"welcome":{"a":1},"id":"k","ttl":2}', '{"welcome":"text","id":"l"}']) await s.message('0000intercom', text)
})

await scenario('proof of work on the entry channel only', { powRequireEntry: true, channels: ['0000intercom', 'room'], welcomeRequired: false }, async (s) => {
  await s.message('room', change(by('room', 'a'), { pow: undefined }))
  await s.message('0000intercom', change(by('0000intercom', 'b'), { pow: undefined }))
})

await scenario('proof of work on some channels', { powRequiredChannels: ['room'], channels: ['0000intercom', 'room'], welcomeRequired: false }, async (s) => {
  await s.message('room', change(by('room', 'a'), { pow: undefined }))
  await s.message('room', by('room', 'a2'))
  await s.message('0000intercom', change(by('0000intercom', 'b'), { pow: undefined }))
})

await scenario('welcomes', { channels: ['0000intercom', 'room', 'other'], ownerKeys: { room: key(owner).toUpperCase() } }, async (s) => {
  await s.message('room', by('room', 'too early'))
  await s.message('room', by('room', { control: 'welcome' }))
  await s.message('room', by('room', { control: 'welcome', welcome: welcome('room', alice) }))
  await s.message('room', by('room', { control: 'welcome', welcome: welcome('another', owner) }))
  await s.message('room', by('room', { control: 'welcome', welcome: welcome('room', owner, { issuedAt: 'x' }) }))
  await s.message('room', by('room', { control: 'welcome', welcome: { ...welcome('room', owner), sig: '00' } }))
  await s.message('room', by('room', { text: 'with a bad welcome', welcome: welcome('room', alice) }))
  await s.message('room', by('room', { control: 'welcome', welcome: welcome('room', owner, { version: 'x', text: 5 }) }))
  await s.message('room', by('room', { control: 'welcome', welcome: welcome('room', owner) }))
  await s.message('room', by('room', 'now'))
  await s.message('room', by('room', { text: 'with a bad welcome', welcome: welcome('room', alice) }))
  await s.message('other', by('other', 'no owner'))
  await s.message('other', by('other', { control: 'welcome', welcome: welcome('other', owner) }))
})

await scenario('a welcome within an invite', { channels: ['0000intercom', 'room'], ownerKeys: { room: key(owner) } }, async (s) => {
  const given = { ...invite('room', alice, inviter), welcome: welcome(' room ', owner, { channel: 'room' }) }
  await s.message('room', by('room', 'hello', given))
  await s.message('room', by('room', 'again'))
})

await scenario('a welcome that is flat', { channels: ['0000intercom', 'room'], ownerKeys: { room: key(owner) } }, async (s) => {
  const { payload, sig } = welcome('room', owner)
  await s.message('room', by('room', { welcome: { ...payload, signature: sig.toUpperCase() } }))
  await s.message('room', by('room', 'again'))
})

await scenario('a welcome from the options', { channels: ['0000intercom', 'room', 'bad'], ownerKeys: { room: key(owner), bad: key(owner) }, welcomeByChannel: { room: welcome('room', owner), bad: welcome('bad', alice) } }, async (s) => {
  await s.message('room', by('room', 'hello'))
  await s.message('bad', by('bad', 'hello'))
})

await scenario('the own channel', { channels: ['0000intercom', 'room'], ownerKeys: { room: key(self) } }, async (s) => {
  await s.message('room', by('room', 'hello'))
})

await scenario('only the owner writes', { channels: ['0000intercom', 'room', 'free', 'lost'], welcomeRequired: false, ownerKeys: { room: key(owner) }, ownerWriteChannels: ['room', 'lost'] }, async (s) => {
  const byOwner = author(owner)
  const word = byOwner('room', 'the word')
  await s.message('room', by('room', 'me too'))
  await s.message('room', word)
  await s.message('room', change(byOwner('room', 'no signature'), { sig: undefined }))
  await s.message('room', change(byOwner('room', 'a list'), { sig: [] }))
  await s.message('room', change(byOwner('room', 'wrong signature'), { sig: word.sig }))
  await s.message('room', change(byOwner('room', 'other name'), { sig: undefined, signature: byOwner('room', 'x').sig }))
  const upper = byOwner('room', 'key in upper case')
  await s.message('room', change(upper, { pow: upper.pow, relayedBy: 'r', ttl: 2 }))
  await s.message('room', by('room', { control: 'auth' }))
  await s.message('room', by('room', { control: 'welcome', welcome: welcome('room', owner) }))
  await s.message('free', by('free', 'free'))
  await s.message('lost', by('lost', 'no owner'))
  await s.message('0000intercom', by('0000intercom', 'entry'))
})

await scenario('only owners write anywhere, keys in other forms', { powEnabled: false, channels: ['0000intercom', 'room'], welcomeRequired: false, ownerKeys: { room: key(owner) }, ownerWriteOnly: true }, async (s) => {
  const byOwner = author(owner, { powEnabled: false })
  const word = byOwner('room', { b: 1, a: -0 })
  const bytes = { type: 'Buffer', data: [...Buffer.from(key(owner), 'hex')] }
  await s.message('room', change(word, { from: ` ${word.from.toUpperCase()} `, origin: bytes }))
  await s.message('room', change(byOwner('room', 'bytes'), { from: bytes }))
  await s.message('room', change(byOwner('room', 'x'), { from: 5 }))
  await s.message('room', change(byOwner('room', 'x'), { from: [key(owner)] }))
  await s.message('room', change(byOwner('room', 'x'), { from: null }))
  await s.message('room', change(byOwner('room', 'x'), { ts: 1 }))
  await s.message('room', change(byOwner('room', 'x'), { extra: 1 }))
})

const restricted = { channels: ['0000intercom', 'room'], inviteRequired: true, welcomeRequired: false, inviterKeys: [key(self), key(inviter)] }
await scenario('invites', restricted, async (s) => {
  await s.message('room', by('room', 'no invite'))
  await s.message('room', by('room', 'not for me', invite('room', bob, inviter)))
  await s.message('room', by('room', 'not from an inviter', invite('room', alice, alice)))
  await s.message('room', by('room', 'another channel', invite('other', alice, inviter)))
  await s.message('room', by('room', 'ended', invite('room', alice, inviter, { expiresAt: clock })))
  await s.message('room', by('room', 'no end', invite('room', alice, inviter, { expiresAt: 'soon' })))
  await s.message('room', by('room', 'no start', invite('room', alice, inviter, { issuedAt: null, version: '2' })))
  await s.message('room', by('room', 'no signature', { payload: invite('room', alice, inviter).payload }))
  await s.message('room', change(by('room', 'no proof', invite('room', alice, inviter, { nonce: 1 })), { pow: null }))
  await s.message('room', by('room', 'but the invite counts'))
  await s.message('room', by('room', 'ended by now'), 60_001)
  await s.message('room', by('room', { control: 'auth', invite: invite('room', alice, inviter, { inviterAddress: null }) }))
  await s.message('room', by('room', 'in'))
  await s.message('0000intercom', by('0000intercom', 'entry'))
})

await scenario('invites in other forms', { ...restricted, powEnabled: false }, async (s) => {
  const plain = author(alice, { powEnabled: false })
  const { payload, sig } = invite('room', alice, inviter, { issuedAt: 5, version: 2.5, nonce: '', inviterAddress: { a: [1] } })
  await s.message('room', plain('room', 'more than a signature', { ...payload, sig: sig + 'zz' }))
  await s.message('room', plain('room', 'flat', { ...payload, sig: sig.toUpperCase(), extra: 1 }))
  await s.message('room', plain('room', 'in'))
})

await scenario('invites from strings', { ...restricted, powEnabled: false }, async (s) => {
  const plain = author(alice, { powEnabled: false })
  const good = invite('room', alice, inviter)
  const loose = { ...good.payload, issuedAt: String(good.payload.issuedAt), expiresAt: [good.payload.expiresAt], inviteePubKey: ' ' + key(alice).toUpperCase(), channel: ['room'] }
  await s.message('room', plain('room', 'loose', { payload: loose, signature: good.sig }))
  await s.message('room', plain('room', 'array', [good]))
  await s.message('room', plain('room', 'text', 'invite'))
})

await scenario('an inviter needs no invite', restricted, async (s) => {
  await s.message('room', author(inviter)('room', 'hello'))
  await s.message('room', author(bob)('room', 'by another'))
}, inviter)

await scenario('without an invite of its own', { channels: ['0000intercom'], inviteRequired: true, inviteRequiredPrefixes: ['priv'], inviteRequiredChannels: ['club'], welcomeRequired: false, inviterKeys: [key(inviter)] }, async (s) => {
  await s.message('0000intercom', by('0000intercom', { control: 'open_channel', channel: 'open' }))
  await s.message('0000intercom', by('0000intercom', { control: 'open_channel', channel: 'private' }))
  await s.message('0000intercom', by('0000intercom', { control: 'open_channel', channel: 'club', invite: invite('club', bob, inviter) }))
  await s.message('0000intercom', by('0000intercom', { control: 'open_channel', channel: ' club ', invite: invite('club', alice, inviter) }))
})

await scenario('opening channels', { ownerKeys: { room: key(owner) } }, async (s) => {
  await s.message('0000intercom', by('0000intercom', { control: 'open_channel', channel: 'room' }))
  await s.message('0000intercom', by('0000intercom', { control: 'open_channel', channel: 'room', welcome: welcome('room', alice) }))
  await s.message('0000intercom', by('0000intercom', { control: 'open_channel', channel: 'room', welcome: welcome('room', owner) }))
  await s.message('0000intercom', by('0000intercom', { control: 'open_channel', channel: 'room', invite: { welcome: welcome('room', owner) } }))
})

await scenario('opening is not heeded', { allowRemoteOpen: false, welcomeRequired: false }, async (s) => {
  await s.message('0000intercom', by('0000intercom', { control: 'open_channel', channel: 'room' }))
})

await scenario('too much', { powEnabled: false }, async (s) => {
  const plain = author(alice, { powEnabled: false })
  const long = (length) => plain('0000intercom', 'x'.repeat(length))
  await s.message('0000intercom', long(200_000))
  await s.message('0000intercom', long(100_000))
  await s.message('0000intercom', plain('0000intercom', 'short'))
  await s.message('0000intercom', long(60_000), 1_000)
  await s.message('0000intercom', long(300_000))
  await s.message('0000intercom', long(300_000))
  await s.message('0000intercom', plain('0000intercom', 'blocked'))
  await s.message('0000intercom', plain('0000intercom', 'still'), 29_000)
  await s.message('0000intercom', plain('0000intercom', 'free'), 1_000)
})

await scenario('ids are forgotten', { powEnabled: false, maxSeen: 3 }, async (s) => {
  for (const id of ['a', 'b', 'c', 'a', 'd', 'a', 'b']) await s.message('0000intercom', `{"id":"${id}"}`)
  await s.message('0000intercom', '{"id":"e"}', 119_000)
  await s.message('0000intercom', '{"id":"b"}', 2_000)
  await s.message('0000intercom', '{"id":"f"}')
  await s.message('0000intercom', '{"id":"b"}')
})

// Policies: what each combination of flags lets a peer join, send, hear and open. The messages are the same for all.
const start = clock
let dice = 0x2468ace
const pick = (...choices) => {
  dice = (Math.imul(dice, 1103515245) + 12345) >>> 0
  return choices[(dice >>> 16) % choices.length]
}
const given = invite('room', alice, inviter)
const messages = {
  stranger: by('room', 'by a stranger'),
  invited: by('room', 'by an invited peer', given),
  owner: author(owner)('room', 'by the owner'),
  welcome: by('room', { control: 'welcome', welcome: welcome('room', owner) }),
  auth: by('room', { control: 'auth', invite: given }),
  late: by('room', 'after all that'),
  plain: change(by('room', 'without work'), { pow: undefined }),
  open: by('0000intercom', { control: 'open_channel', channel: 'new' }),
  openWelcomed: by('0000intercom', { control: 'open_channel', channel: 'new', welcome: welcome('new', owner) }),
  openInvited: by('0000intercom', { control: 'open_channel', channel: 'new', welcome: welcome('new', owner), invite: invite('new', alice, inviter) })
}
const ownInvite = invite('room', self, inviter)
const policies = []
for (let n = 0; n < 240; n++) {
  const config = { channels: ['0000intercom'] }
  const set = (key, value) => { if (value !== undefined) config[key] = value }
  const roomOwner = pick(undefined, undefined, self, owner)
  set('ownerKeys', { ...(roomOwner && { room: key(roomOwner) }), ...(pick(true, false) && { new: key(owner) }) })
  const welcomedBy = pick(undefined, undefined, self, owner)
  set('welcomeByChannel', welcomedBy && { room: welcome('room', welcomedBy) })
  set('welcomeRequired', pick(undefined, false, false))
  set('inviteRequired', pick(undefined, true))
  set('inviteRequiredChannels', pick(undefined, undefined, ['room'], ['new'], []))
  set('inviteRequiredPrefixes', pick(undefined, undefined, ['ro'], ['ne'], ['']))
  set('inviterKeys', pick(undefined, [key(inviter)], [key(self), key(inviter)], [key(alice)]))
  set('ownerWriteOnly', pick(undefined, undefined, undefined, true))
  set('ownerWriteChannels', pick(undefined, undefined, ['room'], ['other']))
  set('autoJoinOnOpen', pick(undefined, true))
  set('allowRemoteOpen', pick(undefined, undefined, false))
  set('powEnabled', pick(undefined, undefined, false))
  set('powRequireEntry', pick(undefined, undefined, true))
  set('powRequiredChannels', pick(undefined, undefined, ['room'], ['other']))
  const withInvite = pick(true, false)
  const s = new Scenario('policy', { powEnabled: true, ...config })
  if (withInvite) s.instance.acceptInvite('room', ownInvite)
  const join = await s.instance.addChannel('room')
  s.sent = []
  s.open()
  await s.settle()
  const controls = (first) => s.sent.filter((sent) => sent.first === first).map(({ text }) => JSON.parse(text).message?.control).filter(Boolean)
  const greeted = [controls(true), controls(false)]
  s.sent = []
  const sent = s.instance.broadcast('room', 'x')
  await s.settle()
  const reached = [true, false].map((first) => s.sent.some((sent) => sent.first === first))
  const heard = []
  for (const [name, payload] of Object.entries(messages)) {
    const channel = name.startsWith('open') ? '0000intercom' : 'room'
    if (!s.handlers[channel]) continue
    s.delivered = []
    s.handlers[channel](JSON.parse(JSON.stringify(payload)))
    await s.settle()
    if (s.delivered.length > 0) heard.push(name)
  }
  policies.push({ config, withInvite, join, greeted, sent, reached, heard, channels: [...s.instance.channels.keys()] })
}

for (const { steps } of scenarios) {
  for (const step of steps) {
    // Long runs of one character, shortened.
    for (const name of ['text', 'relayed']) if (step[name]) step[name] = step[name].replace(/x{50000,}/g, (run) => `<x*${run.length}>`)
  }
}
const list = (entries) => '[\n' + entries.map((entry) => JSON.stringify(entry)).join(',\n') + '\n]'
print(`{"seeds":[1,2,3,4,5],"built":${list(built)},"scenarios":[\n${scenarios.map(({ steps, ...rest }) => JSON.stringify(rest).slice(0, -1) + ',"steps":' + list(steps) + '}').join(',\n')}\n],"policies":${JSON.stringify({ start, remote: key(alice), ownInvite, messages: Object.fromEntries(Object.entries(messages).map(([name, payload]) => [name, JSON.stringify(payload)])) }).slice(0, -1)},"cases":${list(policies)}}}`)
process.exit(0)
