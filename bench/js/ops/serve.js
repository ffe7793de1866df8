'use strict'
const channelOf = require('../lib/channel')

/** What is done with a connection, by mode. */
const modes = {
  /** Keeps connections, and reads what they say. */
  hold () {
    return (connection) => connection.resume()
  },

  /** Takes what `stream` sends, and says when it has all of it. */
  stream () {
    return (connection) => {
      let left = null
      connection.on('data', (data) => {
        if (left === null) left = Number(data.readBigUInt64LE(0))
        left -= data.byteLength
        if (left <= 0) connection.write(Buffer.from('done'))
      })
    }
  },

  /** Takes what `mux` sends, and says when it has all of it. */
  mux (stack, { kind }) {
    return (connection) => {
      let count = 0
      let expected = Infinity
      const enough = () => { if (count >= expected) channel.messages[1].send(count) }
      const { channel } = channelOf(stack, connection, kind, {
        onmessage () {
          count++
          enough()
        },
        oncount (n) {
          expected = n
          enough()
        }
      })
    }
  }
}

module.exports = ({ stack, node }) => ({
  /** A server with a key of its own. */
  async serve ({ bootstrap, mode, ...options }) {
    const take = modes[mode](stack, options)
    const server = (await node(bootstrap)).createServer((connection) => {
      connection.on('error', () => {})
      take(connection)
    })
    await server.listen(stack.DHT.keyPair())
    return { key: server.publicKey.toString('hex') }
  }
})
