'use strict'
// node peer/main.js <pinned|latest> <the application's flags>

const stack = require('./stack')(process.argv[2])
const { Peer } = require('./peer')

const peer = new Peer(stack, process.argv.slice(3), (line) => console.log(line))
console.log('Peer pubkey (hex): ' + peer.publicKey)
if (peer.bridge) {
  peer.bridge.listening.then(
    (port) => console.log('SC-Bridge: port ' + port),
    (err) => console.log('SC-Bridge failed to start: ' + err.message)
  )
}
peer.started.then(() => console.log('Sidechannel: ready'), (err) => console.log('Sidechannel failed to start: ' + err.message))

let closing = false
function close () {
  if (closing) return
  closing = true
  peer.close().then(() => process.exit(0), (err) => {
    console.error(err)
    process.exit(1)
  })
}
process.on('SIGTERM', close)
process.on('SIGINT', close)
process.stdin.on('end', close).resume()
