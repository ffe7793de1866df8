'use strict'
// Puts the requests of a session to a peer, one after the other, and keeps its replies.

const fs = require('fs')
const path = require('path')
const { Peer, stores, ROOT } = require('../lib/kinds')
const { requests, normal, NOBODY, SELF } = require('./sessions')

/** The normalised replies of a peer of `kind` to a session. */
async function talk (kind, session, bootstrap) {
  const store = 'differential-' + kind + '-' + session.seed
  const folder = path.join(stores, store, 'db')
  fs.mkdirSync(folder, { recursive: true })
  fs.copyFileSync(path.join(ROOT, '..', 'vectors', 'app', 'keypair.sample.json'), path.join(folder, 'keypair.json'))
  const extra = ['--sc-bridge-cli', '1', '--subnet-bootstrap', NOBODY, ...session.flags]
  const peer = await Peer.start({ kind, role: 'peer', bootstrap, store, own: true, extra })
  try {
    if (peer.publicKey !== SELF) throw new Error('another identity than that of the sessions: ' + peer.publicKey)
    await peer.bridge.started(60_000)
    const replies = []
    for (const request of requests(session)) replies.push(normal(await ask(peer.bridge.socket, request), { stores, store }))
    return replies
  } catch (err) {
    err.message += '\n' + peer.report()
    throw err
  } finally {
    await peer.kill()
  }
}

/** The text of the next frame that is no event. Frames come in the order of requests, for each waits for its reply. */
function ask (socket, request) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => done(reject, new Error('no reply to ' + request)), 30_000)
    const onmessage = (data) => {
      const text = data.toString()
      if (!text.startsWith('{"type":"sidechannel_message"')) done(resolve, text)
    }
    const onclose = () => done(reject, new Error('closed at ' + request))
    function done (how, what) {
      clearTimeout(timer)
      socket.off('message', onmessage)
      socket.off('close', onclose)
      how(what)
    }
    socket.on('message', onmessage)
    socket.once('close', onclose)
    socket.send(request)
  })
}

module.exports = { talk }
