// A JavaScript peer for protomux over a secret stream over TCP. Run by protocol/protomux/tests/interop.rs:
//   node peer.js listen            prints the port, takes one connection as the responder
//   node peer.js connect <port>    dials as the initiator
// Exits with 0 when the stream has closed without an error.
const net = require('net')
const NoiseSecretStream = require('@hyperswarm/secret-stream')
const Protomux = require('protomux')
const c = require('compact-encoding')

const [mode, port] = process.argv.slice(2)

function run(isInitiator, socket) {
  socket.setNoDelay(true)
  const stream = new NoiseSecretStream(isInitiator, socket, { keepAlive: 5000 })
  let failure = null
  stream.on('error', (error) => (failure = error))
  stream.on('close', () => {
    if (failure) console.error(failure)
    process.exit(failure ? 1 : 0)
  })
  const mux = Protomux.from(stream)

  // Echoes what it gets; what is asked for on message 2 is opened.
  const echo = mux.createChannel({
    protocol: 'echo',
    id: Buffer.alloc(32, 5),
    handshake: c.string,
    messages: [
      { encoding: c.raw, onmessage: (body) => echo.messages[1].send(body) },
      { encoding: c.raw },
      { encoding: c.uint, onmessage: open }
    ]
  })
  echo.open('from javascript')

  mux.pair({ protocol: 'on-demand' }, async (id) => {
    await new Promise((resolve) => setImmediate(resolve))
    const channel = mux.createChannel({
      protocol: 'on-demand',
      id,
      messages: [{ encoding: c.raw, onmessage: (body) => channel.messages[0].send(body) }]
    })
    channel.open()
    channel.messages[0].send(id)
  })

  // Opens a channel, sends before the other side has it, and closes it when an answer came.
  function open(number) {
    const channel = mux.createChannel({
      protocol: 'called-back',
      id: Buffer.from([number]),
      handshake: c.uint,
      messages: [{ encoding: c.uint, onmessage: () => channel.close() }]
    })
    channel.open(number)
    mux.cork()
    for (let i = 0; i < 3; i++) channel.messages[0].send(i)
    mux.uncork()
  }
}

if (mode === 'listen') {
  const server = net.createServer((socket) => {
    server.close()
    run(false, socket)
  })
  server.listen(0, '127.0.0.1', () => console.log(server.address().port))
} else {
  const socket = net.connect(Number(port), '127.0.0.1', () => run(true, socket))
}
