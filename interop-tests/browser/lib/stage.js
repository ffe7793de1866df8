'use strict'
// Peers with their pages, on a private DHT.

const { Peer, startDht, freePort } = require('../../lib/kinds')
const { Browser, open } = require('./browser')

const TOKEN = 'interop-token'

/** One DHT, one browser, and the peers that were started, all ended together. */
class Stage {
  static async set () {
    const stage = new Stage()
    stage.peers = []
    stage.dht = await startDht('rust')
    stage.browser = await Browser.launch()
    return stage
  }

  /** A peer that serves its page, or `again` one that was killed. `original` peers have no page: another serves theirs. */
  async peer (role, { kind = 'rust', extra = [], again = null } = {}) {
    const uiPort = again?.uiPort ?? await freePort()
    const ui = kind === 'rust' ? ['--ui', '1', '--ui-port', String(uiPort)] : []
    const { store, port } = again ?? {}
    const peer = await Peer.start({ kind, role, bootstrap: this.dht.bootstrap, own: true, store, port, extra: [...ui, ...extra] })
    peer.uiPort = uiPort
    peer.ui = 'http://127.0.0.1:' + uiPort
    peer.bridgeUrl = 'ws://127.0.0.1:' + peer.port
    await peer.bridge.started()
    this.peers.push(peer)
    return peer
  }

  /** A page of `peer`, on the bridge of `of`, in `room`. */
  async page (peer, { of = peer, room = '', ...options } = {}) {
    const page = await this.browser.page(options)
    await page.goto(link(peer, { of, room }))
    await page.waitForSelector('#app:not([hidden])')
    return page
  }

  async strike () {
    await this.browser?.close()
    for (const peer of this.peers) if (!peer.process.exit) await peer.kill()
    await this.dht?.kill()
  }
}

/** The address that connects at once. */
const link = (peer, { of = peer, room = '' } = {}) =>
  peer.ui + '/#' + new URLSearchParams({ token: TOKEN, bridge: of.bridgeUrl, ...(room && { room }) })

module.exports = { Stage, TOKEN, link, open }
