'use strict'
// Sessions that were thought out: what a peer says of itself, the planes that are not here, invites and welcomes that hold and such
// that do not. Each is put to the original and to the Rust peer as the random ones are.

const { identity, invite, welcome, base64 } = require('./credentials')

/** The identity of all peers here: vectors/app/keypair.sample.json. */
const SELF = 'c9c29cefe54eedc4bb0306d72b7c0997657e846e8be4cd4c8f926f35e7f7f6f5'

const [inviter, owner, stranger] = [2, 3, 4].map(identity)

const cli = (command) => ({ type: 'cli', command })
const quoted = (value) => "'" + JSON.stringify(value) + "'"

const PLANES = [
  '/get', '/get --key admin', '/get --key=admin --unconfirmed 1', '/get --key currentTime --confirmed true', '/get --key x --confirmed false',
  '/get --key "expense/room/trip"', '/msb', '/tx', '/tx --command read_timer', '/tx --command something --sim 1',
  '/tx --command {"op":"read_key","key":"a"}', '/help', '/sc_stats', '/sc_join --channel plain', '/sc_stats', '/post', '/post --message hi',
  '/set_nick --nick me', '/set_nick --nick me --user you', '/add_admin --address x', '/update_admin --address x', '/add_writer --key x',
  '/add_indexer --key x', '/remove_writer --key x', '/remove_indexer --key x', '/set_auto_add_writers --enabled 1', '/set_chat_status --enabled 1',
  '/enable_transactions', '/enable_transactions --enabled 1', '/enable_whitelist --enabled 1', '/set_whitelist_status --user a --status 1',
  '/set_mod --user a --mod 1', '/mute_status --user a --muted 1', '/pin_message --id 1 --pin 1', '/unpin_message --pin_id 1',
  '/delete_message --id 1', '/deploy_subnet', '/print --text "the end"'
]

const planes = [
  { type: 'info' }, { type: 'stats' }, ...PLANES.map(cli), { type: 'stats' }, { type: 'leave', channel: 'plain' }, { type: 'stats' },
  { type: 'stats', id: 'x' }, { type: 'info', id: 1.5 }, { type: 'leave', channel: '0000intercom' }, { type: 'leave', channel: 'never' },
  { type: 'expense_persist', channel: 'trip', sim: true }, { type: 'expense_restore', channel: 'trip', confirmed: true },
  cli('/stats'), cli('/stats x'), cli(' /stats'), cli('/statistics')
]

/** Invites to `club`, none of which counts. */
const FALSE = [
  invite(inviter, 'club', stranger.key), invite(stranger, 'club', SELF), invite(inviter, 'other', SELF), invite(inviter, ' club', SELF),
  invite(inviter, 'club', SELF, { expiresAt: 1_700_000_000_001 }), invite(inviter, 'club', SELF, { expiresAt: 'soon' }),
  invite(inviter, 'club', SELF, { issuedAt: null, version: '2' }), invite(inviter, 'club', SELF, { inviterPubKey: '' }),
  { ...invite(inviter, 'club', SELF), sig: 'ab'.repeat(64) }, { payload: invite(inviter, 'club', SELF).payload },
  { ...invite(inviter, 'club', SELF), sig: invite(inviter, 'other', SELF).sig }, [invite(inviter, 'club', SELF)], {}
]

const good = (channel, change) => invite(inviter, channel, SELF, change)
const flat = (signed) => ({ ...signed.payload, signature: signed.sig.toUpperCase() })
const club = good('club')

