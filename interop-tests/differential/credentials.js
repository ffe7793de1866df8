'use strict'
// Invites and welcomes for the sessions, signed by keys that are known, and valid for a hundred years.

const { createPrivateKey, createPublicKey, sign } = require('crypto')
const { stable } = require('../peer/payload')

/** An Ed25519 secret key is this and its seed (RFC 8410). */
const PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')

/** The identity of a seed of 32 equal bytes. */
function identity (byte) {
  const secret = createPrivateKey({ key: Buffer.concat([PREFIX, Buffer.alloc(32, byte)]), format: 'der', type: 'pkcs8' })
  const key = createPublicKey(secret).export({ format: 'der', type: 'spki' }).subarray(-32).toString('hex')
  const signed = (payload) => ({ payload, sig: sign(null, Buffer.from(stable(payload)), secret).toString('hex') })
  return { key, signed }
}

const BEGAN = 1_700_000_000_000
const ENDS = BEGAN + 100 * 365 * 86_400_000

function invite (from, channel, invitee, change = {}) {
  const payload = { channel, inviteePubKey: invitee, inviterPubKey: from.key, inviterAddress: null, issuedAt: BEGAN, expiresAt: ENDS, nonce: 'abcdefgh', version: 1, ...change }
  return from.signed(payload)
}

function welcome (from, channel, text = 'Welcome, zoë 😀', change = {}) {
  return from.signed({ channel, ownerPubKey: from.key, text, issuedAt: BEGAN, version: 1, ...change })
}

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64')

module.exports = { identity, invite, welcome, base64 }
