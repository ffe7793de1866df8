'use strict'
const channelOf = require('../lib/channel')

/** 200 bytes as JSON, or as they are. */
const bodyOf = (kind, n) => kind === 'json' ? { id: 1_000_000 + n, type: 'message', payload: 'x'.repeat(157) } : Buffer.alloc(200, n)

module.exports = ({ stack, node, now, bytes, opened }) => ({
  /** Send `count` messages on a Protomux channel, `batch` of them under one cork. */
  async mux ({ bootstrap, key, count, batch, kind }) {
    const connection = (await node(bootstrap)).connect(bytes(key))
    await opened(connection)
    connection.on('error', () => {})
    let wake = null
    let finish = null
    const done = new Promise((resolve) => { finish = resolve })
    const { mux, channel } = channelOf(stack, connection, kind, {
      onmessage () {},
      oncount: finish,
      ondrain () {
        if (wake) wake()
        wake = null
      }
    })
    await channel.fullyOpened()
    const message = channel.messages[0]
    const from = now()
    for (let n = 0; n < count;) {
      if (batch > 1) mux.cork()
      for (let k = 0; k < batch && n < count; k++) message.send(bodyOf(kind, n++))
      if (batch > 1) mux.uncork()
      if (!mux.drained) {
        await new Promise((resolve) => {
          wake = resolve
          if (mux.drained) resolve()
        })
      }
    }
    channel.messages[1].send(count)
    await done
    const ms = now() - from
    connection.destroy()
    return { ms }
  }
})
