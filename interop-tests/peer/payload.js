'use strict'
// A sidechannel message: its JSON, its proof of work, its signature.

const { createHash } = require('crypto')

/** JSON with sorted keys, in which what JSON leaves out (undefined) is null. */
function stable (value) {
  if (value === undefined || value === null) return 'null'
  if (Array.isArray(value)) return '[' + value.map(stable).join(',') + ']'
  if (typeof value !== 'object') return JSON.stringify(value)
  const fields = Object.keys(value).sort().map((key) => JSON.stringify(key) + ':' + stable(value[key]))
  return '{' + fields.join(',') + '}'
}

const topicOf = (name) => createHash('sha256').update('sidechannel:' + name.trim()).digest()

function zeroBits (digest) {
  let bits = 0
  for (const byte of digest) {
    if (byte === 0) {
      bits += 8
      continue
    }
    return bits + Math.clz32(byte) - 24
  }
  return bits
}

// The nonce is the fourth of the sorted keys channel, from, id, message, nonce, origin, ts: what stands before it is
// hashed once, and only the rest again for each nonce.
function workParts (payload) {
  const { id, channel, from, origin, message, ts } = payload
  const marker = '"nonce":'
  const head = stable({ id, channel, from, message })
  const tail = stable({ origin, ts })
  return { head: head.slice(0, -1) + ',' + marker, tail: ',' + tail.slice(1) }
}

function workDigest (parts, nonce) {
  return createHash('sha256').update(parts.head + stable(nonce) + parts.tail).digest()
}

/** Find the first nonce from 0 whose hash begins with `difficulty` zero bits. */
function work (payload, difficulty) {
  const parts = workParts(payload)
  const prefix = createHash('sha256').update(parts.head)
  for (let nonce = 0; ; nonce++) {
    const digest = prefix.copy().update(nonce + parts.tail).digest()
    if (zeroBits(digest) >= difficulty) return { nonce, difficulty }
  }
}

function checkWork (payload, difficulty) {
  if (!payload.pow || typeof payload.pow.nonce !== 'number') return false
  return zeroBits(workDigest(workParts(payload), payload.pow.nonce)) >= difficulty
}

function signedBytes (payload) {
  const { id, channel, from, origin, ts } = payload
  const message = payload.message === undefined ? null : JSON.parse(JSON.stringify(payload.message))
  return Buffer.from(stable({ kind: 'sidechannel_message_v1', id, channel, from, origin, ts, message }))
}

function sign (sodium, payload, secretKey) {
  const signature = Buffer.alloc(sodium.crypto_sign_BYTES)
  sodium.crypto_sign_detached(signature, signedBytes(payload), secretKey)
  return signature.toString('hex')
}

function checkSignature (sodium, payload) {
  const signature = Buffer.from(String(payload.sig || ''), 'hex')
  const key = Buffer.from(String(payload.from || ''), 'hex')
  if (signature.length !== sodium.crypto_sign_BYTES || key.length !== sodium.crypto_sign_PUBLICKEYBYTES) return false
  return sodium.crypto_sign_verify_detached(signature, signedBytes(payload), key)
}

module.exports = { stable, topicOf, zeroBits, work, checkWork, sign, checkSignature }
