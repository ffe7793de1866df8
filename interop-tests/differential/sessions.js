'use strict'
// Random sessions for a peer's SC-Bridge: requests, terminal lines, expenses and policy situations, from a seed. The same are
// put to the original and to the Rust peer.

const { SITUATIONS, SELF } = require('./situations')

const OTHER = 'aa'.repeat(32)

function random (seed) {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const r = { next, int: (n) => Math.floor(next() * n), chance: (p) => next() < p, pick: (list) => list[Math.floor(next() * list.length)] }
  r.some = (list, least, most) => Array.from({ length: least + r.int(most - least + 1) }, () => r.pick(list))
  return r
}

const NAMES = [
  'alice', 'Alice', 'ALICE ', 'bob', 'carol', 'dave', '_x', '-y', 'zoë', 'Zoe', 'zoe\u0308', 'älice', 'Ångström', 'İstanbul', 'istanbul',
  'ΣΊΣΥΦΟΣ', 'σίσυφος', 'straße', 'STRASSE', 'ß', 'жанна', 'Жанна', 'ёж', 'еж', 'їжак', '日本', '東京', 'にほん', 'ニホン', '한국', '中文', 'אבא', 'עברית',
  'مرحبا', 'हिन्दी', 'ไทย', 'ქართული', 'Հայ', '😀', '👩‍👩‍👧', 'é', 'e\u0301', 'É', 'co-op', 'coop', 'co op', '10', '9', '2', '1a', 'ａ', 'ﬁ', 'fi', 'x y', "o'neil", 'a;b',
  'ñandú', 'nandu', 'ch', 'cz', 'č', 'ł', 'l', 'ø', 'o', 'þ', 'ı', 'i', '\u200dz', '\u00adsoft', '\ufeffbom', 'ǆ', 'ǅ', 'Ⅷ', '½'
]
const AMOUNTS = [
  '1', '12.34', '1,234.56', '1,2.5e1 ', '0x10', '0X1f', '0b101', '0o17', '1e3', '1E2', '.5', '5.', '+7', '-7', ' 7 ', '\t8\n', '1.005', '0.004', '0.005', '2.675',
  '1_000', '1 000', '12abc', 'abc', '', ' ', ',', ',,5', '5,', 'NaN', 'Infinity', '-Infinity', 'inf', '1e400', '1e-5', '0', '0.0', '00012', '0x', '0xg', '-0x10',
  '１２', '٣', '\u00a07', '\ufeff7', '\u20287', '\u00857', '\u200b7', '90071992547409.91', '90071992547409.92', '9007199254740993', '123456789012345678901234567890',
  '0.1e1', '1.e2', '1e', 'e1', '1e+2', '1e-1', '++1', '1.2.3', '$5', '5€', 'true', 'null', '0.125', '0.135', '1.115', '8.345', '10.075', '1.45e0', '4.35', '1e15', '45e12'
]
const VALUES = [1, 0, -1, 12.345, 1.005, 1e21, 5e-324, 0.07, 33.33, true, false, null, [], [5], ['1', '2'], {}, [[7]], '3', 1e13, 90071992547409.91, 4503599627370497.5]
const ROOMS = ['0000intercom', 'trip', ' trip ', 'Trip', 'дом', 'r2', 'x'.repeat(40)]
const JUNK = [undefined, null, '', ' ', 0, 7, true, false, [], ['trip'], {}, 'trip', [null], 1.5, -3]

function set (object, key, value) {
  if (value !== undefined) object[key] = value
  return object
}

function members (r) {
  const names = r.some(NAMES, 0, 5)
  switch (r.int(6)) {
    case 0: return names
    case 1: return [...names, r.pick(JUNK.filter((x) => x !== undefined))]
    case 2: return r.pick(JUNK)
    default: return names.join(r.pick([',', ', ', ' ,', ',,']))
  }
}

function room (r) {
  return r.chance(0.85) ? r.pick(ROOMS) : r.pick(JUNK)
}

