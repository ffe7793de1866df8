'use strict'
// The reference peer itself, against numbers that the original application produced.

const test = require('node:test')
const assert = require('node:assert/strict')
const { topicOf, work, checkWork, sign, checkSignature } = require('../peer/payload')

const SEED = 'a052605a950d9f8afd44a94daeb724d0510412ef15af8a213793574f303a8a6a'
const KEY = 'c9c29cefe54eedc4bb0306d72b7c0997657e846e8be4cd4c8f926f35e7f7f6f5'
const payload = { id: KEY + ':1700000000000:abcdefgh', channel: '0000intercom', from: KEY, origin: KEY, message: 'hi', ts: 1700000000000 }

test('reference peer: topic of the entry channel', () => {
  assert.equal(topicOf('0000intercom').toString('hex'), 'eb3d41783493453196b0628523e8062fa5e0f617a725b3f3c77f1dad886702d4')
})

test('reference peer: proof of work', () => {
  assert.deepEqual(work(payload, 12), { nonce: 3474, difficulty: 12 })
  assert.ok(checkWork({ ...payload, pow: { nonce: 3474, difficulty: 12 } }, 12))
  assert.ok(!checkWork({ ...payload, pow: { nonce: 3473, difficulty: 12 } }, 12))
})

for (const name of ['pinned', 'latest']) {
  test('reference peer: signature, with ' + name, () => {
    const stack = require('../peer/stack')(name)
    const { publicKey, secretKey } = stack.DHT.keyPair(Buffer.from(SEED, 'hex'))
    assert.equal(publicKey.toString('hex'), KEY)
    const sig = sign(stack.sodium, payload, secretKey)
    assert.equal(sig, '60f22b6f5cff2a70335cfdb57f464629ff227c0e412c56b7008f91cb69726bdccb76354db8daafe48f56776858017acf30319e7692fb3bffd4d8482f8415c50f')
    assert.ok(checkSignature(stack.sodium, { ...payload, sig }))
    assert.ok(!checkSignature(stack.sodium, { ...payload, message: 'ho', sig }))
  })
}
