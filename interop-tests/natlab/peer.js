'use strict'
// A JavaScript peer of the laboratory:
//   node peer.js <folder of node_modules> dht <n> | relay | server | client <key> | swarm-server | swarm-client <topic>
// Environment: BOOTSTRAP host:port, SEED of the server's key, RELAY the key of a relay.

const path = require('node:path')
const [modules, mode, argument] = process.argv.slice(2)
const DHT = require(path.join(modules, 'hyperdht'))

const { BOOTSTRAP, SEED, RELAY } = process.env
const relayThrough = RELAY ? Buffer.from(RELAY, 'hex') : null
const options = { bootstrap: [BOOTSTRAP] }

const modes = { dht, relay, server, client, 'swarm-server': swarmServer, 'swarm-client': swarmClient }
modes[mode]().catch((error) => {
  console.error(error)
  process.exit(1)
})

async function dht() {
  const [host, port] = BOOTSTRAP.split(':')
  const first = DHT.bootstrapper(Number(port), host, { host })
  await first.fullyBootstrapped()
  for (let node = 2; node <= Number(argument); node++) {
    const at = host.replace(/\d+$/, node)
    await new DHT({ ...options, host: at, port: Number(port), anyPort: false, ephemeral: false, firewalled: false }).fullyBootstrapped()
  }
  console.log('READY')
}

async function relay() {
  const { Server } = require(path.join(modules, 'blind-relay'))
  const dht = new DHT(options)
  const relay = new Server({ createStream: (opts) => dht.createRawStream({ ...opts, framed: true }) })
  const server = dht.createServer((connection) => {
    connection.on('error', () => {})
    relay.accept(connection, { id: connection.remotePublicKey }).on('error', () => {})
  })
  await dht.fullyBootstrapped()
  await server.listen()
  console.log('RELAY', server.publicKey.toString('hex'))
}

async function server() {
  const dht = new DHT(options)
  const server = dht.createServer({ relayThrough }, (connection) => {
    connection.on('error', () => {})
    connection.on('data', (data) => connection.write(data))
    connection.on('end', () => connection.end())
  })
  await dht.fullyBootstrapped()
  await server.listen(DHT.keyPair(Buffer.from(SEED, 'hex')))
  console.log('LISTENING', server.publicKey.toString('hex'))
}

async function client() {
  const dht = new DHT(options)
  await dht.fullyBootstrapped()
  const began = process.hrtime.bigint()
  const ms = () => (Number(process.hrtime.bigint() - began) / 1e6).toFixed(1)
  const connection = dht.connect(Buffer.from(argument, 'hex'), { relayThrough })
  let opened
  connection.on('error', (error) => {
    console.log('FAIL', error.code || error.message, `${ms()}ms`)
    process.exit(1)
  })
  connection.on('open', () => {
    opened = ms()
    connection.write('hello')
  })
  connection.once('data', () => {
    const { remoteHost, remotePort } = connection.rawStream
    console.log('OK', `open=${opened}ms`, `echo=${ms()}ms`, `remote=${remoteHost}:${remotePort}`)
    process.exit(0)
  })
}

async function startSwarm() {
  const Hyperswarm = require(path.join(modules, 'hyperswarm'))
  const node = new DHT(options)
  // Not every generation takes a key in place of a function, or tells the function of its swarm.
  const choose = (force) => (force || node.randomized ? relayThrough : null)
  const swarm = new Hyperswarm({ dht: node, relayThrough: relayThrough && choose })
  await node.fullyBootstrapped()
  return swarm
}

async function swarmServer() {
  const swarm = await startSwarm()
  swarm.on('connection', (connection) => {
    connection.on('error', () => {})
    connection.on('data', (data) => connection.write(data))
    connection.on('end', () => connection.end())
  })
  const topic = swarm.keyPair.publicKey
  await swarm.join(topic, { server: true, client: false }).flushed()
  console.log('LISTENING', topic.toString('hex'))
}

async function swarmClient() {
  const swarm = await startSwarm()
  const began = process.hrtime.bigint()
  const ms = () => (Number(process.hrtime.bigint() - began) / 1e6).toFixed(1)
  setTimeout(() => {
    console.log('FAIL SWARM', `${ms()}ms`, JSON.stringify(swarm.dht.stats))
    process.exit(1)
  }, 60_000)
  swarm.on('connection', (connection) => {
    const opened = ms()
    connection.on('error', () => {})
    connection.write('hello')
    connection.once('data', () => {
      const { remoteHost, remotePort } = connection.rawStream
      console.log('OK', `open=${opened}ms`, `echo=${ms()}ms`, `remote=${remoteHost}:${remotePort}`)
      process.exit(0)
    })
  })
  swarm.join(Buffer.from(argument, 'hex'), { server: false, client: true })
}