function expenseAdd (r) {
  const message = { type: 'expense_add' }
  set(message, 'channel', room(r))
  set(message, 'payer', r.chance(0.85) ? r.pick(NAMES) : r.pick(JUNK))
  set(message, 'amount', r.chance(0.75) ? r.pick(AMOUNTS) : r.pick(VALUES))
  set(message, 'split', members(r))
  if (r.chance(0.4)) set(message, 'note', r.pick(['dinner', ' spaces ', 'ünï', '"quoted"', 'a\nb', ...JUNK]))
  return message
}

/** An amount that is fine more often than not, so that rooms fill. */
function goodAdd (r) {
  const names = r.some(NAMES, 1, 6)
  return { type: 'expense_add', channel: r.pick(ROOMS.slice(0, 4)), payer: r.pick(NAMES), amount: r.pick(['10', 7, '33.33', '0.01', '0.02', 100, '1,000.01', 19.99]), split: names }
}

function expenseOther (r) {
  const type = r.pick(['expense_list', 'expense_balance', 'expense_balance', 'expense_balance', 'expense_export', 'expense_export', 'expense_restore', 'expense_persist', 'expense_clear'])
  if (type === 'expense_clear' && r.chance(0.5)) return expenseAdd(r)
  const message = set({ type }, 'channel', room(r))
  if (type === 'expense_export') set(message, 'format', r.pick(['text', 'json', 'csv', ' JSON ', 'xml', '', undefined, null, 7, ['csv']]))
  if (type === 'expense_restore') {
    set(message, 'confirmed', r.pick([undefined, true, false, 0, '1', 'yes', 'x', null, '']))
    set(message, 'replace', r.pick([undefined, true, false, 1, 'on', ' YES ', [], null]))
  }
  if (type === 'expense_persist') set(message, 'sim', r.pick([undefined, true, 1]))
  return message
}

