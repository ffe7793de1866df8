'use strict'
// node peer/host.js <pinned|latest>
// Many reference peers in one process, so that a scenario that needs hundreds of fresh peers need not start as many
// processes. A line of JSON in, a line of JSON out:
//   { "start": id, "argv": [...] } -> { "started": id } or { "failed": id, "error" };  { "stop": id } -> { "stopped": id }
// and { "note": id, "line" } for the log lines of a peer.

const stack = require('./stack')(process.argv[2])
const { Peer } = require('./peer')
const { createInterface } = require('readline')

const peers = new Map()
const say = (o) => process.stdout.write(JSON.stringify(o) + '\n')

async function onrequest ({ start, stop, argv }) {
  if (start !== undefined) {
    const peer = new Peer(stack, argv, (line) => say({ note: start, line }))
    peers.set(start, peer)
    peer.started.catch((err) => say({ note: start, line: 'Sidechannel failed to start: ' + err.message }))
    await peer.bridge.listening
    say({ started: start })
  } else if (stop !== undefined) {
    const peer = peers.get(stop)
    peers.delete(stop)
    await peer.close()
    say({ stopped: stop })
  }
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const request = JSON.parse(line)
    onrequest(request).catch((err) => say({ failed: request.start ?? request.stop, error: err.stack }))
  })
  .on('close', () => process.exit(0))
say({ ready: true })
