'use strict'
const { createHash } = require('crypto')
const { zeroBits, stable } = require('../../../interop-tests/peer/payload')

module.exports = ({ now }) => ({
  /** Build `count` messages with proof of work as the application does: the whole text again for each nonce. */
  async pow ({ bytes, count, difficulty }) {
    const key = 'ab'.repeat(32)
    const all = []
    for (let n = 0; n < count; n++) {
      const message = createHash('sha256').update('message ' + n).digest('hex').repeat(Math.ceil(bytes / 64)).slice(0, bytes)
      const from = now()
      const payload = { id: key + ':1700000000000:' + n, channel: '0000intercom', from: key, origin: key, message, ts: 1700000000000 }
      for (let nonce = 0; ; nonce++) {
        if (zeroBits(createHash('sha256').update(stable({ ...payload, nonce })).digest()) >= difficulty) break
      }
      all.push(now() - from)
    }
    return { ms: all }
  }
})
