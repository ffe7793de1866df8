'use strict'
// The pool operations of a plain HyperDHT node.

const { once, EventEmitter } = require('events')

const bytes = (hex) => Buffer.from(hex, 'hex')
const noop = () => {}

module.exports = function pooling ({ DHT }, node) {
  const pair = (seed) => DHT.keyPair(bytes(seed))
  const events = new EventEmitter()
  let pool = null
  let opened = 0
  let server = null
  let held = []

  return {
    // A new pool, and nothing held.
    async pool () {
      for (const { connection } of held) connection.destroy()
      const mine = node().pool()
      pool = mine
      opened = 0
      held = []
      pool.on('connection', (connection) => {
        connection.on('error', noop)
        if (pool !== mine) return
        opened++
        events.emit('opened')
      })
    },

    // A server that gives its connections to the pool.
    async pool_listen ({ seed }) {
      server = node().createServer({ pool }, (connection) => connection.on('error', noop))
      await server.listen(pair(seed))
      return { key: server.publicKey.toString('hex') }
    },

    // Asks the pool for a peer twice. Whether both got the same connection.
    async pool_connect ({ seed, key }) {
      const ask = () => node().connect(bytes(key), { pool, keyPair: pair(seed) })
      const [one, other] = [ask(), ask()]
      one.on('error', noop)
      await one.opened
      return { same: one === other }
    },

    // Waits until the pool has told of so many connections. How many it told of, and how many are open.
    async pool_opened ({ count }) {
      while (opened < count) await once(events, 'opened')
      return { opened, connections: [...pool.connections].length }
    },

    // A connection that is in no pool.
    async hold ({ seed, key }) {
      const connection = node().connect(bytes(key), { keyPair: pair(seed) })
      const closed = new Promise((resolve) => connection.once('close', resolve))
      connection.on('error', noop).on('data', noop)
      if (!await connection.opened) throw new Error('not connected')
      return { held: held.push({ connection, closed }) - 1 }
    },

    // Waits for the end of one that is held.
    async ended ({ held: number }) {
      await held[number].closed
    },

    // Ends all of it.
    async pool_close () {
      for (const { _stream } of pool.connections) _stream.destroy()
      for (const { connection } of held) connection.destroy()
      if (server) await server.close()
      server = null
    }
  }
}
