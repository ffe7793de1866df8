'use strict'

// Bytes through a bare UDX stream, whose other end is said by the measurement: the stream ids are 1 here and 2 there.
module.exports = ({ stack, now }) => {
  let one = null
  const create = (id) => {
    const UDX = stack.require('udx-native')
    const socket = new UDX().createSocket()
    socket.bind(0, '127.0.0.1')
    const stream = socket.udx.createStream(id)
    stream.on('error', () => {})
    one = { socket, stream }
    return { port: socket.address().port }
  }

  return {
    /** A socket, and a stream with this id on it. */
    async udx_create ({ stream }) {
      return create(stream)
    },

    /** Connects the stream, and takes `total` bytes. */
    async udx_take ({ port, remote, total }) {
      let got = 0
      one.stream.connect(one.socket, remote, port, '127.0.0.1')
      one.done = new Promise((resolve) => one.stream.on('data', (data) => { if ((got += data.byteLength) >= total) resolve() }))
      return {}
    },

    /** Until all are here. */
    async udx_taken () {
      await one.done
      return {}
    },

    /** Connects the stream, and writes `total` bytes. */
    async udx_send ({ port, remote, total, chunk }) {
      one.stream.connect(one.socket, remote, port, '127.0.0.1')
      const data = Buffer.alloc(chunk)
      for (let sent = 0; sent < total; sent += chunk) {
        if (!one.stream.write(data)) await new Promise((resolve) => one.stream.once('drain', resolve))
      }
      return {}
    }
  }
}
