'use strict'

const drained = (stream) => new Promise((resolve) => stream.once('drain', resolve))

module.exports = ({ node, now, bytes, opened }) => ({
  /** Send `total` bytes in messages of `chunk` bytes; until the server has said that it has them. */
  async stream ({ bootstrap, key, total, chunk }) {
    const connection = (await node(bootstrap)).connect(bytes(key))
    await opened(connection)
    connection.on('error', () => {})
    const done = new Promise((resolve) => connection.once('data', resolve))
    const first = Buffer.alloc(chunk, 1)
    first.writeBigUInt64LE(BigInt(total))
    const data = Buffer.alloc(chunk, 1)
    const from = now()
    for (let sent = 0; sent < total; sent += chunk) {
      if (!connection.write(sent ? data : first)) await drained(connection)
    }
    await done
    const ms = now() - from
    connection.destroy()
    return { ms }
  }
})
