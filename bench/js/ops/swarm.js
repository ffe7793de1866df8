'use strict'

module.exports = ({ stack: { Hyperswarm }, nodes, now, bytes }) => {
  const kept = []

  return {
    /** A swarm that listens and has joined a topic, both ways. */
    async swarm ({ bootstrap, topic }) {
      const swarm = new Hyperswarm({ bootstrap: nodes(bootstrap) })
      kept.push(swarm)
      swarm.on('connection', (connection) => connection.on('error', () => {}))
      await swarm.dht.fullyBootstrapped()
      await swarm.listen()
      if (topic) await swarm.join(bytes(topic)).flushed()
    },

    /** A fresh swarm each time: from join of the topic to the first connection. */
    async join ({ bootstrap, topic }) {
      const swarm = new Hyperswarm({ bootstrap: nodes(bootstrap) })
      await swarm.dht.fullyBootstrapped()
      const from = now()
      const connected = new Promise((resolve) => swarm.once('connection', (connection) => {
        connection.on('error', () => {})
        resolve()
      }))
      swarm.join(bytes(topic), { server: false, client: true })
      await connected
      const ms = now() - from
      await swarm.destroy()
      return { ms }
    }
  }
}