const invites = [
  { type: 'join', channel: 'club' }, { type: 'send', channel: 'club', message: 'no invite' }, { type: 'open', channel: 'club' },
  ...FALSE.flatMap((one) => [{ type: 'join', channel: 'club', invite: one }, { type: 'send', channel: 'club', message: 'x', invite: one }]),
  { type: 'stats' },
  // Not as the bridge takes them: with a mark before, and cut off.
  { type: 'join', channel: 'club', invite: 'b64:' + base64(club) }, { type: 'join', channel: 'club', invite: base64(club).slice(0, -9) },
  { type: 'join', channel: ' club ', invite: club }, { type: 'stats' }, { type: 'send', channel: 'club', message: 'now' },
  { type: 'leave', channel: 'club' }, { type: 'join', channel: 'club' }, { type: 'send', channel: 'club', message: { still: 'invited' } },
  { type: 'join', channel: 'text', invite: base64(good('text')) }, { type: 'join', channel: 'json', invite: JSON.stringify(good('json')) },
  { type: 'send', channel: 'sent', message: 1, invite: base64(good('sent')) }, { type: 'join', channel: 'flat', invite: flat(good('flat')) },
  { type: 'join', channel: 'upper', invite: good('upper', { version: 2.5, nonce: '', inviterAddress: { a: [1] } }) },
  { type: 'join', channel: 'loose', invite: { ...good('loose'), extra: 1 } }, { type: 'stats' },
  cli('/sc_join --channel line'), cli(`/sc_join --channel line --invite ${base64(good('line'))}`), cli('/sc_stats'),
  cli(`/sc_join --channel marked --invite b64:${base64(good('marked'))}`), cli(`/sc_join --channel asjson --invite ${quoted(good('asjson'))}`),
  cli(`/sc_send --channel spoken --message hi --invite_b64 ${base64(good('spoken'))}`), cli('/sc_send --channel unspoken --message hi'),
  cli(`/sc_join --channel bad --invite ${base64(FALSE[0])}`), cli('/sc_stats'),
  // A welcome in an invite, and beside one, for a channel that needs both.
  { type: 'join', channel: 'hall', invite: { ...good('hall'), welcome: welcome(owner, 'hall') } },
  { type: 'join', channel: 'hall', invite: good('hall'), welcome: welcome(stranger, 'hall') },
  { type: 'send', channel: 'hall', message: 'x', invite: good('hall'), welcome: base64(welcome(owner, 'hall')) },
  { type: 'open', channel: 'hall', invite: good('hall'), welcome: welcome(owner, 'hall') }, { type: 'open', channel: 'hall', via: 'club', invite: good('hall') },
  { type: 'open', channel: 'hall', welcome: 'eyJ' }, { type: 'stats' },
  // Who is no inviter invites all the same; nobody will heed it.
  cli(`/sc_invite --channel club --pubkey ${stranger.key}`), cli(`/sc_invite --channel club --pubkey ${stranger.key.toUpperCase()} --ttl 60`),
  cli(`/sc_invite --ch hall --invitee ${stranger.key} --ttl_s 0`), cli(`/sc_invite --name hall --peer ${stranger.key} --welcome ${base64(welcome(owner, 'hall'))}`),
  cli('/sc_welcome --channel club --text "not the owner"')
]

/** The owner of `news` and `hall`, who welcomes by a line and by a welcome that was kept. */
const welcomes = [
  { type: 'send', channel: 'news', message: 'before the welcome' }, cli('/sc_welcome --channel news --text "Welcome, zoë 😀"'), { type: 'send', channel: 'news', message: 'after it' },
  cli('/sc_welcome --ch news --msg two'), cli("/sc_welcome --name ' news ' --message ''"), cli(`/sc_invite --channel news --pubkey ${stranger.key} --ttl 5`),
  { type: 'join', channel: 'theirs', welcome: welcome(owner, 'theirs') }, { type: 'join', channel: 'theirs', welcome: base64(welcome(stranger, 'theirs')) },
  { type: 'join', channel: 'theirs', welcome: JSON.stringify(welcome(owner, 'theirs')) }, { type: 'send', channel: 'theirs', message: 'x', welcome: welcome(owner, 'theirs') },
  { type: 'open', channel: 'theirs' }, { type: 'open', channel: 'theirs', welcome: welcome(owner, 'theirs') }, { type: 'open', channel: 'theirs', welcome: welcome(stranger, 'theirs') },
  { type: 'open', channel: 'nobodys' }, { type: 'open', channel: 'news' }, cli('/sc_open --channel theirs'), cli(`/sc_open --channel theirs --welcome ${base64(welcome(owner, 'theirs'))}`),
  cli(`/sc_join --channel theirs --welcome ${quoted(welcome(owner, 'theirs'))}`), cli('/sc_send --channel theirs --message "as I am"'), { type: 'stats' }
]

const base = ['--sidechannel-pow', '0', '--sidechannel-welcome-required', '0']
const SITUATIONS = [
  { name: 'planes and itself', seed: 100, flags: [...base, '--sidechannels', 'r2'], fixed: planes },
  { name: 'invites that hold', seed: 101, flags: ['--sidechannel-pow', '0', '--sidechannel-invite-required', '1', '--sidechannel-inviter-keys', inviter.key, '--sidechannel-owner', `hall:${owner.key}`, '--sidechannel-welcome-required', '1'], fixed: invites },
  { name: 'welcomes that hold', seed: 102, flags: ['--sidechannel-pow', '0', '--sidechannel-owner', `news:${SELF},theirs:${owner.key}`, '--sidechannel-owner-write-channels', 'news', '--sidechannel-welcome-required', '1', '--sidechannel-invite-ttl', '0'], fixed: welcomes }
]

module.exports = { SITUATIONS, SELF }