const quoted = (r, text) => r.chance(0.5) ? '"' + text.replace(/["\\]/g, '\\$&') + '"' : r.chance(0.5) ? "'" + text.replace(/'/g, '') + "'" : text

function expenseLine (r) {
  const command = r.pick(['add', 'add', 'add', 'list', 'balance', 'clear', 'restore', 'export', 'export', 'persist', 'addx', 'nothing'])
  const parts = ['/expense_' + command]
  const option = (names, value) => parts.push('--' + r.pick(names), quoted(r, String(value)))
  if (r.chance(0.8)) option(['channel', 'ch', 'room'], r.pick(ROOMS))
  if (command.startsWith('add')) {
    if (r.chance(0.92)) option(['payer', 'p'], r.pick(NAMES))
    if (r.chance(0.92)) option(['amount', 'a'], r.pick(AMOUNTS))
    if (r.chance(0.92)) option(['split', 'members', 'with'], r.some(NAMES, 0, 4).join(','))
    if (r.chance(0.3)) option(['note', 'memo'], r.pick(['lunch', 'two words', 'ü']))
  }
  if (command === 'export' && r.chance(0.8)) option(['format'], r.pick(['text', 'json', 'csv', 'JSON', 'pdf']))
  if (command === 'restore') {
    if (r.chance(0.5)) option(['confirmed'], r.pick(['0', '1', 'true', 'x']))
    if (r.chance(0.3)) parts.push('--unconfirmed')
    if (r.chance(0.5)) option(['replace'], r.pick(['0', '1', 'on']))
  }
  if (r.chance(0.05)) parts.push(r.pick(['"open', "'open", '\\', '--x']))
  return parts.join(r.chance(0.9) ? ' ' : '  ')
}

function otherLine (r) {
  const channel = () => quoted(r, r.pick(['0000intercom', 'trip', 'r2', 'r 3']))
  return r.pick([
    () => '/print --text ' + quoted(r, r.pick(['hi', 'two words', 'ü', ''])),
    () => '/print' + r.pick(['', ' --text', ' --x 1', ' --text a --text b']),
    () => '/sc_stats',
    () => '/sc_join' + r.pick(['', ' --channel ', ' --ch ', ' --name ']) + (r.chance(0.8) ? channel() : ''),
    () => '/sc_join --channel ' + channel() + ' --invite ' + r.pick(['%', '"{"', 'eyJhIjoxfQ==', '@/no/such/file']),
    () => '/sc_send --channel ' + channel() + r.pick([' --message hi', ' --msg "two words"', '', ' --message']),
    () => '/sc_open' + r.pick([' --channel ' + channel(), '', ' --channel ' + channel() + ' --via trip', ' --channel a --welcome %']),
    () => '/sc_invite' + r.pick(['', ' --channel a', ' --pubkey b', ' --channel a --pubkey b --ttl 0', ' --channel a --pubkey b --ttl x']),
    () => '/sc_welcome' + r.pick(['', ' --channel a', ' --text b']),
    () => r.pick(['/nonsense', 'hello', '/sc_', '/expense', 'expense_add', '/ sc_stats', '/SC_STATS'])
  ])()
}

const CREDENTIALS = [undefined, undefined, undefined, null, '', 'x', '{', '{}', '{"payload":{}}', 'eyJhIjoxfQ==', {}, [], 7, true, { payload: { channel: 'trip' }, sig: 'ab' }]

function plain (r) {
  const type = r.pick(['ping', 'set_filter', 'clear_filter', 'subscribe', 'unsubscribe', 'send', 'send', 'send', 'join', 'leave', 'open', 'stats', 'auth', 'hello', 'constructor', undefined, null, 7, '', 'Ping'])
  const message = set({}, 'type', type)
  if (['send', 'join', 'leave', 'open'].includes(type)) {
    set(message, 'channel', r.chance(0.7) ? r.pick(['trip', 'r2', '0000intercom', ' trip ', 'Trip']) : r.pick(JUNK))
    set(message, 'invite', r.pick(CREDENTIALS))
    set(message, 'welcome', r.pick(CREDENTIALS))
    if (type === 'open') set(message, 'via', r.pick([undefined, '0000intercom', 'trip', '', null, 7]))
    if (type === 'send') set(message, 'message', r.pick(['hi', '', 0, null, undefined, { a: 1 }, [1], { control: 'auth' }, { control: 'welcome' }, 'ü', { b: 1, 1: 2 }]))
  }
  if (type === 'set_filter') set(message, 'filter', r.pick(['', 'a+b|c', ' x ', 7, true, null, ['a', 'b'], {}, undefined]))
  if (/subscribe/.test(type)) r.chance(0.5) ? set(message, 'channels', r.pick([['a', 'b'], [], ['a', 7, null, 'x'], 'a', null])) : set(message, 'channel', r.pick(JUNK))
  if (type === 'auth') set(message, 'token', r.pick(['wrong', undefined, 7, null]))
  return message
}

/** One request as text: mostly an object with a number as id. */
function request (r, id, kinds) {
  const message = r.pick(kinds)(r)
  if (typeof message === 'string') return JSON.stringify({ id, type: 'cli', command: message })
  if (r.chance(0.02)) return r.pick(['', '{', 'null', '[]', '5', '"x"', '[1,2]', '{"type":"ping",}', '{"a":1}{"b":2}', '\ufeff{}'])
  const ids = r.chance(0.95) ? id : r.pick([1.5, '7', null, -3, 1e20, true])
  return JSON.stringify(set({ ...message }, 'id', ids))
}

const line = (make) => (r) => make(r)
const EXPENSES = [expenseAdd, goodAdd, goodAdd, expenseOther, line(expenseLine)]
const BRIDGE = [plain, plain, line(otherLine)]

/** What a policy makes of sends, joins and openings. */
const POLICY = [plain, line(otherLine), goodAdd]

const base = ['--sidechannel-pow', '0', '--sidechannel-welcome-required', '0']
const SESSIONS = [
  { name: 'expenses', seed: 1, count: 900, kinds: EXPENSES, flags: base },
  { name: 'bridge', seed: 2, count: 500, kinds: BRIDGE, flags: base },
  { name: 'owner', seed: 3, count: 150, kinds: POLICY, flags: ['--sidechannel-pow', '0', '--sidechannel-owner', `trip:${SELF},r2:${OTHER},Trip:${OTHER}`, '--sidechannel-owner-write-only', '1'] },
  { name: 'owner of some', seed: 4, count: 100, kinds: POLICY, flags: [...base, '--sidechannel-owner', `trip:${OTHER}`, '--sidechannel-owner-write-channels', 'trip,r2'] },
  { name: 'invite', seed: 5, count: 150, kinds: POLICY, flags: [...base, '--sidechannel-invite-required', '1', '--sidechannel-inviter-keys', OTHER] },
  { name: 'inviter', seed: 6, count: 100, kinds: POLICY, flags: [...base, '--sidechannel-invite-required', '1', '--sidechannel-inviter-keys', SELF] },
  { name: 'prefix', seed: 7, count: 100, kinds: POLICY, flags: [...base, '--sidechannel-invite-prefixes', 'tr', '--sidechannel-inviter-keys', OTHER, '--sidechannels', 'r2', '--sidechannel-max-bytes', '700'] },
  ...SITUATIONS
]

/** The requests of a session, as the text of each frame. */
function requests (session) {
  if (session.fixed) return session.fixed.map((request, i) => JSON.stringify({ id: i + 1, ...request }))
  const r = random(session.seed)
  return Array.from({ length: session.count }, (_, i) => request(r, i + 1, session.kinds))
}

/**
 * What every peer is told beside the flags of its session, and what of that its replies may repeat. The recorded sessions have
 * `COMMON`; a live peer has places of its own, which `normal` calls by these names.
 */
const NOBODY = 'ee'.repeat(32)
const COMMON = [
  '--peer-stores-directory', 'STORES/', '--peer-store-name', 'PEER', '--msb-stores-directory', 'STORES/', '--msb-store-name', 'PEER-msb',
  '--subnet-channel', 'interop-subnet', '--subnet-bootstrap', NOBODY, '--peer-dht-bootstrap', '127.0.0.1:1', '--msb-dht-bootstrap', '127.0.0.1:1'
]

/** A reply without what differs from run to run: times, ids, signatures, places. */
function normal (text, { stores = 'STORES', store = 'PEER' } = {}) {
  return text
    .replaceAll(stores + '/' + store, 'STORES/PEER')
    .replace(/(DhtBootstrap":\["127\.0\.0\.1:)\d+"\]/g, '$1PORT"]')
    // The subnet, whose writers have keys, is not here.
    .replace(/"peerWriterKey":(null|"[0-9a-f]{64}")/, '"peerWriterKey":"WRITER"')
    .replace(/hypermall\.writerKey: (null|[0-9a-f]{64})/, 'hypermall.writerKey: WRITER')
    .replace(/"((?:export|invite|welcome)_b64): ([A-Za-z0-9+/=]*)"/g, (_, name, b64) => JSON.stringify(name + ': ' + Buffer.from(b64, 'base64').toString()))
    .replace(/," ","- Beyond the JavaScript peer:"(,"- [^"\\]*(?:\\.[^"\\]*)*")*/, '')
    .replace(/[0-9a-f]{12}:\d{13}:[0-9a-z]{1,8}/g, 'ID')
    .replace(/("(?:ts|issuedAt|expiresAt)\\*":)\d{13}/g, '$1"TS"')
    .replace(/("sig\\*":\\*")[0-9a-f]{128}/g, '$1SIG')
    .replace(/("nonce\\*":\\*")[0-9a-z]{1,8}/g, '$1NONCE')
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, 'TIME')
}

module.exports = { SESSIONS, COMMON, NOBODY, requests, normal, SELF }
